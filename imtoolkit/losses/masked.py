"""Cost maps for losses that know none: what is ignored counts as right."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from .images import prepared_pair, without_ignored
from .labels import prepared

_SURE: Final = 20.0  # a logit beside zeros whose softmax is 1 in float32


class MaskedLoss(nn.Module):
    """Gives a loss a prediction that is right where the cost map is 0.

    Such pixels of images get the target; those of labels become certain background, in prediction
    and target. They have no gradient, and the loss sees nothing wrong there. Losses that honour
    cost maps by themselves, such as ``dice_ce`` or ``mse``, leave such pixels out instead, which is
    better where they are many.

    Args:
        loss: The loss, such as ``{name: LogHausdorffDTLoss, params: {}}``.

    Shape:
        prediction ``(B, K, [Z,] Y, X)``; target ``(B, 1, [Z,] Y, X)`` of integers, or floats in
        the shape of the prediction; weight ``(B, 1, [Z,] Y, X)`` of 0 and 1, or ``None``.

    Example:
        >>> prediction, target = torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
        >>> MaskedLoss(nn.L1Loss())(prediction, target, torch.zeros(2, 1, 8, 8)).item()
        0.0
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """See the class.

        Raises:
            ValueError: If a weight is neither 0 nor 1, or shapes do not belong together.
        """
        found: Tensor
        if weight is None:
            found = self.loss(prediction, target)
            return found
        if not bool(((weight == 0) | (weight == 1)).all()):
            message = (
                "got a cost map with other numbers than 0 and 1; the loss 'masked' can leave "
                "pixels out, and not weigh them. Use dice_ce or mse, for example"
            )
            raise ValueError(message)
        if target.is_floating_point():
            prediction, target = prepared_pair(prediction, target)
            prediction, target, _ = without_ignored(prediction, target, weight)
        else:
            logits, target, _ = prepared(prediction, target, weight)
            prediction = torch.where(weight > 0, logits, _certain(logits, target))
        found = self.loss(prediction, target)
        return found


def _certain(logits: Tensor, labels: Tensor) -> Tensor:
    if logits.shape[1] == 1:
        return (2 * labels.to(logits.dtype) - 1) * _SURE
    return torch.zeros_like(logits).scatter_(1, labels, _SURE)
