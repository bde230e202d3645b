"""How objects overlap where some pixels do not count."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .overlaps import Overlap, tabled
from .pairs import count_pairs


def overlap_of_counted(
    true: ArrayLike, predicted: ArrayLike, ignored: NDArray[np.bool_] | None = None
) -> Overlap:
    """Count the pixels that true and predicted objects share, and leave out what is ignored.

    A true object that is ignored by more than half is left out, and what remains of it is ignored
    as well, so that who finds it is not punished. Sizes and shared pixels are those that count. A
    predicted object that is ignored by more than half is left out, unless it matches a true object
    at an intersection over union of 1/2.

    Args:
        true: Labels of any shape; 0 is background.
        predicted: Labels of the same shape.
        ignored: Which pixels do not count, of the same shape; left out, all count.

    Returns:
        The table with the true objects first.

    Raises:
        ValueError: If the shapes differ, or labels are no integers or negative.

    Example:
        >>> true, ignored = np.array([[1, 1, 1, 2, 2, 2]]), np.array([[0, 0, 0, 0, 1, 1]], bool)
        >>> found = overlap_of_counted(true, true, ignored)
        >>> found.first_ids.tolist(), found.second_ids.tolist()
        ([1], [1])
    """
    counted = None if ignored is None else ~ignored
    left, right, counts, pixels = count_pairs(true, predicted, counted)
    if ignored is None:
        return tabled(left, right, pixels)
    counts = counts & ~_mostly_ignored(left, counts, pixels)
    doubtful = _mostly_ignored(right, counts, pixels)
    found = tabled(left[counts], right[counts], pixels[counts])
    good = found.second_ids[found.second[found.iou() >= 0.5]]
    # an object that is left out becomes background: the sizes of the true ones stay
    right = np.where(doubtful & ~np.isin(right, good), right.dtype.type(0), right)
    return tabled(left[counts], right[counts], pixels[counts])


def _mostly_ignored(
    labels: NDArray[np.integer[Any]], counts: NDArray[np.bool_], pixels: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Tell for each pair whether more than half of its object is ignored."""
    _, place = np.unique(labels, return_inverse=True)
    ignored = np.bincount(place, pixels * ~counts)
    kept = np.bincount(place, pixels * counts)
    found: NDArray[np.bool_] = (ignored > kept)[place] & (labels > 0)
    return found
