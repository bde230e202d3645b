"""Evaluate how well the uncertainty of a model tells its errors, on images with a target.

Every image is predicted several times as `imtoolkit.trainer.uncertainty` does, on the preprocessed
grid, where its target lies.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from torch import Tensor

from imtoolkit.core.batch import IMAGE, SPACING, WEIGHT, Batch, Stage, StepOutput
from imtoolkit.core.errors import DataError
from imtoolkit.metrics.errors import error_auroc, rank_correlation
from imtoolkit.runs import Run
from imtoolkit.runs.layout import EVALUATION
from imtoolkit.tasks.goals import AnnotationsGoal
from imtoolkit.tasks.rows import one_by_one, place_of, unique_sorted
from imtoolkit.trainer import results, scores
from imtoolkit.trainer.check import moved
from imtoolkit.trainer.ensemble import check_members
from imtoolkit.trainer.evaluate import images_to_measure
from imtoolkit.trainer.predictor import Predictor
from imtoolkit.trainer.results import Array
from imtoolkit.trainer.scores import Scores
from imtoolkit.trainer.session import quiet_libraries
from imtoolkit.trainer.uncertain_results import HeadMoments
from imtoolkit.trainer.uncertainty import UncertainPredictor
from imtoolkit.trainer.uncertainty_settings import settings_of

log = logging.getLogger(__name__)

Row = dict[str, Any]
Reference = Run | str | Path
Track = Callable[[Iterable[Batch]], Iterable[Batch]]
FOLDER: Final = "uncertainty"
"""End of the name of the folder that keeps such an evaluation."""
ERROR: Final = "error_auroc"
SPREAD: Final = "error_correlation"


def evaluate_uncertainty(
    runs: Reference | Sequence[Reference],
    split: str = "test",
    *,
    uncertainty: bool | str | Mapping[str, Any] = True,
    checkpoint: str | None = None,
    source: Mapping[str, Any] | None = None,
    track: Track = iter,
) -> Scores:
    """Measure how well uncertainty tells errors.

    Args:
        runs: The run, or several as an ensemble; the first says which images a split holds, and
            keeps the result in ``evaluation/<split>-uncertainty``.
        split: ``test``, ``val``, ``train`` or ``naive``. With ``source``, the name under which the
            result is kept.
        uncertainty: How the predictions are made, see `imtoolkit.predict`.
        checkpoint: ``best``, ``last`` or ``best-<metric>``; left out, as the config says.
        source: Other images than those of the run, see `evaluate`.
        track: Wraps the batches, to show progress.

    Returns:
        The metrics of the mean prediction and, for classes, ``error_auroc/entropy`` and so on: how
        often a wrong pixel of an image is more uncertain than a right one; for images
        ``error_correlation``: Spearman's correlation over the pixels of deviation and absolute
        error. ``summary["correlation"]`` tells for each number of an image's uncertainty how it
        goes with the main metric over the images.

    Raises:
        RunError: If there is no such run or state.
        ConfigError: If the runs cannot predict in that way.
        DataError: If they predict objects, or there are no images.
    """
    members = [Predictor(one, checkpoint=checkpoint) for one in listed_runs(runs)]
    check_members(members, same_preprocess=True)
    first = members[0]
    predictor = UncertainPredictor(
        members, settings_of(first.config.inference.uncertainty, uncertainty)
    )
    goals = results.goals_of(first.task)
    if any(getattr(goal, "instances", False) for goal in goals.values()):
        message = (
            "errors are told pixel by pixel, and this run makes objects of its pixels. Its maps "
            "are written by imtoolkit predict --uncertainty; to measure some, train a "
            "segmentation with binarize_target"
        )
        raise DataError(message)
    config, _, data, where = images_to_measure(first.run, split, source)
    rows: list[Row] = []
    with quiet_libraries():
        for number, batch in enumerate(track(data.dataloader(where))):
            for index, one in enumerate(one_by_one(moved(batch, first.device))):
                place = place_of(one, fallback=f"{number:06d}-{index}")
                rows.append({**place, **_row(predictor, goals, one)})
    found = scores.summarise(
        unique_sorted(rows),
        config.evaluation,
        config.seed,
        first.task.metrics(Stage.TEST),
        split=split,
        checkpoint=first.checkpoint,
        run=first.run.id,
        uncertainty={"method": predictor.method, "predictions": predictor.count},
    )
    found.summary["correlation"] = _correlations(found.per_image, goals)
    first.run.require()
    return scores.save(found, first.run.path / EVALUATION / f"{split}-{FOLDER}")


def listed_runs(runs: Reference | Sequence[Reference]) -> list[Reference]:
    """Return one run or several as a list."""
    if isinstance(runs, (Run, str, Path)):
        return [runs]
    return list(runs)


def _row(predictor: UncertainPredictor, goals: Mapping[str, Any], batch: Batch) -> Row:
    """Return the metrics of one image, of its mean prediction and of its uncertainty."""
    task = predictor.task
    role = getattr(task, "main_role", "net")
    heads = {head: HeadMoments(goal, keep=False) for head, goal in goals.items()}
    for evidence in predictor.said(batch[IMAGE][0], task.further_inputs(batch, role)):
        for head, values in evidence.items():
            heads[head].add(values)
    maps = {head: one.moments.maps() for head, one in heads.items()}
    device = batch[IMAGE].device
    raw: dict[str, Tensor] = {}
    made: dict[str, Tensor] = {}
    for head, goal in goals.items():
        raw[head] = results.raw_of(goal, maps[head].mean)[None].to(device)
        made[head] = results.after_vote(goal, raw[head], batch.get(SPACING))
    alone = set(goals) == {""}
    output = StepOutput(None, raw=raw[""] if alone else raw)
    row = dict(task.measure(output, made[""] if alone else made, batch, Stage.TEST))
    for head, goal in goals.items():
        if goal.dense:
            start = f"{head}/" if head else ""
            found = {**heads[head].summary(maps[head]), **_told(goal, maps[head], batch)}
            row |= {f"{start}{name}": value for name, value in found.items()}
    return row


def _told(goal: Any, maps: Any, batch: Batch) -> Row:
    """Return how well the maps of an output tell its errors; of several annotations the mean."""
    target = (
        goal.annotations_of(batch) if isinstance(goal, AnnotationsGoal) else goal.target_of(batch)
    )
    if target is None:
        return {}
    kept = batch[WEIGHT][0, 0].cpu().numpy() > 0 if WEIGHT in batch else ...
    truth = target[0].cpu().numpy()  # (M or C, [Z,] Y, X)
    mean = maps.mean.numpy()
    if goal.labels:
        wrong = [(mean.argmax(0) != one)[kept].ravel() for one in truth]
        named = {name: values.numpy()[kept].ravel() for name, values in maps.named.items()}
        return {
            f"{ERROR}/{name}": _mean([error_auroc(values, one) for one in wrong])
            for name, values in named.items()
        }
    if truth.shape != mean.shape:
        return {}
    pairs = zip(maps.variance.numpy(), np.abs(mean - truth), strict=True)
    each = [rank_correlation(spread[kept].ravel(), off[kept].ravel()) for spread, off in pairs]
    return {SPREAD: _mean(each)}


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if value == value]
    return float(np.mean(known)) if known else float("nan")


def _correlations(frame: pd.DataFrame, goals: Mapping[str, Any]) -> dict[str, float | None]:
    """Return for each number of the uncertainty how it goes with the main metric over images."""
    found: dict[str, float | None] = {}
    for head, goal in goals.items():
        start = f"{head}/" if head else ""
        quality = next(
            (name for name in (f"{start}{goal.main_metric}", f"{start}dice") if name in frame), None
        )
        if not goal.dense or quality is None:
            continue
        for name in ("variance", "entropy", "mutual_information"):
            for column in (f"{start}{name}", f"{start}{name}_foreground"):
                if column in frame:
                    value = rank_correlation(_column(frame, column), _column(frame, quality))
                    found[f"{column} ~ {quality}"] = value if value == value else None
    return found


def _column(frame: pd.DataFrame, name: str) -> Array:
    column: Array = frame[name].to_numpy(dtype=float)
    return column
