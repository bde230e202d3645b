"""A look at what the net gets: samples of a split as one figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from imtoolkit.core.batch import ID, IMAGE, TARGET, Batch
from imtoolkit.core.facts import TargetKind, TargetSpec
from imtoolkit.data.columns import IN_TABLE
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
    if target.kind in IN_TABLE:
        row[TARGET] = _words(value[0], target)
    elif isinstance(value, torch.Tensor) and value.ndim > 2:
        row[TARGET] = value[0].numpy()
        row["instances"] = target.kind is TargetKind.INSTANCES
    return row


def _words(value: torch.Tensor, target: TargetSpec) -> str:
    """Return what stands in the title for a class, for several, or for numbers."""
    if target.kind is TargetKind.CLASS:
        return target.classes[int(value)] if int(value) >= 0 else "unknown"
    if bool(torch.isnan(value).any()):
        return "unknown"
    if target.kind is TargetKind.CLASSES:
        found = [name for name, there in zip(target.classes, value.tolist(), strict=True) if there]
        return ", ".join(found) or "none"
    return ", ".join(f"{number:g}" for number in value.tolist())
