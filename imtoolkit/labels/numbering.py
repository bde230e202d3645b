"""Numbers of objects: consecutive, and in the smallest type that holds them."""

from __future__ import annotations

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
    highest = int(array.max()) if array.size else 0
    small = highest <= 4 * array.size + 256
    if small:  # a table is faster than sorting all pixels
        present = np.flatnonzero(np.bincount(array.ravel().astype(np.int64), minlength=1))
    else:
        present = np.unique(array)
    former = np.concatenate([[0], present[present > 0]]).astype(array.dtype)
    dtype = smallest_type(len(former) - 1)
    if small:
        table = np.zeros(highest + 1, dtype)
        table[former] = np.arange(len(former))
        return table[array], former
    return np.searchsorted(former, array).astype(dtype), former
