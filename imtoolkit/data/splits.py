"""Which samples train, which validate, which test: drawn once, written down, read again.

Two splits never share a group, also across sources. What a role or a source says stays as it is;
from what is left (samples without a split, and the training samples of a source that does not give
the split itself) `naive`, `test` and `val` are drawn in that order.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from imtoolkit.config.sections import SplitConfig
from imtoolkit.core.batch import DOMAIN, TARGET
from imtoolkit.core.errors import DataError, Problem, did_you_mean, listed
from imtoolkit.data.partition import deal, draw, drawing_order
from imtoolkit.data.references import files_of
from imtoolkit.data.sources.base import absolute, shortened
from imtoolkit.data.splits_file import apply_splits, splits_by_file, write_splits
from imtoolkit.data.table import SPLITS, Manifest

__all__ = ["apply_splits", "draw_splits", "with_groups", "write_splits"]

PARENT: Final = "parent"
"""The folder of an image, as a value of ``group_by`` and ``stratify_by``."""
BINS: Final = 5
"""Quantiles into which a column of measured numbers is cut before it stratifies."""
Bools = NDArray[np.bool_]


def draw_splits(
    manifest: Manifest, config: SplitConfig, seed: int, fixed: Collection[str] = ()
) -> Manifest:
    """Fill the column ``split``.

    Args:
        manifest: Samples; a split that is already there is what their source says.
        config: Fractions or numbers, and what must not part.
        seed: Seed of the draw where ``config.seed`` is left out.
        fixed: Names of data sets whose role decides; nothing is drawn from them.

    Returns:
        The samples, each with ``train``, ``val``, ``test`` or ``naive``; ``group`` is the column
        that ``group_by`` names.

    Raises:
        DataError: If groups would part, too few samples are left, or a column is missing.
    """
    _check(config)
    manifest = with_groups(manifest, config.group_by, fixed)
    if config.file is not None:
        manifest = splits_by_file(manifest, absolute(config.file), fixed)
        _Units(manifest, SplitConfig(val=0), 0, manifest.column("dataset"))  # refuses torn groups
        return manifest
    units = _Units(manifest, config, seed if config.seed is None else config.seed, fixed)
    return manifest.with_column("split", pa.array(units.draw(), pa.string()))


def with_groups(manifest: Manifest, group_by: str | None, fixed: Collection[str] = ()) -> Manifest:
    """Fill the column ``group`` from another one, or from the folders of the images (``parent``).

    Raises:
        DataError: If the column does not exist, or is empty for a data set that is to be split.
    """
    if group_by is None:
        return manifest
    return manifest.with_column(
        "group", pa.array(_column(manifest, group_by, "group_by", fixed), pa.string())
    )


class _Units:
    """Samples bundled to units that never part: groups, and single samples without one."""

    def __init__(
        self, manifest: Manifest, config: SplitConfig, seed: int, fixed: Collection[str]
    ) -> None:
        self.config = config
        self.datasets, names_of = _encoded(manifest.table.column("dataset"))
        self.is_fixed = np.array([name in set(fixed) for name in names_of])
        # the split that a role or a source gave as a number, -1 for none
        self.given = _codes(manifest)
        if config.folds is not None:
            # cross-validation deals out what a source gave for validation as well
            pooled = (self.given == SPLITS.index("val")) & ~self.is_fixed[self.datasets]
            self.given[pooled] = SPLITS.index("train")
        groups = manifest.table.column("group")
        self.has_groups = groups.null_count < len(manifest)
        names = pc.if_else(
            pc.is_null(groups),
            pc.binary_join_element_wise("id", manifest.table.column("id"), ":"),
            pc.binary_join_element_wise("group", groups, ":"),
        )
        self.unit, self.names = _encoded(names)
        self.is_group = np.array([name.startswith("group:") for name in self.names])
        self.order = drawing_order(self.names, seed)
        self.counts = self._counts(_strata(manifest, config, fixed))
        self.split: list[str | None] = self._decided()

    def draw(self) -> list[str | None]:
        """Return the split of each sample."""
        open_units = np.array([split is None for split in self.split])
        wanted = {"naive": self.config.naive, "test": self.config.test}
        if self.config.folds is None:
            wanted["val"] = self.config.val
        for name, value in wanted.items():
            if value > 0:
                self._draw_one(name, value, open_units)
        if self.config.folds is not None:
            self._draw_fold(open_units)
        self.split = [name or "train" for name in self.split]
        self._require_training(open_units)
        return [self.split[at] for at in self.unit.tolist()]

    def _draw_one(self, name: str, value: float, open_units: Bools) -> None:
        may = open_units & self._may_take(name)
        if name == "naive":
            if not self.has_groups:
                message = (
                    "split.naive keeps whole groups apart: name their column with split.group_by"
                )
                raise DataError(message)
            may &= self.is_group
        if not may.any():
            return
        # the number counts groups for naive, samples for the others
        counts = np.ones((len(self.names), 1), np.int64) if name == "naive" else self.counts
        number = _number(
            name, value, int(counts[may].sum()), "groups" if name == "naive" else "samples"
        )
        free = np.array([split is None for split in self.split]) & may
        if free.any():
            self._take(free, counts, number, name)

    def _take(self, free: Bools, counts: NDArray[np.int64], number: int, name: str) -> None:
        order = self.order[free[self.order]]
        places = np.sort(order)
        inside = np.searchsorted(places, order)
        for unit in places[draw(counts[places], inside, number)].tolist():
            self.split[unit] = name

    def _draw_fold(self, open_units: Bools) -> None:
        folds = self.config.folds or 0
        free = (
            open_units & np.array([split is None for split in self.split]) & self._may_take("val")
        )
        if free.sum() < folds:
            kind = "groups" if self.has_groups else "samples"
            message = (
                f"split.folds: {folds} folds need as many {kind}, but there are {int(free.sum())}"
            )
            raise DataError(message)
        order = self.order[free[self.order]]
        places = np.sort(order)
        fold = deal(self.counts[places], np.searchsorted(places, order), folds)
        for unit in places[fold == self.config.fold].tolist():
            self.split[unit] = "val"

    def _may_take(self, name: str) -> Bools:
        """Return for each unit whether all its samples may go to a split."""
        barred = self.is_fixed.copy()
        # what a source gives itself is not drawn from it
        barred[self.datasets[self.given == SPLITS.index(name)]] = True
        return ~self._any(barred[self.datasets])

    def _decided(self) -> list[str | None]:
        """Return the split of each unit that a role or a source decides, ``None`` elsewhere."""
        holds = np.array([self._any(self.given == code) for code in range(len(SPLITS))])
        torn = [
            Problem(f"'{self.names[unit].partition(':')[2]}' is in {_words(holds[:, unit])}")
            for unit in np.flatnonzero(holds.sum(axis=0) > 1).tolist()
        ]
        if torn:
            remedy = (
                "Two splits must not share a group. "
                "Change the roles, the column 'split' or split.group_by"
            )
            raise DataError([Problem("groups are torn apart:"), *shortened(torn), Problem(remedy)])
        # training samples that a source gives are what the other splits are drawn from
        soft = holds[SPLITS.index("train")] & ~self._any(self.is_fixed[self.datasets])
        codes = np.where(holds.any(axis=0) & ~soft, holds.argmax(axis=0), -1)
        return [None if code < 0 else SPLITS[code] for code in codes.tolist()]

    def _any(self, samples: Bools) -> Bools:
        """Return for each unit whether something is true of any of its samples."""
        found = np.zeros(len(self.names), dtype=bool)
        found[self.unit[samples]] = True
        return found

    def _counts(self, strata: list[Any]) -> NDArray[np.int64]:
        columns, values = _encoded(pa.array(strata, pa.string()))
        counts = np.zeros((len(self.names), len(values)), dtype=np.int64)
        np.add.at(counts, (self.unit, columns), 1)
        # strata in the order of their names, whatever the order of the rows
        return counts[:, np.argsort(values)]

    def _require_training(self, open_units: Bools) -> None:
        if "train" in self.split or not open_units.any():
            return
        count = int(self.counts[open_units].sum())
        asked = ", ".join(
            f"{name}: {value}"
            for name, value in (
                ("val", self.config.val),
                ("test", self.config.test),
                ("naive", self.config.naive),
            )
            if value > 0
        )
        bundled = f" in {int(open_units.sum())} groups" if self.has_groups else ""
        message = (
            f"data.split ({asked}) leaves nothing for training: there are {count} "
            f"samples{bundled} to divide. "
            "Give more images, ask for less, or name a source for each use with 'role'"
        )
        raise DataError(message)


def _encoded(column: Any) -> tuple[NDArray[np.int64], list[str]]:
    """Return the number of each value, and the values by their number."""
    values = pc.unique(column).to_pylist()
    numbers = pc.index_in(column, value_set=pa.array(values, pa.string()))
    return np.asarray(numbers).astype(np.int64), values


def _codes(manifest: Manifest) -> NDArray[np.int64]:
    numbers = pc.index_in(manifest.table.column("split"), value_set=pa.array(SPLITS, pa.string()))
    return np.asarray(pc.fill_null(numbers, -1)).astype(np.int64)


def _words(holds: Bools) -> str:
    return " and ".join(name for name, held in zip(SPLITS, holds, strict=True) if held)


def _check(config: SplitConfig) -> None:
    problems = []
    for name in ("val", "test", "naive"):
        value = getattr(config, name)
        if value < 0 or (value >= 1 and value != int(value)):
            problems.append(
                Problem(
                    f"got {value}, expected a fraction below 1 or a whole number",
                    f"data.split.{name}",
                )
            )
    if config.folds is not None and config.folds < 2:
        problems.append(Problem(f"got {config.folds}, expected 2 or more", "data.split.folds"))
    elif config.folds is not None and not 0 <= config.fold < config.folds:
        expected = f"expected 0 to {config.folds - 1} for {config.folds} folds"
        problems.append(Problem(f"got {config.fold}, {expected}", "data.split.fold"))
    if problems:
        raise DataError(problems)


def _number(name: str, value: float, count: int, kind: str) -> int:
    """Turn a fraction or a number into a number of samples (or groups)."""
    if value < 1:
        return max(1, int(value * count + 0.5))
    if value > count:
        message = (
            f"data.split.{name} asks for {int(value)} {kind}, but there are {count} to draw from"
        )
        raise DataError(message)
    return int(value)


def _column(manifest: Manifest, name: str, option: str, fixed: Collection[str]) -> list[str | None]:
    """Return a column as text; ``parent`` is always there, as the folder of the image."""
    if name not in manifest.columns and name != PARENT:
        message = (
            f"data.split.{option}: there is no column "
            f"'{name}'.{did_you_mean(name, manifest.columns)} "
            f"Columns are {listed(manifest.columns, 20)}, or 'parent' for the folder of an image"
        )
        raise DataError(message)
    values: list[str | None]
    if name in manifest.columns:
        values = [None if value is None else str(value) for value in manifest.column(name)]
    else:
        values = [None] * len(manifest)
    if name == PARENT:
        values = [
            value or next((Path(path).parent.name for path in files_of(image)), None)
            for value, image in zip(values, manifest.column("image"), strict=True)
        ]
    filled = dict.fromkeys(manifest.column("dataset"), 0)
    for dataset, value in zip(manifest.column("dataset"), values, strict=True):
        filled[dataset] += value is not None
    empty = [
        str(dataset) for dataset, count in filled.items() if not count and dataset not in fixed
    ]
    if empty:
        message = f"data.split.{option}: source {listed(empty)} has no values in column '{name}'"
        raise DataError(message)
    return values


def _strata(manifest: Manifest, config: SplitConfig, fixed: Collection[str]) -> list[str]:
    """Return what must be equally frequent in all splits, as one text for each sample."""
    parts: list[Sequence[Any]] = []
    if DOMAIN in manifest.columns and set(manifest.column(DOMAIN)) <= {"A", "B", None}:
        parts.append(manifest.column(DOMAIN))  # every split needs both
    if config.stratify_by is not None:
        values = _column(manifest, config.stratify_by, "stratify_by", fixed)
        parts.append(_binned(manifest, config.stratify_by, values))
    if not parts:
        return [""] * len(manifest)
    return ["\0".join(str(value) for value in row) for row in zip(*parts, strict=True)]


def _measured(manifest: Manifest, name: str) -> bool:
    """Tell whether a column holds measured numbers; the targets' column holds them as text."""
    if name not in manifest.columns:
        return False
    column = manifest.table.column(name)
    if name != TARGET:
        return bool(pa.types.is_floating(column.type))
    try:
        numbers = np.asarray(column.cast(pa.float64()), np.float64)
    except pa.ArrowInvalid:
        return False
    return bool(np.any(numbers[np.isfinite(numbers)] % 1))


def _binned(manifest: Manifest, name: str, values: list[str | None]) -> Sequence[Any]:
    different = len(set(values))
    if _measured(manifest, name) and different > 2 * BINS:
        numbers = np.array([np.nan if value is None else float(value) for value in values])
        edges = np.nanquantile(numbers, np.linspace(0, 1, BINS + 1)[1:-1])
        return [
            "" if np.isnan(number) else str(np.searchsorted(edges, number)) for number in numbers
        ]
    if different > max(len(values) // 2, 1):
        message = (
            f"data.split.stratify_by: column '{name}' has {different} different values in "
            f"{len(values)} samples, too many to be equally frequent. Choose a column with few "
            "values"
        )
        raise DataError(message)
    return values
