"""What a sample carries beside its pixels: id, pixel size, classes and numbers, own columns."""

from __future__ import annotations

from typing import Any

import torch

from imtoolkit.core.batch import (
    AFFINE,
    DATASET,
    DRAW,
    ID,
    MAIN_KEYS,
    PREDICTION,
    SPACING,
    TABULAR,
)
from imtoolkit.core.facts import TargetSpec
from imtoolkit.data.cache.dataset import Item
from imtoolkit.data.columns import column_targets, encode
from imtoolkit.data.table import CORE, Manifest
from imtoolkit.data.tabular import TabularEncoder


class Labelling:
    """Gives each sample of a manifest the values that are no pixels.

    Columns are read once, as a whole, and kept as numbers.

    Args:
        manifest: The samples.
        target: What the task wants of the targets; classes and numbers come from the table.
        tabular: Encodes the columns that join the image as input.
    """

    def __init__(
        self, manifest: Manifest, target: TargetSpec, tabular: TabularEncoder | None = None
    ) -> None:
        self.manifest = manifest
        self.encoded = {
            wanted.key: torch.from_numpy(encode(manifest, wanted).values)
            for wanted in column_targets(target)
        }
        if tabular is not None and tabular.columns:
            self.encoded[TABULAR] = torch.from_numpy(tabular(manifest.table))
        # a column 'draw' would make a batch look like one of training, 'affine' like a scan's
        taken = {*CORE, *MAIN_KEYS, TABULAR, DRAW, PREDICTION}
        self.extra = tuple(name for name in manifest.columns if name not in taken)

    def __call__(self, index: int, item: Item) -> dict[str, Any]:
        """Return the values of one sample; its patches share them, so do not change them."""
        if item.values is None:
            item.values = self._values(index, item.meta)
        return item.values

    def _values(self, index: int, meta: dict[str, Any]) -> dict[str, Any]:
        # first the user's columns: a target of the same name is what the task has asked for
        values = {name: self._cell(name, index) for name in self.extra}
        values[ID] = self._cell("id", index)
        values[DATASET] = self._cell("dataset", index) or ""
        values[SPACING] = self._spacing(meta)
        if meta["affine"] is not None:
            values[AFFINE] = torch.tensor(meta["affine"], dtype=torch.float64)
        values |= {key: column[index] for key, column in self.encoded.items()}
        return values

    def _spacing(self, meta: dict[str, Any]) -> torch.Tensor:
        dims = len(meta["shape"]) - 1
        return torch.tensor(meta["spacing"] or [float("nan")] * dims, dtype=torch.float32)

    def _cell(self, name: str, index: int) -> Any:
        return self.manifest.table.column(name)[index].as_py()
