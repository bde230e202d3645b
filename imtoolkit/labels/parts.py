"""Connected parts of masks and label images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from .numbering import as_labels, relabel, smallest_type


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


def count_parts(
    labels: ArrayLike, *, diagonal: bool = False, least: float = 0.0
) -> tuple[NDArray[np.integer[Any]], NDArray[np.int64]]:
    """Return the numbers of all labels, ascending, and in how many connected parts each lies.

    Takes the memory of one label's box at a time.

    Args:
        labels: Labels of any shape; 0 is background.
        diagonal: Whether pixels that touch at a corner (in 3D also at an edge) are connected.
        least: Size of the parts that count, as a fraction of the label's largest part.

    Raises:
        ValueError: If the labels are no integers or negative.

    Example:
        >>> [found.tolist() for found in count_parts([[7, 7, 0, 7], [0, 0, 3, 0]])]
        [[3, 7], [1, 2]]
    """
    new, former = relabel(labels)
    structure = ndimage.generate_binary_structure(new.ndim, new.ndim if diagonal else 1)
    boxes = ndimage.find_objects(new) if new.size else []
    counts = np.ones(len(boxes), np.int64)
    sizes = np.bincount(new.ravel(), minlength=1)[1:].tolist()
    for place, box in enumerate(boxes):
        if sizes[place] == math.prod(side.stop - side.start for side in box):
            continue  # it fills its box, as a single pixel does
        parts, counts[place] = ndimage.label(new[box] == place + 1, structure)
        if least > 0 and counts[place] > 1:
            areas = np.bincount(parts.ravel())[1:]
            counts[place] = np.count_nonzero(areas >= least * areas.max())
    return former[1:], counts


def separated(labels: ArrayLike, before: ArrayLike) -> NDArray[np.integer[Any]]:
    """Number new parts of labels anew, such as the mirror images of objects in what was padded.

    A label that lies in more parts than before keeps its number on the largest of them, and the
    others follow the highest number; a label that has not gained parts stays as it is. Pixels that
    touch at a corner are connected.

    Args:
        labels: Labels of any shape, as they are now; 0 is background.
        before: Labels of the same number of axes, as they were.

    Raises:
        ValueError: If labels are no integers or negative.

    Example:
        >>> separated([[4, 0, 3, 3, 0, 4]], before=[[4, 0, 3]]).tolist()
        [[4, 0, 3, 3, 0, 5]]
    """
    array = as_labels(labels)
    new, former = relabel(array)
    now = count_parts(new, diagonal=True)[1]
    several = former[1:][now > 1]
    if not len(several):
        return array
    earlier = as_labels(before)
    earlier = np.where(np.isin(earlier, several), earlier, 0)
    was = dict(zip(*count_parts(earlier, diagonal=True), strict=True))
    out, highest = array.astype(np.int64), int(former[-1])
    structure = np.ones((3,) * new.ndim)
    for number, box in enumerate(ndimage.find_objects(new), start=1):
        if now[number - 1] <= max(was.get(former[number], 1), 1):
            continue
        parts, count = ndimage.label(new[box] == number, structure)
        areas = np.bincount(parts.ravel(), minlength=count + 1)
        others = np.delete(np.arange(1, count + 1), areas[1:].argmax())
        for part in others:
            highest += 1
            out[box][parts == part] = highest
    return out.astype(smallest_type(highest))


def _in_order(parts: NDArray[np.int64], count: int) -> NDArray[np.integer[Any]]:
    """Renumber by the first pixel of each part."""
    first = np.zeros(count + 1, np.int64)
    # of repeated indices the last assignment stays, so backwards the first pixel does
    first[parts.ravel()[::-1]] = np.arange(parts.size)[::-1]
    table = np.zeros(count + 1, smallest_type(count))
    table[1 + np.argsort(first[1:])] = np.arange(1, count + 1)
    return table[parts]
