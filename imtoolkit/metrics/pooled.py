"""A measure of all images together, made of the counts that each image left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .base import Array, CountedMetric, WeightedMetric
from .records import SetArrays


class PooledMetric(WeightedMetric):
    """Sums the counts of a metric over the images before its formula.

    An image then weighs as much as it holds, where in the mean over images each weighs the same.

    Args:
        metric: The metric of single images.
    """

    def __init__(self, metric: CountedMetric) -> None:
        self.metric = metric
        self.name = f"pooled_{metric.name}"
        self.better = metric.better

    def arrays(self, rows: Sequence[Mapping[str, Any]], prefix: str = "") -> SetArrays:
        """Return the counts of the images that were measured, see `SetArrays`."""
        start = f"{prefix}/" if prefix else ""
        names = [start + name for name in self.metric.columns]
        nan = float("nan")
        cells = [[row.get(name, nan) for name in names] for row in rows]
        counts = np.array(cells, dtype=float).reshape(len(rows), len(names))
        kept = np.flatnonzero(~np.isnan(counts).any(1))
        return SetArrays(counts[kept], np.zeros((len(kept), 0)), None, kept)

    def weighted(
        self, predicted: Array, target: Array, probability: Array | None, weights: Array
    ) -> dict[str, Array]:
        """See `WeightedMetric`; ``predicted`` holds the counts ``(N, columns)``."""
        del target, probability
        values = self.metric.formula(weights @ predicted)
        return {f"pooled_{name}": value for name, value in values.items()}
