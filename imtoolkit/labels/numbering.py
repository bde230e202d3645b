"""Numbers of objects: consecutive, and in the smallest type that holds them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def as_labels(labels: ArrayLike) -> NDArray[np.integer[Any]]:
    """Return an array of integers; booleans become 0 and 1.

    Raises:
        ValueError: If the values are not integers, or some are negative.
    """
    array = np.asarray(labels)
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    if array.dtype.kind not in "ui":
        message = f"labels must be integers, got {array.dtype}; round and convert them first"
        raise ValueError(message)
    if array.dtype.kind == "i" and array.size and array.min() < 0:
        message = f"labels must not be negative, got {array.min()}; set what is to be ignored to 0"
        raise ValueError(message)
    return array


def smallest_type(highest: int) -> np.dtype[Any]:
    """Return the smallest unsigned type that holds ``highest``.

    Example:
        >>> smallest_type(255), smallest_type(256)
        (dtype('uint8'), dtype('uint16'))
    """
    return np.dtype(np.min_scalar_type(highest))


def relabel(labels: ArrayLike) -> tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]:
    """Number objects ``1 .. n`` in the order of their numbers; background stays 0.

    Returns:
        The labels in the smallest unsigned type, and the former number of each new one:
        ``former[new[pixel]]`` is the old label of a pixel, so ``former[0]`` is 0.

    Raises:
        ValueError: If the labels are no integers or negative.

    Example:
        >>> new, former = relabel([[0, 700], [3, 700]])
        >>> new.tolist(), new.dtype, former.tolist()
        ([[0, 2], [1, 2]], dtype('uint8'), [0, 3, 700])
    """
    array = as_labels(labels)
    flat = array.reshape(-1)
    highest = int(flat.max()) if flat.size else 0
    small = highest <= 4 * flat.size + 256
    if small:  # a table is faster than sorting all pixels
        there = np.zeros(highest + 1, bool)
        for part in blocks(flat.size):
            there[flat[part]] = True
        present = np.flatnonzero(there)
    else:
        present = np.unique(flat)
    # of one type: of a signed and an unsigned one numpy would make floats, which blur large numbers
    kept = present[present > 0].astype(array.dtype)
    former = np.concatenate([np.zeros(1, array.dtype), kept])
    dtype = smallest_type(len(former) - 1)
    if small:
        table = np.zeros(highest + 1, dtype)
        table[former] = np.arange(len(former))
    new = np.empty(flat.size, dtype)
    for part in blocks(flat.size):
        new[part] = table[flat[part]] if small else np.searchsorted(former, flat[part])
    return new.reshape(array.shape), former


def blocks(count: int, size: int = 1 << 22) -> Iterator[slice]:
    """Yield slices that cover ``count`` pixels, so that what is made of them stays small.

    Example:
        >>> list(blocks(5, 3))
        [slice(0, 3, None), slice(3, 6, None)]
    """
    for start in range(0, count, size):
        yield slice(start, start + size)
