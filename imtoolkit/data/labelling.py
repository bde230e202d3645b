"""What a sample carries beside its pixels: id, pixel size, class or number, own columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from imtoolkit.core.batch import AFFINE, DATASET, ID, SPACING, TARGET
from imtoolkit.core.errors import DataError, did_you_mean, listed
from imtoolkit.core.facts import TargetKind, TargetSpec
from imtoolkit.data.cache.dataset import Item
from imtoolkit.data.table import CORE, Manifest


class Labelling:
    """Gives each sample of a manifest the values that are no pixels.

    Args:
        manifest: The samples.
        target: What the task wants of the targets; classes and numbers come from the table.
    """

    def __init__(self, manifest: Manifest, target: TargetSpec) -> None:
        self.manifest, self.target = manifest, target
        self.extra = tuple(name for name in manifest.columns if name not in CORE)

    def __call__(self, index: int, item: Item) -> dict[str, Any]:
        """Return the values of one sample; its patches share them, so do not change them."""
        if item.values is None:
            item.values = self._values(index, item.meta)
        return item.values

    def _values(self, index: int, meta: dict[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {
            ID: self._cell("id", index),
            DATASET: self._cell("dataset", index) or "",
            SPACING: self._spacing(meta),
        }
        if meta["affine"] is not None:
            values[AFFINE] = torch.tensor(meta["affine"], dtype=torch.float64)
        if self.target.kind in (TargetKind.CLASS, TargetKind.NUMBER):
            values[TARGET] = self._value(index)
        for name in self.extra:
            values[name] = self._cell(name, index)
        return values

    def _spacing(self, meta: dict[str, Any]) -> torch.Tensor:
        dims = len(meta["shape"]) - 1
        return torch.tensor(meta["spacing"] or [float("nan")] * dims, dtype=torch.float32)

    def _cell(self, name: str, index: int) -> Any:
        return self.manifest.table.column(name)[index].as_py()

    def _value(self, index: int) -> torch.Tensor:
        text = self._cell("target", index)
        if self.target.kind is TargetKind.NUMBER:
            return torch.tensor(parse_number(text), dtype=torch.float32)
        return torch.tensor(class_number(text, self.target.classes), dtype=torch.int64)


def class_number(text: object, classes: tuple[str, ...]) -> int:
    """Return the number of a class that a table gives by name or number.

    Raises:
        DataError: If there is no such class.

    Example:
        >>> class_number("cat", ("dog", "cat")), class_number("0", ("dog", "cat"))
        (1, 0)
    """
    name = str(text)
    if name in classes:
        return classes.index(name)
    if name.isdecimal() and int(name) < len(classes):
        return int(name)
    message = (
        f"unknown class '{name}'.{did_you_mean(name, classes)} The classes are {listed(classes)}"
    )
    raise DataError(message)


def parse_number(text: object) -> float:
    """Return the number in a cell of a table.

    Raises:
        DataError: If it is none, or not finite.
    """
    try:
        value = float(str(text))
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        message = f"the target '{text}' is not a number"
        raise DataError(message)
    return value
