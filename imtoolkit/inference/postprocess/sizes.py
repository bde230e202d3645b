"""What is kept of masks, classes and objects by size and place: small, large, holes, cut parts.

An object here is a connected part of pixels of one number, so that masks, classes and objects are
treated alike: touching objects of different numbers stay apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from .base import RESULT, Array, Makes, PostprocessStep
from .parts import numbered_parts
from .units import check_unit, pixel_sides

LABELS = (Makes.MASK, Makes.CLASSES, Makes.INSTANCES)


def remove_small(
    labels: Array,
    size: float,
    *,
    unit: str = "pixels",
    spacing: Sequence[float] | None = None,
    diagonal: bool = False,
) -> Array:
    """Remove objects that are smaller than a size.

    Args:
        labels: Mask or labels ``([Z,] Y, X)``, 0 for background.
        size: Smallest size that stays: pixels, or area (volume in 3D) in physical units.
        unit: ``pixels`` or ``physical``.
        spacing: Pixel size ``[Z,] Y, X``, for physical units.
        diagonal: Whether pixels that touch at a corner belong together.

    Returns:
        The same type, with 0 where an object was removed.

    Raises:
        DataError: If the pixel size is needed and not known.

    Example:
        >>> remove_small(np.array([[1, 1, 0, 2, 0, 1]]), 2).tolist()
        [[1, 1, 0, 0, 0, 0]]
        >>> remove_small(np.array([[1, 1, 0, 2]]), 0.5, unit="physical", spacing=(1, 0.3)).tolist()
        [[1, 1, 0, 0]]
    """
    return _by_size(labels, size, math.inf, unit, spacing, diagonal=diagonal)


def remove_large(
    labels: Array,
    size: float,
    *,
    unit: str = "pixels",
    spacing: Sequence[float] | None = None,
    diagonal: bool = False,
) -> Array:
    """Remove objects that are larger than a size; parameters as `remove_small`.

    Example:
        >>> remove_large(np.array([[1, 1, 0, 2]]), 1).tolist()
        [[0, 0, 0, 2]]
    """
    return _by_size(labels, 0, size, unit, spacing, diagonal=diagonal)


def fill_holes(
    labels: Array,
    size: float | None = None,
    *,
    unit: str = "pixels",
    spacing: Sequence[float] | None = None,
    by_slice: bool = False,
) -> Array:
    """Fill holes: parts of the background that one object alone encloses.

    A part that reaches the end of the image, or lies between objects of different numbers, is no
    hole.

    Args:
        labels: Mask or labels ``([Z,] Y, X)``, 0 for background.
        size: Largest hole that is filled; ``None`` for any.
        unit: ``pixels`` or ``physical``.
        spacing: Pixel size ``[Z,] Y, X``, for physical units.
        by_slice: Fill in each slice of a volume by itself: what is open at the top is closed.

    Returns:
        The same type.

    Raises:
        DataError: If the pixel size is needed and not known.

    Example:
        >>> ring = np.array([[3, 3, 3, 0], [3, 0, 3, 0], [3, 3, 3, 0]])
        >>> fill_holes(ring).tolist()
        [[3, 3, 3, 0], [3, 3, 3, 0], [3, 3, 3, 0]]
    """
    labels = np.asarray(labels)
    area = _pixel_size(unit, spacing, labels.ndim, by_slice=by_slice and labels.ndim > 2)
    most = math.inf if size is None else size / area
    if by_slice and labels.ndim > 2:
        return np.stack([_filled(one, most) for one in labels]) if len(labels) else labels.copy()
    return _filled(labels, most)


def clear_border(labels: Array, *, margin: int = 0, in_plane: bool = False) -> Array:
    """Remove objects that the end of the image cuts.

    Args:
        labels: Mask or labels ``([Z,] Y, X)``, 0 for background.
        margin: Pixels from the end within which an object counts as cut; 0 is the last pixel.
        in_plane: Look at the ends in Y and X alone: objects at the first and last slice stay.

    Example:
        >>> clear_border(np.array([[0, 0, 0, 0], [5, 0, 2, 0], [0, 0, 0, 0]])).tolist()
        [[0, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 0]]
    """
    labels = np.asarray(labels)
    if margin < 0:
        message = f"got a margin of {margin}; expected 0 or more"
        raise ValueError(message)
    parts, count = numbered_parts(labels)
    cut = np.zeros(count + 1, bool)
    for axis in range(max(labels.ndim - 2, 0) if in_plane else 0, labels.ndim):
        inside = (slice(None),) * axis
        cut[np.unique(parts[(*inside, slice(None, margin + 1))])] = True
        cut[np.unique(parts[(*inside, slice(-margin - 1, None))])] = True
    return _kept(labels, parts, ~cut)


def _by_size(
    labels: Array,
    least: float,
    most: float,
    unit: str,
    spacing: Sequence[float] | None,
    *,
    diagonal: bool,
) -> Array:
    labels = np.asarray(labels)
    area = _pixel_size(unit, spacing, labels.ndim)
    parts, count = numbered_parts(labels, diagonal=diagonal)
    sizes = np.bincount(parts.ravel(), minlength=count + 1) * area
    # sides are read from files in single precision: 10 pixels of 0.1 are at least 1
    slack = 1e-6 * sizes
    return _kept(labels, parts, (sizes + slack >= least) & (sizes - slack <= most))


def _kept(labels: Array, parts: Array, keeps: Array) -> Array:
    keeps[0] = False
    found: Array = np.where(keeps[parts], labels, labels.dtype.type(0))
    return found


def _pixel_size(
    unit: str, spacing: Sequence[float] | None, dims: int, *, by_slice: bool = False
) -> float:
    sides = pixel_sides(unit, spacing, dims, "a size")
    return math.prod(sides[-2:] if by_slice else sides)


def _filled(labels: Array, most: float) -> Array:
    """Fill holes of at most so many pixels."""
    parts, count = numbered_parts(labels == 0)
    if not count:
        return labels.copy()
    is_hole = np.bincount(parts.ravel(), minlength=count + 1) <= most
    is_hole[0] = False
    for axis in range(labels.ndim):
        ends = parts[(slice(None),) * axis + ([0, -1],)]
        is_hole[np.unique(ends)] = False
    if not is_hole.any():
        return labels.copy()
    around = _neighbours(labels, parts, count)
    is_hole &= around[0] == around[1]
    value = np.where(is_hole, around[0], 0).astype(labels.dtype)
    return np.asarray(np.where(is_hole[parts], value[parts], labels))


def _neighbours(labels: Array, parts: Array, count: int) -> tuple[Array, Array]:
    """Return the smallest and the largest number around each part of the background."""
    numbers = labels.astype(np.int64)
    low = np.full(count + 1, np.iinfo(np.int64).max)
    high = np.zeros(count + 1, np.int64)
    for axis in range(labels.ndim):
        before = (slice(None),) * axis + (slice(None, -1),)
        after = (slice(None),) * axis + (slice(1, None),)
        for here, there in ((before, after), (after, before)):
            edge = (parts[here] > 0) & (numbers[there] > 0)
            own, other = parts[here][edge], numbers[there][edge]
            np.minimum.at(low, own, other)
            np.maximum.at(high, own, other)
    return low, high


class _Sized(PostprocessStep):
    """A step with a size in pixels or physical units."""

    makes = Makes.SAME
    takes: ClassVar[Mapping[str, tuple[Makes, ...]]] = {"of": LABELS}
    tunable: ClassVar[Mapping[str, tuple[Any, ...]]] = {"size": (0, 5, 10, 20, 40, 80, 160, 320)}

    def __init__(
        self,
        size: float,
        unit: str = "pixels",
        diagonal: bool = False,
        of: str = RESULT,
        to: str = RESULT,
    ) -> None:
        super().__init__(of, to)
        self.size = _positive(size)
        self.unit = check_unit(unit)
        self.diagonal = diagonal


class RemoveSmall(_Sized):
    """Remove objects that are smaller than a size.

    Args:
        size: Smallest size that stays: pixels, or area (volume in 3D) in physical units.
        unit: ``pixels`` or ``physical``.
        diagonal: Whether pixels that touch at a corner belong together.
        of: Mask, classes or objects that it reads.
        to: Name of the result.
    """

    def apply(self, values: Mapping[str, Array], spacing: Sequence[float] | None) -> Array:
        """See `PostprocessStep`."""
        own = {"unit": self.unit, "spacing": spacing, "diagonal": self.diagonal}
        return remove_small(self.read(values), self.size, **own)  # type: ignore[arg-type]


class RemoveLarge(_Sized):
    """Remove objects that are larger than a size.

    Args:
        size: Largest size that stays: pixels, or area (volume in 3D) in physical units.
        unit: ``pixels`` or ``physical``.
        diagonal: Whether pixels that touch at a corner belong together.
        of: Mask, classes or objects that it reads.
        to: Name of the result.
    """

    tunable: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    def apply(self, values: Mapping[str, Array], spacing: Sequence[float] | None) -> Array:
        """See `PostprocessStep`."""
        own = {"unit": self.unit, "spacing": spacing, "diagonal": self.diagonal}
        return remove_large(self.read(values), self.size, **own)  # type: ignore[arg-type]


class FillHoles(PostprocessStep):
    """Fill holes: parts of the background that one object alone encloses.

    Args:
        size: Largest hole that is filled; left out, any.
        unit: ``pixels`` or ``physical``.
        by_slice: Fill in each slice of a volume by itself: what is open at the top is closed.
        of: Mask, classes or objects that it reads.
        to: Name of the result.
    """

    makes = Makes.SAME
    takes: ClassVar[Mapping[str, tuple[Makes, ...]]] = {"of": LABELS}

    def __init__(
        self,
        size: float | None = None,
        unit: str = "pixels",
        by_slice: bool = False,
        of: str = RESULT,
        to: str = RESULT,
    ) -> None:
        super().__init__(of, to)
        self.size = None if size is None else _positive(size)
        self.unit = check_unit(unit)
        self.by_slice = by_slice

    def apply(self, values: Mapping[str, Array], spacing: Sequence[float] | None) -> Array:
        """See `PostprocessStep`."""
        unit = "pixels" if self.size is None else self.unit
        return fill_holes(
            self.read(values), self.size, unit=unit, spacing=spacing, by_slice=self.by_slice
        )


class ClearBorder(PostprocessStep):
    """Remove objects that the end of the image cuts.

    Args:
        margin: Pixels from the end within which an object counts as cut; 0 is the last pixel.
        in_plane: Look at the ends in Y and X alone: objects at the first and last slice stay.
        of: Mask, classes or objects that it reads.
        to: Name of the result.
    """

    makes = Makes.SAME
    takes: ClassVar[Mapping[str, tuple[Makes, ...]]] = {"of": LABELS}

    def __init__(
        self,
        margin: int = 0,
        in_plane: bool = False,
        of: str = RESULT,
        to: str = RESULT,
    ) -> None:
        super().__init__(of, to)
        self.margin = int(_positive(margin, "margin"))
        self.in_plane = in_plane

    def apply(self, values: Mapping[str, Array], spacing: Sequence[float] | None) -> Array:
        """See `PostprocessStep`."""
        del spacing
        return clear_border(self.read(values), margin=self.margin, in_plane=self.in_plane)


def _positive(value: float, name: str = "size") -> float:
    if not value >= 0:
        message = f"got a {name} of {value}; expected 0 or more"
        raise ValueError(message)
    return value
