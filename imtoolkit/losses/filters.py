"""Separable filters for losses, on images of any number of axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every reader of torch code knows
from torch import Tensor


def gaussian(sigma: float, size: int, order: int = 0) -> Tensor:
    """Return a sampled Gaussian, or its first or second derivative, as ``(size,)`` in float64.

    The Gaussian sums to 1. Derivatives are exact on ramps and parabolas: the first of ``x`` is 1,
    the second of ``x ** 2`` is 2, and both of a constant are 0.

    Args:
        sigma: Width in pixels.
        size: Odd number of samples.
        order: 0, 1 or 2.

    Example:
        >>> x = torch.arange(-4, 5, dtype=torch.float64)
        >>> [round(float(gaussian(1.0, 9, n) @ (-x) ** n), 6) for n in (0, 1, 2)]
        [1.0, 1.0, 2.0]
    """
    x = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    smooth = torch.exp(-(x**2) / (2 * sigma**2))
    smooth = smooth / smooth.sum()
    if order == 0:
        return smooth
    if order == 1:
        kernel = -x * smooth
        return kernel / -(kernel * x).sum()
    kernel = (x**2 / sigma**2 - 1) * smooth
    kernel = kernel - kernel.mean()
    return kernel * (2 / (kernel * x**2).sum())


def separable(image: Tensor, kernels: Sequence[Tensor], *, pad: bool = False) -> Tensor:
    """Convolve each axis of an image with its kernel.

    Args:
        image: ``(B, C, [Z,] Y, X)``.
        kernels: One for each axis ``[Z,] Y, X``, of odd length.
        pad: Continue the image by its last pixels, so that it keeps its size; otherwise only
            pixels whose window lies inside the image are returned.
    """
    batch, channels, *_ = image.shape
    folded = image.flatten(0, 1)[:, None]  # (B C, 1, [Z,] Y, X)
    convolve = F.conv2d if len(kernels) == 2 else F.conv3d
    if pad:
        sides = [side for kernel in reversed(kernels) for side in [len(kernel) // 2] * 2]
        folded = F.pad(folded, sides, mode="replicate")
    for axis, kernel in enumerate(kernels):
        shape = [1] * (len(kernels) + 2)
        shape[axis + 2] = len(kernel)
        # torch correlates; turned round it is a convolution
        folded = convolve(folded, kernel.flip(0).to(folded).reshape(shape))
    return folded.reshape(batch, channels, *folded.shape[2:])


def radius_of(sigma: float) -> int:
    """Return how far a Gaussian is sampled: three widths and a bit."""
    return max(1, math.ceil(3.5 * sigma))
