"""From the data section of a config to one manifest: sources listed, joined, checked and split."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from imtoolkit.config.sections import DataConfig, Role, SourceConfig
from imtoolkit.core.errors import DataError, Problem, listed
from imtoolkit.core.facts import TargetKind, TargetSpec
from imtoolkit.core.registry import build
from imtoolkit.data.references import is_reference
from imtoolkit.data.sources.base import Source, shortened
from imtoolkit.data.splits import apply_splits, draw_splits, with_groups
from imtoolkit.data.table import CORE, SPLITS, Manifest, join

__all__ = ["CORE", "SPLITS", "Manifest", "build_manifest", "join", "list_sources"]

log = logging.getLogger(__name__)

_WILD_ID: Final = r"(^|[/\\])\.\.([/\\]|$)|^[/\\]|^[A-Za-z]:|[\x00-\x1f]"
PIXELS: Final = (TargetKind.LABELS, TargetKind.INSTANCES, TargetKind.IMAGE)
"""Kinds of target that are images; the others are a value for each image."""


def build_manifest(
    config: DataConfig, seed: int, target: TargetSpec, *, drawn: Path | None = None
) -> Manifest:
    """List all sources, check what the task needs of them, and divide the samples.

    Args:
        config: The data section.
        seed: Seed of the splits where ``split.seed`` does not say it.
        target: What the task wants of the targets.
        drawn: A ``splits.csv`` that `write_splits` wrote; it decides instead of a new draw.

    Returns:
        Samples with unique ids and a split, in the order of the sources and then of the ids.

    Raises:
        DataError: All problems of all sources at once.
    """
    manifest = list_sources(config, target)
    fixed = [name for name, source in config.sources.items() if source.role is not Role.all]
    if drawn is not None:
        # samples that split.file leaves out are listed, but were never written
        excluding = config.split.file is not None
        manifest = with_groups(manifest, config.split.group_by, fixed)
        return apply_splits(manifest, drawn, allow_new=excluding)
    return draw_splits(manifest, config.split, seed, fixed)


def list_sources(config: DataConfig, target: TargetSpec) -> Manifest:
    """List and check the samples of all sources, before splits are drawn.

    The column ``split`` tells what a role or the source itself decided; where it is null, or
    ``train`` in a source without the other splits, `draw_splits` decides.

    Raises:
        DataError: All problems of all sources at once.
    """
    manifests: list[Manifest] = []
    problems: list[Problem] = []
    for name, source in config.sources.items():
        try:
            manifests.append(_one_source(name, source, target))
        except DataError as error:
            where = f"data.sources.{name}"
            problems += [
                Problem(item.message, where, item.file, item.line) for item in error.problems
            ]
    if problems:
        raise DataError(problems)
    if not manifests:
        message = "data.sources is empty: name at least one source"
        raise DataError(message)
    manifest = join(_unique_ids(manifests))
    _require_tame_ids(manifest)
    _warn_of_twins(manifest)
    return manifest


def _one_source(name: str, source: SourceConfig, target: TargetSpec) -> Manifest:
    listed_by: Source = build("source", source.source.name, source.source.params)
    manifest = listed_by.samples()
    manifest = manifest.with_column("dataset", name)
    if len(manifest) == 0:
        message = f"source '{source.source.name}' found no samples"
        raise DataError(message)
    if source.role is not Role.all:
        manifest = manifest.with_column("split", source.role.value)
    if listed_by.has_targets and target.kind is not TargetKind.NONE:
        manifest = _with_targets(manifest, source, target)
    return manifest.sorted_by_id()


def _with_targets(manifest: Manifest, source: SourceConfig, target: TargetSpec) -> Manifest:
    """Check that every sample has the target that the task learns."""
    lacking = pc.is_null(manifest.table.column("target"))
    tests = pc.fill_null(pc.equal(manifest.table.column("split"), "test"), False)
    unlabelled = pc.and_(lacking, tests)
    if (dropped := pc.sum(unlabelled).as_py()) and dropped < len(manifest):
        log.info("%d test images without a target are left out", dropped)
        manifest = manifest.filter(pc.invert(unlabelled))
        lacking = pc.is_null(manifest.table.column("target"))
    if pc.any(lacking).as_py():
        raise DataError(_lacking_targets(manifest.filter(lacking), len(manifest), source, target))
    if target.kind in PIXELS:
        _require_pixels(manifest, target)
    elif target.kind is TargetKind.CLASS:
        _require_classes(manifest, target.classes)
    else:
        _require_numbers(manifest)
    return manifest


def _lacking_targets(
    lacking: Manifest, count: int, source: SourceConfig, target: TargetSpec
) -> list[Problem]:
    remedies = {
        "folder": "Give its params 'target', a glob such as labels/*.tif",
        "csv": "Fill the column, or name it with params.target",
    }
    remedy = remedies.get(source.source.name, "Add the targets, or leave these samples out")
    if len(lacking) == count:
        found = f"the source has no targets, but the task learns {target.kind.value}"
        return [Problem(f"{found}. {remedy}")]
    problems = [Problem(f"sample '{name}' has no target") for name in lacking.column("id")]
    return [*shortened(problems), Problem(f"{len(lacking)} of {count} lack a target. {remedy}")]


def _require_pixels(manifest: Manifest, target: TargetSpec) -> None:
    values = [
        (row["id"], row["target"]) for row in manifest.rows() if not is_reference(row["target"])
    ]
    if values:
        name, value = values[0]
        message = (
            f"the task learns {target.kind.value}, so targets must be files, but {len(values)} "
            f"samples have a value, such as '{value}' for '{name}'. Choose another source or "
            "target column, or another task"
        )
        raise DataError(message)


def _require_classes(manifest: Manifest, classes: Sequence[str]) -> None:
    found = pc.unique(manifest.table.column("target")).to_pylist()
    unknown = sorted(value for value in found if class_number(value, classes) is None)
    if unknown and classes:
        message = (
            f"the targets {listed(unknown)} are no classes: expected {listed(classes, 20)} or the "
            f"numbers 0 to {len(classes) - 1}. Change 'task.classes' or the targets"
        )
        raise DataError(message)


def class_number(value: str, classes: Sequence[str]) -> int | None:
    """Return the number of a class given by its name or its number as text; ``None`` for neither.

    Example:
        >>> class_number("sick", ["healthy", "sick"]), class_number("1", ["healthy", "sick"])
        (1, 1)
    """
    if value in classes:
        return list(classes).index(value)
    text = value.removesuffix(".0")
    return int(text) if text.isdigit() and int(text) < len(classes) else None


def _require_numbers(manifest: Manifest) -> None:
    texts = manifest.table.column("target")
    try:
        finite = pc.all(pc.is_finite(texts.cast(pa.float64()))).as_py()
    except pa.ArrowInvalid as error:
        message = f"the task learns a number for each image, but a target is none: {error}"
        raise DataError(message) from error
    if not finite:
        message = "the task learns a number for each image, but some targets are NaN or infinite"
        raise DataError(message)


def _unique_ids(manifests: list[Manifest]) -> list[Manifest]:
    """Put the name of the data set before the ids of those data sets whose ids meet others."""
    sets = [set(manifest.column("id")) for manifest in manifests]
    clashing = [
        any(own & other for other in (*sets[:at], *sets[at + 1 :])) for at, own in enumerate(sets)
    ]
    return [
        _prefixed(manifest) if clash else manifest
        for manifest, clash in zip(manifests, clashing, strict=True)
    ]


def _require_tame_ids(manifest: Manifest) -> None:
    """Refuse ids that would write a prediction elsewhere than in its folder."""
    ids = manifest.table.column("id")
    wild = ids.filter(pc.match_substring_regex(ids, _WILD_ID)).to_pylist()
    if wild:
        message = (
            f"ids name files, so they must be neither absolute nor hold '..': {listed(wild)}. "
            "Rename these samples"
        )
        raise DataError(message)


def _prefixed(manifest: Manifest) -> Manifest:
    ids = pc.binary_join_element_wise(
        manifest.table.column("dataset"), manifest.table.column("id"), "/"
    )
    return manifest.with_column("id", ids)


def _warn_of_twins(manifest: Manifest) -> None:
    table: Any = manifest.table.group_by("image").aggregate([("id", "count")])
    twins = pc.sum(pc.greater(table.column("id_count"), 1)).as_py()
    if twins:
        log.warning(
            "%d images are listed by more than one source: scores on them say little if they are "
            "also used for training",
            twins,
        )
