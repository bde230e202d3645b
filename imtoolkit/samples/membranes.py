"""Membranes of cells as an electron microscope sees them: dark lines, vesicles, mitochondria.

Cells of unequal size share the volume (a weighted Voronoi tessellation on bent coordinates); the
membrane is where two of them meet, and the label is exactly that band. Slices are ten times as
thick as pixels are wide, as in serial sections.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from .drawing import Drawn, Floats, Rng, draw_blob, pixel_grid, smooth_noise, to_integers

PIXEL = 0.004
"""Pixel size in micrometres; a slice is ten times as thick."""
HALF_WIDTH = 2.6
"""Half the width of a membrane in pixels."""


def draw_membranes(rng: Rng, shape: Sequence[int], *, cell_radius: float = 20.0) -> Drawn:
    """Draw an electron micrograph and the mask of its membranes.

    Args:
        rng: Source of all randomness.
        shape: Shape of the image, ``([Z,] Y, X)``.
        cell_radius: Typical radius of a cell in pixels; single ones have a third to three times it.

    Returns:
        Image of uint8 and target of uint8 with 1 on membranes; ``facts["cells"]`` counts the cells.
    """
    scale = np.where(np.arange(len(shape)) < len(shape) - 2, 10.0, 1.0)
    cells = _tessellate(rng, shape, scale, cell_radius)
    distance = _to_membrane(cells, scale)
    target = (distance <= HALF_WIDTH).astype(np.uint8)
    grey = _cytoplasm(rng, cells, distance)
    grey -= _organelles(rng, distance, scale)
    grey -= _vesicles(rng, distance, scale)
    grey = _stain_membranes(rng, grey, distance)
    grey = ndimage.gaussian_filter(grey, np.where(scale > 1, 0.0, 0.7))
    grey += rng.uniform(6, 13) * rng.standard_normal(grey.shape)
    spacing = tuple(float(step) for step in PIXEL * scale)
    facts: dict[str, float | int | str] = {"cells": len(np.unique(cells))}
    return Drawn(to_integers(grey, np.uint8), target, spacing, facts=facts)


def _tessellate(
    rng: Rng, shape: Sequence[int], scale: Floats, cell_radius: float
) -> NDArray[np.int64]:
    """Return the cell of each pixel: the nearest seed, distances divided by the seeds' sizes."""
    margin = 2 * cell_radius
    extent = np.multiply(shape, scale)
    seeds, radii = _scatter(rng, extent, margin, cell_radius)
    points = pixel_grid([0] * len(shape), shape, scale)
    bend = np.stack([_bend(rng, shape, scale, cell_radius) for _ in shape])
    where = (points + bend).reshape(len(shape), -1).T
    most = min(8, len(seeds))
    distances, nearest = cKDTree(seeds).query(where, k=most)
    weighted = distances.reshape(-1, most) / radii[nearest.reshape(-1, most)]
    chosen = np.take_along_axis(nearest.reshape(-1, most), weighted.argmin(1)[:, None], 1)
    return chosen.reshape(tuple(shape))


def _bend(rng: Rng, shape: Sequence[int], scale: Floats, cell_radius: float) -> Floats:
    wide = cell_radius * 0.6 * smooth_noise(rng, shape, 2.5 * cell_radius / scale)
    narrow = cell_radius * 0.12 * smooth_noise(rng, shape, 0.5 * cell_radius / scale)
    return wide + narrow


def _scatter(rng: Rng, extent: Floats, margin: float, cell_radius: float) -> tuple[Floats, Floats]:
    """Throw seeds that keep the distance of their sizes; sizes vary from region to region."""
    size = extent + 2 * margin
    wanted = int(8 * np.prod(size / (1.6 * cell_radius)))
    points = rng.uniform(-margin, extent + margin, (wanted, len(extent)))
    waves = rng.normal(0, 1 / (4 * cell_radius), (3, len(extent)))
    field = np.sin(points @ waves.T * 2 + rng.uniform(0, 2 * np.pi, 3)).sum(axis=1)
    radii = cell_radius * np.exp(0.27 * field + 0.3 * rng.standard_normal(wanted))
    kept: list[int] = []
    for index in np.argsort(-radii + 0.5 * cell_radius * rng.standard_normal(wanted)):
        gaps = np.linalg.norm(points[kept] - points[index], axis=1) if kept else np.zeros(0)
        if (gaps > 0.9 * (radii[kept] + radii[index])).all():
            kept.append(int(index))
    return points[kept], radii[kept]


def _to_membrane(cells: NDArray[np.int64], scale: Floats) -> Floats:
    """Return the distance of each pixel to the nearest contact of two cells in its own slice."""
    contact = np.zeros(cells.shape, bool)
    for axis in (-2, -1):
        differs = np.diff(cells, axis=axis) != 0
        width = [(0, 0)] * cells.ndim
        width[axis] = (0, 1)
        contact |= np.pad(differs, width)
    # across slices the distance would tell of membranes that this slice does not show
    sampling = np.where(scale > 1, 1e6, 1.0)
    if not contact.any():
        return np.full(cells.shape, 1e6)
    result: Floats = ndimage.distance_transform_edt(~contact, sampling=sampling)
    return result


def _cytoplasm(rng: Rng, cells: NDArray[np.int64], distance: Floats) -> Floats:
    flat = np.where(np.arange(cells.ndim) < cells.ndim - 2, 0.0, 1.0)
    shade = rng.normal(0, 9, int(cells.max()) + 1)[cells]
    grain = 19 * smooth_noise(rng, cells.shape, 1.1 * flat)
    clumps = 10 * smooth_noise(rng, cells.shape, 2.6 * flat)
    uneven = 8 * smooth_noise(rng, cells.shape, np.maximum(np.asarray(cells.shape) / 3, 1) * flat)
    return rng.uniform(165, 190) + shade + grain + clumps + uneven


def _stain_membranes(rng: Rng, grey: Floats, distance: Floats) -> Floats:
    """Darken the membranes: sharp where cut across, fuzzy where oblique, thick at synapses."""
    flat = np.where(np.arange(grey.ndim) < grey.ndim - 2, 0.0, 1.0)
    strength = np.clip(1 + 0.18 * smooth_noise(rng, grey.shape, 8 * flat), 0.5, 1.3)
    line = np.exp(-((np.maximum(distance - 0.7, 0) / 1.5) ** 2)) * strength
    oblique = np.clip(smooth_noise(rng, grey.shape, 14 * flat) - 1.1, 0, 1)
    synapse = np.clip(smooth_noise(rng, grey.shape, 9 * flat) - 1.7, 0, 1)
    fuzzy = 0.7 * oblique * np.exp(-distance / 7) + 1.2 * synapse * np.exp(-distance / 5)
    cover = np.clip(line + fuzzy, 0, 1.1)
    return grey * (1 - 0.66 * cover) + 12 * cover


def _vesicles(rng: Rng, distance: Floats, scale: Floats) -> Floats:
    """Return the darkness of small rings, crowded in some places of the cells."""
    crowd = smooth_noise(rng, distance.shape, np.where(scale > 1, 0.5, 20.0))
    chance = 0.006 * np.clip(crowd + 0.3, 0, 2) * (distance > 8)
    centres = rng.random(distance.shape) < chance
    if not centres.any():
        return np.zeros(distance.shape)
    sampling = np.where(scale > 1, 1e6, 1.0)
    away = ndimage.distance_transform_edt(~centres, sampling=sampling)
    ring = np.exp(-(((away - 3.6) / 1.1) ** 2))
    return np.where(away < 6, 55 * ring - 8 * (away < 2.5), 0.0)


def _organelles(rng: Rng, distance: Floats, scale: Floats) -> Floats:
    """Return the darkness of mitochondria, which lie in the wider cells and have folds inside."""
    dark = np.zeros(distance.shape)
    roomy = np.argwhere((distance > 11) & (distance < 1e5))
    wanted = rng.poisson(distance[..., 0].size * distance.shape[-1] / np.prod(scale) / 14000)
    used = np.zeros(distance.shape, bool)
    for index in rng.permutation(len(roomy))[: 20 * wanted]:
        place = tuple(roomy[index])
        room = min(distance[place] - 3, 17.0)
        half = np.array([room * 0.8, room * 1.15])
        whole = np.r_[np.full(len(scale) - 2, 30.0), half]
        blob = draw_blob(rng, distance.shape, scale, np.multiply(place, scale), whole, bend=0.1)
        if blob is None or used[blob.box][blob.depth > 0].any():
            continue
        if (distance[blob.box][blob.depth > 0] < 3).any():
            continue
        used[blob.box] |= blob.depth > -0.3
        dark[blob.box] += _mitochondrion(rng, blob.depth, blob.box, scale)
        wanted -= 1
        if wanted <= 0:
            break
    return dark


def _mitochondrion(rng: Rng, depth: Floats, box: tuple[slice, ...], scale: Floats) -> Floats:
    start = [part.start for part in box]
    points = pixel_grid(start, depth.shape, scale)
    angle = rng.uniform(0, np.pi)
    along = np.cos(angle) * points[-2] + np.sin(angle) * points[-1]
    flat = np.where(scale > 1, 0.0, 3.0)
    folds = np.sin(along / rng.uniform(1.0, 1.4) + smooth_noise(rng, depth.shape, flat))
    inside = np.clip(depth * 8, 0, 1)
    rim = np.exp(-(((depth - 0.06) / 0.07) ** 2))
    dark: Floats = inside * (55 + 25 * folds * (depth > 0.15)) + 45 * rim
    return dark
