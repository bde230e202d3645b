"""From the data section of a config to one manifest: sources listed, joined, checked and split."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc

from imtoolkit.config.sections import DataConfig, Role, SourceConfig
from imtoolkit.core.errors import DataError, Problem, listed
from imtoolkit.core.facts import TargetSpec
from imtoolkit.core.registry import build
from imtoolkit.data.domains import require_domains, with_domains
from imtoolkit.data.sources.base import Source
from imtoolkit.data.splits import apply_splits, draw_splits, with_groups
from imtoolkit.data.table import CORE, SPLITS, Manifest, join
from imtoolkit.data.wanted import (
    refuse_unpaired,
    require_columns,
    resolved_column,
    with_targets,
)

__all__ = ["CORE", "SPLITS", "Manifest", "build_manifest", "join", "list_sources"]

log = logging.getLogger(__name__)

_WILD_ID: Final = r"(^|[/\\])\.\.([/\\]|$)|^[/\\]|^[A-Za-z]:|[\x00-\x1f]"


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
    split = config.split
    if split.stratify_by is not None:
        split = replace(split, stratify_by=resolved_column(split.stratify_by, target))
    fixed = [name for name, source in config.sources.items() if source.role is not Role.all]
    if drawn is not None:
        # samples that split.file leaves out are listed, but were never written
        excluding = config.split.file is not None
        manifest = with_groups(manifest, config.split.group_by, fixed)
        divided = apply_splits(manifest, drawn, allow_new=excluding)
    else:
        divided = draw_splits(manifest, split, seed, fixed)
    require_domains(divided, target)
    return divided


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
    require_columns(manifest, target)
    _require_tame_ids(manifest)
    _warn_of_twins(manifest)
    return with_domains(manifest, target)


def _one_source(name: str, source: SourceConfig, target: TargetSpec) -> Manifest:
    listed_by: Source = build("source", source.source.name, source.source.params)
    manifest = listed_by.samples()
    manifest = manifest.with_column("dataset", name)
    if len(manifest) == 0:
        message = f"source '{source.source.name}' found no samples"
        raise DataError(message)
    if source.role is not Role.all:
        manifest = _in_role(manifest, source.role)
    if listed_by.has_targets:
        manifest = with_targets(manifest, source.source.name, target)
    else:
        refuse_unpaired(source.source.name, target)
    return manifest.sorted_by_id()


def _in_role(manifest: Manifest, role: Role) -> Manifest:
    """Give all samples to one use; of a source that divides itself, its own part of that name.

    A file of train, val and test images in the role ``test`` would otherwise measure a model on
    what it has learnt from.
    """
    own = np.array(manifest.column("split"), dtype=object) == role.value
    return (manifest.filter(own) if own.any() else manifest).with_column("split", role.value)


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
