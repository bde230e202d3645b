"""`BatchedAugment`: ``data.augment`` and ``data.degrade`` for a whole batch, on its device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform
from torch import nn

from imtoolkit.core.batch import DRAW, IMAGE, TARGET, Batch
from imtoolkit.core.errors import DataError
from imtoolkit.core.schedules import NumberSchedule
from imtoolkit.core.seeding import mix
from imtoolkit.data.batched.place import require_batched_forms
from imtoolkit.data.batched.stages import Stage, build_stages
from imtoolkit.data.scheduled import components_at
from imtoolkit.data.transforms.build import build_augment, build_degrade

_AUGMENT, _DEGRADE = "data.augment", "data.degrade"


class BatchedAugment(nn.Module):
    """Changes training batches at random, as the transforms of a config do sample by sample.

    The same components are drawn from the same distributions, in the order of the list. Turns,
    affine maps and bending that follow each other are done with one interpolation. What is drawn
    for a sample depends on its number ``batch["draw"]`` alone, whatever else is in the batch and
    however many workers or ranks there are; noise is drawn on the device, and a GPU draws another
    than a CPU.

    Args:
        augment: Components of ``data.augment``.
        degrade: Components of ``data.degrade``: after ``augment``, the image becomes the target,
            and the image is degraded.
        schedules: Numbers of both that change with the epochs, by their keys.

    Raises:
        ConfigError: If a transform works on single samples only.

    Example:
        >>> from imtoolkit.config.sections import Component
        >>> augment = BatchedAugment([Component("flips", {"axes": ["X"], "prob": 1.0})])
        >>> augment({"image": torch.arange(3.0).reshape(1, 1, 1, 3), "draw": torch.tensor([7])})[
        ...     "image"
        ... ]
        tensor([[[[2., 1., 0.]]]])
    """

    def __init__(
        self,
        augment: Sequence[Any] = (),
        degrade: Sequence[Any] = (),
        *,
        schedules: Mapping[str, NumberSchedule] | None = None,
    ) -> None:
        super().__init__()
        self.augment, self.degrade = tuple(augment), tuple(degrade)
        self.schedules = dict(schedules or {})
        self._states: list[np.random.RandomState] = []
        self._epoch = 0
        self._stages = self._build(0)

    @torch.no_grad()
    def forward(self, batch: Batch, epoch: int = 0) -> Batch:
        """Return a training batch, changed.

        Args:
            batch: With `imtoolkit.core.batch.DRAW`; it and its tensors stay as they are.
            epoch: Counted from 0, for numbers that change with the epochs.

        Raises:
            DataError: If a transform cannot work on the images.
        """
        if epoch != self._epoch and self.schedules:
            self._epoch, self._stages = epoch, self._build(epoch)
        batch = dict(batch)
        seeds = batch[DRAW].tolist()
        for where, stages in self._stages.items():
            clean = batch[IMAGE]
            if where == _DEGRADE:  # without its target, so that no transform can touch it
                batch.pop(TARGET, None)
            states = self._seeded(seeds, where)
            for stage in stages:
                _apply(stage, batch, states, where)
            if where == _DEGRADE:
                batch[TARGET] = clean
        return batch

    def _build(self, epoch: int) -> dict[str, list[Stage]]:
        augment = components_at(self.augment, self.schedules, epoch, _AUGMENT)
        degrade = components_at(self.degrade, self.schedules, epoch, _DEGRADE)
        built: dict[str, list[Transform]] = {_AUGMENT: build_augment(augment)}
        if degrade:
            built[_DEGRADE] = build_degrade(degrade)
        for where, components in ((_AUGMENT, augment), (_DEGRADE, degrade)):
            require_batched_forms(components, built.get(where, []), where)
        return {where: build_stages(transforms) for where, transforms in built.items()}

    def _seeded(self, seeds: Sequence[int], where: str) -> list[np.random.RandomState]:
        # seeding again takes 1.3 µs, a new state 68 µs
        while len(self._states) < len(seeds):
            self._states.append(np.random.RandomState(0))
        states = self._states[: len(seeds)]
        for state, seed in zip(states, seeds, strict=True):
            state.seed(mix(seed, where == _DEGRADE))
        return states


def _apply(stage: Stage, batch: Batch, states: Sequence[np.random.RandomState], where: str) -> None:
    try:
        stage(batch, states)
    except ValueError as error:  # what a transform of ours raises for images that do not suit it
        message = (
            f"{where}: a batch of shape {tuple(batch[IMAGE].shape)} cannot be changed: {error}"
        )
        raise DataError(message) from error
