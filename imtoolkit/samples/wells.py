"""Wells of a plate: nuclei under a treatment, with labels and a table of what was done and seen.

A well has everything that an image can be asked for at once: which pixels are nuclei, which
treatment it was, how many nuclei there are, and what a reader would note. The treatment shows in
size and shape of the nuclei, and its strength grows with the dose; the two cell lines differ in
size, so that the table helps to read the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .drawing import Drawn, Rng
from .nuclei import draw_culture, draw_nuclei

TREATMENTS = ("control", "swelling", "stretching")
"""What was done, in turn."""
FINDINGS = ("confluent", "defocused", "glow")
"""What may be noted of a well, any number of them."""
LINES = ("A", "B")
WELLS_OF_PLATE = 6
CONFLUENT = 0.18
"""Part of the image that nuclei cover from which a well counts as confluent."""
_SPACING = 0.65


def draw_well(
    rng: Rng,
    shape: Sequence[int],
    *,
    treatment: str | None = None,
    dose: float | None = None,
    line: str | None = None,
) -> Drawn:
    """Draw one well.

    Args:
        rng: Source of all randomness.
        shape: Shape of the image, ``([Z,] Y, X)``.
        treatment: One of `TREATMENTS`; left out, drawn.
        dose: Strength of the treatment, 2 to 10, and 0 for the control; left out, drawn.
        line: One of `LINES`; left out, drawn.

    Returns:
        Image of uint16 and labels of uint16, numbered from 1; ``facts`` holds ``treatment``,
        ``dose``, ``line``, ``findings`` (joined by ``;``) and ``objects``.
    """
    treatment = treatment or str(rng.choice(TREATMENTS))
    line = line or str(rng.choice(LINES))
    dose = float(rng.integers(2, 11)) if dose is None else dose
    dose = 0.0 if treatment == "control" else dose
    culture = draw_culture(rng, len(shape))
    defocused, glowing = (bool(draw < 0.25) for draw in rng.random(2))
    radius = (4.6 if line == "A" else 5.6) * float(rng.uniform(0.97, 1.03))
    culture = replace(
        culture,
        spacing=(1.0, _SPACING, _SPACING)[-len(shape) :],
        radius=radius * (1 + 0.06 * dose * (treatment == "swelling")),
        elongation=1.2 + 0.15 * dose * (treatment == "stretching"),
        psf=float(rng.uniform(1.6, 2.2)) if defocused else culture.psf,
        glow=float(rng.uniform(0.5, 0.9)) if glowing else 0.0,
    )
    drawn = draw_nuclei(rng, shape, culture=culture)
    assert drawn.target is not None  # nuclei always come with their labels
    covered = float((drawn.target > 0).mean())
    present = {"confluent": covered > CONFLUENT, "defocused": defocused, "glow": glowing}
    facts: dict[str, float | int | str] = {
        "treatment": treatment,
        "dose": dose,
        "line": line,
        "findings": ";".join(name for name in FINDINGS if present[name]),
        "objects": int(np.max(drawn.target)),
    }
    return replace(drawn, facts=facts)
