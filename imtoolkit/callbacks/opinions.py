"""What is drawn of an image of which there are several segmentations: readers, samples, doubt."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from imtoolkit.callbacks.evaluated import Evaluated
from imtoolkit.core.batch import ANNOTATIONS, PROBABILITIES, SAMPLES
from imtoolkit.figures.grid import Panel
from imtoolkit.figures.overlay import most_labelled_slice

SHOWN: Final = 3
"""Samples that are drawn."""


def has_opinions(one: Evaluated) -> bool:
    """Tell whether a task has told samples of an image."""
    return SAMPLES in one.beside


def opinions_row(one: Evaluated) -> list[Panel]:
    """Return panels of an image: its foreground by readers and by samples, and their entropy.

    Of a volume the slice with most of it is drawn. Shares are black at 0 and white at 1, the
    entropy is white where it is largest, at the logarithm of the number of classes.
    """
    samples, chances = _array(one.beside[SAMPLES]), _array(one.beside[PROBABILITIES])
    given = one.beside.get(ANNOTATIONS)
    marks = None if given is None else _array(given)
    dims = one.image.ndim - 1
    z = None
    if dims == 3:
        seen = (samples if marks is None else marks) > 0
        z = most_labelled_slice(np.asarray(seen.any(0), np.uint8), seen.shape[1])

    def flat(values: NDArray[Any]) -> NDArray[Any]:
        return values if z is None else values[:, z]

    score = one.row.get("ged")
    known = isinstance(score, float) and math.isfinite(score)
    share = np.array([[[0.0, 1.0]]])
    entropy = -(chances * np.log(np.maximum(chances, 1e-12))).sum(0, keepdims=True)
    row = [Panel("image", flat(_array(one.image)), one.id)]
    if marks is not None:
        heading = f"{len(marks)} annotations" if len(marks) > 1 else "annotation"
        row.append(Panel(heading, _share(flat(marks)), like=share))
    row.append(
        Panel(f"{len(samples)} samples", _share(flat(samples)), f"ged {score:.3f}" if known else "",
              like=share)
    )  # fmt: skip
    row.append(Panel("entropy", flat(entropy), like=share * math.log(len(chances))))
    row += [
        Panel(f"sample {number + 1}", _share(flat(samples[number : number + 1])), like=share)
        for number in range(min(SHOWN, len(samples)))
    ]
    return row


def _share(labels: NDArray[Any]) -> NDArray[Any]:
    """Return the share of labels that are foreground, ``(1, Y, X)``."""
    found: NDArray[Any] = (labels > 0).mean(0, keepdims=True)
    return found


def _array(values: Tensor) -> NDArray[Any]:
    found: NDArray[Any] = np.asarray(values.detach().float().cpu())
    return found
