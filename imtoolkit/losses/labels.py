"""What the losses on label images share: checked shapes, and pixels that count for nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from imtoolkit.core.batch import MISSING_CLASS


def prepared(
    logits: Tensor, target: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return float32 logits, int64 labels and float32 weights, after comparing their shapes.

    Labels of pixels with weight 0 become 0, so that a label outside the classes may mark them.
    Images whose class is `MISSING_CLASS` get the weight 0.

    Args:
        logits: ``(B, K, [Z,] Y, X)``, or ``(B, K)`` for whole images.
        target: Integer labels ``(B, 1, [Z,] Y, X)``, or ``(B,)``.
        weight: Cost map ``(B, 1, [Z,] Y, X)``, or ``None``.

    Raises:
        ValueError: If the shapes do not belong together, or the labels are not integers.
    """
    if logits.ndim == 2:
        target = target.reshape(-1, 1) if target.ndim == 1 else target
        weight = (target != MISSING_CLASS).float() if weight is None else weight
    expected = (logits.shape[0], 1, *logits.shape[2:])
    for name, tensor in (("target", target), ("weight", weight)):
        if tensor is not None and tuple(tensor.shape) != expected:
            message = f"got a {name} of {tuple(tensor.shape)}; expected {expected}"
            raise ValueError(message)
    if target.is_floating_point():
        message = (
            f"got a target of {target.dtype}; expected integer labels. Images and numbers are "
            "learnt with mse, l1 or charbonnier, for example"
        )
        raise ValueError(message)
    labels = target.long()
    if weight is None:
        return logits.float(), labels, None
    return logits.float(), torch.where(weight > 0, labels, 0), weight.float()


def class_weight_tensor(weights: Sequence[float] | None) -> Tensor | None:
    """Return weights as a float32 tensor.

    Raises:
        ValueError: If one is negative, or all are zero.
    """
    if weights is None:
        return None
    tensor = torch.as_tensor(weights, dtype=torch.float32)
    if (tensor < 0).any() or not (tensor > 0).any():
        message = f"got class weights {list(weights)}; expected numbers of 0 or more, not all 0"
        raise ValueError(message)
    return tensor
