"""What noise and blur are made of: random fields of a seed, and sums over neighbours.

A field of random numbers belongs to its seed and its kind of device: a CPU and a GPU draw different
ones, each the same every time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

_REACH = 4.0
"""A Gaussian is cut off at so many standard deviations."""


def for_each_image(images: torch.Tensor, values: Any) -> torch.Tensor:
    """Shape values ``(B,)`` or ``(..., B, C)`` so that they broadcast over ``(B, C, [Z,] Y, X)``.

    Example:
        >>> for_each_image(torch.zeros(2, 1, 8, 8), [0.5, 1.0]).shape
        torch.Size([2, 1, 1, 1])
        >>> for_each_image(torch.zeros(2, 3, 8, 8), torch.zeros(5, 2, 3)).shape
        torch.Size([5, 2, 3, 1, 1])
    """
    table = torch.as_tensor(values, dtype=images.dtype).to(images.device)
    by_channel = table.ndim > 1
    return table.reshape(*table.shape, *[1] * (images.ndim - (2 if by_channel else 1)))


def generator(seed: int, device: torch.device) -> torch.Generator:
    """Return a source of random numbers on a device."""
    return torch.Generator(device).manual_seed(seed)


def normal(images: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
    """Return normal random numbers of the images' shape, for each image those of its seed."""
    return filled(images, seeds, lambda out, source: out.normal_(generator=source))


def uniform(images: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
    """Return even random numbers in [0, 1), for each image those of its seed."""
    return filled(images, seeds, lambda out, source: out.uniform_(generator=source))


def filled(
    images: torch.Tensor,
    seeds: Sequence[int],
    fill: Callable[[torch.Tensor, torch.Generator], Any],
) -> torch.Tensor:
    """Return new images, each filled in place with the generator of its seed."""
    out = torch.empty_like(images, memory_format=torch.contiguous_format)
    for image, seed in zip(out, seeds, strict=True):
        fill(image, generator(seed, images.device))
    return out


def gaussian(sigma: float) -> torch.Tensor:
    """Return the weights of a Gaussian at the distances 0, 1, 2, ... pixels, for `smoothed`.

    They and their mirror images sum to 1; cut off at 4 sigma.

    Example:
        >>> weights = gaussian(1.5)
        >>> round(float(2 * weights.sum() - weights[0]), 6)
        1.0
    """
    if sigma == 0:
        return torch.ones(1)
    distances = torch.arange(math.floor(_REACH * sigma + 0.5) + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (distances / sigma) ** 2)
    return (weights / (2 * weights.sum() - weights[0])).to(torch.float32)


def summed(images: torch.Tensor, weights: torch.Tensor, axis: int) -> torch.Tensor:
    """Return weighted sums over neighbours along one axis, where all neighbours exist.

    Args:
        images: ``(B, C, [Z,] Y, X)``.
        weights: For each image the weights at distance 0, 1, ..., ``(B, radius + 1)``.
        axis: Counted from the end.

    Returns:
        Shorter by the radius on each side along the axis.
    """
    radius = weights.shape[1] - 1
    side = images.shape[axis] - 2 * radius
    shaped = weights.reshape(*weights.shape, *[1] * (images.ndim - 1)).unbind(1)
    out = images.narrow(axis, radius, side) * shaped[0]
    for distance in range(1, radius + 1):
        pair = images.narrow(axis, radius - distance, side) + images.narrow(
            axis, radius + distance, side
        )
        out.addcmul_(pair, shaped[distance])
    return out


def smoothed(images: torch.Tensor, sigmas: Sequence[float], axes: Sequence[int]) -> torch.Tensor:
    """Filter images with Gaussians; beyond the border the last pixel goes on.

    Args:
        images: ``(B, C, [Z,] Y, X)``.
        sigmas: Standard deviation for each image, in pixels.
        axes: Along which it is done, counted from the end.
    """
    if images.device.type == "cpu" and len(images) > 1:  # one fits into the processor's cache
        return torch.cat([smoothed(images[i : i + 1], [s], axes) for i, s in enumerate(sigmas)])
    kernels = [gaussian(sigma) for sigma in sigmas]
    radius = max(len(kernel) for kernel in kernels) - 1
    if radius == 0:
        return images
    table = torch.stack([functional.pad(k, (0, radius + 1 - len(k))) for k in kernels])
    weights = table.to(images.device)
    for axis in axes:
        if images.shape[axis] > 1:
            images = summed(extended(images, radius, axis), weights, axis)
    return images


def extended(images: torch.Tensor, count: int, axis: int) -> torch.Tensor:
    """Repeat the first and the last pixel along an axis so many times."""
    first, last = images.narrow(axis, 0, 1), images.narrow(axis, images.shape[axis] - 1, 1)
    widths = [-1] * images.ndim
    widths[axis] = count
    return torch.cat([first.expand(widths), images, last.expand(widths)], dim=axis)
