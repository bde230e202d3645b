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

from .forms import (
    ELEMENTWISE,
    TAKES_LOGITS,
    kind_of,
    label_form,
    mean_over,
    nothing_of,
    without_missing,
)

_BUILT_FOR_MAPS: Final = (
    "dice_ce, dice, cross_entropy, focal, dice_focal, generalized_dice_focal, bce or lovasz for "
    "labels; mse, rmse, l1, huber, charbonnier, ssim or gaussian_derivative for images"
)


class AdaptedLoss(nn.Module):
    """A loss of a library, given prediction and target in the form that it expects.

    Args:
        loss: The loss itself.
        name: Its name in the config, for messages.
        activated: Whether the prediction was brought to probabilities before.

    Attributes:
        needs_target: Whether it compares with a target at all.
        computed: Whether it is a number that the net computed.
        of_labels: Whether it compares with class numbers.
        of_pixels: Whether it looks at pixels, so that it takes no values of whole images.

    Shape:
        prediction ``(B, K, [Z,] Y, X)`` or ``(B, K)``; target ``(B, 1, [Z,] Y, X)`` or ``(B,)`` of
        integers, or floats, which are passed on as they are, in the shape of the prediction.
        Images whose class is `MISSING_CLASS`, and entries of ``(B, n)`` that are NaN, do not
        count; a batch without any label gives 0.
    """

    def __init__(self, loss: nn.Module, name: str, *, activated: bool = False) -> None:
        super().__init__()
        self.loss = loss
        self.name = name
        self.activated = activated
        self.needs_target = bool(getattr(loss, "needs_target", True))
        self.computed = bool(getattr(loss, "computed", False))
        self.of_labels = _innermost(loss, "of_labels", True)
        self.of_pixels = _innermost(loss, "of_pixels", False)
        self._takes_weight = "weight" in inspect.signature(loss.forward).parameters

    def forward(
        self, prediction: Tensor, target: Tensor | None, weight: Tensor | None = None
    ) -> Tensor:
        """Return the loss as a scalar.

        Raises:
            ComponentError: If there is a cost map that it cannot take, or no scalar comes out.
        """
        if self._takes_weight:
            return self._scalar(self.loss(prediction, target, weight))
        if getattr(self.loss, "own_form", False):
            self._refuse(weight)
            return self._scalar(self.loss(prediction, target))
        assert target is not None  # only losses of ours go without
        prediction = prediction.float()
        if not target.is_floating_point():
            if prediction.ndim == 2:
                prediction, target = without_missing(prediction, target)
                if len(target) == 0:
                    return nothing_of(prediction)
            if prediction.ndim == target.ndim:
                prediction, target = label_form(
                    self.loss, prediction, target, activated=self.activated
                )
        elif kind_of(self.loss) == "BCELoss" and not self.activated:
            prediction = prediction.sigmoid()
        if self._is_mean_of_entries() and prediction.shape == target.shape:
            return self._mean_of_entries(prediction, target, weight)
        self._refuse(weight)
        return self._scalar(self.loss(prediction, target))

    def _refuse(self, weight: Tensor | None) -> None:
        if weight is not None:
            message = (
                f"loss '{self.name}' cannot take a cost map, but the data have one (key 'weight'). "
                f"Use {_BUILT_FOR_MAPS}, a loss of your own with a parameter 'weight', or leave "
                "the cost maps out of the source"
            )
            raise ComponentError(message)

    def _is_mean_of_entries(self) -> bool:
        return kind_of(self.loss) in ELEMENTWISE and getattr(self.loss, "reduction", "") == "mean"

    def _mean_of_entries(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        """Return torch's own mean, weighted by the cost map and without unknown entries."""
        image_level = prediction.ndim == 2
        if weight is None and not image_level:
            return self._scalar(self.loss(prediction, target))
        # pixels that are NaN are a mistake in the data, and shall be seen; labels may be unknown
        known = ~target.isnan() if image_level else torch.ones_like(target, dtype=torch.bool)
        counts = known.to(prediction.dtype)
        if weight is not None:
            counts = counts * weight.to(prediction.dtype)
        loss: Any = self.loss
        loss.reduction = "none"
        try:
            each: Tensor = loss(prediction, torch.where(known, target, 0.0))
        finally:
            loss.reduction = "mean"
        return mean_over(each, counts)

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
    activation: str | None = None,
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
        activation: What the term applies to the prediction before; losses apply no other then.
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
        filled |= _label_switches(params, out_channels, activation)
    filled = {key: value for key, value in filled.items() if key in known}
    params = {
        key: build_loss(
            value["name"],
            value["params"],
            out_channels=out_channels,
            spatial_dims=spatial_dims,
            labels=labels,
            activation=activation,
            where=f"{where}.params.{key}",
        )[0]
        if registry.is_component(value) and registry.nested_kind("loss", key) == "loss"
        else value
        for key, value in params.items()
    }
    weighting = _class_weighting(factory, known, params, class_weights)
    if _wants_tensor(known) and isinstance(params.get("weight"), (list, tuple)):
        params = {**params, "weight": torch.as_tensor(params["weight"], dtype=torch.float32)}
    try:
        loss = registry.build("loss", name, params, **filled, **weighting)
    except ComponentError as error:
        raise ComponentError(Problem(str(error), where=where)) from error
    takes_logits = getattr(loss, "takes_logits", kind_of(loss) in TAKES_LOGITS)
    if activation is not None and takes_logits:
        message = (
            f"loss '{name}' takes logits and has an activation of its own, but the term applies "
            f"'{activation}' before it: leave 'activation' out"
        )
        raise ComponentError(Problem(message, where=f"{where}.activation"))
    return AdaptedLoss(loss, name, activated=activation is not None), bool(weighting)


def _innermost(loss: nn.Module, fact: str, otherwise: bool) -> bool:
    """Return what a loss tells about itself, or else the one that it wraps."""
    inner: Any = loss
    while isinstance(inner, nn.Module):
        if hasattr(inner, fact):
            return bool(getattr(inner, fact))
        inner = getattr(inner, "loss", None)
    return otherwise


def _label_switches(
    params: Mapping[str, Any], out_channels: int, activation: str | None
) -> dict[str, Any]:
    """Fill in what MONAI's losses leave to the caller, unless the user chose an activation."""
    if out_channels < 2:
        return {}
    chosen = activation is not None or any(
        params.get(key) is not None for key in ("sigmoid", "softmax", "other_act")
    )
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
