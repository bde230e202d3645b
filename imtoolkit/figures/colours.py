"""Colours that stay apart for colour-blind eyes, and grey images stretched for the screen."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]

PALETTE: Final = (
    "#E69F00",  # orange
    "#56B4E9",  # sky blue
    "#009E73",  # bluish green
    "#CC79A7",  # reddish purple
    "#F0E442",  # yellow
    "#0072B2",  # blue
    "#D55E00",  # vermilion
)
"""Okabe and Ito, "Color universal design", 2008; the first belongs to class 1."""
MISSED: Final = "#FFFFFF"
FALSE: Final = "#D55E00"
CONFUSED: Final = "#0072B2"
"""Colours of the differences between target and prediction, apart from those of classes 1 to 5."""
FOUND: Final = "#009E73"
MERGED: Final = "#F0E442"
SPLIT: Final = "#56B4E9"
"""Colours of objects that were found, merged and split; missed and false ones are as above."""


def rgb(colour: str) -> Pixels:
    """Return a colour ``#RRGGBB`` as three values from 0 to 1.

    Example:
        >>> rgb("#FF0000").tolist()
        [1.0, 0.0, 0.0]
    """
    values = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    return np.asarray(values, dtype=np.float32)


def colour_of(label: int) -> str:
    """Return the colour of a class or an object; labels beyond the palette begin again.

    Raises:
        ValueError: For 0, the background, which has no colour.
    """
    if label < 1:
        message = f"only labels from 1 have a colour, got {label}"
        raise ValueError(message)
    return PALETTE[(label - 1) % len(PALETTE)]


def stretch(
    image: NDArray[Any],
    *,
    lower: float = 0.5,
    upper: float = 99.8,
    like: NDArray[Any] | None = None,
) -> Pixels:
    """Scale an image to 0 to 1 between two percentiles; NaN becomes 0, a constant image grey.

    Args:
        image: Any shape.
        lower: Percentile that becomes 0.
        upper: Percentile that becomes 1.
        like: Image whose percentiles are used instead, so that two can be compared.

    Example:
        >>> stretch(np.arange(101), lower=0, upper=100)[[0, 50, 100]].tolist()
        [0.0, 0.5, 1.0]
    """
    values = np.asarray(image, dtype=np.float32)
    judged = values if like is None else np.asarray(like, dtype=np.float32)
    finite = judged[np.isfinite(judged)]
    if finite.size == 0:
        return np.zeros(values.shape, np.float32)
    low, high = np.percentile(finite, [lower, upper])
    if high <= low:  # few bright pixels on a flat background, or nothing at all
        low, high = float(finite.min()), float(finite.max())
    if high <= low:
        return np.full(values.shape, 0.5, np.float32)
    scaled = np.nan_to_num((values - low) / (high - low), nan=0.0, posinf=1.0, neginf=0.0)
    clipped: Pixels = np.clip(scaled, 0, 1).astype(np.float32)
    return clipped


def to_rgb(image: NDArray[Any], *, like: NDArray[Any] | None = None) -> Pixels:
    """Show an image of any number of channels in colour, each channel stretched by itself.

    Args:
        image: ``(Y, X)`` or ``(C, Y, X)``. One channel is grey, two are magenta and green, three
            are red, green and blue, and of more the first three are shown.
        like: Image of the same channels, of any size, whose contrast is used.

    Returns:
        ``(Y, X, 3)`` from 0 to 1.

    Raises:
        ValueError: If the image has another number of axes.
    """
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[None]
    if image.ndim != 3:
        message = f"an image to show has the axes YX or CYX, got the shape {image.shape}"
        raise ValueError(message)
    models = [None] * len(image) if like is None else list(np.reshape(like, (len(image), -1)))
    channels = [
        stretch(channel, like=model) for channel, model in zip(image[:3], models[:3], strict=True)
    ]
    if len(channels) == 1:
        channels = channels * 3
    if len(channels) == 2:
        magenta, green = channels
        channels = [magenta, green, magenta]
    return np.stack(channels, axis=-1)
