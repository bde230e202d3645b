"""What all drawn samples share: the picture and its truth, smooth noise, blobs, optics, a camera.

Everything is numpy and scipy on plain arrays; sizes are physical (micrometres or millimetres) and
become pixels through ``spacing``, so that one code path draws 2D and 3D. Randomness comes from the
generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float64]
Rng = np.random.Generator
Lengths = Sequence[float] | Floats
"""A length for each axis."""


@dataclass(frozen=True)
class Drawn:
    """A drawn picture and its truth.

    Attributes:
        image: What the microscope sees, ``([Z,] Y, X)``.
        target: What is to be learnt: labels, or another image of the same shape; ``None`` where the
            truth is the class in ``facts``.
        spacing: Pixel size ``([Z,] Y, X)`` in ``unit``.
        unit: ``"micrometer"`` or ``"millimeter"``.
        affine: Voxel ``(X, Y, Z)`` to world, for medical volumes.
        facts: Known answers: number of objects, photons, read noise, class, ...
        more: Further pictures of the same scene, by name.
    """

    image: NDArray[Any]
    target: NDArray[Any] | None
    spacing: tuple[float, ...]
    unit: str = "micrometer"
    affine: Floats | None = None
    facts: dict[str, float | int | str] = field(default_factory=dict)
    more: dict[str, NDArray[Any]] = field(default_factory=dict)


def smooth_noise(rng: Rng, shape: Sequence[int], sigma: float | Lengths) -> Floats:
    """Draw a random field of zero mean, unit deviation and correlation length ``sigma`` pixels."""
    sigmas = np.broadcast_to(np.asarray(sigma, dtype=float), (len(shape),))
    # a coarse grid holds all that a wide blur leaves, at a small part of the cost
    steps = np.maximum(1, np.minimum(sigmas / 2, np.asarray(shape) / 2).astype(int))
    coarse = [int(np.ceil(size / step)) + 2 for size, step in zip(shape, steps, strict=True)]
    field_ = ndimage.gaussian_filter(rng.standard_normal(coarse), sigmas / steps, mode="wrap")
    if steps.max() > 1:
        grid = np.ix_(*(np.arange(n) / step + 0.5 for n, step in zip(shape, steps, strict=True)))
        points = np.stack(np.broadcast_arrays(*grid))
        field_ = ndimage.map_coordinates(field_, points, order=1, mode="nearest")
    else:
        field_ = field_[tuple(slice(size) for size in shape)]
    result: Floats = (field_ - field_.mean()) / max(float(field_.std()), 1e-12)
    return result


def pixel_grid(start: Lengths, shape: Sequence[int], spacing: Lengths) -> Floats:
    """Return physical coordinates of the pixels of a box, ``(dims, [Z,] Y, X)``."""
    axes = [
        (first + np.arange(size)) * step
        for first, size, step in zip(start, shape, spacing, strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def in_plane_rotation(dims: int, angle: float) -> Floats:
    """Return the rotation by ``angle`` in the plane of the last two axes."""
    matrix = np.eye(dims)
    cos, sin = np.cos(angle), np.sin(angle)
    matrix[-2:, -2:] = [[cos, -sin], [sin, cos]]
    return matrix


@dataclass(frozen=True)
class Blob:
    """A closed, uneven body in a box of the image.

    Attributes:
        box: Where the box lies in the image.
        depth: Positive inside, about 1 at the middle and 0 at the surface; as large as the box.
        coverage: Fraction of each pixel that the body covers, softened by a pixel.
        stretch: Half the length of each axis, physical.
    """

    box: tuple[slice, ...]
    depth: Floats
    coverage: Floats
    stretch: Floats


def draw_blob(
    rng: Rng,
    shape: Sequence[int],
    spacing: Lengths,
    centre: Lengths,
    half_axes: Lengths,
    *,
    bend: float = 0.0,
    roughness: float = 0.08,
) -> Blob | None:
    """Draw an ellipsoid, turned in the plane, bent, and dented by smooth noise.

    Args:
        rng: Source of the turn and of the dents.
        shape: Shape of the image.
        spacing: Pixel size.
        centre: Physical position of the middle; it may lie outside the image.
        half_axes: Half of each axis, physical.
        bend: How much the body curves, 0 for straight.
        roughness: Size of the dents relative to the body.

    Returns:
        The blob, or ``None`` where it lies outside the image.
    """
    steps, middle, half = (np.asarray(v, dtype=float) for v in (spacing, centre, half_axes))
    reach = np.where(np.arange(len(half)) < len(half) - 2, half, half[-2:].max()) * 1.4
    low = np.maximum(np.floor((middle - reach) / steps), 0).astype(int)
    high = np.minimum(np.ceil((middle + reach) / steps) + 1, shape).astype(int)
    turn = in_plane_rotation(len(half), rng.uniform(0, 2 * np.pi))
    dents_seed = rng.integers(2**63)
    if (high <= low).any():
        return None
    points = pixel_grid(low, high - low, steps) - middle.reshape(-1, *[1] * len(half))
    unit = np.einsum("ij,j...->i...", turn, points) / half.reshape(-1, *[1] * len(half))
    unit[-2] += bend * (unit[-1] ** 2 - 0.3)
    dents = smooth_noise(np.random.default_rng(dents_seed), high - low, half.mean() / 2 / steps)
    depth = 1 - np.sqrt((unit**2).sum(axis=0)) + roughness * np.clip(dents, -2, 2)
    coverage = np.clip(depth * half.min() / steps.min() + 0.5, 0, 1)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return Blob(box, depth, coverage, half)


def camera(
    rng: Rng,
    photons: Floats,
    *,
    read_noise: float = 2.0,
    gain: float = 1.0,
    offset: float = 100.0,
    dtype: type = np.uint16,
) -> NDArray[Any]:
    """Take a picture: shot noise of the photons, read noise, gain, offset, whole numbers.

    The mean is ``offset + gain * photons``, the variance
    ``gain**2 * (photons + read_noise**2)`` plus 1/12 for rounding, as far as nothing saturates.
    """
    electrons = rng.poisson(np.maximum(photons, 0)) + rng.normal(0, read_noise, photons.shape)
    return to_integers(offset + gain * electrons, dtype)


def to_integers(values: Floats, dtype: type) -> NDArray[Any]:
    """Round and saturate as an analogue-digital converter does."""
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


def largest_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the largest connected part of a mask."""
    parts, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    largest: NDArray[np.bool_] = parts == sizes.argmax()
    return largest
