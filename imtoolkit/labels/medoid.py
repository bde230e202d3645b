"""Medoids: of each object the pixel whose distances to all its pixels have the least sum.

The sums of all candidates at once are a convolution of the object with the distances from a pixel,
by FFT: n log n where comparing all pairs takes n squared. It is exact, but for sums that differ by
less than a billionth; those count as equal. An object whose box is too large for that is searched:
the sum of distances is convex, so each pixel that was tried rules out those behind it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft, ndimage

from .numbering import relabel

_EQUAL: Final = 1e-9
"""Sums whose ratio differs from 1 by less are equal; the error of the FFT is thousands smaller."""
_MOST: Final = 1 << 22
"""Values of the largest FFT: 32 MB, and a few times that while it runs."""
_KEPT: Final = 1 << 17
"""Values of the largest kernel that is kept for the next object."""


def medoids(
    labels: ArrayLike, *, spacing: Sequence[float] | None = None
) -> tuple[NDArray[np.integer[Any]], NDArray[np.float64]]:
    """Return the numbers of all objects, ascending, and their medoids, ``(N, axes)`` in pixels.

    Args:
        labels: Labels of any shape; 0 is background.
        spacing: Pixel size along each axis by which distances are measured; left out, all alike.

    Returns:
        Numbers ``(N,)`` and positions ``(N, axes)``; where several pixels have the same sum, the
        first in scan order.

    Raises:
        ValueError: If the labels are no integers or negative.

    Example:
        >>> medoids([[4, 4, 4, 4, 4, 0, 7]])[1].tolist()
        [[0.0, 2.0], [0.0, 6.0]]
    """
    new, former = relabel(labels)
    sizes = tuple(map(float, spacing)) if spacing is not None else (1.0,) * new.ndim
    steps = tuple(size / sizes[-1] for size in sizes)  # in one unit, kernels serve more images
    found = np.zeros((len(former) - 1, new.ndim))
    for place, box in enumerate(ndimage.find_objects(new) if new.size else []):
        mask = new[box] == place + 1
        start = [side.start for side in box]
        places = np.argwhere(mask)
        found[place] = start + places[_medoid(mask, places, steps)]
    return former[1:], found


def _medoid(mask: NDArray[np.bool_], places: NDArray[np.int64], steps: tuple[float, ...]) -> int:
    """Return which pixel of a mask is its medoid."""
    if len(places) <= 2:
        return 0
    padded = tuple(fft.next_fast_len(2 * side - 1, real=True) for side in mask.shape)
    if math.prod(padded) > _MOST:
        return search(places * np.array(steps))
    sums = _sums(mask, padded, steps)[mask]
    return int(np.argmax(sums <= sums.min() * (1 + _EQUAL)))


def _sums(
    mask: NDArray[np.bool_], padded: tuple[int, ...], steps: tuple[float, ...]
) -> NDArray[np.float64]:
    """Return for each pixel of the box its sum of distances to the pixels of the mask."""
    kernel = _kernel if math.prod(padded) <= _KEPT else _kernel.__wrapped__
    spectrum = fft.rfftn(mask.astype(np.float64), padded) * kernel(padded, steps)
    sums: NDArray[np.float64] = fft.irfftn(spectrum, padded, overwrite_x=True)
    return sums[tuple(slice(side) for side in mask.shape)]


@functools.lru_cache(maxsize=64)
def _kernel(shape: tuple[int, ...], steps: tuple[float, ...]) -> NDArray[np.complex128]:
    """Return the spectrum of the distance from pixel 0 on a grid that is closed to a ring."""
    squares = np.zeros(shape)
    for axis, (side, step) in enumerate(zip(shape, steps, strict=True)):
        along = np.minimum(np.arange(side), side - np.arange(side)) * step
        squares += (along**2).reshape([-1 if at == axis else 1 for at in range(len(shape))])
    return np.asarray(fft.rfftn(np.sqrt(squares)))


def search(points: NDArray[np.float64]) -> int:
    """Return which point has the least sum of distances to all; of equal ones, the first.

    The sum of distances f is convex, so ``f(p) >= f(q) + g(q) . (p - q)`` with its gradient g at
    any point q that was tried: points whose bound is above the best sum are out. The next to be
    tried is the one with the least bound. Memory grows with the points; few are tried unless the
    points lie on a ring.

    Args:
        points: ``(N, axes)``.
    """
    centre = points - points.mean(axis=0)
    bounds = np.zeros(len(points))
    left = np.arange(len(points))
    best, chosen = math.inf, 0
    tried = int(np.argmin((centre**2).sum(axis=1)))
    while len(left):
        total, gradient = _sum_and_gradient(points, tried)
        if total < best * (1 - _EQUAL) or (total <= best * (1 + _EQUAL) and tried < chosen):
            best, chosen = min(best, total), tried
        bounds[left] = np.maximum(bounds[left], total + (points[left] - points[tried]) @ gradient)
        left = left[(bounds[left] <= best * (1 + _EQUAL)) & (left != tried)]
        if len(left):
            tried = int(left[np.argmin(bounds[left])])
    return chosen


def _sum_and_gradient(points: NDArray[np.float64], tried: int) -> tuple[float, NDArray[np.float64]]:
    ways = points[tried] - points
    lengths = np.sqrt((ways**2).sum(axis=1))
    units = ways / np.where(lengths > 0, lengths, 1)[:, None]
    return float(lengths.sum()), units.sum(axis=0)
