"""Noise2Void: denoising learnt from noisy images alone, by predicting hidden pixels."""

from __future__ import annotations

import zlib
from dataclasses import replace

import torch
from torch import Generator, Tensor

from imtoolkit.config.sections import Noise2VoidConfig
from imtoolkit.core.batch import ID, IMAGE, TARGET, WEIGHT, Batch, Stage, StepOutput
from imtoolkit.core.facts import TargetKind
from imtoolkit.core.seeding import mix

from .blindspot import hidden_pixels, replaced
from .enhancement import EnhancementTask


class Noise2VoidTask(EnhancementTask):
    """Learns to predict hidden pixels of noisy images; parameters as `SupervisedTask`.

    In training some pixels are given values of their neighbours, and the loss counts these pixels
    alone, against what they were. Which ones is a function of the step; in validation and test of
    the image. Where a source has clean images as targets, whole predictions are measured against
    them, and nothing else is done with them.
    """

    category = "noise2void"
    target_kind = TargetKind.IMAGE
    config_class = Noise2VoidConfig
    config: Noise2VoidConfig
    default_loss = "mse"

    @property
    def main_metric(self) -> str:  # type: ignore[override]
        """The loss at hidden pixels: clean images, where there are any, choose nothing."""
        return "val/loss"

    @property
    def out_channels(self) -> int:
        """Channels of the output: those of the images."""
        return self.facts.in_channels

    def step(self, batch: Batch, stage: Stage) -> StepOutput:
        """See `Task`; validation predicts twice, with and without hidden pixels."""
        if stage is Stage.TRAIN:
            blind = self.blinded(batch)
            return self.judged(self.outputs({**batch, IMAGE: blind[IMAGE]}), blind, stage)
        raw = self.whole(batch[IMAGE], stage)
        blind = self.blinded(batch, self._generator(batch))
        seen = self.whole(blind[IMAGE], stage)
        return replace(self.judged([seen], blind, stage), raw=raw)

    def blinded(self, batch: Batch, generator: Generator | None = None) -> Batch:
        """Hide pixels of the images; return what the net gets, what it learns, and where.

        Args:
            batch: Images; a target is left out.
            generator: Draws the pixels; left out, torch's own, which each step seeds.
        """
        image: Tensor = batch[IMAGE]
        settings = self.config
        shape = (image.shape[0], *image.shape[2:])
        hidden = hidden_pixels(shape, settings.masked, generator)
        given = replaced(image, hidden, settings.radius, settings.replace, generator)
        weight = hidden.to(image.device, torch.float32) * self._cost(batch)
        return {**batch, IMAGE: given, TARGET: image, WEIGHT: weight}

    def _cost(self, batch: Batch) -> Tensor | float:
        """Return the cost map; one that is zero everywhere tells that an image has no target."""
        weight = batch.get(WEIGHT)
        if weight is None:
            return 1.0
        there = weight.flatten(1).any(1).view(-1, *[1] * (weight.ndim - 1))
        return torch.where(there, weight, 1.0)

    def _generator(self, batch: Batch) -> Generator:
        name = str(batch[ID][0]) if ID in batch else ""
        return torch.Generator().manual_seed(mix(self.seed, zlib.crc32(name.encode())))
