"""Connected parts of masks and label images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from .numbering import relabel, smallest_type


def connected_parts(labels: ArrayLike, *, diagonal: bool = False) -> NDArray[np.integer[Any]]:
    """Number the connected parts of a mask, or of each label by itself, ``1 .. n``.

    Two pixels belong together if they touch and have the same label; touching objects of different
    labels stay apart. Numbers go in the order of the first pixel of each part.

    Args:
        labels: Mask or labels of any shape; 0 is background.
        diagonal: Whether pixels that touch at a corner (in 3D also at an edge) are connected.

    Raises:
        ValueError: If the labels are no integers or negative.

    Example:
        >>> connected_parts([[1, 1, 0, 1], [0, 0, 1, 0]]).tolist()
        [[1, 1, 0, 2], [0, 0, 3, 0]]
        >>> connected_parts([[1, 1, 0, 1], [0, 0, 1, 0]], diagonal=True).tolist()
        [[1, 1, 0, 1], [0, 0, 1, 0]]
    """
    new, _ = relabel(labels)
    structure = ndimage.generate_binary_structure(new.ndim, new.ndim if diagonal else 1)
    parts = np.zeros(new.shape, np.int64)
    count = 0
    # each label within its own box: as many passes as labels, but small ones where labels are many
    boxes = ndimage.find_objects(new) if new.size else []
    for number, box in enumerate(boxes, start=1):
        mask = new[box] == number
        found, here = ndimage.label(mask, structure)
        parts[box][mask] = found[mask] + count
        count += here
    return _in_order(parts, count)


def _in_order(parts: NDArray[np.int64], count: int) -> NDArray[np.integer[Any]]:
    """Renumber by the first pixel of each part."""
    first = np.zeros(count + 1, np.int64)
    # of repeated indices the last assignment stays, so backwards the first pixel does
    first[parts.ravel()[::-1]] = np.arange(parts.size)[::-1]
    table = np.zeros(count + 1, smallest_type(count))
    table[1 + np.argsort(first[1:])] = np.arange(1, count + 1)
    return table[parts]
