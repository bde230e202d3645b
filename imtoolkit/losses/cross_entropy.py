"""Cross-entropy and focal loss of labels, with class weights and a cost map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every reader of torch code knows
from torch import Tensor, nn

from .forms import divisor
from .labels import class_weight_tensor, prepared


class FocalLoss(nn.Module):
    r"""Cross-entropy that looks away from pixels that are already right.

    Lin et al., "Focal loss for dense object detection", ICCV 2017. With :math:`p_i` the softmax
    probability of the true class of pixel :math:`i`, :math:`c` the class weights, :math:`w` the
    cost map:

    .. math:: L = \frac{\sum_i w_i c_{t_i} (1 - p_i)^\gamma (-\log p_i)}{\sum_i w_i c_{t_i}}

    Args:
        gamma: How much easy pixels are damped; 0 is cross-entropy.
        class_weights: Weight of each class.
        label_smoothing: Fraction of the target that is spread over all classes.

    Shape:
        logits ``(B, K, [Z,] Y, X)``, target ``(B, 1, [Z,] Y, X)`` of integers, weight
        ``(B, 1, [Z,] Y, X)`` or ``None``; or classes of whole images: logits ``(B, K)``, target
        ``(B,)``, of which `MISSING_CLASS` does not count. Returns a scalar, 0 where nothing counts.

    Example:
        >>> logits, target = torch.randn(2, 3, 8, 8), torch.randint(3, (2, 1, 8, 8))
        >>> reference = nn.CrossEntropyLoss()(logits, target[:, 0])
        >>> torch.allclose(FocalLoss(gamma=0.0)(logits, target), reference)
        True
    """

    takes_logits = True
    class_weights: Tensor | None

    def __init__(
        self,
        gamma: float = 2.0,
        *,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if gamma < 0:
            message = f"got gamma {gamma}; expected 0 or more"
            raise ValueError(message)
        self.gamma = gamma
        self.label_smoothing = label_smoothing
        self.register_buffer("class_weights", class_weight_tensor(class_weights), persistent=False)

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """See the class."""
        logits, labels, weight = prepared(logits, target, weight)
        labels = labels[:, 0]  # (B, [Z,] Y, X)
        if self.gamma == 0 and weight is None:  # torch's own reduction is quicker
            return F.cross_entropy(
                logits, labels, self.class_weights, label_smoothing=self.label_smoothing
            )
        cost = F.cross_entropy(
            logits,
            labels,
            self.class_weights,
            reduction="none",
            label_smoothing=self.label_smoothing,
        )
        if self.gamma > 0:
            right = F.log_softmax(logits, 1).gather(1, labels[:, None])[:, 0].exp()
            cost = (1 - right).clamp_min(0) ** self.gamma * cost
        counts = torch.ones_like(cost) if self.class_weights is None else self.class_weights[labels]
        if weight is not None:
            cost, counts = cost * weight[:, 0], counts * weight[:, 0]
        return cost.sum() / divisor(counts.sum())


class CrossEntropyLoss(FocalLoss):
    r"""Minus the logarithm of the probability that the true class is given.

    :math:`\sum_i w_i c_{t_i} (-\log p_i) / \sum_i w_i c_{t_i}`

    Args:
        class_weights: Weight of each class.
        label_smoothing: Fraction of the target that is spread over all classes.

    Shape:
        As `FocalLoss`.

    Example:
        >>> logits, target = torch.randn(2, 3, 8, 8), torch.randint(3, (2, 1, 8, 8))
        >>> loss, ones = CrossEntropyLoss(), torch.ones(2, 1, 8, 8)
        >>> torch.allclose(loss(logits, target, ones), nn.CrossEntropyLoss()(logits, target[:, 0]))
        True
    """

    def __init__(
        self, *, class_weights: Sequence[float] | None = None, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(0.0, class_weights=class_weights, label_smoothing=label_smoothing)
