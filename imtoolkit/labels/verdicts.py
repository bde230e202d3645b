"""What became of each object: found, missed, false, merged or split."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .ignored import overlap_of_counted
from .matching import Matching, match
from .overlaps import Overlap

Verdicts = NDArray[np.uint8]


class Verdict(IntEnum):
    """What became of an object."""

    LEFT_OUT = 0
    """It lies mostly where pixels are ignored."""
    FOUND = 1
    """It is matched."""
    MISSED = 2
    """A true object that is not matched."""
    FALSE = 3
    """A predicted object that is not matched."""
    MERGED = 4
    """Not matched: a predicted object that holds most of several true ones, or one of these."""
    SPLIT = 5
    """Not matched: a true object that holds most of several predicted ones, or one of these."""


@dataclass(frozen=True, eq=False)
class Judged:
    """The objects of a predicted image beside the true ones.

    Attributes:
        overlap: The true objects (first) and the predicted ones (second), and what they share.
        matching: Which is which.
        true: `Verdict` of each true object, in the order of ``overlap.first_ids``.
        predicted: `Verdict` of each predicted object, in the order of ``overlap.second_ids``.
        merges: Predicted objects that hold most of several true ones.
        splits: True objects that hold most of several predicted ones.
    """

    overlap: Overlap
    matching: Matching
    true: Verdicts
    predicted: Verdicts
    merges: int
    splits: int

    def of_true(self, labels: NDArray[np.integer[Any]]) -> Verdicts:
        """Return the verdict at each pixel of (a part of) the true image; 0 is background too."""
        return looked_up(labels, self.overlap.first_ids, self.true)

    def of_predicted(self, labels: NDArray[np.integer[Any]]) -> Verdicts:
        """Return the verdict at each pixel of (a part of) the predicted image."""
        return looked_up(labels, self.overlap.second_ids, self.predicted)


def judge(
    true: ArrayLike,
    predicted: ArrayLike,
    ignored: NDArray[np.bool_] | None = None,
    *,
    threshold: float = 0.5,
) -> Judged:
    """Tell what became of each object of two label images.

    Args:
        true: Labels of any shape; 0 is background.
        predicted: Labels of the same shape.
        ignored: Which pixels do not count, see `overlap_of_counted`.
        threshold: Smallest intersection over union of a match.

    Raises:
        ValueError: If the shapes differ, or labels are no integers or negative.

    Example:
        >>> found = judge([[1, 1, 0, 2, 2, 2, 0, 3]], [[7, 7, 0, 8, 8, 9, 0, 0]])
        >>> [Verdict(one).name for one in found.true]
        ['FOUND', 'FOUND', 'MISSED']
        >>> [Verdict(one).name for one in found.predicted]
        ['FOUND', 'FOUND', 'SPLIT']
        >>> found.merges, found.splits
        (0, 1)
    """
    overlap = overlap_of_counted(true, predicted, ignored)
    matching = match(overlap, threshold)
    whole = _several(overlap.second, overlap.pixels * 2 > overlap.first_sizes[overlap.first])
    parts = _several(overlap.first, overlap.pixels * 2 > overlap.second_sizes[overlap.second])
    of_true = np.full(len(overlap.first_ids), Verdict.MISSED, np.uint8)
    of_predicted = np.full(len(overlap.second_ids), Verdict.FALSE, np.uint8)
    of_true[matching.first] = of_predicted[matching.second] = Verdict.FOUND
    for kind, pairs in ((Verdict.SPLIT, parts), (Verdict.MERGED, whole)):
        for verdicts, of in (
            (of_true, overlap.first[pairs]),
            (of_predicted, overlap.second[pairs]),
        ):
            verdicts[of[verdicts[of] != Verdict.FOUND]] = kind
    merges, splits = (len(np.unique(of)) for of in (overlap.second[whole], overlap.first[parts]))
    return Judged(overlap, matching, of_true, of_predicted, merges, splits)


def _several(holder: NDArray[np.int64], held: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the pairs whose second side is held mostly by a first that holds several."""
    count = np.bincount(holder[held], minlength=int(holder.max(initial=0)) + 1)
    return np.flatnonzero(held & (count[holder] > 1))


def looked_up(
    labels: NDArray[np.integer[Any]], ids: NDArray[np.integer[Any]], values: NDArray[Any]
) -> NDArray[Any]:
    """Return the value of each pixel's label; 0 for background and labels without a value.

    Args:
        labels: Labels of any shape.
        ids: Labels that have a value, ascending, ``(N,)``.
        values: Their values, ``(N,)``.

    Example:
        >>> looked_up(np.array([0, 7, 3]), np.array([3, 7]), np.array([10, 20])).tolist()
        [0, 20, 10]
    """
    if not len(ids):
        return np.zeros(labels.shape, values.dtype)
    place = np.minimum(np.searchsorted(ids, labels), len(ids) - 1)
    found: NDArray[Any] = np.where(ids[place] == labels, values[place], values.dtype.type(0))
    return found
