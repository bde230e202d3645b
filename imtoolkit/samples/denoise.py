"""Low- and high-SNR pairs of fluorescent fibres: the same scene, briefly and long exposed.

The clean image is the expectation of the noisy one, so the noise is known pixel by pixel: its
variance is ``gain**2 * (photons + read_noise**2)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .drawing import Drawn, Floats, Rng, camera, draw_blob, smooth_noise, to_integers

SPACING = (0.3, 0.1, 0.1)
"""Pixel size in micrometres, ``(Z, Y, X)``."""
GAIN, OFFSET = 16.0, 100.0


@dataclass(frozen=True)
class Stain:
    """What one stain shows: fibres of a kind, and an even glow of the cell.

    Attributes:
        fibres: Number of fibres in a field of 256 by 256 pixels.
        length: Mean length in pixels.
        wobble: Change of direction at each pixel, in radians.
        thickness: Standard deviation across a fibre in pixels.
        aligned: Whether fibres run in parallel, as stress fibres do.
        beads: Unevenness of the dye along a fibre.
        glow: Light of the cell body, relative to the fibres.
    """

    fibres: int
    length: float
    wobble: float
    thickness: float
    aligned: bool
    beads: float
    glow: float


STAINS = {
    "microtubules": Stain(110, 160.0, 0.06, 0.9, False, 0.2, 0.06),
    "mitochondria": Stain(130, 40.0, 0.12, 1.7, False, 0.4, 0.05),
    "actin": Stain(55, 220.0, 0.012, 1.5, True, 0.3, 0.25),
}


def draw_denoise(
    rng: Rng,
    shape: Sequence[int],
    *,
    stain: str | None = None,
    photons: float | None = None,
    read_noise: float = 1.5,
) -> Drawn:
    """Draw a noisy image and its noise-free expectation.

    Args:
        rng: Source of all randomness.
        shape: Shape of the image, ``([Z,] Y, X)``.
        stain: A key of `STAINS`; left out, drawn.
        photons: Expected photons at the brightest 0.5 % of pixels; left out, drawn from 4 to 40.
        read_noise: Standard deviation of the read noise in electrons.

    Returns:
        Noisy image and clean target, both uint16 on one scale; ``more["again"]`` is a second noisy
        image of the scene.
    """
    name = stain or str(rng.choice(sorted(STAINS)))
    photons = float(np.exp(rng.uniform(np.log(4), np.log(40)))) if photons is None else photons
    light = _scene(rng, shape, STAINS[name])
    expected = photons * light / max(float(np.quantile(light, 0.995)), 1e-9)
    noisy = camera(rng, expected, read_noise=read_noise, gain=GAIN, offset=OFFSET)
    again = camera(rng, expected, read_noise=read_noise, gain=GAIN, offset=OFFSET)
    clean = to_integers(OFFSET + GAIN * expected, np.uint16)
    facts: dict[str, float | int | str] = {
        "stain": name, "photons": photons, "read_noise": read_noise, "gain": GAIN, "offset": OFFSET
    }  # fmt: skip
    spacing = SPACING[-len(shape) :]
    return Drawn(noisy, clean, spacing, facts=facts, more={"again": again})


def _scene(rng: Rng, shape: Sequence[int], stain: Stain) -> Floats:
    cell = _cell_body(rng, shape)
    canvas = np.zeros(shape)
    slices = shape[0] / 5 if len(shape) == 3 else 1.0
    count = max(3, int(stain.fibres * slices * np.sqrt(shape[-1] * shape[-2]) / 256))
    points, weights = _fibres(rng, shape, cell, stain, count)
    corner = np.floor(points).astype(int)
    part = points - corner
    for offset in np.ndindex(*[2] * len(shape)):  # each point is shared out among its pixels
        where = corner + offset
        share = np.prod(np.where(offset, part, 1 - part), axis=1)
        inside = ((where >= 0) & (where < shape)).all(axis=1)
        np.add.at(canvas, tuple(where[inside].T), (weights * share)[inside])
    blur = np.full(len(shape), stain.thickness)
    fibres = ndimage.gaussian_filter(canvas, blur)
    haze = ndimage.gaussian_filter(canvas, 7 * blur)
    fibres /= max(float(np.quantile(fibres, 0.995)), 1e-9)
    haze /= max(float(haze.max()), 1e-9)
    mottled = np.clip(1 + 0.3 * smooth_noise(rng, shape, 6.0), 0, None)
    light: Floats = fibres + 0.12 * haze + stain.glow * cell * mottled + 0.01
    return light


def _cell_body(rng: Rng, shape: Sequence[int]) -> Floats:
    """Return where the cell is, from 0 to 1, thick in the middle and thin at its rim."""
    size = float(min(shape[-2:]))
    centre = [*(np.asarray(shape[:-2]) / 2), *(rng.uniform(0.3, 0.7, 2) * shape[-2:])]
    half = [*(np.asarray(shape[:-2], dtype=float)), *(size * rng.uniform(0.3, 0.6, 2))]
    blob = draw_blob(rng, shape, [1.0] * len(shape), centre, half, bend=0.3, roughness=0.15)
    body = np.zeros(shape)
    if blob is not None:
        body[blob.box] = np.clip(blob.depth * 2.5, 0, 1)
    soft: Floats = ndimage.gaussian_filter(body, 3.0)
    return soft


def _fibres(
    rng: Rng, shape: Sequence[int], cell: Floats, stain: Stain, count: int
) -> tuple[Floats, Floats]:
    """Walk all fibres at once; return their points ``(N, dims)`` and brightness ``(N,)``."""
    dims = len(shape)
    inside = np.argwhere(cell > 0.25)
    position = inside[rng.integers(len(inside), size=count)].astype(float)
    middle = inside.mean(axis=0)
    outward = np.arctan2(*(position - middle)[:, -2:].T)
    angle = outward + rng.normal(0, 0.7, count)
    if stain.aligned:
        angle = rng.uniform(0, np.pi) + rng.normal(0, 0.12, count)
    lengths = rng.gamma(4, stain.length / 4, count)
    bright = np.exp(rng.normal(0, 0.4, count))
    turn, bead = np.zeros(count), np.zeros(count)
    points, weights = [], []
    for step in range(int(lengths.max())):
        turn = 0.9 * turn + stain.wobble * 0.3 * rng.standard_normal(count)
        angle = angle + turn
        move = np.zeros((count, dims))
        move[:, -2], move[:, -1] = np.sin(angle), np.cos(angle)
        if dims == 3:  # slices are three pixels apart, and cells are flat
            move[:, 0] = 0.1 * rng.standard_normal(count)
        position = position + move
        index = np.clip(position.astype(int), 0, np.asarray(shape) - 1)
        alive = (step < lengths) & (cell[tuple(index.T)] > 0.12)
        lengths = np.where(cell[tuple(index.T)] > 0.12, lengths, 0)
        points.append(position[alive])
        # dye lies in beads along a fibre, and less of it at the thin rim of the cell
        bead = 0.8 * bead + 0.6 * rng.standard_normal(count)
        rim = np.sqrt(np.clip(cell[tuple(index.T)] * 2, 0, 1))
        weights.append((bright * rim * np.exp(stain.beads * bead))[alive])
    return np.concatenate(points), np.concatenate(weights)
