"""Two domains of one kind of tissue: fluorescent nuclei, and the same kind stained in colour.

Each picture is a scene seen both ways, so that true pairs are known; the folder of samples keeps
one of the two for most scenes, as two sets of images taken by two microscopes would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .drawing import Drawn, Floats, Rng, smooth_noise
from .nuclei import draw_culture, draw_nuclei

HEMATOXYLIN: Final = (0.65, 0.70, 0.29)
EOSIN: Final = (0.07, 0.99, 0.11)
"""Absorption of red, green and blue (Ruifrok and Johnston, Analyt. Quant. Cytol. Histol. 2001)."""


def draw_unpaired(rng: Rng, shape: Sequence[int]) -> Drawn:
    """Draw a scene as fluorescence (domain A) and as a stained section (domain B).

    Args:
        rng: Source of all randomness.
        shape: Shape of the image, ``([Z,] Y, X)``; its length decides between 2D and 3D.

    Returns:
        Image: uint16 fluorescence of the nuclei. Target: the same scene in bright field, uint8 red,
        green and blue ``(3, [Z,] Y, X)``. ``facts["objects"]`` counts the nuclei.
    """
    culture = replace(
        draw_culture(rng, len(shape)),
        spacing=(1.0, 0.5, 0.5)[-len(shape) :],
        **{"background": 0.04, "glow": 0.0, "haze": 0.05, "photons": 400.0, "spots": 0.0},
    )
    seen = draw_nuclei(rng, shape, culture=culture)
    assert seen.target is not None
    stained = _stained(rng, seen.target > 0, seen.spacing)
    return Drawn(seen.image, stained, seen.spacing, facts=seen.facts)


def _stained(rng: Rng, nuclei: NDArray[np.bool_], spacing: Sequence[float]) -> NDArray[np.uint8]:
    """Return nuclei in blue and the matter between them in pink, on a white ground."""
    steps = np.asarray(spacing)
    shape = nuclei.shape
    covered: Floats = ndimage.gaussian_filter(nuclei.astype(float), 0.4 / steps)
    chromatin = 1 + 0.25 * smooth_noise(rng, shape, 0.8 / steps)
    fibres = np.clip(0.45 + 0.3 * smooth_noise(rng, shape, [*[3.0] * (len(shape) - 1), 9.0]), 0, 1)
    blue = covered * np.clip(chromatin, 0.4, 1.6) * rng.uniform(0.9, 1.3)
    pink = fibres * (1 - 0.6 * covered) * rng.uniform(0.3, 0.5)
    density = np.stack([h * blue + e * pink for h, e in zip(HEMATOXYLIN, EOSIN, strict=True)])
    light = 240 * np.exp(-density) + rng.normal(0, 2.0, density.shape)
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)
