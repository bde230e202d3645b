"""Several predictions of an image against several annotations of it.

Kohl et al., "A probabilistic U-Net for segmentation of ambiguous images", NeurIPS 2018, measure the
two sets by the generalised energy distance of Székely and Rizzo (2013), with one minus intersection
over union as the distance of two segmentations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .base import Array, Better, SamplesMetric
from .suite import MetricSuite

Row = dict[str, Any]


class GeneralizedEnergyDistance(SamplesMetric):
    r"""Distance of the distribution of predictions from that of the annotations; 0 where equal.

    .. math:: D^2 = 2 E[d(S, Y)] - E[d(S, S')] - E[d(Y, Y')]

    over all pairs of samples :math:`S` and annotations :math:`Y`, a sample with itself included, as
    in the paper; :math:`d` is `iou_distances`. With one annotation for each image it is still
    least, on average over many samples, where these are spread as the annotations are.

    Args:
        classes: Names of the classes in the order of their labels, background first.

    Example:
        >>> labels = np.array([[0, 1], [1, 1]])
        >>> GeneralizedEnergyDistance(["background", "lesion"])(labels, labels)
        {'ged': 0.0}
    """

    name = "ged"
    better = "min"

    def __call__(self, samples: Array, truths: Array) -> dict[str, float]:
        """See `SamplesMetric`."""
        count = len(self.classes)
        across = iou_distances(samples, truths, count).mean()
        within = [iou_distances(one, one, count).mean() for one in (samples, truths)]
        return {self.name: float(2 * across - sum(within))}


class SampleDiversity(SamplesMetric):
    r"""Mean distance of two different samples: :math:`E_{s \ne s'}[d(S_s, S_{s'})]`.

    ``sample_diversity/annotators`` is that of two different annotations, where there are several:
    samples shall differ as much as these, no more and no less.

    Args:
        classes: Names of the classes in the order of their labels, background first.

    Example:
        >>> samples = np.array([[0, 1], [1, 0], [0, 1]])
        >>> found = SampleDiversity(["background", "lesion"])(samples, samples[:1])
        >>> round(found["sample_diversity"], 3)
        0.667
    """

    name = "sample_diversity"

    def __call__(self, samples: Array, truths: Array) -> dict[str, float]:
        """See `SamplesMetric`."""
        found = {"": samples, "/annotators": truths}
        return {f"{self.name}{part}": self._of_pairs(labels) for part, labels in found.items()}

    def _of_pairs(self, labels: Array) -> float:
        count = len(labels)
        if count < 2:
            return float("nan")
        return float(iou_distances(labels, labels, len(self.classes)).sum() / (count * (count - 1)))


class SampledMetrics(MetricSuite):
    """Metrics of the mean prediction, as of any segmentation, and of the samples.

    Args:
        metrics: Metrics of the mean prediction.
        classes: Names of the classes in the order of their labels, background first.
        of_samples: Metrics of the samples.
    """

    def __init__(
        self, metrics: Sequence[Any], classes: Sequence[str], of_samples: Sequence[SamplesMetric]
    ) -> None:
        super().__init__(metrics, classes)
        self.of_samples = tuple(of_samples)

    @property
    def directions(self) -> dict[str, Better]:
        """See `MetricSuite`."""
        return super().directions | {metric.name: metric.better for metric in self.of_samples}

    def row_of_samples(self, samples: Array, truths: Array, weight: Array | None = None) -> Row:
        """Measure the samples of one image.

        Args:
            samples: Predicted labels ``(S, [Z,] Y, X)``.
            truths: Annotated labels ``(M, [Z,] Y, X)``.
            weight: Cost map ``([Z,] Y, X)``; pixels with weight 0 do not count.
        """
        kept = [
            one.reshape(len(one), -1) if weight is None else one[:, weight > 0]
            for one in (samples, truths)
        ]
        row: Row = {}
        for metric in self.of_samples:
            row |= metric(*kept)
        return row


def mean_of_rows(rows: Sequence[Mapping[str, float]]) -> Row:
    """Return the mean of each column over annotations that define it, NaN where none does.

    Example:
        >>> mean_of_rows([{"dice": 1.0}, {"dice": 0.5}, {"dice": float("nan")}])
        {'dice': 0.75}
    """
    found: Row = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows], dtype=float)
        known = values[~np.isnan(values)]
        found[name] = float(known.mean()) if known.size else float("nan")
    return found


def iou_distances(first: Array, second: Array, classes: int) -> Array:
    r"""Distances of segmentations: :math:`1 - \mathrm{IoU}`, averaged over foreground classes.

    A class that neither of the two shows does not count; two that show no foreground are equal.

    Args:
        first: Labels ``(S, N)``.
        second: Labels ``(M, N)``.
        classes: Number of classes, background included.

    Returns:
        Float64 ``(S, M)``.

    Example:
        >>> iou_distances(np.array([[0, 1, 1], [0, 0, 0]]), np.array([[0, 0, 1]]), 2)
        array([[0.5],
               [1. ]])
    """
    total = np.zeros((len(first), len(second)))
    shown = np.zeros_like(total)
    for label in range(1, classes):
        # counts of pixels are exact in float32 up to 16 million, in float64 always
        ours, theirs = ((one == label).astype(_exact(one.shape[1])) for one in (first, second))
        both = (ours @ theirs.T).astype(np.float64)
        either = ours.sum(1, dtype=float)[:, None] + theirs.sum(1, dtype=float)[None] - both
        there = either > 0
        total += np.where(there, 1 - both / np.where(there, either, 1), 0)
        shown += there
    return total / np.where(shown > 0, shown, 1)


def _exact(pixels: int) -> type:
    return np.float32 if pixels < 1 << 24 else np.float64
