"""Fluorescent nuclei: many sizes, shapes and brightnesses, touching, with instance labels.

The scene is built in physical units (a nucleus is about 5 micrometres in radius whatever the
magnification), then seen through optics (blur, haze from out of focus) and a camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .drawing import (
    Blob,
    Drawn,
    Floats,
    Rng,
    camera,
    draw_blob,
    largest_part,
    pixel_grid,
    smooth_noise,
)

SMALLEST = 12
"""A nucleus of fewer visible pixels, such as one cut by the border, is not drawn."""
MOST_MISSES = 150
"""So many places in a row that are taken mean that the image is full."""


@dataclass(frozen=True)
class Culture:
    """What the nuclei of one image have in common, as those of one well do.

    Attributes:
        spacing: Pixel size in micrometres, ``([Z,] Y, X)``.
        radius: Mean radius in micrometres.
        elongation: Mean ratio of long to short axis.
        clustering: Fraction of nuclei that are placed at the side of another.
        spread: Standard deviation of the logarithm of the brightness.
        texture: Contrast of the chromatin.
        spots: Contrast of the bright chromocentres.
        haze: Light from out of focus, relative to the light in focus.
        background: Even background, relative to a nucleus.
        glow: Brightness of a broad glow on one side, as of something bright out of focus.
        photons: Expected photons in a pixel of a nucleus of mean brightness.
        read_noise: Standard deviation of the read noise in electrons.
        psf: Blur of the optics in micrometres, standard deviation in the plane.
    """

    spacing: tuple[float, ...]
    radius: float
    elongation: float
    clustering: float
    spread: float
    texture: float
    spots: float
    haze: float
    background: float
    glow: float
    photons: float
    read_noise: float
    psf: float


def draw_culture(rng: Rng, dims: int) -> Culture:
    """Draw the conditions of an image: magnification, cell line, stain, exposure."""
    in_plane = float(np.exp(rng.uniform(np.log(0.27), np.log(0.85))))
    spacing = (1.0, 0.5, 0.5) if dims == 3 else (round(in_plane, 3),) * 2
    return Culture(
        spacing=spacing,
        radius=float(rng.uniform(4.3, 6.5)),
        elongation=float(rng.uniform(1.1, 1.6)),
        clustering=float(rng.uniform(0.1, 0.7)),
        spread=float(rng.uniform(0.15, 0.45)),
        texture=float(rng.uniform(0.08, 0.2)),
        spots=float(rng.choice([0.0, rng.uniform(0.1, 0.5)])),
        haze=float(rng.uniform(0.02, 0.15)),
        background=float(rng.uniform(0.02, 0.12)),
        glow=float(rng.uniform(0.1, 0.5) if rng.random() < 0.2 else 0.0),
        photons=float(np.exp(rng.uniform(np.log(60), np.log(900)))),
        read_noise=float(rng.uniform(1.5, 4.0)),
        psf=float(rng.uniform(0.25, 0.5)),
    )


def draw_nuclei(
    rng: Rng,
    shape: Sequence[int],
    *,
    count: int | None = None,
    culture: Culture | None = None,
    dtype: type = np.uint16,
) -> Drawn:
    """Draw an image of fluorescent nuclei and the label of each.

    Args:
        rng: Source of all randomness.
        shape: Shape of the image, ``([Z,] Y, X)``; its length decides between 2D and 3D.
        count: Nuclei to draw, fewer where no room is left; left out, from sparse to confluent.
        culture: Conditions; left out, drawn.
        dtype: ``np.uint16``, or ``np.uint8`` with the brightest pixels at 255.

    Returns:
        Image of ``dtype`` and labels of uint16, numbered from 1, each in one connected part;
        ``facts["objects"]`` counts them.
    """
    culture = culture or draw_culture(rng, len(shape))
    if count is None:
        field_of_view = float(np.prod(np.multiply(shape, culture.spacing)))
        size = float(np.prod(np.full(len(shape), culture.radius))) * (3.5 if len(shape) == 2 else 4)
        count = max(3, int(rng.uniform(0.05, 0.4) ** 1.2 * field_of_view / size))
    labels, light = _place(rng, shape, culture, count)
    photons = _through_optics(rng, light, culture)
    peak = np.quantile(photons, 0.9995)
    gain, offset = (230 / peak, 6.0) if dtype is np.uint8 else (4.0, 100.0)
    image = camera(
        rng, photons, read_noise=culture.read_noise, gain=gain, offset=offset, dtype=dtype
    )
    facts: dict[str, float | int | str] = {
        "objects": int(labels.max()),
        "photons": culture.photons,
        "read_noise": culture.read_noise,
    }
    return Drawn(image, labels, culture.spacing, facts=facts)


def _place(
    rng: Rng, shape: Sequence[int], culture: Culture, count: int
) -> tuple[NDArray[np.uint16], Floats]:
    labels = np.zeros(shape, np.uint16)
    light = np.zeros(shape)
    placed: list[tuple[Floats, float]] = []
    extent = np.multiply(shape, culture.spacing)
    misses = 0
    while len(placed) < count and misses < MOST_MISSES:
        misses += 1
        radius = culture.radius * float(np.exp(rng.normal(0, 0.18)))
        centre = _choose_centre(rng, extent, radius, placed, culture.clustering)
        nucleus, brightness, profile = _draw_nucleus(rng, shape, culture, centre, radius)
        if nucleus is None:
            continue
        inside = nucleus.depth > 0
        free = largest_part(inside & (labels[nucleus.box] == 0))
        if free.sum() < max(SMALLEST, 0.85 * inside.sum()):
            continue
        taken, misses = labels[nucleus.box] > 0, 0
        placed.append((centre, radius))
        labels[nucleus.box][free] = len(placed)
        # a nucleus that slides under another adds little light there: both are in one thin layer
        light[nucleus.box] += brightness * profile * np.where(taken, 0.25, 1.0)
    return labels, light


def _choose_centre(
    rng: Rng, extent: Floats, radius: float, placed: list[tuple[Floats, float]], clustering: float
) -> Floats:
    if placed and rng.random() < clustering:
        near, other = placed[rng.integers(len(placed))]
        direction = rng.normal(size=len(extent))
        direction *= _axial(len(extent), 0.4)
        direction /= np.linalg.norm(direction)
        return near + direction * (radius + other) * rng.uniform(0.8, 1.05)
    return rng.uniform(-0.4 * radius, extent + 0.4 * radius)


def _draw_nucleus(
    rng: Rng, shape: Sequence[int], culture: Culture, centre: Floats, radius: float
) -> tuple[Blob | None, float, Floats]:
    stretch = np.sqrt(max(1.0, rng.normal(culture.elongation, 0.2)))
    half = [radius / stretch, radius * stretch]
    brightness, bend = float(np.exp(rng.normal(0, culture.spread))), rng.normal(0, 0.12)
    kind = rng.random()
    if kind < 0.03:  # in mitosis: condensed to a bright, rough bar
        half, brightness = [radius * 0.35, radius * 0.9], 2.2 * brightness
    elif kind < 0.06:  # dying: shrunken, round and bright
        half, brightness = [radius * 0.5, radius * 0.55], 1.8 * brightness
    if len(shape) == 3:
        half = [0.8 * min(half) * rng.uniform(0.8, 1.1), *half]
    roughness = rng.uniform(0.05, 0.13)
    blob = draw_blob(rng, shape, culture.spacing, centre, half, bend=bend, roughness=roughness)
    if blob is None:
        return None, 0.0, np.zeros(0)
    profile = _profile(rng, blob, culture)
    # nuclei do not lie in one plane: some are a little out of focus
    defocus = abs(rng.normal(0, 0.3)) * _axial(len(shape), 0.0) / np.asarray(culture.spacing)
    return blob, brightness, ndimage.gaussian_filter(profile, defocus)


def _profile(rng: Rng, blob: Blob, culture: Culture) -> Floats:
    """Return the light of one nucleus: thicker in the middle, with chromatin and chromocentres."""
    steps = np.asarray(culture.spacing)
    dome = 0.65 + 0.35 * np.sqrt(np.clip(blob.depth * 1.6, 0, 1))
    fine = smooth_noise(rng, blob.depth.shape, 0.45 / steps)
    coarse = smooth_noise(rng, blob.depth.shape, 1.3 / steps)
    chromatin = culture.texture * (0.6 * fine + coarse)
    spots = culture.spots * np.clip(smooth_noise(rng, blob.depth.shape, 0.6 / steps) - 1.3, 0, 2)
    texture: Floats = blob.coverage * dome * np.clip(1 + chromatin + spots, 0.2, 3)
    return texture


def _through_optics(rng: Rng, light: Floats, culture: Culture) -> Floats:
    steps = np.asarray(culture.spacing)
    # along the optical axis a microscope is about three times as blurred as in the plane
    sharp = ndimage.gaussian_filter(light, culture.psf * _axial(light.ndim, 3.0) / steps)
    haze = ndimage.gaussian_filter(light, 1.6 * culture.radius / steps)
    uneven = 1 + 0.35 * smooth_noise(rng, light.shape, np.asarray(light.shape) / 2)
    dust = 0.12 * smooth_noise(rng, light.shape, 3 * culture.radius / steps)
    background = culture.background * np.clip(uneven + dust, 0.1, None)
    background += culture.glow * _glow(rng, light.shape)
    lit = 1 + 0.08 * smooth_noise(rng, light.shape, np.asarray(light.shape) / 2)
    photons: Floats = culture.photons * (sharp + culture.haze * haze + background) * lit
    return np.maximum(photons, 0)


def _glow(rng: Rng, shape: tuple[int, ...]) -> Floats:
    """Return a broad spot of light, brightest at some place of the plane."""
    plane = np.asarray(shape[-2:], dtype=float)
    centre = rng.uniform(-0.2, 1.2, 2) * plane
    away = pixel_grid([0, 0], shape[-2:], [1.0, 1.0]) - centre.reshape(2, 1, 1)
    width = rng.uniform(0.3, 0.6) * plane.max()
    spot: Floats = np.exp(-(away**2).sum(axis=0) / width**2)
    return np.broadcast_to(spot, shape)


def _axial(dims: int, value: float) -> Floats:
    """Return a factor for each axis: ``value`` along Z, 1 in the plane."""
    return np.where(np.arange(dims) < dims - 2, value, 1.0)
