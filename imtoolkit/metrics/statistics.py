"""How sure we are of a mean over images: bootstrap intervals and paired comparison.

Efron and Tibshirani, "An Introduction to the Bootstrap", 1993. Images are the units that are drawn,
since pixels of one image are not independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_MOST_DRAWN_AT_ONCE = 4_000_000  # numbers held in memory by one block of resamples


@dataclass(frozen=True)
class Interval:
    """A mean with its interval.

    Attributes:
        mean: Mean over the images where the value is defined; NaN if there are none.
        low: Lower end; NaN with fewer than two images.
        high: Upper end; NaN with fewer than two images.
        count: Images where the value is defined.
    """

    mean: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        if np.isnan(self.low):
            return f"{self.mean:.3f}"
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Comparison:
    """Mean difference of two models on the same images.

    Attributes:
        difference: Mean of ``first - second``, with its interval.
        p_value: Two-sided p-value of the sign-flip test that the mean difference is zero.
    """

    difference: Interval
    p_value: float


def bootstrap_mean(
    values: ArrayLike,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    *,
    needs_all: bool = False,
) -> Interval:
    """Return the mean over images with its percentile bootstrap interval; NaN values are left out.

    Args:
        values: One value for each image.
        confidence: Level of the interval, in (0, 1).
        resamples: Bootstrap samples.
        seed: Seed of the draw.
        needs_all: Whether one NaN makes the mean NaN, as for a loss, which every image has.

    Example:
        >>> bootstrap_mean([0.5, 0.5, 0.5])
        Interval(mean=0.5, low=0.5, high=0.5, count=3)
    """
    if not 0 < confidence < 1:
        message = f"got a confidence of {confidence}; expected a fraction between 0 and 1"
        raise ValueError(message)
    kept = _defined(values)
    if kept.size == 0 or (needs_all and kept.size < np.size(values)):
        return Interval(float("nan"), float("nan"), float("nan"), int(kept.size))
    mean = float(kept.mean())
    if kept.size == 1:
        return Interval(mean, float("nan"), float("nan"), 1)
    means = _resampled_means(kept, resamples, np.random.default_rng(seed))
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(mean, float(low), float(high), int(kept.size))


def paired_difference(
    first: Sequence[float],
    second: Sequence[float],
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    *,
    needs_all: bool = False,
) -> Comparison:
    """Compare two models on the same images.

    Args:
        first: One value for each image.
        second: Values of the other model, image by image in the same order.
        confidence: Level of the interval.
        resamples: Bootstrap samples, and sign flips of the test.
        seed: Seed of the draw.
        needs_all: Whether one NaN makes the result NaN, as for a loss, which every image has.

    Raises:
        ValueError: If the two differ in length.
    """
    if len(first) != len(second):
        message = f"got {len(first)} and {len(second)} values; expected the same images"
        raise ValueError(message)
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    interval = bootstrap_mean(differences, confidence, resamples, seed, needs_all=needs_all)
    difference = _defined(differences)
    if difference.size < 2 or np.isnan(interval.mean):
        return Comparison(interval, float("nan"))
    rng = np.random.default_rng(seed + 1)
    flipped = np.array(
        [(difference * rng.choice((-1.0, 1.0), difference.size)).mean() for _ in range(resamples)]
    )
    # a tiny slack counts sums that differ from the observed one by rounding only
    extreme = np.count_nonzero(np.abs(flipped) >= abs(interval.mean) - 1e-12)
    return Comparison(interval, (extreme + 1) / (resamples + 1))


def _resampled_means(
    values: NDArray[np.float64], resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    block = max(1, _MOST_DRAWN_AT_ONCE // values.size)
    means = [
        values[rng.integers(0, values.size, (min(block, resamples - start), values.size))].mean(1)
        for start in range(0, resamples, block)
    ]
    return np.concatenate(means)


def _defined(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64).ravel()
    return array[~np.isnan(array)]
