"""Two adjacent parts of a curved structure in MR-like contrast, as the hippocampus is labelled.

A bent, tapering body is cut across into an anterior (1) and a posterior (2) part of equal contrast:
the border between them is known from place alone, so a net has to see all three dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .drawing import Drawn, Floats, Rng, largest_part, pixel_grid, smooth_noise

SPACING = (1.0, 1.0, 1.0)


def draw_hippocampus(rng: Rng, shape: Sequence[int] = (36, 50, 35)) -> Drawn:
    """Draw a crop of a brain around a two-part structure.

    Args:
        rng: Source of all randomness.
        shape: Mean shape ``(Z, Y, X)``; each volume is a few voxels larger or smaller.

    Returns:
        Image of float32 on an arbitrary scale, as MR has none, labels of uint8, and the affine;
        ``facts`` holds the voxels of both parts.

    Raises:
        ValueError: If ``shape`` has not three axes.
    """
    if len(shape) != 3:
        message = f"the structure is drawn in 3D only, got a shape of {len(shape)} axes"
        raise ValueError(message)
    size = tuple(int(n + rng.integers(-3, 4)) for n in shape)
    labels = _structure(rng, size)
    tissue = _surroundings(rng, size)
    # white matter wraps the structure, fluid lies along a part of it
    away = ndimage.distance_transform_edt(labels == 0)
    rim = np.exp(-(((away - 2.2) / 1.1) ** 2))
    side = smooth_noise(rng, size, 6.0)
    tissue += rim * np.where(side > 0, 0.3, -0.35) * np.clip(np.abs(side), 0.2, 1)
    inner = 0.52 + 0.05 * smooth_noise(rng, size, 2.0) + 0.06 * smooth_noise(rng, size, 5.0)
    volume = np.where(labels > 0, inner, tissue)
    volume = ndimage.gaussian_filter(volume, 0.6)
    bias = 1 + 0.1 * smooth_noise(rng, size, np.asarray(size) / 2)
    noise = rng.uniform(0.02, 0.05) * rng.standard_normal((2, *size))
    magnitude = np.hypot(volume * bias + noise[0], noise[1])  # Rician, as in magnitude images
    scale = float(np.exp(rng.uniform(np.log(150), np.log(4000))))
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = np.round(rng.uniform(-30, 30, 3), 1)
    facts: dict[str, float | int | str] = {
        "anterior": int((labels == 1).sum()), "posterior": int((labels == 2).sum())
    }  # fmt: skip
    image = (scale * magnitude).astype(np.float32)
    return Drawn(image, labels, SPACING, "millimeter", affine, facts)


def _structure(rng: Rng, size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Draw the body along an arc in the Y-Z plane: thick in front, thin and bent behind."""
    nodes = np.linspace(0, 1, 60)
    bow, drift = rng.uniform(4, 9), rng.uniform(-4, 4)
    length = rng.uniform(0.5, 0.66) * size[1]
    start = (size[1] - length) / 2 + rng.uniform(-2, 2)
    path = np.stack(
        [
            size[0] * 0.42 + bow * np.sin(np.pi * nodes * 0.8) + rng.uniform(-2, 2),
            size[1] - start - length * nodes,
            size[2] / 2 + drift * (nodes - 0.5) + 3 * np.sin(3 * nodes + rng.uniform(0, 6)),
        ],
        axis=1,
    )
    radius = rng.uniform(5.6, 7.2) * (1 - 0.5 * nodes) * (1 + 0.12 * np.sin(9 * nodes))
    points = pixel_grid([0, 0, 0], size, SPACING).reshape(3, -1).T
    gaps = np.linalg.norm(points[:, None] - path[None], axis=2) / radius
    nearest = gaps.argmin(axis=1)
    depth = (1 - gaps.min(axis=1)).reshape(size) + 0.12 * smooth_noise(rng, size, 2.5)
    body = largest_part(depth > 0)
    behind = nodes[nearest].reshape(size) > rng.uniform(0.4, 0.48)
    return np.where(body, 1 + behind, 0).astype(np.uint8)


def _surroundings(rng: Rng, size: tuple[int, ...]) -> Floats:
    """Draw folded grey and white matter with clefts of fluid."""
    folds = smooth_noise(rng, size, 4.0) + 0.5 * smooth_noise(rng, size, 2.0)
    white = 1 / (1 + np.exp(-6 * (folds - 0.1)))
    fluid = 1 / (1 + np.exp(-10 * (smooth_noise(rng, size, 3.5) - 1.5)))
    tissue: Floats = (0.55 + 0.32 * white) * (1 - 0.8 * fluid)
    return tissue
