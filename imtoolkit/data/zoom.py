"""Patches at another magnification: how much is cut, and how it is brought to the patch's size.

A transform that makes a patch smaller has nothing to show around it and mirrors its content, which
joins objects with their own mirror images. A patch that is cut larger shows what is really there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch.nn import functional

from imtoolkit.core.batch import WEIGHT
from imtoolkit.data.transforms.base import Array, is_labels

PLANE = 2
"""Y and X are zoomed; Z is sampled differently in most stacks, and stays."""


def drawn_zoom(between: Sequence[float], draw: float) -> float:
    """Return a magnification, drawn evenly on a logarithmic scale.

    Args:
        between: The smallest and the largest.
        draw: A number from 0 to 1.

    Example:
        >>> [round(drawn_zoom([0.5, 2.0], draw), 2) for draw in (0.0, 0.5, 1.0)]
        [0.5, 1.0, 2.0]
    """
    low, high = (math.log(value) for value in between)
    return math.exp(low + draw * (high - low))


def size_to_cut(size: Sequence[int], shape: Sequence[int], zoom: float) -> tuple[int, ...]:
    """Return how much of an image is cut for a patch that shows it ``zoom`` times as large.

    No more than the image has in Y and in X, with one magnification for both; an image that is
    smaller than the patch is not made smaller still.

    Args:
        size: Of the patch, ``[Z,] Y, X``.
        shape: Of the image, ``[Z,] Y, X``.
        zoom: Magnification: 2 cuts half of the size.

    Example:
        >>> size_to_cut((128, 128), (512, 512), 0.5), size_to_cut((128, 128), (512, 192), 0.5)
        ((256, 256), (192, 192))
        >>> size_to_cut((16, 128, 128), (30, 512, 512), 2.0)
        (16, 64, 64)
    """
    plane = list(zip(size[-PLANE:], shape[-PLANE:], strict=True))
    least = min(1.0, max(side / whole for side, whole in plane))
    factor = max(zoom, least)
    cut = (max(1, round(side / factor)) for side in size[-PLANE:])
    return (*size[:-PLANE], *cut)


def zoomed(grids: Mapping[str, Array], size: Sequence[int]) -> dict[str, np.ndarray]:
    """Bring what was cut to the size of the patch: labels by the nearest pixel, images linearly.

    Args:
        grids: Arrays ``(C, [Z,] Y, X)`` on one grid.
        size: Of the patch, ``[Z,] Y, X``.

    Returns:
        Arrays ``(C, [Z,] Y, X)`` of the same types.
    """
    plane = tuple(size[-PLANE:])
    return {
        key: _nearest(np.asarray(array), plane)
        if is_labels(array) or key == WEIGHT
        else _linear(np.asarray(array), plane)
        for key, array in grids.items()
    }


def _nearest(array: np.ndarray, plane: tuple[int, ...]) -> np.ndarray:
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.intp)
        for new, old in zip(plane, array.shape[-PLANE:], strict=True)
    )
    return array[..., rows[:, None], columns]


def _linear(array: np.ndarray, plane: tuple[int, ...]) -> np.ndarray:
    """Resample the plane; where it shrinks, what lies between is averaged and does not flicker."""
    pixels = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    shrinks = any(new < old for new, old in zip(plane, array.shape[-PLANE:], strict=True))
    flat = pixels.reshape(1, -1, *pixels.shape[-PLANE:])
    made = functional.interpolate(
        flat, plane, mode="bilinear", align_corners=False, antialias=shrinks
    )
    return made.reshape(*array.shape[:-PLANE], *plane).numpy().astype(array.dtype)
