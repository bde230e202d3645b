"""Numbers that change with the epochs: functions of the epoch and of nothing else.

A value holds for a whole epoch, so that a resumed run, a worker process and every rank know it from
the epoch alone. Learning rates, which change with each step, have schedules of their own
(`imtoolkit.optim.schedules`).
"""

from __future__ import annotations

import inspect
import itertools
import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import abc
from collections.abc import Callable, Mapping
from typing import Any

from imtoolkit.core import registry
from imtoolkit.core.errors import ComponentError


class NumberSchedule(ABC):
    """Base of all schedules of numbers; an own one derives from it and writes `value`."""

    @abstractmethod
    def value(self, epoch: int) -> float:
        """Return the number for an epoch, counted from 0."""

    def __call__(self, epoch: int) -> float:
        """Return the number for an epoch, counted from 0."""
        return self.value(epoch)


class _Way(NumberSchedule):
    """From one number to another.

    Args:
        start: Value up to the epoch ``begin``.
        end: Value from the epoch ``begin + epochs`` on.
        epochs: How many epochs the way takes; left out, the last epoch of the training has ``end``.
        begin: Epoch, counted from 0, in which the way begins.
    """

    def __init__(self, start: float, end: float, epochs: int, begin: int = 0) -> None:
        if epochs < 1 or begin < 0:
            message = f"got epochs {epochs} and begin {begin}; expected at least 1 and at least 0"
            raise ValueError(message)
        self.start, self.end, self.epochs, self.begin = start, end, epochs, begin

    def value(self, epoch: int) -> float:
        """Return the number for an epoch, counted from 0."""
        share = min(max((epoch - self.begin) / self.epochs, 0.0), 1.0)
        # the ends are met exactly, whatever the rounding of the way between them
        return self.end if share == 1 else self.start if share == 0 else self.between(share)

    @abstractmethod
    def between(self, share: float) -> float:
        """Return the number after a share of the way, above 0 and below 1."""


class Linear(_Way):
    """Straight from one number to another: ``start + (end - start) * share``.

    Args:
        start: Value up to the epoch ``begin``.
        end: Value from the epoch ``begin + epochs`` on.
        epochs: How many epochs the way takes; left out, the last epoch of the training has ``end``.
        begin: Epoch, counted from 0, in which the way begins.

    Example:
        >>> [Linear(0.0, 1.0, epochs=4, begin=1)(epoch) for epoch in range(7)]
        [0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """

    def between(self, share: float) -> float:
        """Return the number after a share of the way."""
        return self.start + (self.end - self.start) * share


class Cosine(_Way):
    r"""Along half a cosine: ``end + (start - end) * (1 + cos(pi * share)) / 2``; slow at both ends.

    Args:
        start: Value up to the epoch ``begin``.
        end: Value from the epoch ``begin + epochs`` on.
        epochs: How many epochs the way takes; left out, the last epoch of the training has ``end``.
        begin: Epoch, counted from 0, in which the way begins.

    Example:
        >>> [round(Cosine(1.0, 0.0, epochs=2)(epoch), 9) for epoch in range(4)]
        [1.0, 0.5, 0.0, 0.0]
    """

    def between(self, share: float) -> float:
        """Return the number after a share of the way."""
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * share)) / 2


class Exponential(_Way):
    """By the same factor in each epoch: ``start * (end / start) ** share``.

    Args:
        start: Value up to the epoch ``begin``; not 0.
        end: Value from the epoch ``begin + epochs`` on; of the sign of ``start``, not 0.
        epochs: How many epochs the way takes; left out, the last epoch of the training has ``end``.
        begin: Epoch, counted from 0, in which the way begins.

    Example:
        >>> [round(Exponential(1.0, 0.25, epochs=2)(epoch), 9) for epoch in range(4)]
        [1.0, 0.5, 0.25, 0.25]
    """

    def __init__(self, start: float, end: float, epochs: int, begin: int = 0) -> None:
        super().__init__(start, end, epochs, begin)
        if start * end <= 0:
            message = f"got {start} and {end}; expected two numbers of one sign, neither of them 0"
            raise ValueError(message)

    def between(self, share: float) -> float:
        """Return the number after a share of the way."""
        return self.start * float((self.end / self.start) ** share)


class Steps(NumberSchedule):
    """A number that jumps at given epochs.

    Args:
        values: The numbers, one more than there are jumps.
        milestones: Epochs, counted from 0, at which the next number begins; they grow.

    Example:
        >>> [Steps([0.0, 0.5, 1.0], milestones=[2, 3])(epoch) for epoch in range(5)]
        [0.0, 0.0, 0.5, 1.0, 1.0]
    """

    def __init__(self, values: abc.Sequence[float], milestones: abc.Sequence[int]) -> None:
        _check_milestones(len(values), milestones, "values")
        self.values, self.milestones = list(values), list(milestones)

    def value(self, epoch: int) -> float:
        """Return the number for an epoch, counted from 0."""
        return self.values[bisect_right(self.milestones, epoch)]


class Constant(NumberSchedule):
    """The same number in all epochs; a part of a `Sequence`.

    Args:
        number: The number.
    """

    def __init__(self, number: float) -> None:
        self.number = number

    def value(self, epoch: int) -> float:
        """Return the number."""
        del epoch
        return self.number


class Sequence(NumberSchedule):
    """One schedule after the other; each counts its epochs from where it begins.

    Args:
        schedules: The parts. One that leaves ``epochs`` out ends with the next milestone.
        milestones: Epochs, counted from 0, at which the next part begins; they grow.

    Example:
        >>> parts = [Constant(0.0), Linear(0.0, 1.0, epochs=2)]
        >>> [Sequence(parts, milestones=[2])(epoch) for epoch in range(6)]
        [0.0, 0.0, 0.0, 0.5, 1.0, 1.0]
    """

    def __init__(
        self, schedules: abc.Sequence[NumberSchedule], milestones: abc.Sequence[int]
    ) -> None:
        _check_milestones(len(schedules), milestones, "schedules")
        self.schedules, self.milestones = list(schedules), list(milestones)

    def value(self, epoch: int) -> float:
        """Return the number for an epoch, counted from 0."""
        part = bisect_right(self.milestones, epoch)
        begin = self.milestones[part - 1] if part else 0
        return self.schedules[part](epoch - begin)


def build_schedule(
    name: str, params: Mapping[str, Any], epochs: int | None = None
) -> NumberSchedule:
    """Build a schedule from its name and parameters.

    Args:
        name: A built-in, or a class of a trusted plugin.
        params: What the user wrote.
        epochs: Epochs of the training; a schedule that leaves ``epochs`` out meets its end in the
            last of them. ``None`` where the training has no number of epochs.

    Raises:
        ComponentError: If it cannot be found, refuses its parameters, or needs the epochs.
    """
    factory = registry.resolve("schedule", name)
    filled: dict[str, Any] = {}
    given = dict(params)
    if factory is Sequence:
        given["schedules"] = _parts(params, epochs)
    elif "epochs" in inspect.signature(factory).parameters and "epochs" not in params:
        if epochs is None:
            message = f"schedule '{name}' needs 'epochs': the training has no number of epochs"
            raise ComponentError(message)
        # the last epoch of the training, counted from 0, is where the end is met
        filled["epochs"] = max(1, epochs - 1 - _number(params.get("begin", 0)))
    built: NumberSchedule = registry.build("schedule", name, given, **filled)
    _check_callable(name, built)
    return built


def _parts(params: Mapping[str, Any], epochs: int | None) -> list[Any]:
    parts, milestones = params.get("schedules", ()), params.get("milestones", ())
    begins = [0, *map(_number, milestones)]
    # the next part begins where this one has met its end
    ends: list[int | None] = [place + 1 for place in begins[1:]]
    ends.append(epochs)
    built = []
    for number, part in enumerate(parts):
        if not registry.is_component(part):
            built.append(part)
            continue
        length = None
        if number < len(begins) and number < len(ends):
            end = ends[number]
            length = None if end is None else max(1, end - begins[number])
        built.append(build_schedule(part["name"], part["params"], length))
    return built


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _check_milestones(count: int, milestones: abc.Sequence[int], what: str) -> None:
    grows = all(a < b for a, b in itertools.pairwise(milestones))
    if count != len(milestones) + 1 or not grows or any(place < 1 for place in milestones):
        message = (
            f"got {count} {what} and the milestones {list(milestones)}; expected one of the "
            f"{what} more than milestones, and milestones that grow from 1 on"
        )
        raise ValueError(message)


def _check_callable(name: str, schedule: Callable[[int], Any]) -> None:
    found = schedule(0)
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not math.isfinite(found):
        message = f"schedule '{name}' gives {found!r} for epoch 0; expected a number"
        raise ComponentError(message)
