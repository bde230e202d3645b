"""Arrays that are already in memory: for notebooks and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from imtoolkit.core.errors import DataError, listed
from imtoolkit.data.columns import vector_text
from imtoolkit.data.references import INSIDE, MEMORY
from imtoolkit.data.sources.base import Source, same_length, split_name
from imtoolkit.data.table import SPLITS, Manifest


class ArraysSource(Source):
    """Samples from Python: lists of arrays, or arrays with the samples along the first axis.

    Args:
        image: Arrays ``(Y, X)``, ``(C, Y, X)``, ... as ``data.axes`` tells.
        target: Arrays of labels or images; or for each image a class name, a number, or a vector
            ``(K,)``: several numbers, or 0 or 1 for each of several classes.
        weight: Cost maps.
        ids: Names of the samples; left out, their numbers.
        group: Values that never part between splits.
        split: ``train``, ``val``, ``test`` or ``naive`` for each; ``None`` leaves it to
            ``data.split``.
        columns: More columns, such as a diagnosis to stratify by.

    Raises:
        DataError: If there are no images, lengths differ, or a split is unknown.

    Example:
        >>> manifest = ArraysSource(np.zeros((3, 8, 8)), target=["a", "b", "a"]).samples()
        >>> manifest.row(1)["image"], manifest.row(1)["target"]
        ('array::1', 'b')
    """

    def __init__(
        self,
        image: Sequence[Any] | np.ndarray,
        target: Sequence[Any] | np.ndarray | None = None,
        weight: Sequence[Any] | np.ndarray | None = None,
        ids: Sequence[str] | None = None,
        group: Sequence[Any] | None = None,
        split: Sequence[str | None] | None = None,
        columns: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        self.image, self.target, self.weight = image, target, weight
        self.ids, self.group, self.split = ids, group, split
        self.columns = dict(columns or {})

    def samples(self) -> Manifest:
        """List the arrays, in their order."""
        count = same_length(
            {
                **{"image": self.image, "target": self.target, "weight": self.weight},
                **{"ids": self.ids, "group": self.group, "split": self.split},
                **self.columns,
            }
        )
        if count == 0:
            message = "source 'arrays' got no images: give a list of arrays"
            raise DataError(message)
        arrays: list[np.ndarray] = []
        digits = max(len(str(count - 1)), 4)
        columns: dict[str, Any] = {
            "id": [str(name) for name in self.ids]
            if self.ids is not None
            else [f"{at:0{digits}d}" for at in range(count)],
            "image": _held(self.image, arrays, pixels=True),
            "target": _held(self.target, arrays, pixels=False),
            "weight": _held(self.weight, arrays, pixels=True),
            "group": None if self.group is None else [_text(value) for value in self.group],
            "split": None if self.split is None else self._splits(),
        }
        typed = {name: pa.array(values, pa.string()) for name, values in columns.items() if values}
        return Manifest.from_columns({**typed, **self.columns}, arrays)

    def _splits(self) -> list[str | None]:
        words = list(self.split or ())
        unknown = sorted({word for word in words if word and split_name(word) is None})
        if unknown:
            message = f"unknown splits {listed(unknown)}, expected {listed(SPLITS)} or None"
            raise DataError(message)
        return [split_name(word) if word else None for word in words]


def _held(values: Any, arrays: list[np.ndarray], *, pixels: bool) -> list[str | None] | None:
    """Keep arrays and return references to them; single values become text."""
    if values is None:
        return None
    cells: list[str | None] = []
    for value in values:
        if value is None:
            cells.append(None)
        elif not pixels and np.ndim(value) == 1 and np.size(value) > 1:
            cells.append(vector_text(np.asarray(value)))
        elif pixels or (np.ndim(value) > 0 and np.size(value) > 1):
            cells.append(f"{MEMORY}{INSIDE}{len(arrays)}")
            arrays.append(np.asarray(value))
        else:
            cells.append(_text(np.asarray(value).reshape(-1)[0]))
    return cells


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return str(value.item() if isinstance(value, np.generic) else value)
