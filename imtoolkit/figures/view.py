"""The part of a large image that a panel can show so that its objects are seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MOST_PIXELS: Final = 512
"""Pixels along the longer side of a picture; a larger one is reduced."""
_LEAST_SIDE: Final = 256
_OBJECTS_ACROSS: Final = 40
"""Objects of usual size side by side: with more, each is a few dots of the panel."""
_NEARLY_WHOLE: Final = 1.5


@dataclass(frozen=True)
class View:
    """A window of an image, reduced by a whole number.

    Attributes:
        box: The window ``[Y, X]``.
        step: How many pixels become one, along each axis.
        size: Size of the whole image ``[Y, X]``.
    """

    box: tuple[slice, slice]
    step: int
    size: tuple[int, int]

    def labels(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Return labels, masks or verdicts ``(..., Y, X)`` of the window."""
        return labels[(..., *self.box)][..., :: self.step, :: self.step]

    def image(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return an image ``(..., Y, X)`` of the window, averaged where it is reduced."""
        part = image[(..., *self.box)]
        if self.step == 1:
            return part
        part = part.astype(np.float32)
        for axis in (-2, -1):
            starts = np.arange(0, part.shape[axis], self.step)
            counts = np.diff(starts, append=part.shape[axis])
            shape = [-1 if one == axis else 1 for one in (-2, -1)]
            part = np.add.reduceat(part, starts, axis) / counts.reshape(shape)
        return part

    @property
    def told(self) -> str:
        """What of the image is shown, in words; nothing where it is the whole."""
        (rows, columns), (height, width) = self.box, self.size
        if (rows.stop - rows.start, columns.stop - columns.start) == self.size:
            return ""
        return f"y {rows.start}-{rows.stop}, x {columns.start}-{columns.stop} of {height} x {width}"


def whole_view(size: tuple[int, int]) -> View:
    """Return the view of a whole image as it is."""
    return View((slice(0, size[0]), slice(0, size[1])), 1, size)


def view_of(labels: NDArray[np.integer[Any]]) -> View:
    """Choose the window with the most labelled pixels, of a size that suits the objects.

    Args:
        labels: Object numbers ``(Y, X)``, 0 for background.

    Example:
        >>> view_of(np.zeros((2000, 300), int)).step
        4
        >>> many = np.zeros((2000, 2000), int)
        >>> many[1500:1504, 1900:1904] = 1
        >>> view_of(many).box[0].start <= 1500 < view_of(many).box[0].stop
        True
    """
    size = (labels.shape[0], labels.shape[1])
    side = _side(labels)
    box = whole_view(size).box
    if side is not None and max(size) > _NEARLY_WHOLE * side:
        box = _fullest(labels > 0, (min(side, size[0]), min(side, size[1])))
    longest = max(part.stop - part.start for part in box)
    return View(box, -(-longest // MOST_PIXELS), size)


def _side(labels: NDArray[np.integer[Any]]) -> int | None:
    """Return the side of a window with some forty objects across; ``None`` without objects."""
    areas = np.unique(labels[labels > 0], return_counts=True)[1]
    if not len(areas):
        return None
    diameter = 2 * float(np.sqrt(np.median(areas) / np.pi))
    return max(_LEAST_SIDE, round(_OBJECTS_ACROSS * diameter))


def _fullest(mask: NDArray[np.bool_], sides: tuple[int, int]) -> tuple[slice, slice]:
    """Return the window of this size with the most pixels of a mask, the first of several."""
    sums = np.pad(mask.cumsum(0, dtype=np.int64).cumsum(1), ((1, 0), (1, 0)))
    rows, columns = (
        np.unique(np.append(np.arange(0, whole - side, max(1, side // 4)), whole - side))
        for whole, side in zip(mask.shape, sides, strict=True)
    )
    top, left = np.meshgrid(rows, columns, indexing="ij")
    low, right = top + sides[0], left + sides[1]
    inside = sums[low, right] - sums[top, right] - sums[low, left] + sums[top, left]
    best = int(inside.argmax())
    start = int(top.flat[best]), int(left.flat[best])
    return slice(start[0], start[0] + sides[0]), slice(start[1], start[1] + sides[1])
