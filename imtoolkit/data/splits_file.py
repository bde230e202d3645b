"""Splits in files: the ``splits.csv`` of a run, and tables that others made."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from imtoolkit.core.errors import DataError, Problem, listed
from imtoolkit.core.files import write_text
from imtoolkit.data.sources.base import shortened, split_name
from imtoolkit.data.sources.csv import read_csv, texts_of
from imtoolkit.data.sources.listing import nearest_existing
from imtoolkit.data.table import Manifest

log = logging.getLogger(__name__)

LEFT_OUT: Final = "exclude"
"""Value in the file of ``split.file`` that leaves a sample out."""


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
    drawn = _by_key(table, "id" if "id" in table.column_names else "group", path)
    lost = [name for name in ("id", "group") if name not in table.column_names]
    if lost:
        message = f"the column {listed(lost)} is gone. Restore the file, or start a new run"
        raise DataError(Problem(message, file=str(path)))
    drawn_groups = dict(zip(texts_of(table, "id"), texts_of(table, "group"), strict=True))
    ids, groups = manifest.column("id"), manifest.column("group")
    known = set(ids)
    gone = sorted(name for name in drawn if name and name not in known)
    new = [name for name in ids if name not in drawn]
    moved = [
        name
        for name, group in zip(ids, groups, strict=True)
        if name in drawn and drawn_groups[name] != group
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
    splits = [drawn[name] for name in manifest.column("id")]
    return manifest.with_column("split", pa.array(splits, pa.string()))


def splits_by_file(manifest: Manifest, path: Path, fixed: Collection[str]) -> Manifest:
    """Take the splits of the samples without a role from a table with ``id`` or ``group``.

    Raises:
        DataError: If a sample has no line, or a split is unknown.
    """
    table = _read_splits(path, ["id", "group", "split"])
    key = "id" if "id" in table.column_names else "group"
    table_splits = _by_key(table, key, path)
    splits = _looked_up(manifest, table_splits, key, path, fixed)
    manifest = manifest.with_column("split", pa.array(splits, pa.string()))
    return manifest.filter(np.array([split != LEFT_OUT for split in splits]))


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


def _by_key(table: Any, key: str, path: Path) -> dict[str | None, str | None]:
    """Return our name of the split for each id or group."""
    found: dict[str | None, str | None] = {}
    problems: list[Problem] = []
    rows = zip(texts_of(table, key), texts_of(table, "split"), strict=True)
    for line, (name, word) in enumerate(rows, start=2):
        split = word if word == LEFT_OUT else split_name(word or "")
        if split is None:
            expected = f"expected train, val, test, naive or {LEFT_OUT}"
            problems.append(
                Problem(f"unknown split '{word or ''}', {expected}", "", str(path), line)
            )
        elif found.setdefault(name, split) != split:
            message = f"{key} '{name}' is {split} here and {found[name]} above"
            problems.append(Problem(message, "", str(path), line))
    if problems:
        raise DataError(shortened(problems))
    return found


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
