"""Labels laid over an image: a tint inside, a line along the border."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imtoolkit.labels import boundaries

from .colours import CONFUSED, FALSE, MISSED, PALETTE, Pixels, rgb, to_rgb


def overlay(
    image: NDArray[Any],
    labels: NDArray[Any],
    *,
    alpha: float = 0.3,
    outline: bool = True,
    numbers: NDArray[Any] | None = None,
) -> Pixels:
    """Lay labels over an image.

    Args:
        image: ``(Y, X)`` or ``(C, Y, X)``, any range; its contrast is stretched.
        labels: ``(Y, X)``, 0 for background: classes, or numbers of objects.
        alpha: How much of the colour covers the inside of a label.
        outline: Draw the border of each label in full colour.
        numbers: Number of the colour of each pixel ``(Y, X)``, from 1; left out, its label.

    Returns:
        ``(Y, X, 3)`` from 0 to 1.

    Raises:
        ValueError: If image and labels differ in size.
    """
    base, labels = to_rgb(image), np.asarray(labels)
    _check_size(base, labels)
    paint = _paint(labels if numbers is None else numbers)
    result = tint(base, labels > 0, paint, alpha)
    if outline:
        borders = boundaries(np.maximum(labels, 0))
        result = tint(result, borders, paint, 1.0)
    return result


def differences(
    image: NDArray[Any], target: NDArray[Any], prediction: NDArray[Any], *, alpha: float = 0.75
) -> Pixels:
    """Show where a prediction of classes differs from the target, over a darkened image.

    Missed pixels, false ones and ones of a wrong class have a colour each (see `colours`).

    Returns:
        ``(Y, X, 3)`` from 0 to 1.

    Raises:
        ValueError: If the sizes differ.
    """
    base = 0.55 * to_rgb(image)
    target, prediction = np.asarray(target), np.asarray(prediction)
    _check_size(base, target)
    _check_size(base, prediction)
    missed = (target > 0) & (prediction == 0)
    false = (target == 0) & (prediction > 0)
    confused = (target > 0) & (prediction > 0) & (target != prediction)
    for mask, colour in ((missed, MISSED), (false, FALSE), (confused, CONFUSED)):
        base = tint(base, mask, rgb(colour), alpha)
    return base


def most_labelled_slice(labels: NDArray[Any] | None, depth: int) -> int:
    """Return the slice ``z`` with the most labelled pixels, of equal ones that nearest the middle.

    Args:
        labels: ``(Z, Y, X)``, or ``None``.
        depth: Number of slices.

    Example:
        >>> most_labelled_slice(None, 9)
        4
    """
    middle = depth // 2
    if labels is None:
        return middle
    counts = np.count_nonzero(labels, axis=(-2, -1))
    best = np.flatnonzero(counts == counts.max())
    return int(best[np.abs(best - middle).argmin()])


def _paint(labels: NDArray[Any]) -> Pixels:
    table = np.stack([rgb(colour) for colour in PALETTE])
    colours: Pixels = table[(np.maximum(labels.astype(np.int64), 1) - 1) % len(PALETTE)]
    return colours


def tint(base: Pixels, mask: NDArray[np.bool_], colour: Pixels, alpha: float) -> Pixels:
    """Cover the pixels of a mask ``(Y, X)`` with a colour, or with one for each pixel."""
    cover = alpha * mask[..., None].astype(np.float32)
    mixed: Pixels = (1 - cover) * base + cover * colour
    return mixed


def _check_size(base: Pixels, labels: NDArray[Any]) -> None:
    if base.shape[:2] != labels.shape:
        message = f"the image has the size {base.shape[:2]} and the labels {labels.shape}"
        raise ValueError(message)
