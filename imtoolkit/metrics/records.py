"""What one image leaves for metrics of the whole set: target, prediction, probabilities.

Records are columns of the rows of an evaluation and stand in its table, in words that a person
reads: ``target`` and ``predicted`` hold the name of a class or a number, ``probability/<class>``
what the net thought. With several classes for an image (multi-label) there are ``target/<class>``
and ``predicted/<class>``, with several numbers ``target/<column>`` and ``predicted/<column>``.
Heads of a multi-task net put their name before: ``<head>/target``. Records are never averaged.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from imtoolkit.core.batch import MISSING_CLASS

from .base import Array

Row = Mapping[str, Any]

TARGET: Final = "target"
PREDICTED: Final = "predicted"
PROBABILITY: Final = "probability"
RECORDS: Final = (TARGET, PREDICTED, PROBABILITY)
"""First words of the columns that hold records."""
_SLACK: Final = 1e-2  # half precision: probabilities that sum to one, nearly


@dataclass(frozen=True)
class SetArrays:
    """The records of the images that have a target, as arrays that a `SetMetric` takes.

    Attributes:
        predicted: Classes ``(N,)``, 0 or 1 ``(N, K)``, numbers ``(N, n)``, or counts ``(N, c)``.
        target: Same shape; of counts, which have the target in them, ``(N, 0)``.
        probability: ``(N, K)``, or ``None`` for numbers and counts.
        rows: Which rows these are, ``(N,)``.
    """

    predicted: Array
    target: Array
    probability: Array | None
    rows: Array

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, rows: Array) -> SetArrays:
        """Return the records of these rows, all of which it must have."""
        place = np.searchsorted(self.rows, rows)
        chances = None if self.probability is None else self.probability[place]
        return SetArrays(self.predicted[place], self.target[place], chances, rows)


class Records(ABC):
    """Knows the record columns of one output of a net.

    Attributes:
        names: Names of the classes, or of the numbers.
    """

    names: tuple[str, ...]

    @abstractmethod
    def row(self, output: Any, target: Any = None) -> dict[str, Any]:
        """Return the record of one image.

        Args:
            output: Probabilities ``(K,)``, or numbers ``(n,)``; array or tensor.
            target: The class, 0 or 1 for each class ``(K,)``, or numbers ``(n,)``; ``None`` where
                there is none. `MISSING_CLASS` and NaN are unknown.
        """

    @abstractmethod
    def arrays(self, rows: Sequence[Row], prefix: str = "") -> SetArrays:
        """Return the records of all rows that have a target; ``prefix`` is the name of a head."""

    def has(self, name: str, prefix: str = "") -> bool:
        """Tell whether a column holds a record of this output.

        Example:
            >>> NumberRecords().has("target"), NumberRecords().has("age/target", "age")
            (True, True)
            >>> NumberRecords().has("dice/target")
            False
        """
        start = f"{prefix}/" if prefix else ""
        return name.startswith(start) and name.removeprefix(start).split("/")[0] in RECORDS


@dataclass(frozen=True)
class ClassRecords(Records):
    """One class for each image.

    Attributes:
        names: Names of the classes.

    Example:
        >>> records = ClassRecords(("healthy", "sick"))
        >>> records.row([0.25, 0.75], target=0)
        {'target': 'healthy', 'predicted': 'sick', 'probability/healthy': 0.25,
         'probability/sick': 0.75}
    """

    names: tuple[str, ...]

    def row(self, output: Any, target: Any = None) -> dict[str, Any]:
        """See `Records`."""
        chances = _probabilities(output, self.names)
        if np.isfinite(chances).all() and abs(chances.sum() - 1) > _SLACK:
            message = (
                f"got probabilities that sum to {chances.sum():.4g}; expected 1: softmax first"
            )
            raise ValueError(message)
        known = target is not None and int(target) != MISSING_CLASS
        return {
            TARGET: self.names[int(target)] if known else None,
            PREDICTED: self.names[int(chances.argmax())],
            **_named(PROBABILITY, self.names, chances),
        }

    def arrays(self, rows: Sequence[Row], prefix: str = "") -> SetArrays:
        """See `Records`."""
        start = f"{prefix}/" if prefix else ""
        number = {name: index for index, name in enumerate(self.names)}
        found = [number.get(row.get(start + TARGET, ""), MISSING_CLASS) for row in rows]
        target = np.array(found, dtype=np.int64)
        kept = np.flatnonzero(target != MISSING_CLASS)
        predicted = np.array(
            [number[rows[i][start + PREDICTED]] for i in kept.tolist()], dtype=np.int64
        )
        probability = _columns(rows, kept, start + PROBABILITY, self.names)
        return SetArrays(predicted, target[kept], probability, kept)


@dataclass(frozen=True)
class MultilabelRecords(Records):
    """Any number of classes for each image.

    Attributes:
        names: Names of the classes.
        threshold: Probability from which a class is predicted.
    """

    names: tuple[str, ...]
    threshold: float = 0.5

    def row(self, output: Any, target: Any = None) -> dict[str, Any]:
        """See `Records`."""
        chances = _probabilities(output, self.names)
        predicted = (chances >= self.threshold).astype(int)
        known = np.full(len(self.names), np.nan) if target is None else _flat(target)
        return {
            **_named(TARGET, self.names, known),
            **_named(PREDICTED, self.names, predicted),
            **_named(PROBABILITY, self.names, chances),
        }

    def arrays(self, rows: Sequence[Row], prefix: str = "") -> SetArrays:
        """See `Records`."""
        start = f"{prefix}/" if prefix else ""
        every = np.arange(len(rows))
        target = _columns(rows, every, start + TARGET, self.names)
        kept = np.flatnonzero(~np.isnan(target).all(1))
        predicted = _columns(rows, kept, start + PREDICTED, self.names)
        probability = _columns(rows, kept, start + PROBABILITY, self.names)
        return SetArrays(predicted, target[kept], probability, kept)


@dataclass(frozen=True)
class NumberRecords(Records):
    """One number for each image, or several.

    Attributes:
        names: Names of the numbers, where there are several.

    Example:
        >>> NumberRecords().row([3.5], target=[3.0])
        {'target': 3.0, 'predicted': 3.5}
    """

    names: tuple[str, ...] = ()

    def row(self, output: Any, target: Any = None) -> dict[str, Any]:
        """See `Records`."""
        found = _flat(output)
        known = np.full(len(found), np.nan) if target is None else _flat(target)
        if len(found) != max(1, len(self.names)) or len(known) != len(found):
            message = (
                f"got {len(found)} numbers and {len(known)} in the target; "
                f"expected {max(1, len(self.names))}"
            )
            raise ValueError(message)
        return {**self._cells(TARGET, known), **self._cells(PREDICTED, found)}

    def arrays(self, rows: Sequence[Row], prefix: str = "") -> SetArrays:
        """See `Records`."""
        start = f"{prefix}/" if prefix else ""
        every = np.arange(len(rows))
        target = self._read(rows, every, start + TARGET)
        kept = np.flatnonzero(~np.isnan(target).all(1))
        return SetArrays(self._read(rows, kept, start + PREDICTED), target[kept], None, kept)

    def _cells(self, word: str, numbers: Array) -> dict[str, float]:
        if len(self.names) < 2:
            return {word: float(numbers[0])}
        return _named(word, self.names, numbers)

    def _read(self, rows: Sequence[Row], kept: Array, start: str) -> Array:
        if len(self.names) < 2:
            cells = [_number(rows[i].get(start)) for i in kept.tolist()]
            return np.array(cells, dtype=float).reshape(-1, 1)
        return _columns(rows, kept, start, self.names)


def _probabilities(output: Any, names: Sequence[str]) -> Array:
    chances = _flat(output)
    if len(chances) != len(names):
        message = f"got {len(chances)} probabilities for {len(names)} classes"
        raise ValueError(message)
    finite = chances[np.isfinite(chances)]
    if finite.size and not (finite.min() >= -_SLACK and finite.max() <= 1 + _SLACK):
        message = (
            f"got values from {finite.min():.4g} to {finite.max():.4g}; expected probabilities, "
            "not logits"
        )
        raise ValueError(message)
    return chances


def _flat(values: Any) -> Array:
    """Return a tensor, an array or a list as float64 ``(n,)``."""
    if hasattr(values, "detach"):
        values = values.detach().float().cpu().numpy()
    return np.asarray(values, dtype=np.float64).ravel()


def _named(word: str, names: Sequence[str], values: Array) -> dict[str, Any]:
    return {f"{word}/{name}": value.item() for name, value in zip(names, values, strict=True)}


def _columns(rows: Sequence[Row], kept: Array, word: str, names: Sequence[str]) -> Array:
    cells = [[_number(rows[i].get(f"{word}/{name}")) for name in names] for i in kept.tolist()]
    return np.array(cells, dtype=float).reshape(len(kept), len(names))


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
