"""Shapes in classes: cross, disk, ring, square, triangle; of any size, place and turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from .drawing import Drawn, Floats, Rng, camera, in_plane_rotation, pixel_grid, smooth_noise


def _disk(points: Floats) -> Floats:
    depth: Floats = 1 - np.sqrt((points**2).sum(axis=0))
    return depth


def _ring(points: Floats) -> Floats:
    depth: Floats = 0.2 - np.abs(np.sqrt((points**2).sum(axis=0)) - 0.8)
    return depth


def _square(points: Floats) -> Floats:
    depth: Floats = 0.85 - np.abs(points).max(axis=0)
    return depth


def _triangle(points: Floats) -> Floats:
    """Return a triangle; in 3D a cone-like pyramid, so that every slice is one."""
    y, x = points[-2], points[-1]
    sides = np.stack([y + 0.5, 0.5 - y * 0.5 - x * 0.866, 0.5 - y * 0.5 + x * 0.866]).min(axis=0)
    depth: Floats = sides if len(points) == 2 else sides - 0.25 * (points[0] + 1)
    return depth


def _cross(points: Floats) -> Floats:
    size = np.sort(np.abs(points), axis=0)
    depth: Floats = np.minimum(0.3 - size[-2], 1 - size[-1])
    return depth


SHAPES: dict[str, Callable[[Floats], Floats]] = {
    "cross": _cross,
    "disk": _disk,
    "ring": _ring,
    "square": _square,
    "triangle": _triangle,
}
"""Class name and its depth, positive inside, on coordinates of a body of radius 1."""
SPACING = 0.5


def draw_shapes(
    rng: Rng, shape: Sequence[int], *, kind: str | None = None, contrast: float | None = None
) -> Drawn:
    """Draw one noisy shape.

    Args:
        rng: Source of all randomness.
        shape: Shape of the image, ``([Z,] Y, X)``.
        kind: A key of `SHAPES`; left out, drawn.
        contrast: Photons of the shape over the background of 20; left out, drawn from 10 to 60.

    Returns:
        Image of uint16 without a target: ``facts["class"]`` is the truth, and ``facts["pixels"]``
        the size of the shape.
    """
    kind = kind or str(rng.choice(sorted(SHAPES)))
    contrast = float(rng.uniform(10, 60)) if contrast is None else contrast
    size = np.asarray(shape, dtype=float)
    radius = rng.uniform(0.22, 0.4) * size.min()
    centre = size / 2 + rng.uniform(-0.5, 0.5, len(shape)) * (size - 2.1 * radius)
    points = pixel_grid([0] * len(shape), shape, [1.0] * len(shape))
    points -= centre.reshape(-1, *[1] * len(shape))
    turn = in_plane_rotation(len(shape), rng.uniform(0, 2 * np.pi))
    depth = SHAPES[kind](np.einsum("ij,j...->i...", turn, points) / radius)
    coverage = np.clip(depth * radius + 0.5, 0, 1)
    texture = 1 + 0.1 * smooth_noise(rng, shape, 2.0)
    uneven = 1 + 0.2 * smooth_noise(rng, shape, size / 2)
    light = ndimage.gaussian_filter(coverage * texture, 0.8) * contrast + 20 * np.clip(uneven, 0, 3)
    image = camera(rng, light, gain=10.0)
    facts: dict[str, float | int | str] = {
        "class": kind, "pixels": int((depth > 0).sum()), "contrast": contrast
    }  # fmt: skip
    return Drawn(image, None, (SPACING,) * len(shape), facts=facts)
