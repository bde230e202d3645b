"""Lengths and sizes in pixels or in physical units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from imtoolkit.core.errors import DataError, did_you_mean

UNITS: Final = ("pixels", "physical")
"""``physical`` is the unit of the pixel size: micrometres, or millimetres for NIfTI and DICOM."""


def check_unit(unit: str) -> str:
    """Return a unit that is known.

    Raises:
        ValueError: With the known ones.
    """
    if unit not in UNITS:
        message = f"got the unit '{unit}'.{did_you_mean(unit, UNITS)} Expected pixels or physical"
        raise ValueError(message)
    return unit


def pixel_sides(
    unit: str, spacing: Sequence[float] | None, dims: int, what: str
) -> tuple[float, ...]:
    """Return the sides of a pixel in the unit in which lengths are given: 1 where it is pixels.

    Args:
        unit: ``pixels`` or ``physical``.
        spacing: Pixel size ``[Z,] Y, X``; ``None`` where it is not known.
        dims: Number of axes.
        what: What needs it, for the message.

    Raises:
        ValueError: If the unit is unknown, or the pixel size is that of another number of axes.
        DataError: If the pixel size is needed and not known.

    Example:
        >>> pixel_sides("physical", (2.0, 0.5), 2, "a size"), pixel_sides("pixels", None, 2, "")
        ((2.0, 0.5), (1.0, 1.0))
    """
    if check_unit(unit) == "pixels":
        return (1.0,) * dims
    if spacing is None or not all(math.isfinite(side) and side > 0 for side in spacing):
        message = (
            f"{what} is given in physical units, and the pixel size of this image is not known: "
            "write it into the file, give spacing= with an array, or set unit: pixels"
        )
        raise DataError(message)
    if len(spacing) != dims:
        message = f"got a pixel size {tuple(spacing)} for {dims} axes"
        raise ValueError(message)
    return tuple(float(side) for side in spacing)
