"""Does a source have what the task learns: targets of pixels, and those in columns of the table."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imtoolkit.core.batch import DRAW, MAIN_KEYS, TABULAR, TARGET
from imtoolkit.core.errors import DataError, Problem, did_you_mean, listed
from imtoolkit.core.facts import ColumnTarget, TargetKind, TargetSpec
from imtoolkit.data.columns import (
    UNKNOWN,
    Encoded,
    column_targets,
    encode,
    problems_of,
    texts_in,
    vector_text,
)
from imtoolkit.data.references import is_reference
from imtoolkit.data.sources.base import shortened
from imtoolkit.data.table import CORE, Manifest

log = logging.getLogger(__name__)

PIXELS = (TargetKind.LABELS, TargetKind.INSTANCES, TargetKind.IMAGE)
"""Kinds of target that are images; the others are a value for each image."""


def with_targets(manifest: Manifest, source: str, target: TargetSpec) -> Manifest:
    """Check that every sample of a source has what the task learns.

    Args:
        manifest: The samples of one source.
        source: Name of the kind of source, for the remedy.
        target: What the task wants.

    Returns:
        The samples without those test images that have no main target.

    Raises:
        DataError: With all that is wrong, each problem with its sample.
    """
    main = TARGET if target.kind in PIXELS else next(iter(target.columns), TARGET)
    # a gap in a column of several classes is an image of none of them
    gaps = target.kind not in (TargetKind.NONE, TargetKind.CLASSES)
    if gaps and not target.optional and main in manifest.columns:
        manifest = _without_unlabelled_tests(manifest, main)
    problems: list[Problem] = []
    if target.kind in PIXELS:
        problems += _pixel_problems(manifest, source, target)
    for wanted in column_targets(target):
        manifest, found = _column_problems(manifest, source, wanted, optional=target.optional)
        problems += found
    if problems:
        raise DataError(problems)
    return manifest


def refuse_unpaired(source: str, target: TargetSpec) -> None:
    """Refuse a source without targets for a task that learns a target for each image.

    Raises:
        DataError: With the categories that suit it.
    """
    if target.unpaired or target.optional or target.kind not in PIXELS:
        return
    message = (
        f"source '{source}' has two sets of images that do not belong together, and the task "
        f"learns {target.kind.value} for each image. Take the category cyclegan, which learns "
        "without pairs; where each image has its target, take the source folder with 'image' and "
        "'target'"
    )
    raise DataError(message)


def require_columns(manifest: Manifest, target: TargetSpec) -> None:
    """Check that at least one source has the columns of each target.

    Raises:
        DataError: If none has, with the nearest name.
    """
    problems = [
        Problem(
            f"no source has the column '{name}' for the target '{wanted.key}', but "
            f"{listed(manifest.columns, 20)}.{did_you_mean(name, manifest.columns)}",
            "data.sources",
        )
        for wanted in column_targets(target)
        for name in wanted.columns
        if name not in manifest.columns
    ]
    taken = {*MAIN_KEYS, TABULAR, DRAW}
    problems += [
        Problem(f"'{wanted.key}' cannot name a target: samples have that key already", "task")
        for wanted in target.more
        if wanted.key in taken
    ]
    if problems:
        raise DataError(problems)


def resolved_column(name: str, target: TargetSpec) -> str:
    """Return the column that ``target`` stands for in `stratify_by` and `balance_by`."""
    return target.columns[0] if name == TARGET and target.columns else name


def _without_unlabelled_tests(manifest: Manifest, column: str) -> Manifest:
    lacking = pc.equal(texts_in(manifest.table.column(column)), "")
    tests = pc.fill_null(pc.equal(manifest.table.column("split"), "test"), False)
    unlabelled = pc.and_(lacking, tests)
    dropped = pc.sum(unlabelled).as_py()
    if not dropped or dropped == len(manifest):
        return manifest
    log.info("%d test images without a target are left out", dropped)
    return manifest.filter(pc.invert(unlabelled))


def _pixel_problems(manifest: Manifest, source: str, target: TargetSpec) -> list[Problem]:
    lacking = pc.is_null(manifest.table.column(TARGET))
    if pc.any(lacking).as_py() and not target.optional:
        return _lacking_targets(
            manifest.filter(lacking).column("id"), len(manifest), source, target.kind.value
        )
    values = [
        (row["id"], row["target"])
        for row in manifest.rows()
        if row["target"] is not None and not is_reference(row["target"])
    ]
    if not values:
        return []
    name, value = values[0]
    return [
        Problem(
            f"the task learns {target.kind.value}, so targets must be files, but {len(values)} "
            f"samples have a value, such as '{value}' for '{name}'. Choose another source or "
            "target column, or another task"
        )
    ]


def _column_problems(
    manifest: Manifest, source: str, wanted: ColumnTarget, *, optional: bool
) -> tuple[Manifest, list[Problem]]:
    """Check the columns of one target; return the samples with its gaps made plain."""
    missing = [name for name in wanted.columns if name not in manifest.columns]
    if missing and not optional:
        known = [name for name in manifest.columns if name not in CORE or name == TARGET]
        hints = "".join(did_you_mean(name, known) for name in missing)
        message = (
            f"there is no column {listed(missing)} for the target '{wanted.key}', but "
            f"{listed(known, 20)}.{hints} Add it to the table"
        )
        return manifest, [Problem(message)]
    if wanted.kind is TargetKind.CLASSES and len(wanted.columns) == 1:
        manifest = _with_unknown(manifest, wanted.columns[0])
    if (found := _refused_pixels(manifest, wanted)) is not None:
        return manifest, [found]
    encoded = encode(manifest, wanted)
    if wanted.kind is TargetKind.NUMBER and len(wanted.columns) == 1:
        manifest = _with_wide_gaps(manifest, wanted.columns[0], encoded)
    ids = manifest.column("id")
    problems = shortened(problems_of(encoded, wanted, ids))
    if encoded.missing.any() and not optional:
        lacking = [ids[row] for row in encoded.missing.nonzero()[0]]
        problems += _lacking_targets(
            lacking,
            len(manifest),
            source,
            wanted.kind.value,
            "" if wanted.key == TARGET else wanted.key,
        )
    return manifest, problems


def _with_unknown(manifest: Manifest, name: str) -> Manifest:
    """Tell an image of no class from one that nobody looked at: a source without any entry.

    Tables are joined later, so that a column which a source lacks could not be told from one that
    is empty.
    """
    if name in manifest.columns:
        texts = texts_in(manifest.table.column(name))
        blank = pc.all(pc.equal(texts, "")).as_py()
        if not blank:
            return manifest.with_column(name, texts)
    unknown = pa.array([UNKNOWN] * len(manifest), pa.string())
    return manifest.with_column(name, unknown)


def _with_wide_gaps(manifest: Manifest, name: str, encoded: Encoded) -> Manifest:
    """Write gaps among cells of several numbers as so many, for splits that hold nothing else."""
    width = encoded.values.shape[1]
    gaps = np.isnan(encoded.values).all(axis=1) & encoded.missing
    if width == 1 or not gaps.any():
        return manifest
    texts = texts_in(manifest.table.column(name))
    wide = pc.if_else(pa.array(gaps), vector_text(np.full(width, np.nan)), texts)
    return manifest.with_column(name, wide)


def _refused_pixels(manifest: Manifest, wanted: ColumnTarget) -> Problem | None:
    if wanted.columns != (TARGET,):
        return None
    texts = manifest.table.column(TARGET)
    first = next((text for text in pc.unique(texts).to_pylist() if text and is_reference(text)), "")
    if not first:
        return None
    kind = {"number": "a number"}.get(wanted.kind.value, wanted.kind.value)
    message = (
        f"the task learns {kind} for each image, but targets are files, such as '{first}'. Name "
        "the column of the values with the source's 'target', or choose another task"
    )
    return Problem(message)


def _lacking_targets(
    lacking: Sequence[str], count: int, source: str, learnt: str, key: str = ""
) -> list[Problem]:
    remedies = {
        "folder": "Give its params 'target', a glob such as labels/*.tif",
        "csv": "Fill the column, or name it with params.target",
    }
    remedy = remedies.get(source, "Add the targets, or leave these samples out")
    what = f"target '{key}'" if key else "target"
    if len(lacking) == count:
        found = f"the source has no {what}s" if not key else f"the source has no {what}"
        return [Problem(f"{found}, but the task learns {learnt}. {remedy}")]
    problems = [Problem(f"sample '{name}' has no {what}") for name in lacking]
    return [*shortened(problems), Problem(f"{len(lacking)} of {count} lack a {what}. {remedy}")]
