"""The images of an evaluated batch, each with what the task predicted of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from torch import Tensor

from imtoolkit.core.batch import (
    BESIDE,
    DOMAIN,
    ID,
    IMAGE,
    PREDICTION,
    SPACING,
    TARGET,
    WEIGHT,
    Batch,
    Stage,
)

OUTPUT: Final = "output"
"""Name of the only output of a net."""


@dataclass(frozen=True)
class EvaluatedHead:
    """What one output of a net says of an image.

    Attributes:
        name: Name of the head; ``""`` for the only output.
        dense: Whether it has pixels.
        prediction: What the task makes of it: labels ``([Z,] Y, X)``, an image ``(C, [Z,] Y, X)``;
            of the whole image a class or numbers.
        target: Labels ``(1, [Z,] Y, X)`` or an image; ``None`` where there is none.
        classes: Names of the classes of pixels, background first.
        is_complex: Whether channels are pairs of real and imaginary part.
        metric: Metric that is shown with it, such as ``dice``.
        instances: Whether labels are objects.
        ignored: Which pixels do not count ``([Z,] Y, X)``; ``None`` where all do.
    """

    name: str
    dense: bool
    prediction: Tensor
    target: Tensor | None = None
    classes: tuple[str, ...] = ()
    is_complex: bool = False
    metric: str = ""
    instances: bool = False
    ignored: Tensor | None = None

    @property
    def start(self) -> str:
        """What its columns begin with."""
        return f"{self.name}/" if self.name else ""


@dataclass(frozen=True)
class Evaluated:
    """An evaluated image, on the preprocessed grid and on the device of the task.

    Attributes:
        id: Id of the sample.
        image: ``(C, [Z,] Y, X)``.
        heads: What each output of the net says.
        row: Its metrics and records.
        spacing: Pixel size ``[Z,] Y, X``; ``None`` where the file does not tell.
        domain: ``A`` or ``B``, of a translation between two domains.
        beside: What the task tells of it beside its prediction, by name.
    """

    id: str
    image: Tensor
    heads: tuple[EvaluatedHead, ...]
    row: Mapping[str, Any] = field(default_factory=dict)
    spacing: tuple[float, ...] | None = None
    domain: str = ""
    beside: Mapping[str, Tensor] = field(default_factory=dict)


def evaluated(
    batch: Batch, outputs: Mapping[str, Any] | None, task: Any, stage: Stage
) -> Iterator[Evaluated]:
    """Yield the images of a batch that have a prediction.

    Args:
        batch: The batch.
        outputs: What ``validation_step`` or ``test_step`` returned: the predictions that were
            measured, so that no image goes through the net twice.
        task: The task, whose newest rows are those of the batch.
        stage: Validation or test.
    """
    predictions = list((outputs or {}).get(PREDICTION, ()))
    beside = list((outputs or {}).get(BESIDE, ())) or [None] * len(predictions)
    rows = getattr(task, "rows", {}).get(stage, [])[-len(predictions) :] if predictions else []
    for index, prediction in enumerate(predictions):
        if prediction is None:
            continue
        named = prediction if isinstance(prediction, Mapping) else {"": prediction}
        yield Evaluated(
            id=str(batch[ID][index]),
            image=batch[IMAGE][index],
            heads=tuple(_head(task, name, value, batch, index) for name, value in named.items()),
            row=rows[index] if len(rows) == len(predictions) else {},
            spacing=_spacing(batch, index),
            domain=str(batch[DOMAIN][index]) if DOMAIN in batch else "",
            beside=beside[index] or {},
        )


def _head(task: Any, name: str, prediction: Tensor, batch: Batch, index: int) -> EvaluatedHead:
    goals: Mapping[str, Any] = getattr(task, "goals", {})
    goal = goals.get(name or OUTPUT)
    if goal is None:  # a task of somebody's own that says no more than what it predicts
        target = batch.get(TARGET)
        classes = tuple(getattr(getattr(task, "config", None), "classes", None) or ())
        own = None if target is None else target[index]
        return EvaluatedHead(name, True, prediction, own, classes)
    own = batch.get(goal.key)
    known = goal.target_of({goal.key: own[index : index + 1]}) if isinstance(own, Tensor) else None
    instances = bool(getattr(goal, "instances", False))
    weight = batch[WEIGHT][index] if instances and WEIGHT in batch else None
    return EvaluatedHead(
        name,
        goal.dense,
        prediction,
        None if known is None else known[0],
        tuple(goal.classes) if goal.dense and goal.labels and not instances else (),
        bool(getattr(goal, "complex_channels", False)),
        goal.main_metric,
        instances,
        None if weight is None else weight[0] <= 0,
    )


def _spacing(batch: Batch, index: int) -> tuple[float, ...] | None:
    size = batch[SPACING][index].tolist() if SPACING in batch else []
    known = bool(size) and all(value == value for value in size)  # NaN: not told
    return tuple(size) if known else None
