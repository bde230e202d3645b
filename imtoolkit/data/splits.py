"""Which samples train, which validate, which test: drawn once, written down, read again.

Two splits never share a group, also across sources. What a role or a source says stays as it is;
from what is left (samples without a split, and the training samples of a source that does not give
the split itself) `naive`, `test` and `val` are drawn in that order.
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from imtoolkit.config.sections import SplitConfig
from imtoolkit.core.errors import DataError, Problem, did_you_mean, listed
from imtoolkit.core.files import write_text
from imtoolkit.data.partition import deal, draw, drawing_order
from imtoolkit.data.references import files_of
from imtoolkit.data.sources.base import absolute, shortened, split_name
from imtoolkit.data.sources.csv import read_csv, texts_of
from imtoolkit.data.sources.listing import nearest_existing
from imtoolkit.data.table import Manifest

log = logging.getLogger(__name__)

PARENT: Final = "parent"
"""The folder of an image, as a value of ``group_by`` and ``stratify_by``."""
BINS: Final = 5
"""Quantiles into which a column of measured numbers is cut before it stratifies."""
LEFT_OUT: Final = "exclude"
"""Value in the file of ``split.file`` that leaves a sample out."""

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
        return _by_file(manifest, absolute(config.file), fixed)
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


def write_splits(manifest: Manifest, path: Path) -> None:
    """Write id, data set, group and split of every sample as CSV, atomically."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = ("id", "dataset", "group", "split")
    writer.writerow(names)
    writer.writerows(zip(*(manifest.column(name) for name in names), strict=True))
    write_text(path, text.getvalue())


def apply_splits(manifest: Manifest, path: Path, *, allow_new: bool = False) -> Manifest:
    """Take the splits that `write_splits` wrote.

    Args:
        manifest: The samples as they are now.
        path: The file of a run.
        allow_new: Leave samples out that came later, with a warning, instead of refusing them.

    Raises:
        DataError: If samples are gone, are new, or changed their group since.
    """
    table = _read_splits(path, ["id", "dataset", "group", "split"])
    drawn = dict(
        zip(
            texts_of(table, "id"),
            zip(texts_of(table, "split"), texts_of(table, "group"), strict=True),
            strict=True,
        )
    )
    ids, groups = manifest.column("id"), manifest.column("group")
    known = set(ids)
    gone = sorted(name for name in drawn if name and name not in known)
    new = [name for name in ids if name not in drawn]
    moved = [
        name
        for name, group in zip(ids, groups, strict=True)
        if name in drawn and drawn[name][1] != group
    ]
    problems = [_changed(gone, "are gone since the splits were drawn", "Put them back")]
    if new and allow_new:
        log.warning("%d samples are newer than '%s' and are left out", len(new), path)
        manifest = manifest.filter(np.isin(ids, new, invert=True))
    else:
        problems.append(_changed(new, "are new since the splits were drawn", "Remove them"))
    problems.append(_changed(moved, "changed their group", "Restore the table"))
    if any(problems):
        raise DataError([Problem(problem, file=str(path)) for problem in problems if problem])
    splits = [drawn[name][0] for name in manifest.column("id")]
    return manifest.with_column("split", pa.array(splits, pa.string()))


class _Units:
    """Samples bundled to units that never part: groups, and single samples without one."""

    def __init__(
        self, manifest: Manifest, config: SplitConfig, seed: int, fixed: Collection[str]
    ) -> None:
        self.manifest, self.config, self.fixed = manifest, config, set(fixed)
        self.datasets = np.array(manifest.column("dataset"), dtype=object)
        self.given = np.array(manifest.column("split"), dtype=object)
        if config.folds is not None:
            # cross-validation deals out what a source gave for validation as well
            pooled = (self.given == "val") & ~np.isin(self.datasets, list(self.fixed))
            self.given[pooled] = "train"
        groups = manifest.table.column("group")
        self.has_groups = groups.null_count < len(manifest)
        names = pc.if_else(
            pc.is_null(groups),
            pc.binary_join_element_wise("id", manifest.table.column("id"), ":"),
            pc.binary_join_element_wise("group", groups, ":"),
        )
        encoded = pa.array(names.to_pylist()).dictionary_encode()
        self.names: list[str] = encoded.dictionary.to_pylist()
        self.unit = np.asarray(encoded.indices)
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
        barred = np.isin(self.datasets, list(self.fixed))
        for dataset in set(self.datasets) - self.fixed:
            of_set = self.datasets == dataset
            if (self.given[of_set] == name).any():
                barred |= of_set  # the source gives this split itself
        free: Bools = np.bincount(self.unit, weights=barred, minlength=len(self.names)) == 0
        return free

    def _decided(self) -> list[str | None]:
        """Return the split of each unit that a role or a source decides, ``None`` elsewhere."""
        found: list[set[str]] = [set() for _ in self.names]
        for unit, split in zip(self.unit.tolist(), self.given.tolist(), strict=True):
            if split is not None:
                found[unit].add(split)
        torn = [
            Problem(f"{name.removeprefix('group:')!r} is in {' and '.join(sorted(splits))}")
            for name, splits in zip(self.names, found, strict=True)
            if len(splits) > 1
        ]
        if torn:
            remedy = Problem(
                "Two splits must not share a group. Change the roles, the column 'split' or "
                "split.group_by"
            )
            raise DataError([Problem("groups are torn apart:"), *shortened(torn), remedy])
        by_role = np.isin(self.datasets, list(self.fixed))
        firm = np.bincount(self.unit, weights=by_role, minlength=len(self.names)) > 0
        return [
            next(iter(splits)) if splits and (splits != {"train"} or firm[at]) else None
            for at, splits in enumerate(found)
        ]

    def _counts(self, strata: list[Any]) -> NDArray[np.int64]:
        encoded = pa.array(strata, pa.string()).dictionary_encode()
        columns = np.asarray(encoded.indices)
        counts = np.zeros((len(self.names), len(encoded.dictionary)), dtype=np.int64)
        np.add.at(counts, (self.unit, columns), 1)
        return counts[:, np.argsort(encoded.dictionary.to_pylist())]

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
    if "domain" in manifest.columns:
        parts.append(manifest.column("domain"))
    if config.stratify_by is not None:
        values = _column(manifest, config.stratify_by, "stratify_by", fixed)
        parts.append(_binned(manifest, config.stratify_by, values))
    if not parts:
        return [""] * len(manifest)
    return ["\0".join(str(value) for value in row) for row in zip(*parts, strict=True)]


def _binned(manifest: Manifest, name: str, values: list[str | None]) -> Sequence[Any]:
    different = len(set(values))
    measured = name in manifest.columns and pa.types.is_floating(
        manifest.table.schema.field(name).type
    )
    if measured and different > 2 * BINS:
        numbers = np.array([np.nan if value is None else float(value) for value in values])
        edges = np.nanquantile(numbers, np.linspace(0, 1, BINS + 1)[1:-1])
        return [
            "" if np.isnan(number) else str(np.searchsorted(edges, number)) for number in numbers
        ]
    if different > max(len(values) // 2, 1):
        message = (
            f"data.split.stratify_by: column '{name}' has {different} different values in "
            f"{len(values)} samples, "
            "too many to be equally frequent. Choose a column with few values"
        )
        raise DataError(message)
    return values


def _by_file(manifest: Manifest, path: Path, fixed: Collection[str]) -> Manifest:
    """Take the splits of the samples without a role from a table with ``id`` or ``group``."""
    table = _read_splits(path, ["id", "group", "split"])
    key = "id" if "id" in table.column_names else "group"
    words = texts_of(table, "split")
    unknown = sorted(
        {str(word) for word in words if word != LEFT_OUT and split_name(word or "") is None}
    )
    if unknown:
        message = (
            f"'{path}': unknown splits {listed(unknown)}, expected train, val, test, naive or "
            f"{LEFT_OUT}"
        )
        raise DataError(message)
    table_splits = {
        name: word if word == LEFT_OUT else split_name(word or "")
        for name, word in zip(texts_of(table, key), words, strict=True)
    }
    splits = _looked_up(manifest, table_splits, key, path, fixed)
    manifest = manifest.with_column("split", pa.array(splits, pa.string()))
    manifest = manifest.filter(np.array([split != LEFT_OUT for split in splits]))
    _Units(manifest, SplitConfig(val=0), 0, set(manifest.column("dataset")))  # refuses torn groups
    return manifest


def _looked_up(
    manifest: Manifest,
    table: dict[str | None, str | None],
    key: str,
    path: Path,
    fixed: Collection[str],
) -> list[str | None]:
    splits: list[str | None] = []
    missing: list[str] = []
    rows = zip(*(manifest.column(name) for name in ("id", key, "dataset", "split")), strict=True)
    for name, value, dataset, given in rows:
        if dataset in fixed:
            splits.append(given)
            continue
        if value not in table:
            missing.append(name)
        splits.append(table.get(value))
    if missing:
        problems = [Problem(f"sample '{name}' has no split", file=str(path)) for name in missing]
        remedy = (
            f"Add a line for each of them, by '{key}'; '{LEFT_OUT}' as the split leaves one out"
        )
        raise DataError([*shortened(problems), Problem(remedy)])
    extra = set(table) - set(manifest.column(key))
    if extra:
        log.warning("'%s' has splits for %d %ss that are not in the data", path, len(extra), key)
    return splits


def _read_splits(path: Path, names: Sequence[str]) -> Any:
    if not path.is_file():
        message = f"splits file '{path}' does not exist. {nearest_existing(path)}"
        raise DataError(message)
    table = read_csv(path, names)
    if "split" not in table.column_names or not {"id", "group"} & set(table.column_names):
        message = (
            f"'{path}' needs the columns 'id' (or 'group') and 'split', but has "
            f"{listed(table.column_names)}"
        )
        raise DataError(message)
    return table


def _changed(names: Sequence[str], what: str, remedy: str) -> str:
    if not names:
        return ""
    return f"{len(names)} samples {what}: {listed(list(names))}. {remedy}, or start a new run"
