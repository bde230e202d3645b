"""pix2pix and pix2pixHD: an image from an image, with a discriminator that sees both.

Isola et al., "Image-to-image translation with conditional adversarial networks", CVPR 2017; Wang et
al., "High-resolution image synthesis and semantic manipulation with conditional GANs", CVPR 2018.
The generator is any net; it predicts, is measured and shown as that of an enhancement.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from imtoolkit.config.sections import Pix2PixConfig
from imtoolkit.core.batch import IMAGE, Batch, Stage, StepOutput
from imtoolkit.losses.adversarial import Judgement

from .adversarial import DISCRIMINATOR, GENERATOR, AdversarialTask, Turn
from .enhancement import EnhancementTask


class Pix2PixTask(AdversarialTask, EnhancementTask):
    r"""Learns an image from an image, so that a discriminator cannot tell it from a true one.

    .. math::
        L_G = w_a L_\mathrm{adversarial} + w_f L_\mathrm{features} + w_r \sum_k w_k L_k

    with the terms :math:`L_k` of ``losses:``; parameters as `SupervisedTask`.
    """

    category = "pix2pix"
    config_class = Pix2PixConfig
    config: Pix2PixConfig
    roles: ClassVar[tuple[str, ...]] = (GENERATOR, DISCRIMINATOR)
    image_roles = (GENERATOR,)
    main_role = GENERATOR
    default_loss = "l1"

    def build_nets(self) -> dict[str, nn.Module]:
        """See `Task`."""
        judged = self.facts.in_channels + self.goal.out_channels
        return {
            GENERATOR: self.build_generator(GENERATOR, self.goal.out_channels),
            DISCRIMINATOR: self.build_discriminator(DISCRIMINATOR, judged),
        }

    def discriminator_channels(self) -> dict[str, int]:
        """See `AdversarialTask`; image and target are judged together."""
        return {DISCRIMINATOR: self.facts.in_channels + self.goal.out_channels}

    def turns(self, batch: Batch, learning: frozenset[str]) -> Iterator[Turn]:
        """See `AdversarialTask`."""
        image, target = batch[IMAGE], self.goal.learnt(batch)
        assert target is not None  # the data room refuses samples without one
        with torch.set_grad_enabled(GENERATOR in learning):
            made = self.outputs(batch)[0]
        real: Judgement | None = None
        if DISCRIMINATOR in learning:
            said = self.judged_by(DISCRIMINATOR, _pair(image, target))
            real = [[layer.detach() for layer in layers] for layers in said]
            fake = self.judged_by(DISCRIMINATOR, _pair(image, made.detach()))
            yield self.discriminator_turn(DISCRIMINATOR, said, fake, _pair(image, target))
            del said, fake
        if GENERATOR in learning:
            fooled = self.judged_by(DISCRIMINATOR, _pair(image, made))
            terms = self.deceiving(fooled, real)
            yield self._generator_turn(made, batch, terms)

    def step(self, batch: Batch, stage: Stage) -> StepOutput:
        """See `Task`: validation and test measure the generator; training goes by `turns`."""
        return EnhancementTask.step(self, batch, stage)

    def _generator_turn(self, made: Tensor, batch: Batch, deceiving: dict[str, Tensor]) -> Turn:
        output = self.judged([made], batch, Stage.TRAIN)
        assert output.loss is not None
        loss = self.config.reconstruction_weight * output.loss + self.weighted(deceiving)
        terms = {name: value.detach() for name, value in deceiving.items()}
        return Turn(GENERATOR, loss, {**output.terms, **terms}, raw=made.detach())


def _pair(image: Tensor, target: Tensor) -> Tensor:
    """Return image and target as channels of one ``(B, C + K, [Z,] Y, X)``."""
    return torch.cat([image, target.to(image.dtype)], dim=1)
