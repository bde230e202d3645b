"""Where the centres of patches may lie: pixels of each class, or of each object, picked once."""

from __future__ import annotations

from typing import Final

import numpy as np

from imtoolkit.core.facts import TargetKind
from imtoolkit.core.seeding import mix

MOST_PIXELS: Final = 10_000
"""Foreground pixels kept of each class, or of all objects; a patch centre is drawn among them."""


def find_foreground(
    target: np.ndarray, weight: np.ndarray | None, kind: TargetKind
) -> tuple[dict[int, int], dict[int, np.ndarray]]:
    """Count the pixels of each label, and pick foreground pixels as centres for patches.

    Pixels that the cost map ignores count for nothing. Instances are one class of foreground. Of
    several annotations each counts, and a pixel has all labels that they give it.

    Args:
        target: Labels ``(1, [Z,] Y, X)``, or several annotations ``(M, [Z,] Y, X)``.
        weight: Cost map of the same shape.
        kind: Labels or instances.

    Returns:
        Pixels of each label (0 is background), and for each foreground label at most `MOST_PIXELS`
        positions, evenly drawn, as indices into the flattened spatial shape: ``(N,)``; of instances
        equally many of each object, ``(objects, N)``.
    """
    labels = target.reshape(len(target), -1)
    ignored = None if weight is None else weight[0].ravel() <= 0
    if kind is TargetKind.INSTANCES:
        return _of_objects(labels[0], ignored)
    seen = labels if ignored is None else labels[:, ~ignored]
    values, amounts = np.unique(seen, return_counts=True)
    counts = {int(value): int(amount) for value, amount in zip(values, amounts, strict=True)}
    foreground: dict[int, np.ndarray] = {}
    for label in counts:
        if label <= 0:
            continue
        chosen = (labels == label).any(0)
        if ignored is not None:
            chosen &= ~ignored
        pixels = np.flatnonzero(chosen)
        if len(pixels) > MOST_PIXELS:
            state = _state(len(pixels), label, int(pixels[0]))
            pixels = np.sort(pixels[state.randint(0, len(pixels), MOST_PIXELS)])
        foreground[label] = pixels.astype(np.int64)
    return counts, foreground


def _of_objects(
    labels: np.ndarray, ignored: np.ndarray | None
) -> tuple[dict[int, int], dict[int, np.ndarray]]:
    """Pick equally many pixels of each object, so that each can be chosen equally often.

    The objects are in random order: of neighbours in the image, one after the other, an epoch that
    takes a few patches of each image would see one corner. Of more than `MOST_PIXELS` objects, as
    many are picked.
    """
    chosen = labels > 0
    if ignored is not None:
        chosen &= ~ignored
    pixels = np.flatnonzero(chosen)
    total = labels.size if ignored is None else int(np.count_nonzero(~ignored))
    counts = {0: total - len(pixels), 1: len(pixels)}
    counts = {label: count for label, count in counts.items() if count}
    if not len(pixels):
        return counts, {}
    owner = labels[pixels]
    pixels = pixels[np.argsort(owner, kind="stable")]
    _, areas = np.unique(owner, return_counts=True)
    starts = np.cumsum(areas) - areas
    state = _state(len(pixels), len(areas), int(pixels[0]))
    order = state.permutation(len(areas))[:MOST_PIXELS]
    each = max(1, min(MOST_PIXELS // len(order), int(areas.max())))
    draws = (state.random_sample((len(order), each)) * areas[order, None]).astype(np.int64)
    return counts, {1: pixels[starts[order, None] + draws].astype(np.int64)}


def _state(*numbers: int) -> np.random.RandomState:
    # a function of the sample alone, so that the file is the same whoever makes it
    return np.random.RandomState(mix(*numbers))
