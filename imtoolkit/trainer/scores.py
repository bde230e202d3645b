"""Scores: the numbers of an evaluation, for each image and summed up with intervals."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from imtoolkit.config.sections import EvaluationConfig
from imtoolkit.core.errors import listed
from imtoolkit.core.files import write_json, write_text
from imtoolkit.metrics.base import Array, SetMetric
from imtoolkit.metrics.curves import class_curves
from imtoolkit.metrics.records import ClassRecords, NumberRecords, Records, SetArrays
from imtoolkit.metrics.resampling import bootstrap_set, paired_set, resamples_of
from imtoolkit.metrics.statistics import Comparison, Interval, bootstrap_mean, paired_difference
from imtoolkit.metrics.suite import MetricSuite, is_loss
from imtoolkit.report.evaluation import draw_outputs
from imtoolkit.runs.show import told_apart

Row = Mapping[str, Any]

log = logging.getLogger(__name__)

NAMES = ("id", "dataset")
"""Columns of the table that are no numbers."""


@dataclass(frozen=True)
class Scores:
    """The result of an evaluation.

    Attributes:
        per_image: One row for each image, with its id and all metrics; where classes or numbers are
            predicted for whole images, with target, prediction and probabilities.
        summary: ``images``, ``confidence`` and ``metrics``: for each name ``mean`` (of a metric of
            the whole set, such as ``auroc``, its value), ``low``, ``high`` (bootstrap interval over
            images) and ``images`` (where it is defined). A loss that is NaN for one image has no
            mean. ``outputs`` holds confusion matrix, reliability and curves of classifications,
            by head or under ``output``. With a second run ``against`` holds the paired differences.
        path: Folder with ``per_image.csv`` and ``summary.json``.
        suite: What measured the images; ``None`` where each column is averaged.
    """

    per_image: pd.DataFrame
    summary: dict[str, Any]
    path: Path | None = None
    suite: MetricSuite | None = field(default=None, repr=False)

    def table(self) -> list[tuple[str, float | None, float | None, float | None, int]]:
        """Return rows ``(metric, mean, low, high, images)``, without the mean of an only class."""
        metrics = self.summary["metrics"]
        return [
            (name, *(metrics[name][key] for key in ("mean", "low", "high", "images")))
            for name in told_apart(metrics)
        ]

    def _repr_html_(self) -> str:
        level = f"{self.summary['confidence']:.0%}"
        columns = ["metric", "mean", f"{level} low", "high", "images"]
        frame = pd.DataFrame(self.table(), columns=columns)
        return str(frame.to_html(index=False, float_format="{:.4f}".format))


def summarise(
    rows: Sequence[dict[str, Any]],
    settings: EvaluationConfig,
    seed: int,
    suite: MetricSuite | None = None,
    **more: Any,
) -> Scores:
    """Sum up the rows of an evaluation.

    Args:
        rows: One dict of names and values for each image.
        settings: Level and number of resamples of the intervals.
        seed: Seed of the bootstrap.
        suite: What measured the images: knows records, and the metrics of the whole set.
        more: Further entries of the summary.
    """
    _warn_of_nan(rows)
    # features of images, by which sets are compared, are no table that anybody reads
    frame = pd.DataFrame([_readable(row) for row in rows])
    metrics = {}
    for name in metric_names(frame, suite):
        # images without a target have no value; one that has NaN is another matter for a loss
        values = [float(row[name]) for row in rows if name in row]
        found = bootstrap_mean(
            values, settings.confidence, settings.resamples, seed, needs_all=is_loss(name)
        )
        metrics[name] = _interval(found)
    outputs = {}
    for head, part in _parts(suite).items():
        metrics |= _of_set(part, rows, settings, seed, head)
        if part.records is not None:
            arrays = part.records.arrays(rows, head)
            outputs[head or "output"] = _output(part.records, arrays)
    summary = {
        **more,
        "images": len(frame),
        "confidence": settings.confidence,
        "resamples": settings.resamples,
        "metrics": metrics,
    }
    if outputs:
        summary["outputs"] = outputs
    return Scores(frame, summary, suite=suite)


def compare(first: Scores, second: Scores, settings: EvaluationConfig, seed: int) -> dict[str, Any]:
    """Compare two evaluations on the images that both have: ``first - second`` for each metric."""
    keys = [name for name in NAMES if name in first.per_image and name in second.per_image]
    both = first.per_image.merge(second.per_image, on=keys, suffixes=("", " (second)"))
    found = {}
    for name in metric_names(first.per_image, first.suite):
        other = f"{name} (second)"
        if other not in both:
            continue
        result = paired_difference(
            both[name].astype(float).tolist(),
            both[other].astype(float).tolist(),
            settings.confidence,
            settings.resamples,
            seed,
            needs_all=is_loss(name),
        )
        found[name] = _difference(result)
    rows = [_rows_of(scores, both[keys]) for scores in (first, second)]
    theirs = _parts(second.suite)
    for head, part in _parts(first.suite).items():
        if head in theirs and part.records == theirs[head].records:
            found |= _of_sets(part, rows, settings, seed, head)
        elif part.records is not None:
            log.warning(
                "the runs predict different classes or numbers%s, which are not compared",
                f" as '{head}'" if head else "",
            )
    return {"images": len(both), "metrics": found}


def save(scores: Scores, folder: Path) -> Scores:
    """Write ``per_image.csv``, ``summary.json`` and the pictures of classes and numbers."""
    write_text(folder / "per_image.csv", scores.per_image.to_csv(index=False))
    write_json(folder / "summary.json", scores.summary)
    draw_outputs(scores.summary.get("outputs", {}), scores.per_image, folder)
    return replace(scores, path=folder)


def metric_names(frame: pd.DataFrame, suite: MetricSuite | None = None) -> list[str]:
    """Return the columns that hold numbers to average."""
    return [
        str(name)
        for name in frame.columns
        if name not in NAMES and not (suite is not None and suite.is_record(str(name)))
    ]


def _readable(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not isinstance(value, np.ndarray)}


def _parts(suite: MetricSuite | None) -> dict[str, MetricSuite]:
    """Return the metrics of each output by its head."""
    return suite.parts if suite is not None else {}


def _of_set(
    part: MetricSuite, rows: Sequence[Row], settings: EvaluationConfig, seed: int, head: str
) -> dict[str, dict[str, Any]]:
    """Return the metrics of the whole set with their intervals."""
    found = {}
    for metric, arrays in part.sets(rows, head) if rows else ():
        strata = _strata(part.records, arrays, settings)
        values = bootstrap_set(
            metric, arrays, settings.confidence, settings.resamples, seed, strata=strata
        )
        for name, interval in values.items():
            found[_full(name, head)] = {**_interval(interval), **_fewer(metric, settings)}
    return found


def _of_sets(
    part: MetricSuite,
    rows: Sequence[Sequence[Row]],
    settings: EvaluationConfig,
    seed: int,
    head: str,
) -> dict[str, dict[str, Any]]:
    """Compare the rows of two models by the metrics of the whole set."""
    found: dict[str, dict[str, Any]] = {}
    sets = [part.sets(each, head) for each in rows]
    for (metric, ours), (_, theirs) in zip(*sets, strict=True):
        arrays = _same_images(ours, theirs)
        if not len(arrays[0]):  # the other run has measured something else
            continue
        strata = _strata(part.records, arrays[0], settings)
        for name, result in paired_set(
            *(metric, *arrays, settings.confidence, settings.resamples, seed), strata=strata
        ).items():
            found[_full(name, head)] = {**_difference(result), **_fewer(metric, settings)}
    return found


def _output(records: Records, arrays: SetArrays) -> dict[str, Any]:
    """Return what a picture of an output is drawn from, as plain values."""
    if isinstance(records, NumberRecords):
        return {"kind": "numbers", "columns": list(records.names)}
    kind = "class" if isinstance(records, ClassRecords) else "classes"
    return {"kind": kind, **class_curves(arrays, records)}


def _strata(records: Records | None, arrays: SetArrays, settings: EvaluationConfig) -> Array | None:
    return arrays.target if settings.stratify and isinstance(records, ClassRecords) else None


def _rows_of(scores: Scores, places: pd.DataFrame) -> list[Row]:
    """Return the rows of the images that both evaluations have, in one order."""
    frame = places.merge(scores.per_image, on=list(places.columns), how="left")
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _same_images(first: SetArrays, second: SetArrays) -> tuple[SetArrays, SetArrays]:
    """Return the records of the images that have a target in both evaluations."""
    shared = np.intersect1d(first.rows, second.rows)
    return first.at(shared), second.at(shared)


def _full(name: str, head: str) -> str:
    return f"{head}/{name}" if head else name


def _fewer(metric: SetMetric, settings: EvaluationConfig) -> dict[str, int]:
    """Tell the number of resamples where a metric is too slow for all."""
    count = resamples_of(metric, settings.resamples)
    return {} if count == settings.resamples else {"resamples": count}


def _interval(found: Interval) -> dict[str, Any]:
    return {
        "mean": _finite(found.mean),
        "low": _finite(found.low),
        "high": _finite(found.high),
        "images": found.count,
    }


def _difference(result: Comparison) -> dict[str, Any]:
    found = result.difference
    return {
        "difference": _finite(found.mean),
        "low": _finite(found.low),
        "high": _finite(found.high),
        "p_value": _finite(result.p_value),
        "images": found.count,
    }


def _warn_of_nan(rows: Sequence[dict[str, Any]]) -> None:
    wrong = [str(row.get("id")) for row in rows if math.isnan(row.get("loss", 0.0))]
    if wrong:
        log.warning(
            "the loss is NaN for %d of %d images, so it has no mean: %s",
            len(wrong),
            len(rows),
            listed(wrong),
        )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
