"""How the objects of two label images overlap, as a sparse table.

A dense table of 10,000 x 10,000 objects would take most of a gigabyte; the pairs that share pixels
are some ten thousand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from .pairs import count_pairs


@dataclass(frozen=True, eq=False)
class Overlap:
    """The pairs of objects that share pixels, background left out.

    Attributes:
        first_ids: Numbers of all objects of the first image, ascending, ``(N,)``.
        second_ids: Numbers of all objects of the second image, ascending, ``(M,)``.
        first_sizes: Pixels of each, ``(N,)``.
        second_sizes: Pixels of each, ``(M,)``.
        first: For each pair, the position of its first object in ``first_ids``, ``(P,)``.
        second: For each pair, the position of its second object in ``second_ids``, ``(P,)``.
        pixels: Shared pixels of each pair, ``(P,)``.
    """

    first_ids: NDArray[np.integer[Any]]
    second_ids: NDArray[np.integer[Any]]
    first_sizes: NDArray[np.int64]
    second_sizes: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    pixels: NDArray[np.int64]

    def iou(self) -> NDArray[np.float64]:
        """Return intersection over union of each pair, ``(P,)``: ``I / (A + B - I)``."""
        union = self.first_sizes[self.first] + self.second_sizes[self.second] - self.pixels
        return self.pixels / union

    def dice(self) -> NDArray[np.float64]:
        """Return the Dice coefficient of each pair, ``(P,)``: ``2 I / (A + B)``."""
        return 2 * self.pixels / (self.first_sizes[self.first] + self.second_sizes[self.second])

    def matrix(self, values: NDArray[Any] | None = None) -> sparse.csr_array:
        """Return values of the pairs, shared pixels by default, as a sparse ``(N, M)`` matrix."""
        data = self.pixels if values is None else values
        shape = (len(self.first_ids), len(self.second_ids))
        return sparse.coo_array((data, (self.first, self.second)), shape=shape).tocsr()


def overlap(first: ArrayLike, second: ArrayLike) -> Overlap:
    """Count the pixels that each object of one label image shares with each of another.

    Memory and time grow with the pixels, not with the number of possible pairs.

    Args:
        first: Labels of any shape; 0 is background.
        second: Labels of the same shape.

    Raises:
        ValueError: If the shapes differ, or labels are no integers or negative.

    Example:
        >>> found = overlap([[1, 1, 0], [0, 2, 2]], [[5, 5, 5], [0, 0, 5]])
        >>> found.first_ids[found.first].tolist(), found.pixels.tolist(), found.iou().tolist()
        ([1, 2], [2, 1], [0.5, 0.2])
    """
    left, right, _, pixels = count_pairs(first, second)
    return tabled(left, right, pixels)


def tabled(
    left: NDArray[np.integer[Any]], right: NDArray[np.integer[Any]], pixels: NDArray[np.int64]
) -> Overlap:
    """Make the table of the pairs that `count_pairs` found.

    Args:
        left: Labels of the first image, ``(P,)``; 0 is background.
        right: Labels of the second image, ``(P,)``.
        pixels: Pixels of each pair, ``(P,)``; a pair may come several times.
    """
    first_ids, first, first_sizes = _objects(left, pixels)
    second_ids, second, second_sizes = _objects(right, pixels)
    both, wide = (first >= 0) & (second >= 0), max(1, len(second_ids))
    keys, place = np.unique(first[both] * wide + second[both], return_inverse=True)
    return Overlap(
        first_ids=first_ids,
        second_ids=second_ids,
        first_sizes=first_sizes,
        second_sizes=second_sizes,
        first=keys // wide,
        second=keys % wide,
        pixels=_sums(place, pixels[both], len(keys)),
    )


def _objects(
    labels: NDArray[np.integer[Any]], pixels: NDArray[np.int64]
) -> tuple[NDArray[np.integer[Any]], NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of objects, the place of each label among them, and their sizes.

    Background has the place -1.
    """
    values, place = np.unique(labels, return_inverse=True)
    sizes, objects = _sums(place, pixels, len(values)), values > 0
    return values[objects], place - np.count_nonzero(~objects), sizes[objects]


def _sums(place: NDArray[Any], pixels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    # float64 holds the pixels of any image exactly
    return np.bincount(place, pixels, minlength=count).astype(np.int64)
