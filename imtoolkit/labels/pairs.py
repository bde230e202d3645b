"""How often each pair of labels stands at one pixel of two images.

Counted block by block, so that memory grows with the pairs and not with the pixels, and by runs of
equal pixels, so that there is little to sort.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .numbering import as_labels, blocks, relabel

_BLOCK: Final = 1 << 22
"""Pixels that are looked at together."""
_HIGHEST: Final = 1 << 61

Counts = NDArray[np.int64]
Labels = NDArray[np.integer[Any]]


def count_pairs(
    first: ArrayLike, second: ArrayLike, counted: NDArray[np.bool_] | None = None
) -> tuple[Labels, Labels, NDArray[np.bool_], Counts]:
    """Count the pixels of each pair of labels, background included.

    Args:
        first: Labels of any shape; 0 is background.
        second: Labels of the same shape.
        counted: Which pixels count, of the same shape; left out, all.

    Returns:
        For each pair the label of the first image, that of the second, whether its pixels count,
        and their number; sorted by the first, then the second.

    Raises:
        ValueError: If the shapes differ, or labels are no integers or negative.

    Example:
        >>> found = count_pairs([[1, 1, 0], [0, 2, 2]], [[5, 5, 5], [0, 0, 5]])
        >>> [column.tolist() for column in (found[0], found[1], found[3])]
        [[0, 0, 1, 2, 2], [0, 5, 5, 0, 5], [1, 1, 2, 1, 1]]
    """
    a, b = as_labels(first), as_labels(second)
    for other in (b, counted):
        if other is not None and a.shape != other.shape:
            message = f"label images must be of one shape, got {a.shape} and {other.shape}"
            raise ValueError(message)
    highest, wide = (int(image.max()) + 1 if image.size else 1 for image in (a, b))
    if highest * wide > _HIGHEST:  # a pair would not fit into one number
        (a, former_a), (b, former_b) = relabel(a), relabel(b)
        left, right, kept, pixels = count_pairs(a, b, counted)
        return former_a[left], former_b[right], kept, pixels
    keys, pixels = _counted_keys(a, b, counted, highest, wide)
    left, right = np.divmod(keys >> 1, wide)
    return left.astype(a.dtype), right.astype(b.dtype), (keys & 1).astype(bool), pixels


def _counted_keys(
    a: Labels, b: Labels, counted: NDArray[np.bool_] | None, highest: int, wide: int
) -> tuple[Counts, Counts]:
    """Return ``2 * (a * wide + b) + counted`` of all pixels, ascending, and how often each is."""
    found = _keys(a, b, counted, wide)
    if 2 * highest * wide <= min(_BLOCK, 4 * a.size):  # a table of all pairs is small
        table = np.zeros(2 * highest * wide, np.int64)
        for keys in found:
            table += np.bincount(keys, minlength=len(table))
        there = np.flatnonzero(table)
        return there, table[there]
    empty = np.zeros(0, np.int64)
    merged: tuple[Counts, Counts] = (empty, empty)
    waiting: list[tuple[Counts, Counts]] = []
    for keys in found:
        waiting.append(_summed(*_runs(keys)))
        # rarely, so that each pair is sorted a few times only
        if sum(len(part) for part, _ in waiting) > max(_BLOCK, len(merged[0])):
            merged, waiting = _merged([merged, *waiting]), []
    return _merged([merged, *waiting])


def _keys(
    a: Labels, b: Labels, counted: NDArray[np.bool_] | None, wide: int
) -> Iterator[NDArray[np.int64]]:
    a, b = a.reshape(-1), b.reshape(-1)
    counted = None if counted is None else counted.reshape(-1)
    for part in blocks(a.size, _BLOCK):
        keys = a[part].astype(np.int64)
        keys *= wide
        keys += b[part].astype(np.int64, copy=False)
        keys <<= 1
        keys |= 1 if counted is None else counted[part]
        yield keys


def _runs(keys: NDArray[np.int64]) -> tuple[Counts, Counts]:
    """Return the value of each run of equal values, and its length."""
    starts = np.concatenate([[0], np.flatnonzero(keys[1:] != keys[:-1]) + 1])
    return keys[starts], np.diff(starts, append=len(keys))


def _summed(keys: Counts, counts: Counts) -> tuple[Counts, Counts]:
    """Return each key once, ascending, with the sum of its counts."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.concatenate([[0], np.flatnonzero(keys[1:] != keys[:-1]) + 1])
    return keys[starts], np.add.reduceat(counts[order], starts)


def _merged(parts: list[tuple[Counts, Counts]]) -> tuple[Counts, Counts]:
    parts = [part for part in parts if len(part[0])]
    if len(parts) < 2:
        return parts[0] if parts else (np.zeros(0, np.int64), np.zeros(0, np.int64))
    return _summed(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
