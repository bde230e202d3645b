"""Which object of one label image is which of another, one to one.

Works on the pairs that overlap, never on a table of all pairs. From an intersection over union of
1/2 an object has one partner at most, or two that are its halves; below, the pairs fall apart into
small groups, each of which is an assignment problem of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse
from scipy.sparse import csgraph

from .assignment import best_pairs
from .overlaps import Overlap

_MOST_CELLS: Final = 1 << 18
"""Cells of a group that is solved as a dense table; larger ones are solved pair by pair."""

Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Matching:
    """Pairs of objects, each object in one pair at most.

    Attributes:
        first: Position of the first object of each pair in `Overlap.first_ids`, ``(K,)``.
        second: Position of the second object in `Overlap.second_ids`, ``(K,)``.
        iou: Intersection over union of each pair, ``(K,)``.
    """

    first: Places
    second: Places
    iou: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.first)

    def at(self, threshold: float) -> Matching:
        """Return the pairs from a higher threshold on.

        From 1/2 on this is the matching at that threshold, since no pair above 1/2 competes with
        another of at least 1/2.
        """
        kept = self.iou >= threshold
        return Matching(self.first[kept], self.second[kept], self.iou[kept])


def match(found: Overlap, threshold: float = 0.5) -> Matching:
    """Pair as many objects as possible, and of all ways to do so in that of the highest total IoU.

    Args:
        found: How the objects overlap, see `imtoolkit.labels.overlap`.
        threshold: Smallest intersection over union of a pair, in (0, 1].

    Raises:
        ValueError: If the threshold lies outside (0, 1].

    Example:
        >>> from imtoolkit.labels import overlap
        >>> found = overlap([[1, 1, 1, 0, 2, 2]], [[7, 7, 7, 8, 8, 8]])
        >>> match(found).iou.round(2).tolist(), len(match(found, 0.75))
        ([1.0, 0.67], 1)
    """
    if not 0 < threshold <= 1:
        message = f"got a threshold of {threshold}; an intersection over union is in (0, 1]"
        raise ValueError(message)
    iou = found.iou()
    pairs = np.flatnonzero(iou >= threshold)
    first, second = found.first[pairs], found.second[pairs]
    choose = _halves if threshold >= 0.5 else _assigned
    pairs = np.sort(pairs[choose(first, second, iou[pairs])])
    return Matching(found.first[pairs], found.second[pairs], iou[pairs])


def _halves(first: Places, second: Places, iou: NDArray[np.float64]) -> Places:
    """Choose pairs of at least 1/2: an object competes for its other half only, which is equal."""
    del iou
    kept = np.unique(first, return_index=True)[1]
    chosen: Places = kept[np.unique(second[kept], return_index=True)[1]]
    return chosen


def _assigned(first: Places, second: Places, iou: NDArray[np.float64]) -> Places:
    """Choose pairs group by group: a group holds what is connected by pairs."""
    chosen, groups = [np.zeros(0, np.int64)], _groups(first, second)
    # best first within its group
    order = np.lexsort((-iou, groups))
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    ends = np.append(starts[1:], len(order))
    lonely = np.ones(len(starts), bool)
    for index in np.flatnonzero(ends - starts > 1).tolist():
        own = order[starts[index] : ends[index]]
        rows, columns = (np.unique(side[own], return_inverse=True)[1] for side in (first, second))
        if rows.any() and columns.any():
            lonely[index] = False
            chosen.append(own[_solved(rows, columns, iou[own])])
    # a single pair, or one object with several partners: the best of them
    return np.concatenate([order[starts[lonely]], *chosen])


def _groups(first: Places, second: Places) -> Places:
    """Return the connected group of each pair."""
    (left, rows), (right, columns) = (
        np.unique(side, return_inverse=True) for side in (first, second)
    )
    count = len(left) + len(right)
    ones = np.ones(len(rows), np.int8)
    graph = sparse.coo_array((ones, (rows, len(left) + columns)), shape=(count, count))
    groups = csgraph.connected_components(graph, directed=False)[1] if count else rows
    return np.asarray(groups[rows], np.int64)


def _solved(rows: Places, columns: Places, iou: NDArray[np.float64]) -> Places:
    """Return which pairs of one group to take."""
    down, across = int(rows.max()) + 1, int(columns.max()) + 1
    # a pair more outweighs whatever the others may lose in IoU
    gain = 1 + iou / (2 * min(down, across))
    if down * across > _MOST_CELLS:
        return best_pairs(rows, columns, gain)
    table = np.zeros((down, across))
    table[rows, columns] = gain
    taken = optimize.linear_sum_assignment(table, maximize=True)
    partner = np.full(down, -1)
    partner[taken[0]] = taken[1]
    return np.flatnonzero(partner[rows] == columns)
