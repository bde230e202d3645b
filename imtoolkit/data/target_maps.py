"""What is made of the instances of a sample after its augmentation, for the losses.

A map cannot be turned and bent along with its image: the way to a centre would point elsewhere, and
a boundary would be torn. So the objects move, and what a task asks for (`TargetSpec.maps`) is made
of them afterwards, in the worker that made the sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from monai.transforms import Transform

from imtoolkit.core.batch import ID, SPACING, TARGET
from imtoolkit.core.errors import ConfigError, Problem, listed
from imtoolkit.core.facts import TargetKind, TargetMap, TargetSpec
from imtoolkit.data.cache.content import smallest
from imtoolkit.data.objects import require_whole_numbers
from imtoolkit.data.transforms.base import Sample, plain
from imtoolkit.data.transforms.build import moves_pixels
from imtoolkit.data.transforms.random_grid import TurningTransform
from imtoolkit.labels import separated
from imtoolkit.labels.maps import MAPS

OF_IMAGE: Final = "image"
"""As ``spacing`` of a map: the pixel size of each image, where its file tells it."""


def mirrors(transforms: Sequence[Transform]) -> bool:
    """Tell whether random transforms may show an object twice, as mirrored padding does."""
    return any(
        not isinstance(transform, TurningTransform) and moves_pixels(transform)
        for transform in transforms
    )


def with_maps(sample: Sample, target: TargetSpec, before: np.ndarray | None = None) -> Sample:
    """Finish the instances of a sample, and add the maps that the task wants of them.

    Args:
        sample: An augmented sample, or a whole image; of another kind of target, it stays as it is.
        target: What the task wants.
        before: The labels ``(1, [Z,] Y, X)`` before they were padded and bent. Where padding has
            mirrored an object, its image is an object of its own, unless they touch.

    Raises:
        DataError: If a transform has interpolated the labels.
    """
    if target.kind is not TargetKind.INSTANCES or TARGET not in sample:
        return sample
    labels = np.asarray(
        plain(sample[TARGET]) if torch.is_tensor(sample[TARGET]) else sample[TARGET]
    )
    labels = require_whole_numbers(labels, str(sample.get(ID)))
    if before is not None:
        labels = smallest(separated(labels, before))
    sample[TARGET] = labels
    for wanted in target.maps:
        sample[wanted.name] = make_map(wanted, labels[0], sample.get(SPACING))
    return sample


def make_map(
    wanted: TargetMap, labels: np.ndarray, spacing: torch.Tensor | None = None
) -> np.ndarray:
    """Return one map ``(C, [Z,] Y, X)`` of objects ``([Z,] Y, X)``."""
    params = dict(wanted.params)
    if params.get("spacing") == OF_IMAGE:
        known = spacing is not None and bool(torch.isfinite(spacing).all())
        params["spacing"] = spacing.tolist() if known and spacing is not None else None
    made = MAPS[wanted.name](labels, **params)
    return made if made.ndim > labels.ndim else made[None]


def try_maps(target: TargetSpec, dims: int) -> None:
    """Make the maps of an empty image, to find what cannot be before the training begins.

    Raises:
        ConfigError: If there is no such map, or its parameters are wrong.
    """
    problems = []
    for wanted in target.maps:
        if wanted.name not in MAPS:
            message = f"there is no map '{wanted.name}' of instances, but {listed(list(MAPS))}"
            problems.append(Problem(message, "task"))
            continue
        try:
            make_map(wanted, np.zeros((1,) * dims, np.uint8))
        except (TypeError, ValueError) as error:
            problems.append(Problem(f"the map '{wanted.name}' of instances: {error}", "task"))
    if problems:
        raise ConfigError(problems)
