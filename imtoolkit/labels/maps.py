"""What a net can learn of objects, pixel by pixel: classes, distances to edges, ways to centres.

    from imtoolkit.labels.maps import centre_offsets, distance_map, pixel_classes

An object may be cut by the end of the image, which is therefore no edge: what lies beyond is not
known. Each object is looked at within its own box, so that time and memory grow with the pixels of
the objects, not with their number times the size of the image.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from .medoid import medoids
from .numbering import relabel
from .objects import centres

Centre = Literal["centroid", "medoid", "approximate_medoid"]
"""Mean position; pixel with the least sum of distances to the others; pixel nearest to the mean."""
Box = tuple[slice, ...]

CENTRES: Final = get_args(Centre)
BACKGROUND: Final = 0
INSIDE: Final = 1
BOUNDARY: Final = 2


def pixel_classes(labels: ArrayLike, width: float = 1) -> NDArray[np.uint8]:
    """Divide pixels into background, inside of objects, and their boundary.

    A pixel of an object is boundary if another object or background lies within ``width`` pixels
    of it, from centre to centre. The boundary belongs to the objects on both of its sides: inside
    and boundary together are the objects as they were labelled, and where objects touch, their
    insides are ``2 * width`` pixels apart, so that each is a seed of its own for a watershed.
    Background between objects stays background, however narrow it is.

    No object is all boundary. Of one that is too small or thin for an inside, the deepest pixels
    are inside; where they touch another object, those of them that touch none; where there is no
    such pixel, the one nearest to the mean position.

    Args:
        labels: Objects ``([Z,] Y, X)``; 0 is background.
        width: Width of the boundary in pixels, at least 1.

    Returns:
        Classes ``([Z,] Y, X)``: 0 background, 1 inside, 2 boundary.

    Raises:
        ValueError: If the labels are no integers or negative, or ``width`` is less than 1.

    Example:
        >>> pixel_classes([[0, 5, 5, 5, 5, 6, 6, 6], [0, 5, 5, 5, 5, 6, 6, 6]]).tolist()[0]
        [0, 2, 1, 1, 2, 2, 1, 1]
    """
    if not width >= 1:
        message = f"got width={width}; expected 1 pixel or more"
        raise ValueError(message)
    new, former = relabel(labels)
    objects = new > 0
    inside = objects & ~_near_another(new, width)
    classes = objects.astype(np.uint8) * np.uint8(BOUNDARY)
    classes[inside] = INSIDE
    filled = np.zeros(len(former), bool)
    filled[new[inside]] = True
    for number, box, mask, depth in _depths(new, None, np.flatnonzero(~filled)[1:]):
        classes[box][_least_inside(new[box], number, mask & (depth == depth[mask].max()))] = INSIDE
    return classes


def distance_map(
    labels: ArrayLike,
    *,
    normalize: bool = True,
    spacing: Sequence[float] | None = None,
) -> NDArray[np.float32]:
    """Return how far each pixel of an object is from the nearest pixel that is not of it.

    From centre to centre, so that it is at least 1 in pixels; exact also where objects touch. An
    object that fills the whole image has no such pixel: there the distance to the outside counts.

    Args:
        labels: Objects ``([Z,] Y, X)``; 0 is background.
        normalize: Divide by the greatest distance in the object, so that it reaches 1 in each.
        spacing: Pixel size ``[Z,] Y, X``, which is then the unit; left out, pixels.

    Returns:
        Distances ``([Z,] Y, X)``, 0 on background.

    Raises:
        ValueError: If the labels are no integers or negative, or ``spacing`` does not fit.

    Example:
        >>> distance_map([[0, 4, 4, 4, 4, 4, 7]], normalize=False).tolist()
        [[0.0, 1.0, 2.0, 3.0, 2.0, 1.0, 1.0]]
    """
    new, _ = relabel(labels)
    distances = np.zeros(new.shape, np.float32)
    steps = checked_spacing(spacing, new.ndim)
    for _, box, mask, depth in _depths(new, steps):
        values = depth[mask]
        if np.isinf(values[0]):  # all or none are, where nothing else is in the image
            outside = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=steps)
            values = outside[(slice(1, -1),) * new.ndim][mask]
        distances[box][mask] = values / values.max() if normalize else values
    return distances


def centre_offsets(
    labels: ArrayLike,
    centre: Centre = "centroid",
    spacing: Sequence[float] | None = None,
) -> NDArray[np.float32]:
    """Return the way from each pixel of an object to the object's centre.

    Of an object that is cut by the end of the image, the centre of what can be seen.

    Args:
        labels: Objects ``([Z,] Y, X)``; 0 is background.
        centre: ``centroid``, the mean position; ``medoid``, the pixel of the object whose distances
            to all its pixels have the least sum; ``approximate_medoid``, the pixel of the object
            that is nearest to the mean position. Of several, the first in scan order.
        spacing: Pixel size ``[Z,] Y, X`` by which distances are measured; left out, all axes alike.
            The offsets themselves are in pixels.

    Returns:
        Offsets in pixels, ``(axes, [Z,] Y, X)``, 0 on background.

    Raises:
        ValueError: If the labels are no integers or negative, ``centre`` is not known, or
            ``spacing`` does not fit.

    Example:
        >>> centre_offsets([[0, 4, 4, 4, 0, 7]])[1].tolist()
        [[0.0, 1.0, 0.0, -1.0, 0.0, 0.0]]
    """
    if centre not in CENTRES:
        message = f"got centre={centre!r}; expected one of {', '.join(CENTRES)}"
        raise ValueError(message)
    new, _ = relabel(labels)
    sizes = checked_spacing(spacing, new.ndim)
    if centre == "medoid":
        _, found = medoids(new, spacing=sizes)
    else:
        _, found = centres(new, inside=centre == "approximate_medoid", spacing=sizes)
    places = np.nonzero(new)
    owner = new[places].astype(np.int64) - 1
    offsets = np.zeros((new.ndim, *new.shape), np.float32)
    for axis, place in enumerate(places):
        offsets[axis][places] = found[owner, axis] - place
    return offsets


MAPS: Final[Mapping[str, Callable[..., NDArray[Any]]]] = {
    "pixel_classes": pixel_classes,
    "distance": distance_map,
    "centre_offsets": centre_offsets,
}
"""The functions by the keys under which samples and batches hold what they make."""


def _near_another(new: NDArray[np.integer[Any]], width: float) -> NDArray[np.bool_]:
    """Tell which pixels have one of another number within a distance, from centre to centre."""
    if width > _FEW:
        near = np.zeros(new.shape, bool)
        for _, box, mask, depth in _depths(new, None):
            near[box] |= mask & (depth <= width)
        return near
    # each pair of pixels at every way of that length: 128x128 pixels with 64 objects take 0.2 ms
    # instead of the 1.9 ms of distances of each object, 24x64x64 1.0 to 1.5 instead of 6 to 8 ms
    near = np.zeros(new.shape, bool)
    reach = int(width)
    for way in itertools.product(range(-reach, reach + 1), repeat=new.ndim):
        if way <= (0,) * new.ndim or math.hypot(*way) > width:  # of two opposite ways, one
            continue
        here = tuple(slice(max(-step, 0), min(-step, 0) or None) for step in way)
        there = tuple(slice(max(step, 0), min(step, 0) or None) for step in way)
        differ = new[here] != new[there]
        near[here] |= differ
        near[there] |= differ
    return near


_FEW = 2
"""Pixels of width up to which there are few ways to look."""


def _depths(
    new: NDArray[np.integer[Any]],
    spacing: tuple[float, ...] | None,
    numbers: ArrayLike | None = None,
) -> Iterator[tuple[int, Box, NDArray[np.bool_], NDArray[np.float64]]]:
    """Yield each object's number, box, mask and distances to what is not of it.

    The nearest pixel that is not of the object always lies in its bounding box or along it, so a
    transform within the box, wider by one pixel, is exact and knows no other object. An object that
    fills the image has infinite distances.

    Args:
        new: Objects, numbered from 1.
        spacing: Pixel size; left out, 1.
        numbers: The objects that are asked for; left out, all.
    """
    asked = numbers is None or np.size(numbers) > 0
    boxes = ndimage.find_objects(new) if new.size and asked else []
    wanted = range(1, len(boxes) + 1) if numbers is None else np.asarray(numbers).tolist()
    for number in wanted:
        tight = boxes[number - 1]
        box = _wider(tight, new.shape)
        mask = new[box] == number
        depth = (
            np.full(mask.shape, np.inf)
            if mask.all()
            else ndimage.distance_transform_edt(mask, sampling=spacing)
        )
        yield number, box, mask, depth


def _wider(box: Box, shape: Sequence[int]) -> Box:
    return tuple(
        slice(max(side.start - 1, 0), min(side.stop + 1, length))
        for side, length in zip(box, shape, strict=True)
    )


def _least_inside(
    labels: NDArray[np.integer[Any]], number: int, deepest: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Choose what is inside of an object that has no pixel farther than the width from its edge."""
    others = (labels > 0) & (labels != number)
    if not others.any():
        return deepest
    free = deepest & ~ndimage.binary_dilation(others, np.ones((3,) * labels.ndim))
    if not free.any():
        free[tuple(centres(labels == number, inside=True)[1][0].astype(int))] = True
    return np.asarray(free)


def checked_spacing(spacing: Sequence[float] | None, dims: int) -> tuple[float, ...] | None:
    """Return a pixel size as a tuple of numbers.

    Raises:
        ValueError: If it is not one positive number for each axis.
    """
    if spacing is None:
        return None
    sizes = tuple(float(size) for size in spacing)
    if len(sizes) != dims or not all(0 < size < float("inf") for size in sizes):
        message = f"got spacing={list(sizes)}; expected {dims} positive numbers, one for each axis"
        raise ValueError(message)
    return sizes
