"""A structural channel that predicts a fluorescent one: phase contrast or bright field, and DNA.

A layer of cells delays light by its thickness; nuclei and nucleoli add to that. In 2D, phase
contrast shows the delay less its surroundings (hence the halos); in 3D, bright field shows its
curvature, reversed on the two sides of the focus. The stain shows the nuclei alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from .drawing import Blob, Drawn, Floats, Rng, camera, draw_blob, pixel_grid, smooth_noise

SPACING = (1.0, 0.45, 0.45)
"""Pixel size in micrometres, ``(Z, Y, X)``."""
CELL_RADIUS = 9.0
"""Typical radius of a cell in micrometres."""


def draw_label_free(rng: Rng, shape: Sequence[int], *, photons: float = 300.0) -> Drawn:
    """Draw a transmitted-light image and the DNA stain of the same cells.

    Args:
        rng: Source of all randomness.
        shape: Shape of the image, ``([Z,] Y, X)``.
        photons: Expected photons in the middle of a stained nucleus.

    Returns:
        Transmitted-light image and fluorescence, both uint16; ``facts["cells"]`` counts the nuclei
        that lie in the image, wholly or in part.
    """
    spacing = SPACING[-len(shape) :]
    seeds = _seeds(rng, np.multiply(shape, spacing))
    cells, border = _monolayer(rng, shape, spacing, seeds)
    nuclei, organelles, count = _nuclei(rng, shape, spacing, seeds)
    delay = 0.5 * cells + 0.12 * nuclei + organelles
    granules = np.clip(smooth_noise(rng, shape, 0.45 / np.asarray(spacing)) - 0.7, 0, 2)
    crowd = np.clip(0.6 + 0.7 * smooth_noise(rng, shape, 5 / np.asarray(spacing)), 0.1, 2)
    delay += 0.28 * granules * crowd * (1 - 0.8 * np.clip(nuclei, 0, 1))
    delay -= 0.75 * border  # where cells meet, the layer is thin
    light = _phase_contrast(delay, spacing) if len(shape) == 2 else _bright_field(delay, spacing)
    image = camera(rng, 4000 * np.clip(light, 0.05, 3), read_noise=3.0, gain=4.0, offset=100.0)
    stain = _stain(rng, nuclei, spacing, photons)
    facts: dict[str, float | int | str] = {"cells": count, "photons": photons}
    return Drawn(image, stain, spacing, facts=facts)


def _seeds(rng: Rng, extent: Floats) -> Floats:
    """Throw cell centres, evenly apart, in the plane of the dish; 3D cells lie in one layer."""
    margin = 2 * CELL_RADIUS
    plane = extent[-2:]
    wanted = int(6 * np.prod((plane + 2 * margin) / CELL_RADIUS))
    kept: list[Floats] = []
    for point in rng.uniform(-margin, plane + margin, (wanted, 2)):
        gap = 1.25 * CELL_RADIUS * rng.uniform(0.8, 1.3)
        if not kept or np.linalg.norm(np.asarray(kept) - point, axis=1).min() > gap:
            kept.append(point)
    flat = np.asarray(kept)
    if len(extent) == 2:
        return flat
    height = extent[0] * 0.45 + rng.normal(0, 0.7, len(flat))
    return np.column_stack([height, flat])


def _monolayer(
    rng: Rng, shape: Sequence[int], spacing: Sequence[float], seeds: Floats
) -> tuple[Floats, Floats]:
    """Return the thickness of the cells and the bright ridges where they meet."""
    plane, steps = shape[-2:], spacing[-2:]
    points = pixel_grid([0, 0], plane, steps)
    points += np.stack([1.5 * smooth_noise(rng, plane, 8.0) for _ in range(2)])
    distance, nearest = cKDTree(seeds[:, -2:]).query(points.reshape(2, -1).T, k=2)
    gap = (distance[:, 1] - distance[:, 0]).reshape(tuple(plane)) / 2
    height = np.exp(rng.normal(0, 0.25, len(seeds)))[nearest[:, 0]].reshape(tuple(plane))
    dome = height * np.clip(gap / CELL_RADIUS, 0, 1) ** 0.5
    patchy = np.clip(0.6 + 0.6 * smooth_noise(rng, plane, 12.0), 0, 1.6)
    ridge = patchy * np.exp(-((gap / 0.55) ** 2))
    if len(shape) == 2:
        return dome, ridge
    above = (np.arange(shape[0])[:, None, None] * spacing[0] - shape[0] * spacing[0] * 0.45) / 3.5
    layer = np.exp(-(above**2))
    return dome * layer, ridge * layer


def _nuclei(
    rng: Rng, shape: Sequence[int], spacing: Sequence[float], seeds: Floats
) -> tuple[Floats, Floats, int]:
    """Return nuclei (stain and delay), what is inside them (delay only), and their count."""
    nuclei, organelles, count = np.zeros(shape), np.zeros(shape), 0
    for seed in seeds:
        radius = rng.normal(4.6, 0.5)
        stretch = rng.uniform(1.0, 1.25)
        half = [radius / stretch, radius * stretch]
        if len(shape) == 3:
            half = [2.8, *half]
        bright = np.exp(rng.normal(0, 0.25))
        blob = draw_blob(rng, shape, spacing, seed, half, bend=0.05, roughness=0.06)
        if blob is None or not (blob.depth > 0).any():
            continue
        count += 1
        dome = blob.coverage * (0.6 + 0.4 * np.sqrt(np.clip(blob.depth, 0, 1)))
        nuclei[blob.box] = np.maximum(nuclei[blob.box], bright * dome)
        organelles[blob.box] += _inner_structure(rng, blob, spacing)
    return nuclei, organelles, count


def _inner_structure(rng: Rng, blob: Blob, spacing: Sequence[float]) -> Floats:
    """Return the delay by nucleoli and nuclear rim; one cell in thirty has rounded up to divide."""
    if rng.random() < 0.03:  # a ball: bright in the middle with a dark margin
        rounded: Floats = -1.3 * np.clip(1.6 * blob.depth, 0, 1) + 0.7 * np.exp(
            -(((blob.depth + 0.02) / 0.12) ** 2)
        )
        return rounded
    spots = np.clip(smooth_noise(rng, blob.depth.shape, 0.55 / np.asarray(spacing)) - 1.0, 0, 1.2)
    nucleoli = ndimage.gaussian_filter(spots * (blob.depth > 0.2), 0.5)
    rim = np.exp(-(((blob.depth - 0.05) / 0.08) ** 2))
    inner: Floats = rng.uniform(0.5, 0.9) * nucleoli + rng.uniform(0.15, 0.3) * rim
    return inner


def _phase_contrast(delay: Floats, spacing: Sequence[float]) -> Floats:
    steps = np.asarray(spacing)
    seen = ndimage.gaussian_filter(delay, 0.25 / steps)
    near = ndimage.gaussian_filter(delay, 1.3 / steps)
    far = ndimage.gaussian_filter(delay, 4.5 / steps)
    contrast: Floats = 1 - 1.3 * (seen - near) - 0.9 * (near - far)
    return contrast


def _bright_field(delay: Floats, spacing: Sequence[float]) -> Floats:
    """Return light after the transport-of-intensity equation: curvature, changing sign in focus."""
    sigma = np.array([1.2, 0.4, 0.4]) / np.asarray(spacing)
    light = np.ones(delay.shape)
    for axis in (1, 2):
        order = [1, 0, 0]
        order[axis] = 2
        light += 9.0 * ndimage.gaussian_filter(delay, sigma, order=order)
    absorbed = ndimage.gaussian_filter(delay, sigma)
    seen: Floats = light - 0.15 * absorbed
    return seen


def _stain(rng: Rng, nuclei: Floats, spacing: Sequence[float], photons: float) -> Floats:
    steps = np.asarray(spacing)
    bright = np.clip(smooth_noise(rng, nuclei.shape, 0.5 / steps) - 1, 0, 2)
    texture = 1 + 0.12 * smooth_noise(rng, nuclei.shape, 0.7 / steps) + 0.45 * bright
    axial = np.where(np.arange(nuclei.ndim) < nuclei.ndim - 2, 3.0, 1.0)
    sharp = ndimage.gaussian_filter(nuclei * texture, 0.35 * axial / steps)
    haze = ndimage.gaussian_filter(nuclei, 6 / steps)
    light = photons * (sharp + 0.12 * haze + 0.02)
    image: Floats = camera(rng, light, read_noise=2.0, gain=4.0, offset=100.0)
    return image
