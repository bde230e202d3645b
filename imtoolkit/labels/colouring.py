"""Few colours for many objects, so that neighbours differ."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .numbering import relabel


def neighbours(labels: ArrayLike, *, reach: int = 1) -> NDArray[np.integer[Any]]:
    """Return the pairs of objects that touch, corners included, or nearly do so.

    Args:
        labels: Labels of any shape; 0 is background.
        reach: Pixels along an axis within which two objects are neighbours.

    Returns:
        Pairs of numbers ``(P, 2)``, the smaller first, each once, ascending.

    Raises:
        ValueError: If the labels are no integers or negative.

    Example:
        >>> neighbours([[4, 7, 0, 5]]).tolist(), neighbours([[4, 7, 0, 5]], reach=2).tolist()
        ([[4, 7]], [[4, 7], [5, 7]])
    """
    new, former = relabel(labels)
    wide = len(former)
    keys = [np.zeros(0, np.int64)]
    for here, there in _shifts(new.ndim, reach):
        one, other = new[here], new[there]
        pairs = (one != other) & (one > 0) & (other > 0)
        low, high = np.minimum(one[pairs], other[pairs]), np.maximum(one[pairs], other[pairs])
        keys.append(np.unique(low.astype(np.int64) * wide + high))
    found: NDArray[np.integer[Any]] = former[
        np.stack(np.divmod(np.unique(np.concatenate(keys)), wide), axis=-1)
    ]
    return found


def colouring(
    labels: ArrayLike,
    colours: int,
    *,
    reach: int = 1,
    wishes: NDArray[np.integer[Any]] | None = None,
) -> tuple[NDArray[np.integer[Any]], NDArray[np.int64]]:
    """Give each object one of a few colours, so that neighbours differ where that is possible.

    Greedy: objects of many neighbours choose first (Welsh and Powell, The Computer Journal 1967),
    each the colour that was taken least.

    Args:
        labels: Labels of any shape; 0 is background.
        colours: How many there are.
        reach: See `neighbours`.
        wishes: Colour that each object, by ascending number, has if it can; -1 for none.

    Returns:
        The numbers of all objects, ascending, and the colour of each, from 0.

    Raises:
        ValueError: If the labels are no integers or negative, or there is no colour.

    Example:
        >>> ids, found = colouring([[4, 4, 8, 8, 3, 3]], 7)
        >>> ids.tolist(), found.tolist()  # 4 and 3 touch 8, and not each other
        ([3, 4, 8], [1, 2, 0])
    """
    if colours < 1:
        message = f"got {colours} colours; expected one or more"
        raise ValueError(message)
    new, former = relabel(labels)
    count = len(former) - 1
    near = _by_object(neighbours(new, reach=reach).astype(np.int64) - 1, count)
    wanted = [-1] * count if wishes is None else wishes.tolist()
    chosen, taken = [-1] * count, [0] * colours
    # who has a wish comes first, so that it is not taken away
    for index in sorted(range(count), key=lambda i: (wanted[i] < 0, -len(near[i]), i)):
        there = [chosen[other] for other in near[index] if chosen[other] >= 0]
        colour = wanted[index]
        if colour < 0 or colour in there:
            colour = min(range(colours), key=lambda one: (there.count(one), taken[one]))
        chosen[index] = colour
        taken[colour] += 1
    return former[1:], np.array(chosen, np.int64)


def _by_object(pairs: NDArray[np.int64], count: int) -> list[list[int]]:
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[np.argsort(both[:, 0], kind="stable")]
    ends = np.searchsorted(both[:, 0], np.arange(1, count))
    return [part.tolist() for part in np.split(both[:, 1], ends)] if count else []


def _shifts(axes: int, reach: int) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Yield the two views of an image whose pixels are neighbours in one direction."""
    near: list[Sequence[int]] = list(itertools.product((-1, 0, 1), repeat=axes))
    far = [[step * (axis == one) for axis in range(axes)]
           for one in range(axes) for step in range(2, reach + 1)]  # fmt: skip
    # of two opposite directions one is enough
    for shift in (*near[len(near) // 2 + 1 :], *far):
        here = tuple(slice(max(0, -step), -step if step > 0 else None) for step in shift)
        there = tuple(slice(max(0, step), step if step < 0 else None) for step in shift)
        yield here, there
