"""One seed for each object, from a map that is high inside of objects."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from imtoolkit.core.errors import did_you_mean
from imtoolkit.labels.numbering import smallest_type

from .base import RESULT, Array, Makes, PostprocessStep
from .parts import connected_components
from .units import check_unit, pixel_sides

METHODS: Final = ("parts", "peaks", "h_maxima")
_NEEDS: Final = {"parts": "threshold", "h_maxima": "height"}
_ONLY: Final = {"min_distance": "peaks", "height": "h_maxima"}


def seeds(
    image: Array,
    *,
    method: str = "peaks",
    threshold: float | None = None,
    min_distance: float | None = None,
    height: float | None = None,
    unit: str = "pixels",
    spacing: Sequence[float] | None = None,
) -> Array:
    """Number the seeds of objects in a map that is high inside of them.

    Args:
        image: Map ``([Z,] Y, X)``.
        method: ``parts``, the connected parts above a threshold; ``peaks``, local maxima that are
            some way from a higher one; ``h_maxima``, local maxima that rise by some height above
            the pass to a higher one (Soille, "Morphological Image Analysis", 2003).
        threshold: Seeds are above it; needed for ``parts``. Each connected part above it has one.
        min_distance: For ``peaks``: distance between two of them at least; left out, 1 pixel.
        height: For ``h_maxima``: how much a maximum rises.
        unit: Of ``min_distance``: ``pixels`` or ``physical``.
        spacing: Pixel size ``[Z,] Y, X``, for physical units.

    Returns:
        Numbers ``1 .. n`` ``([Z,] Y, X)`` in scan order.

    Raises:
        ValueError: If the method is unknown, lacks what it needs, or has what is another's.
        DataError: If the pixel size is needed and not known.

    Example:
        >>> hills = np.array([0.1, 0.5, 0.2, 0.9, 0.8, 0.85, 0.1])
        >>> seeds(hills, method="parts", threshold=0.4).tolist()
        [0, 1, 0, 2, 2, 2, 0]
        >>> seeds(hills).tolist(), seeds(hills, method="h_maxima", height=0.2).tolist()
        ([0, 1, 0, 2, 0, 3, 0], [0, 1, 0, 2, 0, 0, 0])
    """
    check_seeds(method, threshold, min_distance, height)
    image = np.asarray(image)
    if method == "parts":
        assert threshold is not None
        return connected_components(image > threshold)
    if not image.size:
        return np.zeros(image.shape, np.uint8)
    if method == "peaks":
        sides = pixel_sides(unit, spacing, image.ndim, "min_distance")
        least = min(sides) if min_distance is None else min_distance
        return _peaks(image, threshold, least, sides)
    assert height is not None
    return _h_maxima(image, height, threshold)


def check_seeds(
    method: str, threshold: float | None, min_distance: float | None, height: float | None
) -> None:
    """Refuse what makes no seeds, see `seeds`.

    Raises:
        ValueError: With what is needed.
    """
    if method not in METHODS:
        hint = did_you_mean(method, METHODS)
        message = f"unknown method '{method}'.{hint} Known: {', '.join(METHODS)}"
        raise ValueError(message)
    given = {"threshold": threshold, "min_distance": min_distance, "height": height}
    needed = _NEEDS.get(method)
    if needed is not None and given[needed] is None:
        message = f"the method '{method}' needs '{needed}'"
        raise ValueError(message)
    for name, owner in _ONLY.items():
        if given[name] is not None and method != owner:
            message = f"'{name}' belongs to the method '{owner}', and this is '{method}'"
            raise ValueError(message)
    if min_distance is not None and not min_distance >= 0:
        message = f"got min_distance={min_distance}; expected 0 or more"
        raise ValueError(message)
    if height is not None and not height > 0:
        message = f"got height={height}; expected more than 0"
        raise ValueError(message)


def _maxima(image: Array, floor: float | None) -> tuple[Array, int]:
    """Number the local maxima: pixels that no neighbour exceeds; flat tops have one number."""
    top = image == ndimage.maximum_filter(image, 3, mode="nearest")
    if floor is not None:
        top &= image > floor
    else:
        top &= image > image.min()  # what is flat everywhere has no top
    parts: tuple[Array, int] = ndimage.label(top, np.ones((3,) * image.ndim))
    return parts


def _peaks(image: Array, floor: float | None, least: float, sides: Sequence[float]) -> Array:
    parts, count = _maxima(image, floor)
    places = _middles(parts, count)
    heights = image[tuple(places.T)]
    order = np.lexsort((np.arange(count), -heights))  # of equal heights the first in scan order
    spots = places[order] * np.asarray(sides)
    kept = np.ones(count, bool)
    near = cKDTree(spots).query_pairs(least * (1 + 1e-9), output_type="ndarray")
    near = near[np.lexsort((near[:, 1], near[:, 0]))]
    distances = np.linalg.norm(spots[near[:, 0]] - spots[near[:, 1]], axis=1)
    for higher, lower in near[distances < least].tolist():
        if kept[higher]:
            kept[lower] = False
    return _numbered(places[np.sort(order[kept])], image.shape)


def _middles(parts: Array, count: int) -> Array:
    """Return for each number its pixel that is nearest to its mean position, ``(N, axes)``."""
    places = np.stack(np.nonzero(parts), -1)
    owner = parts[tuple(places.T)] - 1
    sizes = np.bincount(owner, minlength=count)
    mean = np.stack([np.bincount(owner, axis, count) for axis in places.T], -1) / sizes[:, None]
    away = ((places - mean[owner]) ** 2).sum(-1)
    order = np.lexsort((away, owner))
    found: Array = places[order[np.searchsorted(owner[order], np.arange(count))]]
    return found


def _numbered(places: Array, shape: Sequence[int]) -> Array:
    """Return an image with the numbers ``1 .. n`` at some pixels, in scan order."""
    flat = np.sort(np.ravel_multi_index(tuple(places.T), tuple(shape)))
    found = np.zeros(math.prod(shape), smallest_type(len(flat)))
    found[flat] = np.arange(1, len(flat) + 1)
    return found.reshape(shape)


def _h_maxima(image: Array, height: float, floor: float | None) -> Array:
    """Keep the maxima that rise above the pass to a higher one, found from basin to basin.

    A reconstruction by dilation tells the same and takes three times as long.
    """
    from skimage.segmentation import watershed

    parts, count = _maxima(image, floor)
    mask = None if floor is None else image > floor
    basins = watershed(-image, parts, mask=mask, connectivity=image.ndim)
    peaks = np.full(count + 1, -np.inf)
    np.maximum.at(peaks, parts.ravel(), image.ravel())
    keeps = _rising(peaks, *_passes(image, basins), height)
    keeps[0] = False
    numbers = np.cumsum(keeps) * keeps
    kept: Array = numbers[parts].astype(smallest_type(int(keeps.sum())))
    return kept


def _passes(image: Array, basins: Array) -> tuple[Array, Array]:
    """Return the pairs of basins that touch, ``(P, 2)``, and the height of their pass."""
    pairs, heights = [], []
    for step in itertools.product((-1, 0, 1), repeat=image.ndim):
        if step <= (0,) * image.ndim:
            continue  # the other way round, or no way at all
        here = tuple(slice(max(-move, 0), length - max(move, 0))
                     for move, length in zip(step, image.shape, strict=True))  # fmt: skip
        there = tuple(slice(max(move, 0), length - max(-move, 0))
                      for move, length in zip(step, image.shape, strict=True))  # fmt: skip
        one, other = basins[here], basins[there]
        edge = (one != other) & (one > 0) & (other > 0)
        ends = np.stack([one[edge], other[edge]], -1).astype(np.int64)
        pairs.append(np.sort(ends, -1))
        heights.append(np.minimum(image[here][edge], image[there][edge]))
    every, level = np.concatenate(pairs), np.concatenate(heights)
    order = np.lexsort((-level, every[:, 1], every[:, 0]))
    every, level = every[order], level[order]
    first = np.ones(len(every), bool)
    first[1:] = (every[1:] != every[:-1]).any(1)
    return every[first], level[first]


def _rising(peaks: Array, pairs: Array, passes: Array, height: float) -> Array:
    """Tell which peaks rise by a height above the pass to a higher one: merge from the top down."""
    keeps = np.ones(len(peaks), bool)
    parent = list(range(len(peaks)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for place in np.argsort(-passes, kind="stable").tolist():
        one, other = root(int(pairs[place, 0])), root(int(pairs[place, 1]))
        if one == other:
            continue
        lower, higher = sorted((one, other), key=lambda number: (peaks[number], -number))
        if peaks[lower] - passes[place] < height:
            keeps[lower] = False
        parent[lower] = higher
    return keeps


class Seeds(PostprocessStep):
    """One seed for each object, from a map that is high inside of objects.

    Args:
        method: ``peaks``, local maxima; ``parts``, connected parts above the threshold;
            ``h_maxima``, maxima that rise by a height above the pass to a higher one.
        threshold: Seeds are above it; needed for ``parts``.
        min_distance: For ``peaks``: distance between two of them at least.
        height: For ``h_maxima``: how much a maximum rises.
        unit: Of ``min_distance``: ``pixels`` or ``physical``.
        of: Map that it reads.
        to: Name of the result.
    """

    makes = Makes.INSTANCES
    takes: ClassVar[Mapping[str, tuple[Makes, ...]]] = {"of": (Makes.MAP,)}
    tunable: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "threshold": tuple(round(0.1 * step, 1) for step in range(1, 10)),
        "min_distance": (1, 2, 3, 5, 8, 12, 20),
        "height": (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5),
    }

    def __init__(
        self,
        method: str = "peaks",
        threshold: float | None = None,
        min_distance: float | None = None,
        height: float | None = None,
        unit: str = "pixels",
        of: str = RESULT,
        to: str = RESULT,
    ) -> None:
        super().__init__(of, to)
        check_seeds(method, threshold, min_distance, height)
        self.method = method
        self.threshold = threshold
        self.min_distance = min_distance
        self.height = height
        self.unit = check_unit(unit)

    def apply(self, values: Mapping[str, Array], spacing: Sequence[float] | None) -> Array:
        """See `PostprocessStep`."""
        return seeds(
            self.read(values),
            method=self.method,
            threshold=self.threshold,
            min_distance=self.min_distance,
            height=self.height,
            unit="pixels" if self.min_distance is None else self.unit,
            spacing=spacing,
        )
