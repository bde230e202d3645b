"""Targets that stand in the table: from cells to classes and numbers, a whole column at a time.

What a cell may hold:

    CLASS    the name of a class, or its number counted from 0
    CLASSES  names or numbers joined by ``;`` or ``|``; an empty cell is an image of no class;
             ``[0 1 1]`` tells for each class whether it is there
    NUMBER   a number; ``[0.5 2]`` is several

``NA``, ``nan``, ``null`` and ``?`` stand for what is not known, as do empty cells of `CLASS` and
`NUMBER`. Columns of a million rows cost a second or two: each different cell is read once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from imtoolkit.core.batch import MISSING_CLASS, TARGET
from imtoolkit.core.errors import Problem, did_you_mean, listed
from imtoolkit.core.facts import ColumnTarget, TargetKind, TargetSpec
from imtoolkit.data.table import Manifest

IN_TABLE: Final = (TargetKind.CLASS, TargetKind.CLASSES, TargetKind.NUMBER)
"""Kinds of target that stand in the table."""
UNKNOWN: Final = "?"
"""Cell of a multi-label column whose entry is not known; an empty one is an image of no class."""
_UNKNOWN: Final = ("na", "n/a", "nan", "null", "?", "<na>", "#n/a")
LARGEST: Final = float(np.finfo(np.float32).max)
"""Largest number that a net can be given."""
_JOINED: Final = re.compile(r"[;|]")
_FLAGS: Final = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "false": 0.0, "true": 1.0}


def column_targets(target: TargetSpec) -> tuple[ColumnTarget, ...]:
    """Return all targets that stand in the table, the main one first."""
    if target.kind not in IN_TABLE:
        return target.more
    columns = target.columns or (TARGET,)
    return ColumnTarget(TARGET, target.kind, columns, target.classes), *target.more


@dataclass(frozen=True)
class Encoded:
    """A target of all samples of a table.

    Attributes:
        values: Int64 ``(N,)`` for `TargetKind.CLASS`, else float32 ``(N, K)``.
        missing: Which samples have no label, or lack a part of it, ``(N,)``.
        wrong: What is wrong with a cell, for each sample whose cell cannot be read.
    """

    values: NDArray[Any]
    missing: NDArray[np.bool_]
    wrong: dict[int, str] = field(default_factory=dict)


def encode(manifest: Manifest, target: ColumnTarget) -> Encoded:
    """Read a target's columns.

    A column that the table lacks is a column of gaps: whether there may be gaps is for the caller
    to say.

    Example:
        >>> table = Manifest.from_columns(
        ...     {"id": ["a", "b"], "image": ["a.png", "b.png"], "kind": ["cat", None]}
        ... )
        >>> encode(table, ColumnTarget("kind", TargetKind.CLASS, ("kind",), ("dog", "cat"))).values
        array([   1, -100])
    """
    columns = [_Cells.of(manifest, name) for name in target.columns]
    if target.kind is TargetKind.CLASS:
        return columns[0].read(lambda text: _class(text, target.classes), np.int64)
    if target.kind is TargetKind.CLASSES:
        if len(columns) == 1:
            return columns[0].read(lambda text: _classes(text, target.classes), np.float32)
        return _beside([column.read(_flag, np.float32) for column in columns])
    return _beside([column.read(_numbers, np.float32) for column in columns])


@dataclass(frozen=True)
class _Cells:
    """A column as the different texts that it holds, and which of them each row has."""

    texts: list[str]
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, manifest: Manifest, name: str) -> _Cells:
        if name not in manifest.columns:
            return cls([""], np.zeros(len(manifest), np.int64))
        cells = texts_in(manifest.table.column(name))
        texts = pc.unique(cells)
        rows = np.asarray(pc.index_in(cells, value_set=texts)).astype(np.int64)
        return cls(texts.to_pylist(), rows)

    def read(self, reads: Callable[[str], Sequence[float]], dtype: type) -> Encoded:
        found: list[Sequence[float]] = []
        wrong: dict[int, str] = {}
        for number, text in enumerate(self.texts):
            try:
                found.append(reads(text))
            except ValueError as error:
                found.append(())
                wrong[number] = str(error)
        width = max(map(len, found), default=1) or 1
        for number, numbers in enumerate(found):
            if 0 < len(numbers) < width and not np.isnan(numbers[0]):
                wrong[number] = f"'{self.texts[number]}' holds {len(numbers)} of {width} numbers"
        # what is not known has a number for each entry as well
        gap = [float("nan")] * width
        values = np.array([row if len(row) == width else gap for row in found], np.float64)
        values = values.reshape(-1, width)
        missing: NDArray[np.bool_] = np.isnan(values).max(axis=1)
        if dtype is np.int64:
            values = np.where(np.isnan(values), MISSING_CLASS, values)[:, 0]
        bad = np.isin(self.rows, list(wrong))
        messages = {row: wrong[int(self.rows[row])] for row in np.flatnonzero(bad).tolist()}
        return Encoded(values.astype(dtype)[self.rows], missing[self.rows] & ~bad, messages)


def _beside(parts: Sequence[Encoded]) -> Encoded:
    wrong: dict[int, str] = {}
    for part in parts:
        wrong |= part.wrong
    missing: NDArray[np.bool_] = np.stack([part.missing for part in parts]).max(axis=0)
    missing[list(wrong)] = False
    return Encoded(np.concatenate([part.values for part in parts], axis=1), missing, wrong)


def texts_in(column: Any) -> Any:
    """Return an Arrow column as text without blanks at the ends; a gap is an empty text.

    Whole numbers among floats, as gaps make them, are written without their ``.0``; an infinite
    number is no gap.
    """
    if pa.types.is_floating(column.type):
        numbers = np.asarray(column.cast(pa.float64()))
        known = numbers[~np.isnan(numbers)]
        if (
            len(known)
            and np.isfinite(known).all()
            and np.array_equal(known, np.rint(known))
            and abs(known).max() < 2**53
        ):
            whole = pa.array(np.where(np.isfinite(numbers), numbers, 0).astype(np.int64))
            return pc.if_else(pa.array(np.isfinite(numbers)), whole.cast(pa.string()), "")
    texts = pc.utf8_trim_whitespace(pc.fill_null(column.cast(pa.string()), ""))
    return texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts


# --- one cell -------------------------------------------------------------------------------------


def class_number(text: str, classes: Sequence[str]) -> int | None:
    """Return the number of a class given by its name or its number as text; ``None`` for neither.

    Example:
        >>> class_number("sick", ["healthy", "sick"]), class_number("1", ["healthy", "sick"])
        (1, 1)
    """
    if text in classes:
        return list(classes).index(text)
    digits = text.removesuffix(".0")
    return int(digits) if digits.isdecimal() and int(digits) < len(classes) else None


def _class(text: str, classes: Sequence[str]) -> list[float]:
    number = class_number(text, classes)
    if number is not None:
        return [float(number)]
    if not text or text.lower() in _UNKNOWN:
        return [float("nan")]
    hint = did_you_mean(text, classes)
    message = (
        f"'{text}' is no class.{hint} Expected {listed(classes, 20)} or a number 0 to "
        f"{len(classes) - 1}"
    )
    raise ValueError(message)


def _classes(text: str, classes: Sequence[str]) -> list[float]:
    if text.lower() in _UNKNOWN and text not in classes:
        return [float("nan")] * len(classes)
    if _is_vector(text):
        flags = [_flag(part)[0] for part in _parts(text)]
        if len(flags) != len(classes):
            message = f"'{text}' has {len(flags)} entries for {len(classes)} classes"
            raise ValueError(message)
        return flags
    flags = [0.0] * len(classes)
    for part in filter(None, map(str.strip, _JOINED.split(text))):
        number = class_number(part, classes)
        if number is None:
            message = (
                f"'{part}' is no class.{did_you_mean(part, classes)} Expected "
                f"{listed(classes, 20)}, joined by ';', or numbers 0 to {len(classes) - 1}"
            )
            raise ValueError(message)
        flags[number] = 1.0
    return flags


def _flag(text: str) -> list[float]:
    if not text or text.lower() in _UNKNOWN:
        return [float("nan")]
    if text.lower() not in _FLAGS:
        message = f"'{text}' does not tell whether a class is there: expected 0 or 1"
        raise ValueError(message)
    return [_FLAGS[text.lower()]]


def _numbers(text: str) -> list[float]:
    return [_number(part) for part in (_parts(text) if _is_vector(text) else [text])]


def _number(text: str) -> float:
    if not text or text.lower() in _UNKNOWN:
        return float("nan")
    try:
        value = float(text)
    except ValueError:
        message = f"'{text}' is not a number"
        raise ValueError(message) from None
    if not abs(value) <= LARGEST:
        message = f"'{text}' is not finite" if np.isinf(value) else f"'{text}' is too large"
        raise ValueError(message)
    return value


def _is_vector(text: str) -> bool:
    return text.startswith("[") and text.endswith("]")


def _parts(text: str) -> list[str]:
    return text[1:-1].replace(",", " ").replace(";", " ").split()


def vector_text(values: NDArray[Any]) -> str:
    """Return the cell that holds several numbers, or whether each class is there.

    Example:
        >>> vector_text(np.array([0, 1, 1])), vector_text(np.array([0.5, 2.0]))
        ('[0 1 1]', '[0.5 2.0]')
    """
    return f"[{' '.join(str(value) for value in values.tolist())}]"


# --- what is wrong, and what is there -------------------------------------------------------------


def problems_of(encoded: Encoded, target: ColumnTarget, ids: Sequence[str]) -> list[Problem]:
    """Return what is wrong with cells, each mistake once, with the first sample that has it."""
    rows: dict[str, list[int]] = {}
    for row, text in sorted(encoded.wrong.items()):
        rows.setdefault(text, []).append(row)
    name = "target" if target.key == TARGET else f"target '{target.key}'"
    return [
        Problem(f"sample '{ids[found[0]]}': {name}: {text}{_and_more(len(found) - 1)}")
        for text, found in rows.items()
    ]


def _and_more(count: int) -> str:
    return f" (and {count} more samples)" if count else ""


def class_samples(encoded: Encoded, target: ColumnTarget) -> tuple[int, ...]:
    """Return how many samples of each class there are."""
    if target.kind is TargetKind.CLASS:
        known = encoded.values[encoded.values >= 0]
        return tuple(np.bincount(known, minlength=len(target.classes)).tolist())
    return tuple(int(count) for count in np.nansum(encoded.values, axis=0))


def mean_and_std(values: NDArray[Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each column ``(N, K)``, gaps left out.

    A column without any number has the mean 0 and the deviation 1.
    """
    mean, std = [], []
    for column in values.T.astype(np.float64):
        known = column[~np.isnan(column)]
        mean.append(float(known.mean()) if len(known) else 0.0)
        std.append(float(known.std()) if len(known) else 1.0)
    return tuple(mean), tuple(std)
