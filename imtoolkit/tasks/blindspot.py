"""Hidden pixels for learning to denoise without clean images: where they are, what they are given.

Krull, Buchholz and Jug, "Noise2Void - learning denoising from single noisy images", CVPR 2019:
a net that cannot see a pixel can predict only what its neighbours tell of it, and independent noise
is not among that. Hoeck et al., "N2V2 - fixing Noise2Void checkerboard artifacts", ECCV workshops
2022: the median of the neighbours instead of one of them.

Random numbers are drawn on the CPU, so that they are the same on every device.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor


def box_sides(masked: float, shape: Sequence[int]) -> tuple[int, ...]:
    """Return the sides of boxes of which each holds one hidden pixel.

    Args:
        masked: Fraction of pixels that are hidden.
        shape: Spatial shape; no side of a box is longer.

    Example:
        >>> box_sides(0.02, (64, 64)), box_sides(0.02, (16, 64, 64))
        ((7, 7), (3, 4, 4))
    """
    sides: list[int] = []
    volume = 1 / masked
    for left in range(len(shape), 0, -1):
        side = min(max(1, round(volume ** (1 / left))), shape[left - 1])
        sides.insert(0, side)
        volume = max(1.0, volume / side)
    return tuple(sides)


def hidden_pixels(
    shape: Sequence[int], masked: float, generator: Generator | None = None
) -> Tensor:
    """Choose pixels, one in each box of a grid, so that they are spread evenly.

    Every pixel has the same chance: a box that reaches beyond the image may hide none.

    Args:
        shape: ``(B, [Z,] Y, X)``.
        masked: Fraction of pixels that are hidden.
        generator: Draws the places; left out, torch's own.

    Returns:
        Booleans ``(B, 1, [Z,] Y, X)``.

    Example:
        >>> hidden_pixels((1, 14, 14), 0.02).sum().item()
        4
    """
    count, *spatial = shape
    sides = box_sides(masked, spatial)
    corners = [torch.arange(0, length, side) for length, side in zip(spatial, sides, strict=True)]
    grids = torch.meshgrid(*corners, indexing="ij")
    boxes = grids[0].numel()
    places = [
        grid.flatten() + torch.randint(side, (count, boxes), generator=generator)
        for grid, side in zip(grids, sides, strict=True)
    ]  # for each axis (B, boxes)
    inside = torch.ones(count, boxes, dtype=torch.bool)
    for place, length in zip(places, spatial, strict=True):
        inside &= place < length
    images = torch.arange(count)[:, None].expand(count, boxes)
    flat = torch.zeros(count, *spatial, dtype=torch.bool)
    flat[tuple(item[inside] for item in (images, *places))] = True
    return flat[:, None]


def replaced(
    image: Tensor,
    hidden: Tensor,
    radius: int,
    how: str = "uniform",
    generator: Generator | None = None,
) -> Tensor:
    """Return the images with other values in their hidden pixels, all channels of a pixel at once.

    Args:
        image: ``(B, C, [Z,] Y, X)``.
        hidden: Booleans ``(B, 1, [Z,] Y, X)``.
        radius: Neighbours are at most so many pixels away along each axis, and inside the image.
        how: ``uniform`` takes one neighbour, each with the same chance and never the pixel itself;
            ``median`` their median, of an even number the lower one.
        generator: Draws the neighbours; left out, torch's own.

    Example:
        >>> image = torch.arange(9.0).reshape(1, 1, 3, 3)
        >>> hidden = torch.zeros(1, 1, 3, 3, dtype=torch.bool)
        >>> hidden[0, 0, 0, 0] = True
        >>> replaced(image, hidden, 1, "median")[0, 0, 0, 0].item()  # of 1, 3 and 4
        3.0
    """
    batch, *places = hidden[:, 0].cpu().nonzero(as_tuple=True)
    shape = tuple(image.shape[2:])
    if how == "uniform":
        values = _one_of(image, batch, places, shape, radius, generator)
    else:
        values = _median_of(image, batch, places, shape, radius)
    out = image.movedim(1, -1).clone()  # channels last: all of a pixel are set at once
    out[_index(image, batch, places)] = values
    return out.movedim(-1, 1).contiguous()


def _one_of(
    image: Tensor,
    batch: Tensor,
    places: Sequence[Tensor],
    shape: Sequence[int],
    radius: int,
    generator: Generator | None,
) -> Tensor:
    lows = [(place - radius).clamp_min(0) for place in places]
    highs = [
        (place + radius).clamp_max(length - 1) for place, length in zip(places, shape, strict=True)
    ]
    widths = [high - low + 1 for low, high in zip(lows, highs, strict=True)]
    count = torch.ones_like(batch)
    own = torch.zeros_like(batch)  # number of the pixel itself in its window
    for place, low, width in zip(places, lows, widths, strict=True):
        own = own * width + (place - low)
        count = count * width
    drawn = torch.rand(len(batch), generator=generator, dtype=torch.float64)
    number = (drawn * (count - 1)).long()
    number = number + (number >= own).long()
    found: list[Tensor] = []
    for low, width in zip(reversed(lows), reversed(widths), strict=True):
        found.insert(0, low + number % width)
        number = number // width
    return _values(image, batch, found)


def _median_of(
    image: Tensor, batch: Tensor, places: Sequence[Tensor], shape: Sequence[int], radius: int
) -> Tensor:
    steps = range(-radius, radius + 1)
    around = [step for step in itertools.product(steps, repeat=len(shape)) if any(step)]
    offsets = torch.tensor(around).T  # (dims, W)
    found = [place[:, None] + offset for place, offset in zip(places, offsets, strict=True)]
    inside = torch.ones(len(batch), len(around), dtype=torch.bool)
    for axis, length in enumerate(shape):
        inside &= (found[axis] >= 0) & (found[axis] < length)
        found[axis] = found[axis].clamp(0, length - 1)
    values = _values(image, batch[:, None].expand_as(inside), found)  # (M, W, C)
    missing = torch.full((), math.nan, dtype=values.dtype, device=values.device)
    known = torch.where(inside[..., None].to(values.device), values, missing)
    return known.nanmedian(1).values


def _values(image: Tensor, batch: Tensor, places: Sequence[Tensor]) -> Tensor:
    """Return the pixels at some places, with the channels as the last axis."""
    return image.movedim(1, -1)[_index(image, batch, places)]


def _index(image: Tensor, batch: Tensor, places: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(item.to(image.device) for item in (batch, *places))
