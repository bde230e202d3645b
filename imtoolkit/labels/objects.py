"""Sizes and centres of objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .numbering import relabel


def sizes(labels: ArrayLike) -> tuple[NDArray[np.integer[Any]], NDArray[np.int64]]:
    """Return the numbers of all objects, ascending, and the pixels of each.

    Raises:
        ValueError: If the labels are no integers or negative.

    Example:
        >>> [found.tolist() for found in sizes([[0, 7], [3, 7]])]
        [[3, 7], [1, 2]]
    """
    new, former = relabel(labels)
    return former[1:], np.bincount(new.ravel(), minlength=len(former))[1:]


def centres(
    labels: ArrayLike, *, inside: bool = False, spacing: Sequence[float] | None = None
) -> tuple[NDArray[np.integer[Any]], NDArray[np.float64]]:
    """Return the numbers of all objects, ascending, and their centres, ``(N, axes)`` in pixels.

    Args:
        labels: Labels of any shape; 0 is background.
        inside: Take the object's pixel that is nearest to its mean position, so that the centre of
            a ring or a crescent lies on it; the first in scan order where several are.
        spacing: Pixel size along each axis by which the nearest is found; left out, all alike.

    Raises:
        ValueError: If the labels are no integers or negative.

    Example:
        >>> arch = [[4, 4, 4], [4, 0, 4]]
        >>> centres(arch)[1].tolist(), centres(arch, inside=True)[1].tolist()
        ([[0.4, 1.0]], [[0.0, 1.0]])
    """
    new, former = relabel(labels)
    count = len(former) - 1
    places = np.nonzero(new)
    owner = new[places].astype(np.int64) - 1
    area = np.bincount(owner, minlength=count)
    means = [np.bincount(owner, place, minlength=count) / area for place in places]
    mean = np.stack(means, axis=-1) if means else np.zeros((count, 0))
    if not inside or not count:
        return former[1:], mean
    steps = spacing if spacing is not None else (1.0,) * new.ndim
    away = sum(
        (step * (place - means[axis][owner])) ** 2
        for axis, (place, step) in enumerate(zip(places, steps, strict=True))
    )
    least = np.full(count, np.inf)
    np.minimum.at(least, owner, away)
    nearest = np.zeros(count, np.int64)
    hits = np.flatnonzero(away == least[owner])[::-1]
    nearest[owner[hits]] = hits  # of repeated indices the last assignment stays: the first pixel
    return former[1:], np.stack([place[nearest] for place in places], axis=-1).astype(np.float64)
