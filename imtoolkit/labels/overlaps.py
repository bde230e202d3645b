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

from .numbering import relabel


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
    if np.shape(first) != np.shape(second):
        message = f"label images must be of one shape, got {np.shape(first)} and {np.shape(second)}"
        raise ValueError(message)
    (a, first_ids), (b, second_ids) = relabel(first), relabel(second)
    a, b = a.ravel(), b.ravel()
    wide = len(second_ids)
    both = (a > 0) & (b > 0)
    pairs = a[both].astype(np.int64) * wide + b[both]
    if len(first_ids) * wide <= 4 * a.size:  # a table of all pairs is smaller than the image
        counts = np.bincount(pairs, minlength=1)
        keys = np.flatnonzero(counts)
        pixels = counts[keys]
    else:
        keys, pixels = np.unique(pairs, return_counts=True)
    return Overlap(
        first_ids=first_ids[1:],
        second_ids=second_ids[1:],
        first_sizes=np.bincount(a, minlength=len(first_ids))[1:],
        second_sizes=np.bincount(b, minlength=wide)[1:],
        first=keys // wide - 1,
        second=keys % wide - 1,
        pixels=pixels,
    )
