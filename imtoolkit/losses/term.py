"""One term of the loss: what it reads of the net's outputs and of the batch, and in which form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every reader of torch code knows
from torch import Tensor, nn

from imtoolkit.core.batch import WEIGHT
from imtoolkit.core.errors import ComponentError, did_you_mean, listed

Raw = Tensor | Mapping[str, Tensor]

ACTIVATIONS: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "softmax": partial(torch.softmax, dim=1),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "exp": torch.exp,
}
"""What may be applied to a prediction before it is compared; ``softmax`` is over the channels."""


@dataclass(frozen=True)
class Term:
    """One term of the sum.

    Attributes:
        name: Name under which it is logged.
        loss: ``loss(prediction, target, weight=None)`` that returns a scalar.
        weight: Factor in the sum.
        warmup_steps: Optimizer steps during which the term counts as zero.
        prediction: Name of the output it reads, where the net returns several.
        target: Key of the batch it compares with.
        activation: Applied to the prediction first, a key of `ACTIVATIONS`.
        channels: Channels of the target that it reads, and of the prediction where that has as
            many channels as the target.
        resize_target: Bring target and cost map to the size of the prediction where they differ.
    """

    name: str
    loss: nn.Module
    weight: float = 1.0
    warmup_steps: int = 0
    prediction: str | None = None
    target: str = "target"
    activation: str | None = None
    channels: tuple[int, ...] | None = None
    resize_target: bool = False

    def __post_init__(self) -> None:
        if self.activation is not None and self.activation not in ACTIVATIONS:
            message = (
                f"loss term '{self.name}' got the activation '{self.activation}'; expected one of "
                f"{listed(list(ACTIVATIONS))}.{did_you_mean(self.activation, ACTIVATIONS)}"
            )
            raise ComponentError(message)

    @property
    def needs_target(self) -> bool:
        """Whether the batch must hold a target for it."""
        return _told(self.loss, "needs_target", True)

    def is_absent(self, raw: Raw) -> bool:
        """Tell whether it reads a number of the net that these outputs do not hold.

        Whole images are predicted tile by tile, where a net's own number has no meaning.
        """
        if not _told(self.loss, "computed", False):
            return False
        return isinstance(raw, Tensor) or self.prediction not in raw

    def value(self, raw: Raw, batch: Mapping[str, Any]) -> Tensor:
        """Return the loss of this term, without its weight.

        Args:
            raw: Output of the net: ``(B, K, [Z,] Y, X)`` or ``(B, K)``, or named ones.
            batch: Holds the targets, and the cost map under ``weight``.

        Raises:
            ComponentError: If what it reads is not there, or does not fit the loss.
        """
        prediction, target, weight = self.read(raw, batch)
        try:
            value: Tensor = self.loss(prediction, target, weight=weight)
        except ValueError as error:
            message = f"loss term '{self.name}': {error}"
            raise ComponentError(message) from error
        except (IndexError, TypeError) as error:
            there = "no target" if target is None else f"a target {list(target.shape)}"
            message = (
                f"loss term '{self.name}' does not take a prediction {list(prediction.shape)} with "
                f"{there}: {error}. Choose a loss for such values: imtoolkit components loss"
            )
            raise ComponentError(message) from error
        return value

    def read(
        self, raw: Raw, batch: Mapping[str, Any]
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return prediction, target and cost map as the loss gets them."""
        prediction = self._picked(raw)
        if prediction.is_floating_point():
            prediction = prediction.float()  # half precision cannot hold sums over many pixels
        target, weight = self._target_of(batch), batch.get(WEIGHT)
        if self.activation is not None:
            prediction = ACTIVATIONS[self.activation](prediction)
        if prediction.ndim <= 3:
            weight = None  # a map of pixels says nothing about numbers for the whole image
        if target is not None and self.channels is not None:
            prediction, target = self._channels_of(prediction, target)
        if self.resize_target and prediction.ndim > 3:
            target = None if target is None else resized(target, prediction.shape[2:])
            weight = None if weight is None else nearest(weight, prediction.shape[2:])
        return prediction, target, weight

    def _picked(self, raw: Raw) -> Tensor:
        if isinstance(raw, Tensor):
            if self.prediction is None:
                return raw
            message = (
                f"loss term '{self.name}' reads the output '{self.prediction}', but the net "
                "returns one tensor: leave 'prediction' out"
            )
            raise ComponentError(message)
        if self.prediction is not None and self.prediction in raw:
            return raw[self.prediction]
        message = (
            f"loss term '{self.name}' reads the output {self.prediction!r}, but the net returns "
            f"{listed(list(raw))}: set 'prediction' to one of them."
            f"{did_you_mean(self.prediction or '', raw)}"
        )
        raise ComponentError(message)

    def _target_of(self, batch: Mapping[str, Any]) -> Tensor | None:
        target = batch.get(self.target)
        if isinstance(target, Tensor):
            return target
        if not self.needs_target:
            return None
        there = [key for key, value in batch.items() if isinstance(value, Tensor)]
        message = (
            f"loss term '{self.name}' compares with '{self.target}', but the batch holds "
            f"{listed(there) or 'no tensors'}: set 'target' to one of them, or leave it out."
            f"{did_you_mean(self.target, there)}"
        )
        raise ComponentError(message)

    def _channels_of(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        assert self.channels is not None
        count = target.shape[1] if target.ndim > 1 else 0
        wrong = [channel for channel in self.channels if not 0 <= channel < count]
        if wrong:
            message = (
                f"loss term '{self.name}' reads the channels {list(self.channels)} of "
                f"'{self.target}', which has {count}: expected numbers from 0 to {count - 1}"
            )
            raise ComponentError(message)
        index = torch.tensor(self.channels, device=target.device)
        if prediction.ndim > 1 and prediction.shape[1] == count:
            prediction = prediction.index_select(1, index.to(prediction.device))
        return prediction, target.index_select(1, index)


def _told(loss: nn.Module | None, fact: str, otherwise: bool) -> bool:
    """Return what a loss, or the one that it wraps, tells about itself."""
    while loss is not None:
        if hasattr(loss, fact):
            return bool(getattr(loss, fact))
        loss = getattr(loss, "loss", None)
    return otherwise


def resized(target: Tensor, size: Sequence[int]) -> Tensor:
    """Bring a target ``(B, C, [Z,] Y, X)`` to a size.

    Labels take the nearest pixel; images are averaged where they shrink on every axis, and
    interpolated linearly otherwise.
    """
    if tuple(target.shape[2:]) == tuple(size) or target.ndim < 3:
        return target
    if not target.is_floating_point():
        return nearest(target, size)
    if all(now >= then for now, then in zip(target.shape[2:], size, strict=True)):
        return F.interpolate(target, tuple(size), mode="area")
    mode = "bilinear" if len(size) == 2 else "trilinear"
    return F.interpolate(target, tuple(size), mode=mode, align_corners=False)


def nearest(image: Tensor, size: Sequence[int]) -> Tensor:
    """Bring labels or a cost map ``(B, C, [Z,] Y, X)`` to a size by the nearest neighbour."""
    if tuple(image.shape[2:]) == tuple(size):
        return image
    # interpolation wants floats; float64 holds every label exactly
    exact = image if image.is_floating_point() else image.double()
    return F.interpolate(exact, tuple(size), mode="nearest-exact").to(image.dtype)
