"""Connected parts, quickly: of masks, and of each number of a label image by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from imtoolkit.labels.numbering import smallest_type

from .base import RESULT, Array, Makes, PostprocessStep


def numbered_parts(labels: Array, *, diagonal: bool = False) -> tuple[Array, int]:
    """Number the connected parts of a mask, or of each number, ``1 .. n`` in scan order.

    Args:
        labels: Mask or labels of 1 to 3 axes; 0 is background.
        diagonal: Whether pixels that touch at a corner (in 3D also at an edge) are connected.

    Returns:
        The numbers ``([Z,] Y, X)``, and how many there are.
    """
    from skimage.measure import label

    labels = np.asarray(labels)
    if not labels.size:
        return np.zeros(labels.shape, np.int32), 0
    connectivity = labels.ndim if diagonal else 1
    parts, count = label(labels, background=0, return_num=True, connectivity=connectivity)
    return parts, int(count)


def connected_components(labels: Array, *, diagonal: bool = False) -> Array:
    """Make an object of each connected part of a mask, or of each number of a label image.

    Args:
        labels: Mask, classes or objects ``([Z,] Y, X)``; 0 is background.
        diagonal: Whether pixels that touch at a corner (in 3D also at an edge) are connected.

    Returns:
        Object numbers ``1 .. n`` in scan order, in the smallest type that holds them.

    Example:
        >>> connected_components(np.array([[1, 1, 0, 1], [0, 0, 1, 0]])).tolist()
        [[1, 1, 0, 2], [0, 0, 3, 0]]
    """
    parts, count = numbered_parts(labels, diagonal=diagonal)
    return parts.astype(smallest_type(count))


class ConnectedComponents(PostprocessStep):
    """An object for each connected part of a mask, or of each class or object.

    Args:
        diagonal: Whether pixels that touch at a corner (in 3D also at an edge) are connected.
        of: Mask, classes or objects that it reads.
        to: Name of the result.
    """

    makes = Makes.INSTANCES
    takes: ClassVar[Mapping[str, tuple[Makes, ...]]] = {
        "of": (Makes.MASK, Makes.CLASSES, Makes.INSTANCES)
    }

    def __init__(
        self,
        diagonal: bool = False,
        of: str = RESULT,
        to: str = RESULT,
    ) -> None:
        super().__init__(of, to)
        self.diagonal = diagonal

    def apply(self, values: Mapping[str, Array], spacing: Sequence[float] | None) -> Array:
        """See `PostprocessStep`."""
        del spacing
        return connected_components(self.read(values), diagonal=self.diagonal)
