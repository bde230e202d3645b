"""Tune the post-processing of a run on its validation images.

The net is applied once to each image; what it says is kept on disk while the parameters that the
steps declare as tunable are searched, one after the other.
"""

from __future__ import annotations

import datetime
import inspect
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from imtoolkit.config.sections import Component
from imtoolkit.core import registry
from imtoolkit.core.batch import IMAGE, SPACING, Batch, Stage
from imtoolkit.core.errors import ConfigError, DataError, Problem, did_you_mean, listed
from imtoolkit.inference.postprocess.base import Makes
from imtoolkit.inference.postprocess.search import Found, coordinate_search
from imtoolkit.metrics.suite import MetricSuite
from imtoolkit.runs import Run, find_run
from imtoolkit.runs.layout import POSTPROCESS
from imtoolkit.tasks.base import Task
from imtoolkit.tasks.goals import Goal
from imtoolkit.tasks.rows import one_by_one, place_of
from imtoolkit.trainer import results
from imtoolkit.trainer.check import moved
from imtoolkit.trainer.evaluate import images_to_measure
from imtoolkit.trainer.predictor import Predictor
from imtoolkit.trainer.tuned import write_steps

Track = Callable[[Iterable[Batch]], Iterable[Batch]]
Parameter = tuple[int, str]
"""Number of a step, and the name of its parameter."""
SPLIT: Final = "val"
"""What is tuned on; the test images must stay unseen."""


@dataclass(frozen=True)
class Tuned:
    """What tuning has found.

    Attributes:
        run: Id of the run.
        metric: What was made better.
        before: Its value with the steps of the config.
        after: Its value with the tuned steps.
        images: Validation images that it was measured on.
        tried: Combinations that were measured.
        head: The output whose steps they are; ``""`` for the only one.
        steps: The tuned steps.
        changes: ``(step, parameter, value before, value after)`` of all that were searched.
    """

    run: str
    metric: str
    before: float
    after: float
    images: int
    tried: int
    head: str
    steps: tuple[Component, ...]
    changes: tuple[tuple[str, str, Any, Any], ...] = field(default=())

    @property
    def better(self) -> bool:
        """Whether other values than those of the config were found to be better."""
        return any(before != after for _, _, before, after in self.changes)


def tune_postprocess(
    run: Run | str | Path,
    *,
    metric: str | None = None,
    head: str | None = None,
    checkpoint: str | None = None,
    track: Track = iter,
) -> Tuned:
    """Search the tunable parameters of a run's post-processing on its validation images.

    Where others than those of the config are better, the steps are kept in ``postprocess.json`` of
    the run, and prediction and evaluation use them from then on.

    Args:
        run: The run, its path, a prefix of its id, or ``latest``.
        metric: What shall become better, such as ``ap/50``; left out, the output's main metric.
        head: The output to tune, where a net has several with steps.
        checkpoint: ``best``, ``last`` or ``best-<metric>``; left out, as the config says.
        track: Wraps the images while the net is applied to them, to show progress.

    Raises:
        ConfigError: If there is nothing to tune, or no such metric.
        DataError: If the run has no validation images, or the metric is not defined on them.
    """
    from imtoolkit.config.settings import runs_root

    found = find_run(run, runs_root())
    predictor = Predictor(found, checkpoint=checkpoint, tuned=False)
    task = predictor.task
    name, goal = _chosen(task, head)
    steps = _steps_of(task, name, goal)
    choices = tunable(steps)
    if not choices:
        shown = listed([step.name for step in steps]) or "none"
        message = (
            f"no step of the post-processing has anything to tune (steps: {shown}). Name some in "
            "inference.postprocess; imtoolkit components postprocess lists them"
        )
        raise ConfigError(Problem(message, where="inference.postprocess"))
    if goal.makes is not Makes.MAP and goal.truth_makes is Makes.MAP:
        message = (
            "the steps end with a mask or objects, and the truth is an image: it is compared "
            "before the steps, so that none of their values scores better than another"
        )
        raise ConfigError(Problem(message, where="inference.postprocess"))
    _, _, data, where = images_to_measure(found, SPLIT, None, tuned=False)
    suite, asked = _suite_with(task, name, metric or goal.main_metric)
    with tempfile.TemporaryDirectory(prefix="imtoolkit-tune-") as folder:
        judged = _Judge(goal, suite, asked, Path(folder))
        for batch in track(data.dataloader(where)):
            for one in one_by_one(moved(batch, predictor.device)):
                judged.keep(_raw(predictor, one)[name], one)
        better = suite.directions[asked.partition("/")[0]]
        outcome = coordinate_search(
            {key: _value(steps[key[0]], key[1]) for key in choices},
            choices,
            lambda values: judged(with_values(steps, values)),
            better=better,
        )
    return _kept(found, outcome, steps, (name, asked), judged, predictor.checkpoint)


def tunable(steps: Sequence[Component]) -> dict[Parameter, tuple[Any, ...]]:
    """Return the values to try for each tunable parameter of steps."""
    return {
        (number, parameter): tuple(values)
        for number, step in enumerate(steps)
        for parameter, values in registry.resolve("postprocess", step.name).tunable.items()  # type: ignore[attr-defined]
        if parameter in step.params or not _depends(step, parameter)
    }


def with_values(steps: Sequence[Component], values: Mapping[Parameter, Any]) -> list[Component]:
    """Return steps with other values of some of their parameters."""
    made = []
    for number, step in enumerate(steps):
        own = {parameter: value for (at, parameter), value in values.items() if at == number}
        made.append(Component(step.name, {**step.params, **own}))
    return made


class _Judge:
    """Measures steps on what the net said of the validation images.

    Args:
        goal: The output.
        suite: Metrics of an image.
        metric: Name of the one that counts.
        folder: Where what the net said is kept.
    """

    def __init__(self, goal: Goal, suite: MetricSuite, metric: str, folder: Path) -> None:
        self.goal, self.suite, self.metric, self.folder = goal, suite, metric, folder
        self.images: list[Batch] = []

    def keep(self, raw: torch.Tensor, batch: Batch) -> None:
        """Keep an output ``(1, K, ...)`` and the truth of its image."""
        if not self.goal.labelled(batch):
            return
        np.save(self.folder / f"{len(self.images)}.npy", raw.float().cpu().numpy())
        # of the image itself only its size is wanted any more
        kept = {key: value for key, value in batch.items() if key != IMAGE}
        self.images.append(moved(kept, torch.device("cpu")))

    def __call__(self, steps: Sequence[Component]) -> float:
        """Return the metric over all images; NaN where steps refuse their parameters."""
        try:
            self.goal.use_steps(steps, "inference.postprocess")
        except ConfigError:  # two thresholds in the wrong order, for one
            return float("nan")
        rows = []
        for number, batch in enumerate(self.images):
            raw = torch.from_numpy(np.load(self.folder / f"{number}.npy", mmap_mode="c"))
            result = self.goal.postprocess(raw, batch.get(SPACING))
            row = place_of(batch, fallback=str(number))
            rows.append({**row, **self.goal.measure(self.suite, raw, result, batch)})
        return float(self.suite.summarise(rows).get(self.metric, float("nan")))


def _chosen(task: Task, head: str | None) -> tuple[str, Goal]:
    """Return the output to tune.

    Raises:
        ConfigError: If it is not clear which, or there is none of that name.
    """
    dense = {name: goal for name, goal in results.goals_of(task).items() if goal.dense}
    if head is not None and head not in dense:
        hint = did_you_mean(head, dense)
        known = listed(list(dense)) or "none"
        message = f"there is no output '{head}' with pixels.{hint} There is {known}"
        raise ConfigError(message)
    able = {
        name: goal
        for name, goal in dense.items()
        if head in (None, name) and tunable(_steps_of(task, name, goal))
    }
    if len(able) > 1:
        message = (
            f"several outputs have steps to tune: choose one with --head: {listed(list(able))}"
        )
        raise ConfigError(message)
    if not dense:
        message = "this model has no output with pixels, so there is no post-processing to tune"
        raise ConfigError(message)
    return next(iter((able or dense).items()))


def _steps_of(task: Task, name: str, goal: Goal) -> list[Component]:
    given, _ = task.steps_of(name or results.OUTPUT)
    return list(goal.default_steps() if given is None else given)


def _value(step: Component, parameter: str) -> Any:
    """Return the value that a step has now."""
    if parameter in step.params:
        return step.params[parameter]
    factory = registry.resolve("postprocess", step.name)
    return inspect.signature(factory).parameters[parameter].default


def _depends(step: Component, parameter: str) -> bool:
    """Tell whether a parameter is none unless it is given, as a value beside a method is."""
    return _value(step, parameter) is None


def _suite_with(task: Task, name: str, metric: str) -> tuple[MetricSuite, str]:
    """Return the metrics of a stage that have the one that is asked for.

    Raises:
        ConfigError: If none has it.
    """
    metric = metric.removeprefix(f"{SPLIT}/").removeprefix(f"{name}/" if name else "")
    stem = metric.partition("/")[0]
    known: dict[str, None] = {}
    for stage in (Stage.VAL, Stage.TEST):
        suite = task.metrics(stage).parts[name]
        if stem in suite.directions:
            return suite, metric
        known.update(dict.fromkeys(suite.directions))
    hint = did_you_mean(metric, known)
    message = f"there is no metric '{metric}'.{hint} There are {listed(list(known), 20)}"
    raise ConfigError(message)


def _raw(predictor: Predictor, batch: Batch) -> dict[str, torch.Tensor]:
    """Apply the net to one image as evaluation does."""
    task = predictor.task
    autocast = torch.autocast(predictor.device.type, torch.bfloat16, enabled=predictor.autocast)
    with torch.inference_mode(), autocast:
        raw = task.whole(
            batch[IMAGE], Stage.TEST, **task.further_inputs(batch, next(iter(task.nets)))
        )
    return results.by_head(raw)


def _kept(
    run: Run,
    outcome: Found,
    steps: Sequence[Component],
    asked: tuple[str, str],
    judged: _Judge,
    checkpoint: str,
) -> Tuned:
    head, metric = asked
    if not judged.images:
        message = f"run {run.id} has no validation image with a target"
        raise DataError(message)
    if outcome.score != outcome.score:  # NaN
        message = (
            f"'{metric}' is not defined on the validation images, such as ones without objects"
        )
        raise DataError(message)
    tuned = with_values(steps, outcome.values)
    found = Tuned(
        run=run.id,
        metric=metric,
        before=outcome.before,
        after=outcome.score,
        images=len(judged.images),
        tried=outcome.tried,
        head=head,
        steps=tuple(tuned),
        changes=tuple(
            (steps[at].name, parameter, _value(steps[at], parameter), value)
            for (at, parameter), value in outcome.values.items()
        ),
    )
    record = {
        "when": datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
        "split": SPLIT,
        "checkpoint": checkpoint,
        "head": head,
        "metric": metric,
        "before": None if outcome.before != outcome.before else outcome.before,
        "after": outcome.score,
        "images": found.images,
        "tried": found.tried,
    }
    if found.better or (run.path / POSTPROCESS).exists():
        write_steps(run, {head: tuned}, record)
    return found
