"""Boundaries of objects."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .numbering import as_labels


def boundaries(
    labels: ArrayLike, *, outer: bool = False, border: bool = False
) -> NDArray[np.bool_]:
    """Mark the pixels of objects that touch another label or background across a face.

    Args:
        labels: Labels of any shape; 0 is background.
        outer: Mark the background pixels along objects as well.
        border: Whether the end of the image counts as background.

    Returns:
        Mask of the shape of ``labels``.

    Raises:
        ValueError: If the labels are no integers or negative.

    Example:
        >>> boundaries([[1, 1, 1, 0, 2, 2]]).astype(int).tolist()
        [[0, 0, 1, 0, 1, 0]]
        >>> boundaries([[1, 1, 1, 0, 2, 2]], outer=True).astype(int).tolist()
        [[0, 0, 1, 1, 1, 0]]
    """
    array = as_labels(labels)
    found = np.zeros(array.shape, bool)
    for axis in range(array.ndim):
        before = (slice(None),) * axis + (slice(None, -1),)
        after = (slice(None),) * axis + (slice(1, None),)
        differs = array[before] != array[after]
        found[before] |= differs
        found[after] |= differs
        if border and array.shape[axis]:
            found[(slice(None),) * axis + ([0, -1],)] = True
    if border and outer:  # the end of the image is no object's neighbour
        return (found & (array > 0)) | boundaries(array, outer=True)
    return found if outer else found & (array > 0)
