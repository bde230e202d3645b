"""The images of an evaluated batch, each with what the task predicted of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from imtoolkit.core.batch import ID, IMAGE, PREDICTION, SPACING, TARGET, Batch


@dataclass(frozen=True)
class Evaluated:
    """An evaluated image, on the preprocessed grid and on the device of the task.

    Attributes:
        id: Id of the sample.
        image: ``(C, [Z,] Y, X)``.
        prediction: What the task makes of it, for labels ``([Z,] Y, X)``.
        target: As in the batch, without its first axis; ``None`` where there is none.
        spacing: Pixel size ``[Z,] Y, X``; ``None`` where the file does not tell.
    """

    id: str
    image: Tensor
    prediction: Tensor
    target: Tensor | None
    spacing: tuple[float, ...] | None


def evaluated(batch: Batch, outputs: Mapping[str, Any] | None) -> Iterator[Evaluated]:
    """Yield the images of a batch that have a prediction.

    Args:
        batch: The batch.
        outputs: What ``validation_step`` or ``test_step`` returned: the predictions that were
            measured, so that no image goes through the net twice.
    """
    for index, prediction in enumerate((outputs or {}).get(PREDICTION, ())):
        if prediction is None:
            continue
        target = batch.get(TARGET)
        yield Evaluated(
            id=str(batch[ID][index]),
            image=batch[IMAGE][index],
            prediction=prediction,
            target=None if target is None else target[index],
            spacing=_spacing(batch, index),
        )


def _spacing(batch: Batch, index: int) -> tuple[float, ...] | None:
    size = batch[SPACING][index].tolist() if SPACING in batch else []
    known = bool(size) and all(value == value for value in size)  # NaN: not told
    return tuple(size) if known else None
