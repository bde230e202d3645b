"""What a model says of one image, as a person wants it: pixels, a class, numbers, by output.

A dense output is pixels on the grid of the image; one for the whole image is a record, a row of the
table ``predictions.csv``, and a plain value in Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from imtoolkit.core.errors import DataError, listed
from imtoolkit.data.preprocess import Undo
from imtoolkit.inference.ensemble import logits_of
from imtoolkit.inference.postprocess.base import Makes
from imtoolkit.io.picture import Picture
from imtoolkit.metrics.records import TARGET
from imtoolkit.tasks.base import Task
from imtoolkit.tasks.goals.base import PixelSize

Array = NDArray[Any]
_KEEPING: Final = ("Pad", "Crop")  # a transform whose name ends so moves no pixel against another
OUTPUT: Final = "output"
"""Name of the only output of a net."""


@dataclass(frozen=True)
class ImageClass:
    """The class of an image.

    Attributes:
        name: Name of the most probable class.
        probabilities: Probability of each class by name.

    Example:
        >>> print(ImageClass("sick", {"healthy": 0.1, "sick": 0.9}))
        sick (0.900)
    """

    name: str
    probabilities: dict[str, float] = field(repr=False)

    def __str__(self) -> str:
        return f"{self.name} ({self.probabilities[self.name]:.3f})"


@dataclass(frozen=True)
class ImageLabels:
    """The labels of an image that may have several.

    Attributes:
        names: Names of the labels that are predicted.
        probabilities: Probability of each label by name.
    """

    names: tuple[str, ...]
    probabilities: dict[str, float] = field(repr=False)

    def __str__(self) -> str:
        said = ", ".join(f"{name} ({self.probabilities[name]:.3f})" for name in self.names)
        return said or "none"


class GoalLike(Protocol):
    """What is read of a goal, see `imtoolkit.tasks.goals.Goal`."""

    dense: bool
    classes: tuple[str, ...]

    def postprocess(self, raw: torch.Tensor, spacing: PixelSize = None) -> torch.Tensor:
        """Return the result of an output."""

    def probabilities(self, raw: torch.Tensor) -> torch.Tensor | None:
        """Return the probability of each class, where there are classes."""


@dataclass(frozen=True)
class Result:
    """What one output of a net says of an image.

    Attributes:
        head: Name of the head; ``""`` for the only output.
        pixels: Labels ``([Z,] Y, X)`` or an image ``(C, [Z,] Y, X)`` on the grid of the file;
            ``None`` for an output for the whole image.
        probabilities: Probability of each class at each pixel ``(K, [Z,] Y, X)``, where asked for.
        classes: Names of the classes.
        record: ``predicted``, ``probability/<class>``, ...; empty for pixels.
        value: The same as a plain value: `ImageClass`, `ImageLabels`, a number, or a dict of them.
        spacing: Pixel size ``[Z,] Y, X`` of the pixels, where the file tells.
        affine: Affine ``(4, 4)`` of the pixels as NIfTI means it, where the file has one.
        beside: Further pixels by name, such as ``entropy``, ``([Z,] Y, X)`` or ``(C, [Z,] Y, X)``.
    """

    head: str
    pixels: Array | None = None
    probabilities: Array | None = None
    classes: tuple[str, ...] = ()
    record: dict[str, Any] = field(default_factory=dict)
    value: Any = None
    spacing: tuple[float, ...] | None = None
    affine: Array | None = None
    beside: Mapping[str, Array] = field(default_factory=dict)

    def place(self, picture: Picture) -> dict[str, Any]:
        """Return where the pixels lie in space, as `imtoolkit.io.write` takes it."""
        return {"spacing": self.spacing, "unit": picture.unit, "affine": self.affine}

    @property
    def start(self) -> str:
        """What the columns of the table begin with."""
        return f"{self.head}/" if self.head else ""


class PlainGoal:
    """The goal of a task of somebody's own that says no more than how outputs become results."""

    dense = True

    def __init__(self, task: Task) -> None:
        self.task = task
        self.labels = hasattr(task, "probabilities")
        self.classes = tuple(getattr(task.config, "classes", None) or ())

    def postprocess(self, raw: torch.Tensor, spacing: PixelSize = None) -> torch.Tensor:
        """See `GoalLike`."""
        found: torch.Tensor = self.task.postprocess(raw, spacing)
        return found

    def probabilities(self, raw: torch.Tensor) -> torch.Tensor | None:
        """See `GoalLike`."""
        known = getattr(self.task, "probabilities", None)
        found: torch.Tensor | None = None if known is None else known(raw)
        return found


def goals_of(task: Task) -> dict[str, Any]:
    """Return the goals of a task by head; ``""`` names the only one."""
    if not task.goals:
        return {"": PlainGoal(task)}
    if set(task.goals) == {OUTPUT}:
        return {"": task.goals[OUTPUT]}
    return dict(task.goals)


def by_head(raw: Any) -> dict[str, torch.Tensor]:
    """Return the outputs of a net by head."""
    return dict(raw) if isinstance(raw, Mapping) else {"": raw}


def dense_heads(task: Task) -> tuple[str, ...]:
    """Return the heads that give pixels."""
    return tuple(head for head, goal in goals_of(task).items() if goal.dense)


def makes_fractions(task: Task, head: str) -> bool:
    """Tell whether a dense head gives an image of real numbers, and no labels or objects."""
    goal = goals_of(task)[head]
    return bool(goal.dense) and not isinstance(goal, PlainGoal) and goal.makes is Makes.MAP


def results_of(task: Task, raw: Any, undo: Undo, *, probabilities: bool = False) -> list[Result]:
    """Return what the outputs for a preprocessed image say, on the grid of its file.

    Args:
        task: The model.
        raw: What `Task.predict_image` returned.
        undo: The way back to the grid of the file.
        probabilities: Whether to keep the probabilities of classes of pixels.
    """
    outputs = by_head(raw)
    found = []
    for head, goal in goals_of(task).items():
        own = outputs[head]
        if not goal.dense:
            found.append(_whole(head, goal, own))
            continue
        by_blocks = not own.is_floating_point()  # objects already: nothing else is known of them
        chances = goal.probabilities(own) if probabilities and not by_blocks else None
        maps = None
        if chances is not None:
            maps = undo.invert(chances.float().cpu(), labels=False).numpy()
        result = goal.postprocess(own, undo.prepared_spacing).cpu()
        flat = result.ndim == task.facts.spatial_dims
        pixels = undo.invert(result[None] if flat else result).numpy()
        found.append(
            Result(
                head,
                pixels[0] if flat else pixels,
                maps,
                goal.classes,
                spacing=undo.spacing,
                affine=undo.world,
            )
        )
    return found


def evidence_of(task: Task, raw: Any, undo: Undo | None = None) -> dict[str, torch.Tensor]:
    """Return what members of an ensemble vote with: probabilities, numbers or images, by head.

    Args:
        task: The model.
        raw: What `Task.predict_image` returned.
        undo: The way back to the grid of the file; left out, the grid stays as it is.

    Raises:
        DataError: If the image went by blocks, or its embedding means nothing on another grid.
    """
    outputs = by_head(raw)
    found = {}
    for head, goal in goals_of(task).items():
        _check_evidence(goal, outputs[head], undo)
        chances = goal.probabilities(outputs[head])
        if chances is None:
            # the steps of post-processing come after the vote
            first = getattr(goal, "first_result", goal.postprocess)
            values = first(outputs[head])
        else:
            values = chances
        found[head] = values
    return found if undo is None else on_file_grid(task, found, undo)


def on_file_grid(
    task: Task, evidence: Mapping[str, torch.Tensor], undo: Undo
) -> dict[str, torch.Tensor]:
    """Return evidence whose pixels are on the grid of the file, see `evidence_of`."""
    goals = goals_of(task)
    return {
        head: undo.invert(values.float().cpu(), labels=False) if goals[head].dense else values
        for head, values in evidence.items()
    }


def _check_evidence(goal: Any, raw: torch.Tensor, undo: Undo | None) -> None:
    if not raw.is_floating_point():
        message = (
            "several models cannot vote on an image that goes by blocks: raise inference.block "
            "above its size, or predict it with one model"
        )
        raise DataError(message)
    moved = [] if undo is None else [name for name in undo.changes if not name.endswith(_KEEPING)]
    if getattr(goal, "in_pixels", False) and moved:
        message = (
            f"several models cannot vote on {goal.describe()} where data.preprocess changes the "
            f"pixels ({listed(moved)}): their offsets are in pixels of before. Leave that out, or "
            "predict with one model"
        )
        raise DataError(message)


def result_of_evidence(
    goal: Any, head: str, evidence: torch.Tensor, undo: Undo, *, probabilities: bool = False
) -> Result:
    """Return what the evidence of an ensemble says, see `evidence_of`."""
    if not goal.dense:
        return _whole(head, goal, evidence, is_evidence=True)
    values = after_vote(goal, raw_of(goal, evidence), undo.spacing)
    maps = evidence.cpu().numpy() if probabilities and votes_on_classes(goal) else None
    return Result(
        head,
        values.cpu().numpy(),
        maps,
        goal.classes,
        spacing=undo.spacing,
        affine=undo.world,
    )


def after_vote(goal: Any, raw: torch.Tensor, spacing: PixelSize) -> torch.Tensor:
    """Return the result of an output that several models have brought about, see `raw_of`.

    Numbers, and what a task of somebody's own has made, are results already.
    """
    if votes_on_classes(goal) or (goal.dense and not isinstance(goal, PlainGoal)):
        result: torch.Tensor = goal.postprocess(raw, spacing)
        return result
    return raw


def votes_on_classes(goal: Any) -> bool:
    """Tell whether the members of an ensemble vote with probabilities of classes."""
    return bool(getattr(goal, "labels", False) or getattr(goal, "multilabel", False))


def raw_of(goal: Any, evidence: torch.Tensor) -> torch.Tensor:
    """Return an output whose probabilities are the evidence."""
    if not votes_on_classes(goal):
        return evidence
    return logits_of(evidence, exclusive=not getattr(goal, "multilabel", False))


def value_of(frames: list[list[Result]], *, has_channels: bool, movie: bool) -> Any:
    """Return what an image gives in Python: an array, a class, a number, or a dict of them by head.

    Args:
        frames: What each output says, for each time point.
        has_channels: Whether the image came with an axis of channels; where it did not, a predicted
            image of one channel has none either.
        movie: Whether the image has an axis of time: pixels become ``(T, ...)``, others a list.
    """
    values = {
        head: _joined([_value(frame[place], has_channels) for frame in frames], movie)
        for place, head in enumerate(one.head for one in frames[0])
    }
    return values[""] if set(values) == {""} else values


def _joined(values: list[Any], movie: bool) -> Any:
    if not movie:
        return values[0]
    return np.stack(values) if isinstance(values[0], np.ndarray) else values


def _value(result: Result, has_channels: bool) -> Any:
    pixels = result.pixels
    if pixels is None:
        return result.value
    alone = not has_channels and pixels.dtype.kind == "f" and len(pixels) == 1
    return pixels[0] if alone else pixels


def _whole(head: str, goal: Any, raw: torch.Tensor, *, is_evidence: bool = False) -> Result:
    """Return what an output for the whole image says."""
    raw = raw.detach().float().cpu()
    if not votes_on_classes(goal):
        numbers = raw if is_evidence else goal.postprocess(raw)
        row = _predicted(goal.records.row(numbers))
        named = dict(zip(goal.classes, numbers.tolist(), strict=True)) if goal.classes else None
        return Result(head, record=row, value=named if named else float(numbers[0]))
    chances = raw if is_evidence else goal.probabilities(raw)
    row = _predicted(goal.records.row(chances))
    by_name = dict(zip(goal.classes, chances.tolist(), strict=True))
    if getattr(goal, "multilabel", False):
        said = tuple(name for name in goal.classes if row[f"predicted/{name}"])
        return Result(head, record=row, value=ImageLabels(said, by_name))
    return Result(head, record=row, value=ImageClass(row["predicted"], by_name))


def _predicted(row: dict[str, Any]) -> dict[str, Any]:
    """Leave the target out of a record: nobody knows it."""
    return {name: value for name, value in row.items() if name.split("/")[0] != TARGET}
