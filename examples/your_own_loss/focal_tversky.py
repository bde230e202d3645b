"""The focal Tversky loss: overlap in which missed pixels may weigh more than wrongly found ones."""

import torch
from torch import Tensor, nn


class FocalTverskyLoss(nn.Module):
    r"""For each class :math:`(1 - T)^\gamma` with :math:`T = TP / (TP + \alpha FN + \beta FP)`.

    Args:
        alpha: Weight of missed pixels; 0.5 is the Dice loss.
        gamma: Below 1 it looks at classes that are hardly found.

    Paper: Abraham and Khan, "A novel focal Tversky loss function", ISBI 2019.
    """

    def __init__(self, alpha: float = 0.7, gamma: float = 0.75) -> None:
        super().__init__()
        self.alpha, self.gamma = alpha, gamma

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare logits ``(B, K, [Z,] Y, X)`` with class numbers ``(B, 1, [Z,] Y, X)``."""
        found = prediction.softmax(1)
        truth = torch.zeros_like(found).scatter_(1, target.long(), 1.0)
        pixels = [0, *range(2, found.ndim)]  # all axes but that of the classes
        hit = (found * truth).sum(pixels)
        missed = ((1 - found) * truth).sum(pixels)
        wrong = (found * (1 - truth)).sum(pixels)
        tversky = (hit + 1) / (hit + self.alpha * missed + (1 - self.alpha) * wrong + 1)
        return (1 - tversky).pow(self.gamma).mean()
