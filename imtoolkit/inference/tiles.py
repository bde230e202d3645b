"""Where the tiles of an image lie, and how much each pixel of a tile counts.

Tiles are equal in size and evenly spread, so that no sliver is predicted twice at the border; the
Gaussian weight is that of Isensee et al., "nnU-Net", Nature Methods 2021.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

Tile = tuple[slice, ...]


def plan_tiles(shape: Sequence[int], tile: Sequence[int], overlap: float) -> list[Tile]:
    """Cover an image with equal, overlapping tiles.

    Args:
        shape: Spatial shape ``([Z,] Y, X)`` in pixels; no axis shorter than the tile.
        tile: Tile shape, same length.
        overlap: Least fraction of the tile that neighbours share, in ``[0, 1)``.

    Returns:
        One tuple of slices for each tile, last axis fastest.

    Raises:
        ValueError: If lengths differ, the tile is larger than the image, or ``overlap`` is not a
            fraction.

    Example:
        >>> len(plan_tiles((64, 96), tile=(32, 32), overlap=0.0))
        6
        >>> plan_tiles((10,), tile=(4,), overlap=0.5)
        [(slice(0, 4, None),), (slice(2, 6, None),), (slice(4, 8, None),), (slice(6, 10, None),)]
    """
    if len(shape) != len(tile):
        message = f"got a tile of {len(tile)} axes for an image of {len(shape)}"
        raise ValueError(message)
    if not 0 <= overlap < 1:
        message = f"got an overlap of {overlap}; expected a fraction from 0 to below 1"
        raise ValueError(message)
    axes = [_starts(size, length, overlap) for size, length in zip(shape, tile, strict=True)]
    return [
        tuple(slice(start, start + length) for start, length in zip(corner, tile, strict=True))
        for corner in itertools.product(*axes)
    ]


def gaussian_weight(tile: Sequence[int], sigma: float = 0.125) -> Tensor:
    """Return how much each pixel of a tile counts: 1 in the middle, falling to the border.

    Args:
        tile: Tile shape ``([Z,] Y, X)``.
        sigma: Standard deviation as a fraction of the tile.

    Returns:
        Float32 tensor of the tile's shape. No pixel is below 1e-3, so that a border pixel that only
        one tile covers is not lost to rounding.
    """
    weight = torch.ones(())
    for length in tile:
        offset = torch.arange(length, dtype=torch.float32) - (length - 1) / 2
        profile = torch.exp(-0.5 * (offset / (sigma * length)) ** 2)
        weight = weight[..., None] * profile
    return (weight / weight.max()).clamp_min(1e-3)


def _starts(size: int, length: int, overlap: float) -> list[int]:
    if length > size:
        message = f"got a tile of {length} pixels for an axis of {size}; pad the image first"
        raise ValueError(message)
    step = max(1.0, length * (1 - overlap))
    count = math.ceil((size - length) / step - 1e-9) + 1
    if count == 1:
        return [0]
    return [round(index * (size - length) / (count - 1)) for index in range(count)]
