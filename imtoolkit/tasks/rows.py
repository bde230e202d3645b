"""One row of numbers for each evaluated image, brought together from all ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from imtoolkit.core.batch import DATASET, ID, IMAGE, Batch
from imtoolkit.metrics.suite import MetricSuite, reduce_rows

Row = dict[str, Any]


def gathered(items: Sequence[Row]) -> list[Row]:
    """Return the items of all ranks in the order of ranks; without distributed training, these."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return list(items)
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, list(items))
    return [item for part in parts for item in part]


def unique_sorted(rows: Sequence[Row]) -> list[Row]:
    """Return each image once, sorted by data set and id, whichever rank had it.

    Example:
        >>> unique_sorted([{"id": "b", "dataset": "x"}, {"id": "a", "dataset": "x"}] * 2)
        [{'id': 'a', 'dataset': 'x'}, {'id': 'b', 'dataset': 'x'}]
    """
    by_place = {(row["dataset"], row["id"]): row for row in rows}
    return [by_place[place] for place in sorted(by_place)]


def summarised(rows: Sequence[Row], metrics: MetricSuite | None = None) -> dict[str, float]:
    """Sum up the rows: ``name`` over all images, ``dataset/name`` where there are several sets.

    Args:
        rows: One for each image.
        metrics: What knows how; left out, each column is averaged.

    Example:
        >>> summarised([{"dataset": "x", "dice": 1.0}, {"dataset": "y", "dice": 0.5}])
        {'dice': 0.75, 'x/dice': 1.0, 'y/dice': 0.5}
    """
    reduced = reduce_rows if metrics is None else metrics.summarise
    means = reduced(rows)
    datasets = sorted({row["dataset"] for row in rows})
    if len(datasets) > 1:
        for dataset in datasets:
            own = reduced([row for row in rows if row["dataset"] == dataset])
            means |= {f"{dataset}/{name}": value for name, value in own.items()}
    return means


def one_by_one(batch: Batch) -> Iterator[Batch]:
    """Yield a batch of one for each image of a batch."""
    size = batch_size(batch)
    if size == 1:
        yield batch
        return
    for index in range(size):
        yield {key: _part(value, index, size) for key, value in batch.items()}


def batch_size(batch: Batch) -> int:
    """Return the number of images in a batch."""
    return int(batch[IMAGE].shape[0])


def place_of(batch: Batch, fallback: str) -> Row:
    """Return id and data set of a batch of one; ``fallback`` names it where it has no id."""
    return {
        "id": str(_first(batch.get(ID), fallback)),
        "dataset": str(_first(batch.get(DATASET), "data")),
    }


def first_of(prediction: Tensor | dict[str, Tensor] | None) -> Any:
    """Return what belongs to the first image of a batch, by name where there are names."""
    if isinstance(prediction, dict):
        return {name: value[0] for name, value in prediction.items()}
    return None if prediction is None else prediction[0]


def _part(value: Any, index: int, size: int) -> Any:
    if isinstance(value, (Tensor, list, tuple)) and len(value) == size:
        return value[index : index + 1]
    return value


def _first(value: Any, fallback: str) -> Any:
    if isinstance(value, (list, tuple)):
        return value[0] if value else fallback
    return fallback if value is None else value
