"""The form in which each loss of torch and MONAI wants its targets, told from its class.

Label images come as ``(B, 1, [Z,] Y, X)`` integers, classes of whole images as ``(B,)`` integers
with `MISSING_CLASS` where unknown, several labels or numbers as ``(B, n)`` floats with NaN where
unknown.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from imtoolkit.core.batch import MISSING_CLASS

CLASS_NUMBERS: Final = ("CrossEntropyLoss", "NLLLoss", "NACLLoss", "MultiMarginLoss")
ONE_HOT_OF_LOGITS: Final = (
    "BCEWithLogitsLoss",
    "MultiLabelSoftMarginLoss",
    "SoftMarginLoss",
)
ONE_HOT_OF_PROBABILITIES: Final = ("BCELoss", "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss")
WITHOUT_OWN_SOFTMAX: Final = ("AsymmetricUnifiedFocalLoss",)
ELEMENTWISE: Final = ("BCEWithLogitsLoss", *ONE_HOT_OF_PROBABILITIES)
"""Losses of torch that are means over entries: single entries can be weighted and left out."""
TAKES_LOGITS: Final = (
    *("CrossEntropyLoss", "NACLLoss", "BCEWithLogitsLoss", "MultiLabelSoftMarginLoss"),
    *("FocalLoss", "DiceCELoss", "DiceFocalLoss", "GeneralizedDiceFocalLoss"),
)
"""Losses with an activation of their own, which cannot be switched off."""


def kind_of(loss: nn.Module) -> str:
    """Return the class name by which the form is told."""
    return type(loss).__name__


def label_form(
    loss: nn.Module, prediction: Tensor, target: Tensor, *, activated: bool
) -> tuple[Tensor, Tensor]:
    """Return prediction and a target of class numbers as the loss expects them.

    Args:
        loss: A loss of torch or MONAI.
        prediction: ``(B, K, [Z,] Y, X)``, or ``(B, K)`` for whole images.
        target: Integers ``(B, 1, [Z,] Y, X)``, or ``(B, 1)``.
        activated: Whether the prediction holds probabilities already.
    """
    kind = kind_of(loss)
    if kind in CLASS_NUMBERS:
        if kind == "NLLLoss":
            prediction = _log(prediction) if activated else prediction.log_softmax(1)
        return prediction, target[:, 0].long()
    if kind in ONE_HOT_OF_LOGITS:
        return prediction, one_hot(target, prediction)
    if kind in ONE_HOT_OF_PROBABILITIES:
        return _probable(prediction, activated), one_hot(target, prediction)
    if kind == "KLDivLoss":
        logs = _log(prediction) if activated else prediction.log_softmax(1)
        return logs, one_hot(target, prediction)
    if kind in WITHOUT_OWN_SOFTMAX:
        return _probable(prediction, activated), target
    return prediction, target


def without_missing(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows ``(B', K)`` and ``(B', 1)`` of images whose class is known."""
    labels = target.reshape(len(target), -1)
    if labels.shape[1] != 1 or len(labels) != len(prediction):
        message = (
            f"got a target of {tuple(target.shape)} for a prediction of "
            f"{tuple(prediction.shape)}; expected one class number for each image: "
            f"({len(prediction)},)"
        )
        raise ValueError(message)
    known = labels[:, 0] != MISSING_CLASS
    return prediction[known], labels[known]


def one_hot(target: Tensor, like: Tensor) -> Tensor:
    """Return integers with one channel as zeros and ones in the shape of ``like``.

    A prediction of one channel is that of class 1 against class 0.
    """
    if like.shape[1] == 1:
        return target.to(like.dtype)
    return torch.zeros_like(like).scatter_(1, target.long(), 1.0)


def nothing_of(prediction: Tensor) -> Tensor:
    """Return 0 with a graph: every weight gets a gradient, as distributed training needs."""
    return prediction.sum() * 0.0


def mean_over(each: Tensor, counts: Tensor) -> Tensor:
    """Return the mean of entries, weighted by ``counts`` of the same shape; 0 where none counts."""
    return (each * counts).sum() / divisor(counts.sum())


def divisor(total: Tensor) -> Tensor:
    """Return sums of weights to divide by, 1 for those that are 0.

    A tiny number instead would send a gradient to infinity, and infinity times 0 is NaN.
    """
    return torch.where(total > 0, total, torch.ones_like(total))


def _probable(prediction: Tensor, activated: bool) -> Tensor:
    if activated:
        return prediction
    return prediction.softmax(1) if prediction.shape[1] > 1 else prediction.sigmoid()


def _log(probabilities: Tensor) -> Tensor:
    return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()
