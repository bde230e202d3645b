"""The best one-to-one choice among weighted pairs, for graphs too large for a table."""

from __future__ import annotations

import heapq
from typing import Final

import numpy as np
from numpy.typing import NDArray

_NONE: Final = -1


def best_pairs(
    rows: NDArray[np.int64], columns: NDArray[np.int64], gains: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Choose pairs of the highest total gain, each row and each column in one pair at most.

    Rows are added one by one, each along a shortest alternating path (Kuhn's Hungarian method as
    Jonker and Volgenant, Computing 1987, do it). A path visits what lies around it, so that time
    grows with the pairs where conflicts are local, as those of objects are.

    Args:
        rows: Row of each pair, ``(P,)``, from 0; each pair once.
        columns: Column of each pair, ``(P,)``, from 0.
        gains: Gain of each pair, ``(P,)``, above 0.

    Returns:
        Positions of the chosen pairs, ascending.

    Example:
        >>> rows, columns = np.array([0, 0, 1]), np.array([0, 1, 0])
        >>> best_pairs(rows, columns, np.array([1.5, 1.0, 1.0])).tolist()
        [1, 2]
    """
    search = _Search(rows, columns, gains)
    for row in range(len(search.pairs)):
        search.add(row)
    partner = np.array(search.column_of, np.int64)
    return np.flatnonzero(partner[rows] == columns)


class _Search:
    """An assignment that is optimal for the rows that were added, with its dual prices.

    A row's profit is at least its gain from any column minus the price of the column, and equal for
    the column that it has; rows without a column have no profit, free columns no price.
    """

    def __init__(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], gains: NDArray[np.float64]
    ) -> None:
        order = np.argsort(rows, kind="stable")
        count = int(rows.max(initial=_NONE)) + 1
        wide = int(columns.max(initial=_NONE)) + 1
        both = list(zip(columns[order].tolist(), gains[order].tolist(), strict=True))
        ends = np.cumsum(np.bincount(rows, minlength=count)).tolist()
        self.pairs = [both[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        self.profit, self.price = [0.0] * count, [0.0] * wide
        self.column_of, self.row_of = [_NONE] * count, [_NONE] * wide

    def add(self, row: int) -> None:
        """Take in a row; others may change their column or lose it."""
        best = max((gain - self.price[column] for column, gain in self.pairs[row]), default=0.0)
        self.profit[row] = max(0.0, best)
        path = _Path(row, self.profit[row])
        while True:
            self._look_around(path)
            column = path.nearest()
            if column == _NONE:
                break
            if self.row_of[column] == _NONE:
                path.end, path.least = column, path.away[column]
                break
            path.cross(column, self.row_of[column], self.profit[self.row_of[column]])
        for other, cost in path.reached:
            self.profit[other] -= max(0.0, path.least - cost)
        for column, cost in path.crossed.items():
            self.price[column] += max(0.0, path.least - cost)
        self._shift(path)

    def _look_around(self, path: _Path) -> None:
        """Reach for the columns of the row where the path stands."""
        here, so_far = path.reached[-1]
        for column, gain in self.pairs[here]:
            cost = so_far + self.profit[here] - gain + self.price[column]
            if column not in path.crossed and cost < path.away.get(column, path.least):
                path.away[column], path.came_from[column] = cost, here
                heapq.heappush(path.waiting, (cost, column))

    def _shift(self, path: _Path) -> None:
        """Give each row of the path the column before it, from the end of the path on."""
        first, column = path.reached[0][0], path.end
        if column == _NONE:
            if path.loser == first:
                return
            column, self.column_of[path.loser] = self.column_of[path.loser], _NONE
        while True:
            owner = path.came_from[column]
            before, self.column_of[owner] = self.column_of[owner], column
            self.row_of[column] = owner
            if owner == first:
                return
            column = before


class _Path:
    """What is known of the way from a new row to a free column, or to a row that loses its own.

    Args:
        row: The row.
        profit: What it costs to leave this row without a column.
    """

    def __init__(self, row: int, profit: float) -> None:
        self.reached = [(row, 0.0)]
        self.crossed: dict[int, float] = {}
        self.away: dict[int, float] = {}
        self.came_from: dict[int, int] = {}
        self.waiting: list[tuple[float, int]] = []
        self.end, self.loser, self.least = _NONE, row, profit

    def nearest(self) -> int:
        """Return the nearest column that was not crossed, if it is nearer than the end known."""
        while self.waiting:
            cost, column = heapq.heappop(self.waiting)
            if cost >= self.least:
                return _NONE
            if column not in self.crossed:
                return column
        return _NONE

    def cross(self, column: int, row: int, profit: float) -> None:
        """Go over a column to the row that has it."""
        cost = self.away[column]
        self.crossed[column] = cost
        self.reached.append((row, cost))
        if cost + profit < self.least:
            self.loser, self.least = row, cost + profit
