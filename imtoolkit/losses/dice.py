"""Soft Dice of label images, with class weights and a cost map, alone and with cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .cross_entropy import CrossEntropyLoss, FocalLoss
from .labels import class_weight_tensor, prepared


class DiceLoss(nn.Module):
    r"""One minus the soft Dice coefficient, averaged over the classes.

    Milletari et al., "V-Net", 3DV 2016. With probabilities :math:`p`, one-hot targets :math:`t` and
    the cost map :math:`w`, for each class:

    .. math:: 1 - \frac{2 \sum_i w_i p_i t_i + a}{\sum_i w_i p_i + \sum_i w_i t_i + b}

    Args:
        include_background: Whether class 0 counts.
        batch: Sum over the whole batch before dividing, so that a patch without any object does not
            count as much as one full of them; otherwise image by image.
        smooth_nr: ``a``.
        smooth_dr: ``b``.
        class_weights: Weight of each class, background included; multiplies, is not normalised.

    Shape:
        logits ``(B, K, [Z,] Y, X)``, target ``(B, 1, [Z,] Y, X)`` of integers, weight
        ``(B, 1, [Z,] Y, X)`` or ``None``; returns a scalar.

    Example:
        >>> from monai.losses import DiceLoss as Reference
        >>> logits, target = torch.randn(2, 3, 8, 8), torch.randint(3, (2, 1, 8, 8))
        >>> reference = Reference(to_onehot_y=True, softmax=True, batch=True)
        >>> torch.allclose(DiceLoss()(logits, target), reference(logits, target))
        True
    """

    takes_logits = True
    class_weights: Tensor | None

    def __init__(
        self,
        *,
        include_background: bool = True,
        batch: bool = True,
        smooth_nr: float = 1e-5,
        smooth_dr: float = 1e-5,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.first = 0 if include_background else 1
        self.batch = batch
        self.smooth_nr = smooth_nr
        self.smooth_dr = smooth_dr
        self.register_buffer("class_weights", class_weight_tensor(class_weights), persistent=False)

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """See the class."""
        logits, labels, weight = prepared(logits, target, weight)
        counted = logits.softmax(1)
        hot = torch.zeros_like(counted).scatter_(1, labels, 1.0)
        if weight is not None:
            counted, hot = counted * weight, hot * weight
            overlap = counted * (hot > 0)  # the weight counts once
        else:
            overlap = counted * hot
        axes = [0] * self.batch + list(range(2, logits.ndim))
        both, sizes = overlap.sum(axes), counted.sum(axes) + hot.sum(axes)  # ([B,] K)
        loss = 1 - (2 * both + self.smooth_nr) / (sizes + self.smooth_dr)
        if self.class_weights is not None:
            loss = loss * self.class_weights
        return loss[..., self.first :].mean()


class DiceCELoss(nn.Module):
    r"""Dice plus cross-entropy: overlap for rare classes, and gradients everywhere.

    :math:`\lambda_\mathrm{dice} L_\mathrm{dice} + \lambda_\mathrm{ce} L_\mathrm{ce}`

    Args:
        include_background: Whether class 0 counts in the Dice term.
        batch: See `DiceLoss`.
        smooth_nr: See `DiceLoss`.
        smooth_dr: See `DiceLoss`.
        class_weights: Weight of each class, in both terms.
        label_smoothing: See `CrossEntropyLoss`.
        lambda_dice: Factor of the Dice term.
        lambda_ce: Factor of the cross-entropy.

    Shape:
        As `DiceLoss`.

    Example:
        >>> from monai.losses import DiceCELoss as Reference
        >>> logits, target = torch.randn(2, 3, 8, 8), torch.randint(3, (2, 1, 8, 8))
        >>> reference = Reference(to_onehot_y=True, softmax=True, batch=True)
        >>> torch.allclose(DiceCELoss()(logits, target), reference(logits, target))
        True
    """

    takes_logits = True

    def __init__(
        self,
        *,
        include_background: bool = True,
        batch: bool = True,
        smooth_nr: float = 1e-5,
        smooth_dr: float = 1e-5,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        lambda_dice: float = 1.0,
        lambda_ce: float = 1.0,
    ) -> None:
        super().__init__()
        self.dice = DiceLoss(
            include_background=include_background,
            batch=batch,
            smooth_nr=smooth_nr,
            smooth_dr=smooth_dr,
            class_weights=class_weights,
        )
        self.pixels: FocalLoss = CrossEntropyLoss(
            class_weights=class_weights, label_smoothing=label_smoothing
        )
        self.factors = (lambda_dice, lambda_ce)

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """See the class."""
        dice, pixels = self.factors
        total: Tensor = dice * self.dice(logits, target, weight)
        per_pixel: Tensor = pixels * self.pixels(logits, target, weight)
        return total + per_pixel


class DiceFocalLoss(DiceCELoss):
    r"""Dice plus focal loss, for rare classes with easy background.

    :math:`\lambda_\mathrm{dice} L_\mathrm{dice} + \lambda_\mathrm{focal} L_\mathrm{focal}`

    Args:
        include_background: Whether class 0 counts in the Dice term.
        batch: See `DiceLoss`.
        gamma: See `FocalLoss`.
        class_weights: Weight of each class, in both terms.
        lambda_dice: Factor of the Dice term.
        lambda_focal: Factor of the focal term.

    Shape:
        As `DiceLoss`.

    Example:
        >>> logits, target = torch.randn(2, 3, 8, 8), torch.randint(3, (2, 1, 8, 8))
        >>> torch.allclose(DiceFocalLoss(gamma=0.0)(logits, target), DiceCELoss()(logits, target))
        True
    """

    def __init__(
        self,
        *,
        include_background: bool = True,
        batch: bool = True,
        gamma: float = 2.0,
        class_weights: Sequence[float] | None = None,
        lambda_dice: float = 1.0,
        lambda_focal: float = 1.0,
    ) -> None:
        super().__init__(
            include_background=include_background,
            batch=batch,
            class_weights=class_weights,
            lambda_dice=lambda_dice,
            lambda_ce=lambda_focal,
        )
        self.pixels = FocalLoss(gamma, class_weights=class_weights)
