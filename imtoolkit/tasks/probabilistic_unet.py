"""Probabilistic U-Net: a distribution of segmentations of ambiguous images, in 2D and 3D.

Kohl et al., "A probabilistic U-Net for segmentation of ambiguous images", NeurIPS 2018. In training
the latent numbers are drawn from the posterior, which sees the annotation, elsewhere from the
prior.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every reader of torch code knows
from torch import Tensor, nn

from imtoolkit.config.sections import ProbabilisticUNetConfig
from imtoolkit.core.batch import (
    ANNOTATIONS,
    IMAGE,
    PROBABILITIES,
    SAMPLES,
    SPACING,
    WEIGHT,
    Batch,
    Stage,
    StepOutput,
)
from imtoolkit.core.errors import ConfigError, Problem
from imtoolkit.core.facts import TargetKind
from imtoolkit.core.seeding import mix
from imtoolkit.inference.ensemble import logits_of
from imtoolkit.inference.predict import mean_over_tiles
from imtoolkit.losses.probabilistic_unet import EvidenceLowerBound, kl_divergence
from imtoolkit.nets.probabilistic_unet import DiagonalGaussian, LatentNet

from .building import build_terms
from .goals.annotations import AnnotationsGoal
from .goals.base import PixelSize
from .measuring import Prediction
from .rows import Row
from .supervised import SupervisedTask

AT_ONCE: Final = 4
"""Samples that share one computation of the features: memory holds so many at a time."""
_PRIOR, _POSTERIOR = 1, 2  # tell the noise of one from that of the other


@dataclass
class SampledOutput(StepOutput):
    """What a step of validation returns.

    Attributes:
        samples: Labels that were drawn from the prior ``(S, [Z,] Y, X)``.
    """

    samples: Tensor | None = None


class ProbabilisticUNetTask(SupervisedTask):
    """Learns a distribution of segmentations; parameters as `SupervisedTask`.

    A batch holds one annotation of each image or several, ``(B, M, [Z,] Y, X)``; of several each
    training step takes one of them, drawn anew. Whole images are predicted tile by tile, and the
    tiles share the latent numbers: the Gaussian of an image is that of the mean parameters over its
    tiles, and each sample is one point of it for the whole image. So a sample is one opinion of all
    of the image, and tiles meet as they do for any other net. Noise is a function of the seed and
    of the number of the sample, equal for all images and epochs.
    """

    category = "probabilistic_unet"
    target_kind = TargetKind.LABELS
    config_class = ProbabilisticUNetConfig
    config: ProbabilisticUNetConfig

    # --- parts ------------------------------------------------------------------------------------

    def build_goal(self) -> AnnotationsGoal:
        """See `SupervisedTask`."""
        return AnnotationsGoal(
            self.facts,
            self.config.classes,
            class_weights=self.config.class_weights,
            surface_tolerance=self.config.surface_tolerance,
        )

    def build_losses(self) -> nn.Module:
        """See `Task`."""
        terms = dict(self.config.losses) or self.goal.default_terms()
        return EvidenceLowerBound(
            build_terms({name: (term, self.goal) for name, term in terms.items()}),
            self.config.beta,
            self.config.reduction,
        )

    def check_nets(self) -> None:
        """See `Task`; a net without latent numbers is refused."""
        if not isinstance(self.nets["net"], LatentNet):
            message = (
                f"net '{self._net_name}' has no latent numbers, whose prior and posterior this "
                "category learns: take {name: probabilistic_unet}, with any net as its 'backbone'; "
                "or a net of yours that derives from imtoolkit.nets.probabilistic_unet.LatentNet"
            )
            raise ConfigError(Problem(message, where="task.net"))
        super().check_nets()

    @property
    def net(self) -> LatentNet:
        """The net."""
        net = self.nets["net"]
        assert isinstance(net, LatentNet)
        return net

    @property
    def annotated(self) -> AnnotationsGoal:
        """What the output means."""
        goal = self.goal
        assert isinstance(goal, AnnotationsGoal)
        return goal

    # --- the step ---------------------------------------------------------------------------------

    def step(self, batch: Batch, stage: Stage) -> StepOutput:
        """See `Task`; training draws from the posterior, validation and test from the prior."""
        annotations = self.annotated.annotations_of(batch)
        if stage is Stage.TRAIN:
            return self._train(batch, annotations)
        output = SampledOutput(None)
        output.raw, output.samples = self._sampled(batch[IMAGE], stage, batch.get(SPACING))
        if annotations is not None and self.goal.labelled(batch):
            output.loss, output.terms = self._bound(batch, annotations, stage)
        return output

    def _train(self, batch: Batch, annotations: Tensor | None) -> StepOutput:
        if annotations is None:
            return StepOutput(None)
        image, net = self.in_memory_format(batch[IMAGE]), self.net
        target = one_of(annotations)
        prior = net.prior(image)
        posterior = net.posterior(image, self._shown(target, batch))
        logits: Tensor = net(image, posterior.at(torch.randn_like(posterior.mean)))
        self.goal.check_output(logits, image, self._net_name)
        loss, terms = self._loss(logits, posterior, prior, target, batch, self.global_step)
        return StepOutput(loss, terms, raw=logits)

    def _loss(
        self,
        logits: Tensor,
        posterior: DiagonalGaussian,
        prior: DiagonalGaussian,
        target: Tensor,
        batch: Batch,
        step: int | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        divergence = kl_divergence(posterior.mean, posterior.log_std, prior.mean, prior.log_std)
        # losses sum over many pixels, which half precision cannot hold
        with torch.autocast(logits.device.type, enabled=False):
            loss, terms = self.losses(
                logits, divergence, {**batch, self.goal.loss_key: target}, step
            )
        return loss, terms

    def _bound(
        self, batch: Batch, annotations: Tensor, stage: Stage
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a whole image and its terms, averaged over its annotations."""
        image = batch[IMAGE]
        prior = self.prior_of(image)
        found: list[dict[str, Tensor]] = []
        targets = torch.split(annotations, 1, 1)
        posteriors = [self._posterior_of(image, target, batch) for target in targets]
        noise = self.noise(1, use=_POSTERIOR)
        latents = [posterior.at(noise) for posterior in posteriors]
        made = zip(targets, posteriors, self._decoded(image, latents, stage), strict=True)
        for target, posterior, logits in made:
            loss, terms = self._loss(logits, posterior, prior, target, batch, None)
            found.append({"": loss, **terms})
        means = {name: torch.stack([one[name] for one in found]).mean() for name in found[0]}
        return means.pop(""), means

    def measure(
        self, output: StepOutput, prediction: Prediction | None, batch: Batch, stage: Stage
    ) -> Row:
        """See `Task`; the mean prediction is measured, and then the samples."""
        row = super().measure(output, prediction, batch, stage)
        if isinstance(output, SampledOutput) and output.samples is not None:
            row |= self.annotated.measure_samples(self.metrics(stage), output.samples, batch)
        return row

    def beside_of(self, output: StepOutput, batch: Batch) -> dict[str, Tensor] | None:
        """See `Measuring`: the samples, their mean, and what the readers say."""
        if not isinstance(output, SampledOutput) or output.samples is None:
            return None
        assert isinstance(output.raw, Tensor)
        found = {
            SAMPLES: output.samples,
            PROBABILITIES: self.annotated.probabilities(output.raw)[0],
        }
        annotations = self.annotated.annotations_of(batch)
        return found if annotations is None else {**found, ANNOTATIONS: annotations[0]}

    # --- whole images -----------------------------------------------------------------------------

    def whole(self, image: Tensor, stage: Stage, **more: Tensor) -> Tensor:
        """Predict one whole image: logits of the mean probabilities of the samples."""
        del more  # such a net takes the image alone
        return self._sampled(image, stage)[0]

    def draws(
        self, image: Tensor, stage: Stage, count: int, seed: int | None = None
    ) -> Iterator[Tensor]:
        """Yield the logits ``(1, K, [Z,] Y, X)`` of samples of one whole image, float32.

        Args:
            image: ``(1, C, [Z,] Y, X)`` on the device of the nets.
            stage: Test and prediction average over mirrored copies where the config asks for it.
            count: Number of samples.
            seed: Seed of their noise; left out, that of the task.
        """
        prior = self.prior_of(image)
        latents = [prior.at(noise[None]) for noise in self.noise(count, seed)]
        yield from self._decoded(image, latents, stage)

    def prior_of(self, image: Tensor) -> DiagonalGaussian:
        """Return the prior of one whole image: of the mean parameters over its tiles."""
        return self._over_tiles(self.net.prior, image)

    def noise(self, count: int, seed: int | None = None, use: int = _PRIOR) -> Tensor:
        """Return standard normal numbers ``(count, L)``, each row a function of its number."""
        rows = []
        for number in range(count):
            generator = torch.Generator().manual_seed(
                mix(self.seed if seed is None else seed, use, number)
            )
            rows.append(torch.randn(self.net.latent, generator=generator))
        return torch.stack(rows).to(self.device)

    def _sampled(
        self, image: Tensor, stage: Stage, spacing: PixelSize = None
    ) -> tuple[Tensor, Tensor]:
        """Return logits of the mean over samples ``(1, K, ...)``, and the samples ``(S, ...)``."""
        total: Tensor | None = None
        labels: list[Tensor] = []
        small = torch.uint8 if self.goal.out_channels <= 256 else torch.int16
        for logits in self.draws(image, stage, self.config.samples):
            chances = logits.softmax(1)
            total = chances if total is None else total + chances
            labels.append(self._classes(logits, spacing).to(small))
        assert total is not None
        return logits_of(total / self.config.samples), torch.cat(labels)

    def _classes(self, logits: Tensor, spacing: PixelSize) -> Tensor:
        """Return the classes of a sample; objects are not compared with those of another."""
        if self.goal.instances:
            return self.goal.first_result(logits)
        return self.goal.postprocess(logits, spacing)

    def _posterior_of(self, image: Tensor, target: Tensor, batch: Batch) -> DiagonalGaussian:
        both = torch.cat([image, self._shown(target, batch).to(image)], 1)
        channels = image.shape[1]
        return self._over_tiles(
            lambda tiles: self.net.posterior(tiles[:, :channels], tiles[:, channels:]), both
        )

    def _over_tiles(self, gaussian_of: Any, image: Tensor) -> DiagonalGaussian:
        def parameters(tiles: Tensor) -> Tensor:
            found = gaussian_of(self.in_memory_format(tiles))
            return torch.cat([found.mean, found.log_std], 1)

        said = mean_over_tiles(
            parameters,
            image,
            tile=self.tiling.tile_for(tuple(image.shape[2:])),
            overlap=self.inference.overlap,
            batch_size=self.inference.batch_size,
        )
        return DiagonalGaussian(*said.chunk(2, 1))

    def _decoded(self, image: Tensor, latents: Sequence[Tensor], stage: Stage) -> Iterator[Tensor]:
        """Yield the logits of one image for each latent ``(1, L)``."""
        for start in range(0, len(latents), AT_ONCE):
            group = latents[start : start + AT_ONCE]
            net = partial(self._decoded_tiles, latents=group)
            yield from torch.split(self.by_tiles(net, image, stage), self.goal.out_channels, 1)

    def _decoded_tiles(self, tiles: Tensor, latents: Sequence[Tensor]) -> Tensor:
        features = self.net.features(self.in_memory_format(tiles))
        return torch.cat([self.net.decode(features, latent) for latent in latents], 1)

    def _shown(self, target: Tensor, batch: Batch) -> Tensor:
        """Return what the posterior sees of an annotation: one-hot, 0 where it does not count."""
        hot = F.one_hot(target[:, 0].long(), self.goal.out_channels).movedim(-1, 1)
        weight = batch.get(WEIGHT)
        return hot.float() if weight is None else hot * (weight > 0).float()


def one_of(annotations: Tensor) -> Tensor:
    """Return for each image one of its annotations, drawn with torch's own generator.

    Args:
        annotations: ``(B, M, [Z,] Y, X)``.

    Returns:
        ``(B, 1, [Z,] Y, X)``.
    """
    count, several = annotations.shape[:2]
    if several == 1:
        return annotations
    chosen = torch.randint(several, (count,)).to(annotations.device)
    return annotations[torch.arange(count, device=annotations.device), chosen][:, None]
