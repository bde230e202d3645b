"""Images that are changed at random before they are predicted, and the way back for predictions.

Wang et al., "Aleatoric uncertainty estimation with test-time augmentation for medical image
segmentation with convolutional neural networks", Neurocomputing 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from monai.transforms import Transform

from imtoolkit.core.batch import IMAGE
from imtoolkit.core.errors import ComponentError, Problem
from imtoolkit.data.randomised import apply_random
from imtoolkit.data.transforms.base import Sample, plain
from imtoolkit.data.transforms.build import (
    build_augment,
    is_random,
    moves_pixels,
    share_random_state,
)
from imtoolkit.data.transforms.random_grid import TurningTransform

WHERE: Final = "inference.uncertainty.perturb"
Back = Callable[[torch.Tensor], torch.Tensor]
"""Brings a prediction ``(K, [Z,] Y, X)`` of a changed image to the grid of the image."""


class Perturbation:
    """Changes an image at random, in a way that can be undone.

    Args:
        components: Random transforms: of values, or flips and turns by 90 degrees.

    Raises:
        ComponentError: If one moves pixels in another way, or none draws anything.
    """

    def __init__(self, components: Sequence[Any]) -> None:
        self._transforms = build_augment(components)
        problems = [
            Problem(
                f"'{component.name}' moves pixels in a way that a prediction cannot be moved back "
                "from: take transforms of values, flips and rotations_90",
                f"{WHERE}.{place}",
            )
            for place, (component, step) in enumerate(
                zip(components, self._transforms, strict=True)
            )
            if not can_be_undone(step)
        ]
        if not problems and not any(map(is_random, self._transforms)):
            message = "none of the transforms draws anything, so that all predictions are equal"
            problems = [Problem(message, WHERE)]
        if problems:
            raise ComponentError(problems)
        self._state = np.random.RandomState(0)  # seeded anew before each use
        share_random_state(self._transforms, self._state)

    def __call__(self, image: torch.Tensor, seed: int) -> tuple[torch.Tensor, Back]:
        """Return a changed copy of an image ``(C, [Z,] Y, X)``, and the way back."""
        self._state.seed(seed)
        made: Sample = {IMAGE: image.clone(), "id": "image"}
        steps: list[Back] = []
        for transform in self._transforms:
            if isinstance(transform, TurningTransform):
                drawn = transform.drawn(tuple(made[IMAGE].shape))
                if drawn is not None:
                    made[IMAGE] = transform.turned(made[IMAGE], drawn)
                    steps.append(partial(transform.undone, drawn=drawn))
            else:
                made = apply_random(made, [transform], self._state, WHERE)
        return plain(made[IMAGE]).to(image.dtype).contiguous(), partial(_back, steps=steps)


def can_be_undone(transform: Transform) -> bool:
    """Tell whether a prediction of what a transform makes can be brought back."""
    return isinstance(transform, TurningTransform) or not moves_pixels(transform)


def usable(components: Sequence[Any]) -> list[Any]:
    """Return the random ones of ``data.augment`` that can be undone."""
    built = build_augment(components)
    return [
        component
        for component, step in zip(components, built, strict=True)
        if is_random(step) and can_be_undone(step)
    ]


def _back(values: torch.Tensor, steps: Sequence[Back]) -> torch.Tensor:
    for step in reversed(steps):
        values = step(values)
    return values
