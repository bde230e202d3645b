"""A look at what the net gets: samples of a split as one figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from imtoolkit.core.batch import ID, IMAGE, TARGET, Batch
from imtoolkit.core.facts import TargetKind, TargetSpec
from imtoolkit.figures.panels import sample_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_preview(batches: Sequence[Batch], target: TargetSpec) -> Figure:
    """Draw image and target of each batch's first sample, one below the other.

    Args:
        batches: Batches of one sample.
        target: What the targets are; classes get their names.
    """
    classes = target.classes if target.kind is TargetKind.LABELS else ()
    return sample_figure([_row(batch, target) for batch in batches], classes)


def _row(batch: Batch, target: TargetSpec) -> dict[str, Any]:
    row: dict[str, Any] = {IMAGE: batch[IMAGE][0].numpy(), ID: batch[ID][0]}
    value = batch.get(TARGET)
    if value is None:
        return row
    if isinstance(value, torch.Tensor) and value.ndim > 1:
        row[TARGET] = value[0].numpy()
    elif target.kind is TargetKind.CLASS:
        row[TARGET] = target.classes[int(value[0])]
    else:
        row[TARGET] = float(value[0])
    return row
