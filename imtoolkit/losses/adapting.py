"""Losses of MONAI and torch under one signature: ``loss(prediction, target, weight=None)``.

Each library wants label images in its own form: one-hot or class numbers, with or without a channel
axis, logits or probabilities. What form it is can be told from the class, so the user need not.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from imtoolkit.core import registry
from imtoolkit.core.errors import ComponentError, Problem

_CLASS_NUMBERS: Final = ("CrossEntropyLoss", "NLLLoss", "NACLLoss")
_ONE_HOT_OF_LOGITS: Final = (
    "BCEWithLogitsLoss",
    "MultiLabelSoftMarginLoss",
    "SoftMarginLoss",
)
_ONE_HOT_OF_PROBABILITIES: Final = ("BCELoss", "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss")
_WITHOUT_OWN_SOFTMAX: Final = ("AsymmetricUnifiedFocalLoss",)
_BUILT_FOR_MAPS: Final = "dice_ce, dice, cross_entropy, focal or dice_focal"


class AdaptedLoss(nn.Module):
    """A loss of a library, given prediction and target in the form that it expects.

    Args:
        loss: The loss itself.
        name: Its name in the config, for messages.

    Shape:
        prediction ``(B, K, [Z,] Y, X)``; target ``(B, 1, [Z,] Y, X)`` of integers, or an image of
        floats, which is passed on as it is.
    """

    def __init__(self, loss: nn.Module, name: str) -> None:
        super().__init__()
        self.loss = loss
        self.name = name
        self._takes_weight = "weight" in inspect.signature(loss.forward).parameters

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss as a scalar.

        Raises:
            ComponentError: If there is a cost map that it cannot take, or no scalar comes out.
        """
        if self._takes_weight:
            return self._scalar(self.loss(prediction, target, weight))
        if weight is not None:
            message = (
                f"loss '{self.name}' cannot take a cost map, but the data have one (key 'weight'). "
                f"Use {_BUILT_FOR_MAPS}, a loss of your own with a parameter 'weight', or leave "
                "the cost maps out of the source"
            )
            raise ComponentError(message)
        prediction = prediction.float()
        if not target.is_floating_point() and prediction.ndim == target.ndim:
            prediction, target = self._label_form(prediction, target)
        return self._scalar(self.loss(prediction, target))

    def _label_form(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        kind = type(self.loss).__name__
        if kind in _CLASS_NUMBERS:
            logged = prediction.log_softmax(1) if kind == "NLLLoss" else prediction
            return logged, target[:, 0].long()
        if kind in _ONE_HOT_OF_LOGITS:
            return prediction, _one_hot(target, prediction)
        if kind in _ONE_HOT_OF_PROBABILITIES:
            return prediction.softmax(1), _one_hot(target, prediction)
        if kind == "KLDivLoss":
            return prediction.log_softmax(1), _one_hot(target, prediction)
        if kind in _WITHOUT_OWN_SOFTMAX:
            return prediction.softmax(1), target
        return prediction, target

    def _scalar(self, value: Any) -> Tensor:
        if isinstance(value, Tensor) and value.numel() == 1:
            return value.reshape(())
        got = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        message = (
            f"loss '{self.name}' returned {got}; expected one number: set its reduction to mean"
        )
        raise ComponentError(message)


def build_loss(
    name: str,
    params: Mapping[str, Any],
    *,
    out_channels: int,
    spatial_dims: int,
    class_weights: Sequence[float] | None = None,
    labels: bool = True,
    where: str = "task.loss",
) -> tuple[AdaptedLoss, bool]:
    """Build a loss from its name and complete its parameters.

    Args:
        name: A built-in, a class of ``monai.losses`` or ``torch.nn``, or a dotted path.
        params: What the user wrote; kept.
        out_channels: Channels of the prediction.
        spatial_dims: 2 or 3.
        class_weights: Weight of each class, for losses that take weights.
        labels: Whether targets are label images, so that one-hot and softmax are filled in.
        where: Key of the config, for messages.

    Returns:
        The loss, and whether it took the class weights.

    Raises:
        ComponentError: If it cannot be found or refuses its parameters.
    """
    factory = registry.resolve("loss", name)
    known = inspect.signature(factory).parameters
    filled: dict[str, Any] = {"spatial_dims": spatial_dims, "dim": spatial_dims}
    if labels:
        filled |= {"num_classes": out_channels, "classes": out_channels}
        filled |= _label_switches(params, out_channels)
    filled = {key: value for key, value in filled.items() if key in known}
    weighting = _class_weighting(factory, known, params, class_weights)
    if _wants_tensor(known) and isinstance(params.get("weight"), (list, tuple)):
        params = {**params, "weight": torch.as_tensor(params["weight"], dtype=torch.float32)}
    try:
        loss = registry.build("loss", name, params, **filled, **weighting)
    except ComponentError as error:
        raise ComponentError(Problem(str(error), where=where)) from error
    return AdaptedLoss(loss, name), bool(weighting)


def _label_switches(params: Mapping[str, Any], out_channels: int) -> dict[str, Any]:
    """Fill in what MONAI's losses leave to the caller, unless the user chose an activation."""
    if out_channels < 2:
        return {}
    chosen = any(params.get(key) is not None for key in ("sigmoid", "softmax", "other_act"))
    switches = {"to_onehot_y": True, "use_softmax": True}
    return switches if chosen else {**switches, "softmax": True}


def _class_weighting(
    factory: Callable[..., Any],
    known: Mapping[str, inspect.Parameter],
    params: Mapping[str, Any],
    weights: Sequence[float] | None,
) -> dict[str, Any]:
    if weights is None:
        return {}
    if "class_weights" in known and "class_weights" not in params:
        return {"class_weights": list(weights)}
    if not _wants_tensor(known) or "weight" in params or "BCE" in factory.__name__:
        return {}
    tensor = torch.as_tensor(weights, dtype=torch.float32)
    # MONAI's losses count the background's weight only where the background counts, but DiceCELoss
    # cuts it off by itself
    cut = params.get("include_background") is False and factory.__name__ != "DiceCELoss"
    return {"weight": tensor[1:] if cut else tensor}


def _wants_tensor(known: Mapping[str, inspect.Parameter]) -> bool:
    """Tell whether ``weight`` holds one number for each class, and not a factor."""
    return "weight" in known and "Tensor" in str(known["weight"].annotation)


def _one_hot(target: Tensor, like: Tensor) -> Tensor:
    return torch.zeros_like(like).scatter_(1, target.long(), 1.0)
