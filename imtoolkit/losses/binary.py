"""Binary cross-entropy of each class by itself, of pixels and of whole images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every reader of torch code knows
from torch import Tensor, nn

from imtoolkit.core.batch import MISSING_CLASS

from .forms import mean_over, one_hot
from .labels import class_weight_tensor


class BCELoss(nn.Module):
    r"""Binary cross-entropy of logits, each class against all others; focal where ``gamma`` is set.

    With :math:`q_k` the probability that is given to what is true of class :math:`k` (present or
    absent), class weights :math:`c`, cost map :math:`w`; Lin et al., ICCV 2017, for
    :math:`\gamma > 0`:

    .. math:: L = \frac{\sum_{ik} w_i c_k (1 - q_{ik})^\gamma (-\log q_{ik})}{\sum_{ik} w_i c_k}

    Args:
        gamma: How much entries that are right already are damped; 0 is cross-entropy.
        pos_weight: Factor of the entries that are present, one for each class or one for all.
        class_weights: Weight of each class.
        label_smoothing: Fraction of the target that is spread over present and absent.

    Shape:
        logits ``(B, K, [Z,] Y, X)`` with a target of integers ``(B, 1, [Z,] Y, X)`` or of 0 and 1
        in the shape of the logits, weight ``(B, 1, [Z,] Y, X)`` or ``None``; logits ``(B, K)`` of
        whole images with classes ``(B,)`` or 0 and 1 ``(B, K)``. A class number is one against all
        others; with ``K = 1`` it is 0 or 1. Unknown classes and entries that are NaN do not count.
        Returns a scalar, 0 where nothing counts.

    Example:
        >>> logits, target = torch.randn(4, 3), torch.randint(2, (4, 3)).float()
        >>> torch.allclose(BCELoss()(logits, target), nn.BCEWithLogitsLoss()(logits, target))
        True
    """

    takes_logits = True
    class_weights: Tensor | None
    pos_weight: Tensor | None

    def __init__(
        self,
        gamma: float = 0.0,
        *,
        pos_weight: float | Sequence[float] | None = None,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if gamma < 0 or not 0 <= label_smoothing < 1:
            message = (
                f"got gamma {gamma}, label_smoothing {label_smoothing}; expected 0 or more, and a "
                "fraction below 1"
            )
            raise ValueError(message)
        self.gamma = gamma
        self.label_smoothing = label_smoothing
        positive = None if pos_weight is None else torch.tensor(pos_weight).reshape(-1)
        self.register_buffer("pos_weight", positive, persistent=False)
        self.register_buffer("class_weights", class_weight_tensor(class_weights), persistent=False)

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """See the class."""
        logits = logits.float()
        truth, counts = _truth(logits, target)
        each = self._each(logits, truth)
        if weight is not None:
            counts = counts * weight.float()
        if self.class_weights is not None:
            counts = counts * _by_class(self.class_weights, logits)
        return mean_over(each, counts.expand_as(each))

    def _each(self, logits: Tensor, truth: Tensor) -> Tensor:
        smooth = truth * (1 - self.label_smoothing) + self.label_smoothing / 2
        positive = None if self.pos_weight is None else _by_class(self.pos_weight, logits)
        cost = F.binary_cross_entropy_with_logits(
            logits, smooth, reduction="none", pos_weight=positive
        )
        if self.gamma == 0:
            return cost
        likely = logits.sigmoid()
        wrong = truth * (1 - likely) + (1 - truth) * likely
        return wrong.clamp_min(0) ** self.gamma * cost


def _truth(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return 0 and 1 in the shape of the logits, and which entries count."""
    if not target.is_floating_point() and target.shape != logits.shape:
        labels = target[:, None] if target.ndim == logits.ndim - 1 == 1 else target
        _check_shape(labels, (logits.shape[0], 1, *logits.shape[2:]))
        known = labels != MISSING_CLASS
        top = max(logits.shape[1], 2)
        inside = known & (labels >= 0) & (labels < top)  # ignored pixels may hold any label
        return one_hot(torch.where(inside, labels, 0), logits), known.float()
    if logits.ndim == 2 and target.ndim == 1:
        target = target[:, None]
    _check_shape(target, tuple(logits.shape))
    truth = target.float()
    if logits.ndim > 2:  # a pixel that is NaN is a mistake, and shall be seen
        return truth, torch.ones_like(truth)
    known = ~truth.isnan() & (truth != MISSING_CLASS)
    return torch.where(known, truth, 0.0), known.float()


def _check_shape(target: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(target.shape) != expected:
        message = f"got a target of {tuple(target.shape)}; expected {expected}"
        raise ValueError(message)


def _by_class(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like).reshape(1, -1, *[1] * (like.ndim - 2))
