"""Scores: the numbers of an evaluation, for each image and summed up with intervals."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from imtoolkit.config.sections import EvaluationConfig
from imtoolkit.core.errors import listed
from imtoolkit.core.files import write_json, write_text
from imtoolkit.metrics.statistics import bootstrap_mean, paired_difference
from imtoolkit.metrics.suite import is_loss
from imtoolkit.runs.show import told_apart

log = logging.getLogger(__name__)

NAMES = ("id", "dataset")
"""Columns of the table that are no numbers."""


@dataclass(frozen=True)
class Scores:
    """The result of an evaluation.

    Attributes:
        per_image: One row for each image, with its id and all metrics.
        summary: ``images``, ``confidence`` and ``metrics``: for each name ``mean``, ``low``,
            ``high`` (bootstrap interval over images) and ``images`` (where it is defined). A loss
            that is NaN for one image has no mean. With a second run ``against`` holds the paired
            differences.
        path: Folder with ``per_image.csv`` and ``summary.json``.
    """

    per_image: pd.DataFrame
    summary: dict[str, Any]
    path: Path | None = None

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
    rows: Sequence[dict[str, Any]], settings: EvaluationConfig, seed: int, **more: Any
) -> Scores:
    """Sum up the rows of an evaluation.

    Args:
        rows: One dict of names and values for each image.
        settings: Level and number of resamples of the intervals.
        seed: Seed of the bootstrap.
        more: Further entries of the summary.
    """
    _warn_of_nan(rows)
    frame = pd.DataFrame(list(rows))
    metrics = {}
    for name in metric_names(frame):
        # images without a target have no value; one that has NaN is another matter for a loss
        values = [float(row[name]) for row in rows if name in row]
        found = bootstrap_mean(
            values, settings.confidence, settings.resamples, seed, needs_all=is_loss(name)
        )
        metrics[name] = {
            "mean": _finite(found.mean),
            "low": _finite(found.low),
            "high": _finite(found.high),
            "images": found.count,
        }
    summary = {
        **more,
        "images": len(frame),
        "confidence": settings.confidence,
        "resamples": settings.resamples,
        "metrics": metrics,
    }
    return Scores(frame, summary)


def compare(first: Scores, second: Scores, settings: EvaluationConfig, seed: int) -> dict[str, Any]:
    """Compare two evaluations on the images that both have: ``first - second`` for each metric."""
    keys = [name for name in NAMES if name in first.per_image and name in second.per_image]
    both = first.per_image.merge(second.per_image, on=keys, suffixes=("", " (second)"))
    found = {}
    for name in metric_names(first.per_image):
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
        found[name] = {
            "difference": _finite(result.difference.mean),
            "low": _finite(result.difference.low),
            "high": _finite(result.difference.high),
            "p_value": _finite(result.p_value),
            "images": result.difference.count,
        }
    return {"images": len(both), "metrics": found}


def save(scores: Scores, folder: Path) -> Scores:
    """Write ``per_image.csv`` and ``summary.json``."""
    write_text(folder / "per_image.csv", scores.per_image.to_csv(index=False))
    write_json(folder / "summary.json", scores.summary)
    return Scores(scores.per_image, scores.summary, folder)


def metric_names(frame: pd.DataFrame) -> list[str]:
    """Return the columns that hold numbers."""
    return [name for name in frame.columns if name not in NAMES]


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
    return None if math.isnan(value) else float(value)
