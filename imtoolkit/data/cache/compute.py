"""From a row of the manifest to the content of its item: read, check, preprocess, check again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from monai.transforms import MapTransform

from imtoolkit.core.batch import IMAGE, TARGET, WEIGHT
from imtoolkit.core.errors import DataError, Problem
from imtoolkit.core.facts import TargetKind, TargetSpec
from imtoolkit.data.cache.content import content_of
from imtoolkit.data.cache.store import Content
from imtoolkit.data.checks import check_prepared, check_sample
from imtoolkit.data.domains import domain_of
from imtoolkit.data.loading import Loaded, load
from imtoolkit.data.preprocess import Prepared, Preprocessor
from imtoolkit.data.transforms.enlarge import Enlarge


def compute(
    row: Mapping[str, Any],
    preprocessor: Preprocessor,
    target: TargetSpec,
    arrays: Sequence[Any] = (),
) -> Content:
    """Make the item of one sample.

    Raises:
        DataError: With everything that is wrong with the sample, each problem with its file.
    """
    name = str(row["id"])
    try:
        loaded = load(row, preprocessor.config, target, arrays)
        problems, warnings = check_sample(
            loaded.image,
            loaded.target,
            loaded.weight,
            target,
            where=name,
            target_changes=changes_target(preprocessor),
            size_changes=any(isinstance(step, Enlarge) for step in preprocessor.steps()),
        )
        if problems:
            raise DataError(problems)
        prepared = _prepared(loaded, preprocessor, target, row)
        pixels, weight = prepared.target, prepared.weight
        problems, more = check_prepared(
            prepared.image.numpy(),
            None if pixels is None else pixels.numpy(),
            None if weight is None else weight.numpy(),
            target,
            where=name,
        )
        if problems:
            raise DataError(problems)
        content = content_of(prepared, target, loaded.image.pixels.shape)
    except DataError as error:
        raise DataError(_with_file(problem, row) for problem in error.problems) from error
    content.meta["dtype"] = str(loaded.image.pixels.dtype)
    content.meta["channel_names"] = list(loaded.image.channel_names)
    content.meta["warnings"] = list(dict.fromkeys([*warnings, *more]))
    content.meta["row"] = {
        key: row[key] for key in ("id", IMAGE, TARGET, WEIGHT) if row.get(key) is not None
    }
    return content


def _prepared(
    loaded: Loaded, preprocessor: Preprocessor, target: TargetSpec, row: Mapping[str, Any]
) -> Prepared:
    """Preprocess a sample; of a true pair of two domains, each image as those of its domain are."""
    name, domain = str(row["id"]), domain_of(row, target)
    if domain is None:
        return preprocessor.sample(loaded, target.kind, name)
    prepared = preprocessor.sample(Loaded(loaded.image), TargetKind.NONE, name, domain)
    if loaded.target is None:
        return prepared
    other = preprocessor.sample(Loaded(loaded.target), TargetKind.NONE, name, "B")
    return replace(prepared, target=other.image)


def changes_target(preprocessor: Preprocessor) -> bool:
    """Tell whether a step may change labels, which are then checked after it."""
    return any(
        not isinstance(step, MapTransform) or TARGET in step.keys for step in preprocessor.steps()
    )


def _with_file(problem: Problem, row: Mapping[str, Any]) -> Problem:
    if problem.file:
        return problem
    word = problem.message.partition(" ")[0].rstrip(":")
    key = {"target": TARGET, "labels": TARGET, "weight": WEIGHT}.get(word, IMAGE)
    return replace(problem, where=str(row["id"]), file=str(row.get(key) or row[IMAGE]))
