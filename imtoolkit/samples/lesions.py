"""Lesions of blurred outline in grey tissue, and what four readers of different habit mark.

How far a lesion reaches cannot be seen where its brightness fades slowly: each reader stops at
another level, and faint lesions are missed by some. Where a lesion ends sharply they agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .drawing import Blob, Drawn, Floats, Rng, draw_blob, smooth_noise, to_integers

PIXEL = 0.7
"""Pixel size in the plane in millimetres, as in computed tomography; a slice is 2 mm thick."""
SLICE = 2.0
GREY, SPREAD = 80.0, 255.0 / 2.2


@dataclass(frozen=True)
class Reader:
    """The habit of one reader.

    Attributes:
        level: How much of a lesion's contrast must be left where the outline is drawn.
        faintest: Contrast below which a lesion is missed.
        tremor: How much the level varies along an outline.
    """

    level: float
    faintest: float
    tremor: float = 0.05


READERS: tuple[Reader, ...] = (
    Reader(level=0.25, faintest=0.0),  # generous, and sees everything
    Reader(level=0.45, faintest=0.25),
    Reader(level=0.55, faintest=0.35),
    Reader(level=0.75, faintest=0.45),  # strict, and marks the clear core of clear lesions
)
"""The readers, from the most generous to the strictest."""


def draw_lesions(rng: Rng, shape: Sequence[int], *, count: int | None = None) -> Drawn:
    """Draw an image and the annotations of the four `READERS`.

    Args:
        rng: Source of all randomness.
        shape: Shape of the image, ``([Z,] Y, X)``.
        count: Lesions; left out, 1 to 3.

    Returns:
        Image of uint8 and, as target, what the first reader marks; ``more`` holds all annotations
        as ``annotator_0``, ``annotator_1``, ... of uint8, and ``lesion``, the fraction of each
        pixel's contrast that is lesion, float32. ``facts`` counts the lesions and those that are
        seen by some readers only (``faint``).
    """
    dims = len(shape)
    spacing = (SLICE, PIXEL, PIXEL)[-dims:]
    count = int(rng.integers(1, 4)) if count is None else count
    annotations = np.zeros((len(READERS), *shape), np.uint8)
    light, lesion = np.zeros(shape), np.zeros(shape)
    drawn = faint = 0
    for _ in range(count):
        blob, softness, contrast = _one_lesion(rng, shape, spacing)
        if blob is None:
            continue
        drawn, faint = drawn + 1, faint + (contrast < READERS[-1].faintest)
        profile = _profile(blob, softness)
        lesion[blob.box] = np.maximum(lesion[blob.box], profile)
        light[blob.box] = np.maximum(light[blob.box], contrast * profile)
        for reader, marks in zip(READERS, annotations, strict=True):
            if contrast >= reader.faintest:
                marks[blob.box] |= _marked(rng, reader, profile, blob, spacing)
    image = to_integers(GREY + SPREAD * (light + _tissue(rng, shape, spacing)), np.uint8)
    more: dict[str, NDArray[np.generic]] = {
        f"annotator_{number}": marks for number, marks in enumerate(annotations)
    }
    more["lesion"] = lesion.astype(np.float32)
    facts: dict[str, float | int | str] = {"lesions": drawn, "faint": faint}
    return Drawn(image, annotations[0], spacing, unit="millimeter", facts=facts, more=more)


def _one_lesion(
    rng: Rng, shape: Sequence[int], spacing: Sequence[float]
) -> tuple[Blob | None, float, float]:
    """Return body, softness of its outline (0.03 is sharp, 0.4 is not), and its contrast."""
    extent = np.multiply(shape, spacing)
    radius = float(rng.uniform(0.11, 0.2)) * float(extent[-2:].min())
    stretch = float(rng.uniform(0.8, 1.25))
    half = [radius * stretch, radius / stretch]
    if len(shape) == 3:
        half = [min(radius, 0.3 * float(extent[0])), *half]
    centre = rng.uniform(0.25, 0.75, len(shape)) * extent
    softness = float(rng.uniform(0.03, 0.4))
    contrast = float(rng.uniform(0.2, 0.9))
    return draw_blob(rng, shape, spacing, centre, half, roughness=0.1), softness, contrast


def _profile(blob: Blob, softness: float) -> Floats:
    """Return the fraction of the contrast at each pixel: 0.5 on the outline, 0 in the box's rim."""
    exponent = np.clip(blob.depth / softness, -30, 30)
    profile: Floats = 1 / (1 + np.exp(-exponent))
    # the body reaches 1.4 times its size in its box: fade out before it is cut off
    profile *= np.clip((blob.depth + 0.38) / 0.15, 0, 1)
    return profile


def _marked(
    rng: Rng, reader: Reader, profile: Floats, blob: Blob, spacing: Sequence[float]
) -> NDArray[np.uint8]:
    wide = 0.4 * float(blob.stretch[-2:].min()) / np.asarray(spacing)
    level = reader.level + reader.tremor * smooth_noise(rng, profile.shape, wide)
    filled = ndimage.binary_fill_holes(profile > np.clip(level, 0.1, 0.9))
    return np.asarray(filled, np.uint8)


def _tissue(rng: Rng, shape: Sequence[int], spacing: Sequence[float]) -> Floats:
    """Return texture of several sizes and the noise of the scanner, relative to the contrast."""
    steps = np.asarray(spacing)
    coarse = 0.06 * smooth_noise(rng, shape, 8.0 / steps)
    fine = 0.05 * smooth_noise(rng, shape, 1.2 / steps)
    noise: Floats = rng.uniform(0.04, 0.08) * rng.standard_normal(tuple(shape))
    return coarse + fine + noise
