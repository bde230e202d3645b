"""How sure we are of a measure of a whole set: images are drawn again, and models swapped.

The mean of a column is drawn in `statistics`; here the measure itself is computed from each drawn
set. Metrics that are formulas of weights (`WeightedMetric`) take all sets at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from .base import Array, SetMetric
from .records import SetArrays
from .statistics import Comparison, Interval

_MOST_DRAWN_AT_ONCE: Final = 4_000_000  # numbers held in memory by one block of resamples
_FEWEST_DEFINED: Final = 0.5  # of the resamples: an interval of fewer says little


def bootstrap_set(
    metric: SetMetric,
    arrays: SetArrays,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    *,
    strata: Array | None = None,
) -> dict[str, Interval]:
    """Return each value of a metric with its percentile bootstrap interval over images.

    Args:
        metric: The metric; slow ones are drawn `SetMetric.most_resamples` times.
        arrays: Records of ``N`` images.
        confidence: Level of the interval, in (0, 1).
        resamples: Bootstrap samples.
        seed: Seed of the draw.
        strata: Group of each image ``(N,)``: each group keeps its size in every sample, as the
            classes of a stratified test set do. Left out, all images are one group.

    Returns:
        ``{name: interval}``. The ends are NaN with fewer than two images, and where fewer than half
        of the samples define a value (a class that one image has is often not drawn).
    """
    found = metric(arrays.predicted, arrays.target, arrays.probability)
    count, nan = len(arrays), float("nan")
    if count < 2:
        return {name: Interval(value, nan, nan, count) for name, value in found.items()}
    drawn: dict[str, list[Array]] = {name: [] for name in found}
    for counts in _drawn(count, resamples_of(metric, resamples), seed, strata):
        values = metric.resampled(arrays.predicted, arrays.target, arrays.probability, counts)
        for name in found:
            drawn[name].append(values.get(name, np.full(len(counts), nan)))
    tail = (1 - confidence) / 2
    intervals = {}
    for name, value in found.items():
        low, high = _ends(np.concatenate(drawn[name]), tail)
        intervals[name] = Interval(value, low, high, count)
    return intervals


def paired_set(
    metric: SetMetric,
    first: SetArrays,
    second: SetArrays,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    *,
    strata: Array | None = None,
) -> dict[str, Comparison]:
    """Compare two models by a metric of the same images.

    The interval is a bootstrap of the difference. The p-value is that of a permutation test that
    swaps what the two models said of an image: for accuracy it is the sign-flip test.

    Args:
        metric: The metric.
        first: Records of one model.
        second: Records of the other, image by image in the same order.
        confidence: Level of the interval.
        resamples: Bootstrap samples, and permutations of the test.
        seed: Seed of the draw.
        strata: See `bootstrap_set`.

    Raises:
        ValueError: If the two differ in length.
    """
    if len(first) != len(second):
        message = f"got {len(first)} and {len(second)} images; expected the same images"
        raise ValueError(message)
    ours = metric(first.predicted, first.target, first.probability)
    theirs = metric(second.predicted, second.target, second.probability)
    names = [name for name in ours if name in theirs]
    count, most, nan = len(first), resamples_of(metric, resamples), float("nan")
    observed = {name: ours[name] - theirs[name] for name in names}
    if count < 2:
        one = {name: Interval(observed[name], nan, nan, count) for name in names}
        return {name: Comparison(interval, nan) for name, interval in one.items()}
    both = _joined(first, second)
    drawn = _differences(metric, both, _twice(_drawn(count, most, seed, strata)))
    swaps = _differences(metric, both, _swapped(count, most, seed + 1))
    compared = {}
    for name in names:
        low, high = _ends(drawn.get(name, np.array([nan])), (1 - confidence) / 2)
        interval = Interval(observed[name], low, high, count)
        p_value = _p_value(swaps.get(name, np.array([nan])), observed[name])
        compared[name] = Comparison(interval, p_value)
    return compared


def resamples_of(metric: SetMetric, resamples: int) -> int:
    """Return how often a set is drawn for a metric."""
    most = metric.most_resamples
    return resamples if most is None else min(most, resamples)


def draw_counts(
    count: int, resamples: int, rng: np.random.Generator, strata: Array | None = None
) -> Array:
    """Draw sets of images with replacement.

    Args:
        count: Number of images ``N``.
        resamples: Number of sets ``R``.
        rng: Where the randomness comes from.
        strata: Group of each image ``(N,)``; each keeps its size in every set.

    Returns:
        How often each image is in each set ``(R, N)``.

    Example:
        >>> draw_counts(5, 3, np.random.default_rng(0)).sum(1).tolist()
        [5, 5, 5]
    """
    counts = np.zeros((resamples, count), dtype=np.int64)
    groups = (
        np.zeros(count, dtype=np.int64)
        if strata is None
        else np.unique(strata, return_inverse=True)[1]
    )
    for group in range(int(groups.max()) + 1 if count else 0):
        own = np.flatnonzero(groups == group)
        drawn = rng.integers(0, own.size, (resamples, own.size))
        flat = drawn + own.size * np.arange(resamples)[:, None]
        counts[:, own] = np.bincount(flat.ravel(), minlength=resamples * own.size).reshape(
            resamples, own.size
        )
    return counts


def _drawn(count: int, resamples: int, seed: int, strata: Array | None) -> Iterator[Array]:
    rng = np.random.default_rng(seed)
    block = max(1, _MOST_DRAWN_AT_ONCE // count)
    for start in range(0, resamples, block):
        yield draw_counts(count, min(block, resamples - start), rng, strata)


def _joined(first: SetArrays, second: SetArrays) -> SetArrays:
    """Return the records of both models as one set of twice the images."""
    has = first.probability is not None and second.probability is not None
    return SetArrays(
        np.concatenate([first.predicted, second.predicted]),
        np.concatenate([first.target, second.target]),
        np.concatenate([first.probability, second.probability]) if has else None,
        np.concatenate([first.rows, second.rows]),
    )


def _twice(blocks: Iterator[Array]) -> Iterator[tuple[Array, Array]]:
    """Count the same images in the half of each model."""
    for counts in blocks:
        nothing = np.zeros_like(counts)
        yield np.hstack([counts, nothing]), np.hstack([nothing, counts])


def _swapped(count: int, resamples: int, seed: int) -> Iterator[tuple[Array, Array]]:
    """Take what one of the two models said of each image, and the other the rest."""
    rng = np.random.default_rng(seed)
    block = max(1, _MOST_DRAWN_AT_ONCE // count)
    for start in range(0, resamples, block):
        kept = rng.integers(0, 2, (min(block, resamples - start), count))
        yield np.hstack([kept, 1 - kept]), np.hstack([1 - kept, kept])


def _differences(
    metric: SetMetric, both: SetArrays, blocks: Iterator[tuple[Array, Array]]
) -> dict[str, Array]:
    found: dict[str, list[Array]] = {}
    for ours, theirs in blocks:
        first = metric.resampled(both.predicted, both.target, both.probability, ours)
        second = metric.resampled(both.predicted, both.target, both.probability, theirs)
        for name in first:
            if name in second:
                found.setdefault(name, []).append(first[name] - second[name])
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _ends(values: Array, tail: float) -> tuple[float, float]:
    defined = values[~np.isnan(values)]
    if defined.size < max(2, _FEWEST_DEFINED * values.size):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def _p_value(swaps: Array, observed: float) -> float:
    defined = swaps[~np.isnan(swaps)]
    if np.isnan(observed) or not defined.size:
        return float("nan")
    # a tiny slack counts sums that differ from the observed one by rounding only
    extreme = np.count_nonzero(np.abs(defined) >= abs(observed) - 1e-12)
    return float((extreme + 1) / (defined.size + 1))
