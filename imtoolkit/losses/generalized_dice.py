"""Generalised Dice of label images: classes count by the inverse of their size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from .cross_entropy import FocalLoss
from .images import check_choice
from .labels import prepared

_POWERS: Final = {"square": 2, "simple": 1, "uniform": 0}


class GeneralizedDiceLoss(nn.Module):
    r"""One minus the Dice of all classes together, each weighted by the inverse of its size.

    Sudre et al., "Generalised Dice overlap as a deep learning loss function", DLMIA 2017. With
    probabilities :math:`p`, one-hot targets :math:`t`, the cost map :math:`w` and
    :math:`v_k = 1 / (\sum_i w_i t_{ik})^q`:

    .. math:: 1 - \frac{2 \sum_k v_k \sum_i w_i p_{ik} t_{ik} + a}
              {\sum_k v_k \sum_i w_i (p_{ik} + t_{ik}) + a}

    A class that is not there gets the largest weight of those that are.

    Args:
        include_background: Whether class 0 counts.
        batch: Sum over the whole batch before dividing; otherwise image by image.
        weighting: ``square`` (:math:`q = 2`), ``simple`` (:math:`q = 1`) or ``uniform``.
        smooth: ``a``.

    Shape:
        logits ``(B, K, [Z,] Y, X)``, target ``(B, 1, [Z,] Y, X)`` of integers, weight
        ``(B, 1, [Z,] Y, X)`` or ``None``; returns a scalar.

    Example:
        >>> from monai.losses import GeneralizedDiceLoss as Reference
        >>> logits, target = torch.randn(2, 3, 8, 8), torch.randint(3, (2, 1, 8, 8))
        >>> reference = Reference(to_onehot_y=True, softmax=True, batch=True)
        >>> torch.allclose(GeneralizedDiceLoss()(logits, target), reference(logits, target))
        True
    """

    takes_logits = True

    def __init__(
        self,
        *,
        include_background: bool = True,
        batch: bool = True,
        weighting: str = "square",
        smooth: float = 1e-5,
    ) -> None:
        super().__init__()
        self.first = 0 if include_background else 1
        self.batch = batch
        self.power = _POWERS[check_choice("weighting", weighting, tuple(_POWERS))]
        self.smooth = smooth

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """See the class."""
        logits, labels, weight = prepared(logits, target, weight)
        likely = logits.softmax(1)
        hot = torch.zeros_like(likely).scatter_(1, labels, 1.0)
        counts = torch.ones_like(likely[:, :1]) if weight is None else weight
        axes = [0] * self.batch + list(range(2, logits.ndim))
        both, sizes, truth = (
            (image * counts).sum(axes)[..., self.first :]
            for image in (likely * hot, likely + hot, hot)
        )  # ([B,] K)
        shares = self._shares(truth)
        overlap = 2 * (shares * both).sum(-1) + self.smooth
        return (1 - overlap / ((shares * sizes).sum(-1) + self.smooth)).mean()

    def _shares(self, truth: Tensor) -> Tensor:
        there = truth > 0
        shares = torch.where(there, truth, 1.0) ** -float(self.power)
        largest = (shares * there).amax(-1, keepdim=True)
        # where no class is there, none is rarer than another
        return torch.where(there, shares, torch.where(largest > 0, largest, 1.0))


class GeneralizedDiceFocalLoss(nn.Module):
    r"""Generalised Dice plus focal loss.

    :math:`\lambda_\mathrm{gdl} L_\mathrm{gdl} + \lambda_\mathrm{focal} L_\mathrm{focal}`; further
    terms beside it, such as ``topological_interaction``, regularise it.

    Args:
        include_background: Whether class 0 counts in the Dice term.
        batch: See `GeneralizedDiceLoss`.
        weighting: See `GeneralizedDiceLoss`.
        gamma: See `FocalLoss`.
        class_weights: Weight of each class in the focal term; Dice weights them by their size.
        lambda_gdl: Factor of the Dice term.
        lambda_focal: Factor of the focal term.

    Shape:
        As `GeneralizedDiceLoss`.

    Example:
        >>> logits, target = torch.randn(2, 3, 8, 8), torch.randint(3, (2, 1, 8, 8))
        >>> loss = GeneralizedDiceFocalLoss(lambda_focal=0.0)
        >>> torch.equal(loss(logits, target), GeneralizedDiceLoss()(logits, target))
        True
    """

    takes_logits = True

    def __init__(
        self,
        *,
        include_background: bool = True,
        batch: bool = True,
        weighting: str = "square",
        gamma: float = 2.0,
        class_weights: Sequence[float] | None = None,
        lambda_gdl: float = 1.0,
        lambda_focal: float = 1.0,
    ) -> None:
        super().__init__()
        self.dice = GeneralizedDiceLoss(
            include_background=include_background, batch=batch, weighting=weighting
        )
        self.pixels = FocalLoss(gamma, class_weights=class_weights)
        self.factors = (lambda_gdl, lambda_focal)

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """See the class."""
        total: Tensor = self.factors[0] * self.dice(logits, target, weight)
        per_pixel: Tensor = self.factors[1] * self.pixels(logits, target, weight)
        return total + per_pixel
