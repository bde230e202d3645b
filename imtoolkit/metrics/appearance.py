"""A few numbers that tell how an image looks, for comparing sets of images without a trained net.

They are intensities, contrasts and how textures are graded: what a person means by "looks like the
other stain". They know no objects; features of a net that was trained on such images know more.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy import ndimage

from .base import Array

SCALES: Final = (1.0, 2.0, 4.0)
"""Widths, in pixels, of the Gaussian derivatives that measure texture."""


def appearance(image: Array) -> Array:
    """Return how an image looks.

    For each channel mean, deviation and skewness of the intensities, and mean and deviation of the
    size of the gradient at three scales; for each pair of channels their correlation.

    Args:
        image: ``(C, [Z,] Y, X)``.

    Returns:
        Float32 ``(9 C + C (C - 1) / 2,)``.

    Example:
        >>> flat, dotted = np.zeros((1, 16, 16)), np.zeros((1, 16, 16))
        >>> dotted[:, ::4, ::4] = 1
        >>> appearance(flat).tolist() == [0.0] * 9
        True
        >>> bool(appearance(dotted)[3] > 0)
        True
    """
    values = image.astype(np.float32)
    numbers: list[float] = []
    for channel in values:
        numbers += _of_channel(channel)
    flat = values.reshape(len(values), -1)
    for one in range(len(values)):
        for other in range(one + 1, len(values)):
            numbers.append(_correlation(flat[one], flat[other]))
    return np.array(numbers, dtype=np.float32)


def _of_channel(channel: Array) -> list[float]:
    mean, deviation = float(channel.mean()), float(channel.std())
    skewness = 0.0
    if deviation > 0:
        skewness = float((((channel - mean) / deviation) ** 3).mean())
    numbers = [mean, deviation, skewness]
    for scale in SCALES:
        edges = scale * ndimage.gaussian_gradient_magnitude(channel, scale, mode="nearest")
        numbers += [float(edges.mean()), float(edges.std())]
    return numbers


def _correlation(one: Array, other: Array) -> float:
    spread = float(one.std() * other.std())
    if not spread > 0:
        return 0.0
    return float(((one - one.mean()) * (other - other.mean())).mean() / spread)
