"""Structural similarity of images, in 2D and 3D, at one scale and at several.

Local means, variances and the covariance come from a Gaussian window of 11 pixels (sigma 1.5), as
in the paper. Axes that are shorter are mirrored at their ends, so that thin volumes have a value
too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy.ndimage import gaussian_filter

from .base import Array
from .images import RangedMetric, fitted

SIGMA: Final = 1.5
RADIUS: Final = 5
"""Half a window; so far from the border a window lies within the image."""
WEIGHTS: Final = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""How much each scale counts in MS-SSIM, finest first."""


class SsimMetric(RangedMetric):
    """Structural similarity (SSIM), from -1 to 1, 1 for equal images.

    Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE
    Transactions on Image Processing 2004. The mean over the pixels whose window lies within the
    image (along axes that are long enough), and that count.

    Args:
        data_range: Range of the values, as their distance or as ``[smallest, largest]``; left out,
            that of each target.
        channels: Names of the channels; left out, their numbers.
        spatial_dims: 2 or 3; an image of as many axes is one channel.

    Example:
        >>> image = np.arange(400.0).reshape(20, 20)
        >>> SsimMetric()(image, image)
        {'ssim': 1.0}
    """

    name = "ssim"

    def of(self, prediction: Array, target: Array, kept: Array | None) -> float:
        """See `ChannelMetric`; NaN where the range is 0."""
        span = self.span(target, kept)
        if not span > 0:
            return math.nan
        whole, _ = similarity(_unseen(prediction, target, kept), target, span)
        return _mean(whole, kept)


class AffineSsimMetric(SsimMetric):
    """SSIM after the gain and the offset of the prediction are fitted to the target.

    See `AffinePsnrMetric` for when this is fair.

    Args:
        data_range: Range of the values, as their distance or as ``[smallest, largest]``; left out,
            that of each target.
        channels: Names of the channels; left out, their numbers.
        spatial_dims: 2 or 3; an image of as many axes is one channel.
    """

    name = "affine_ssim"

    def of(self, prediction: Array, target: Array, kept: Array | None) -> float:
        """See `ChannelMetric`."""
        return super().of(fitted(prediction, target, kept), target, kept)


class MsSsimMetric(RangedMetric):
    """Structural similarity at several scales (MS-SSIM): the image is halved from scale to scale.

    Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment",
    Asilomar 2003: contrast and structure at each scale, brightness at the coarsest, multiplied with
    the weights of the paper. An image that is too small for five scales (176 pixels) has as many as
    fit, with weights that sum to the same; axes shorter than two windows, as the slices of a thin
    volume, are not halved. Negative values, of which no power can be taken, count as 0.

    Args:
        data_range: Range of the values, as their distance or as ``[smallest, largest]``; left out,
            that of each target.
        channels: Names of the channels; left out, their numbers.
        spatial_dims: 2 or 3; an image of as many axes is one channel.
    """

    name = "ms_ssim"

    def of(self, prediction: Array, target: Array, kept: Array | None) -> float:
        """See `ChannelMetric`; NaN where the range is 0."""
        span = self.span(target, kept)
        if not span > 0:
            return math.nan
        ours, theirs = _unseen(prediction, target, kept), target
        parts: list[float] = []
        for scale in range(len(WEIGHTS)):
            whole, structure = similarity(ours, theirs, span)
            steps = _halved(theirs.shape, kept)
            if scale == len(WEIGHTS) - 1 or steps is None:
                parts.append(_mean(whole, kept))
                break
            parts.append(_mean(structure, kept))
            ours, theirs = _pooled(ours, steps), _pooled(theirs, steps)
            kept = None if kept is None else _counting(kept, steps)
        weights = np.array(WEIGHTS[: len(parts)]) * sum(WEIGHTS) / sum(WEIGHTS[: len(parts)])
        return float(np.prod(np.maximum(parts, 0.0) ** weights))


def similarity(prediction: Array, target: Array, span: float) -> tuple[Array, Array]:
    """Return SSIM, and its part of contrast and structure, at each pixel.

    Args:
        prediction: One channel ``([Z,] Y, X)``, float64.
        target: Same shape.
        span: Range of the values.
    """
    offset = target.mean()  # variances of small differences around a large mean lose digits
    x, y = prediction - offset, target - offset
    mean_x, mean_y = _window(x), _window(y)
    variance_x, variance_y = _window(x * x) - mean_x**2, _window(y * y) - mean_y**2
    covariance = _window(x * y) - mean_x * mean_y
    low, high = (0.01 * span) ** 2, (0.03 * span) ** 2
    structure = (2 * covariance + high) / (variance_x + variance_y + high)
    mean_x, mean_y = mean_x + offset, mean_y + offset
    brightness = (2 * mean_x * mean_y + low) / (mean_x**2 + mean_y**2 + low)
    return brightness * structure, structure


def _window(image: Array) -> Array:
    found: Array = gaussian_filter(image, SIGMA, radius=RADIUS)
    return found


def _mean(values: Array, kept: Array | None) -> float:
    """Average where the window lies within the image, and that counts."""
    inner = _inner(values.shape)
    found = values[inner] if kept is None else values[inner][kept[inner]]
    return float(found.mean()) if found.size else math.nan


def _inner(shape: Sequence[int]) -> tuple[slice, ...]:
    return tuple(
        slice(RADIUS, length - RADIUS) if length > 2 * RADIUS else slice(None) for length in shape
    )


def _unseen(prediction: Array, target: Array, kept: Array | None) -> Array:
    """Put the target where a pixel does not count: it lies in the windows of others."""
    return prediction if kept is None else np.where(kept, prediction, target)


def _halved(shape: Sequence[int], kept: Array | None) -> tuple[int, ...] | None:
    """Return 2 for each axis that can be halved.

    ``None`` where one of Y and X cannot, or nothing that counts would be left.
    """
    steps = tuple(2 if length >= 2 * (2 * RADIUS + 1) else 1 for length in shape)
    if steps[-2:] != (2, 2):
        return None
    if kept is not None:
        smaller = _counting(kept, steps)
        return steps if smaller[_inner(smaller.shape)].any() else None
    return steps


def _counting(kept: Array, steps: Sequence[int]) -> Array:
    """Return which blocks hold a pixel that counts."""
    blocks: Array = _pooled(kept.astype(float), steps) > 0
    return blocks


def _pooled(image: Array, steps: Sequence[int]) -> Array:
    """Average blocks of pixels; what is left over at the end is dropped."""
    for axis, step in enumerate(steps):
        length = image.shape[axis] // step * step
        cut = np.take(image, range(length), axis)
        shape = (*cut.shape[:axis], length // step, step, *cut.shape[axis + 1 :])
        image = cut.reshape(shape).mean(axis + 1)
    return image
