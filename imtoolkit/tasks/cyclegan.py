"""CycleGAN: translation between two domains of images without pairs, both ways at once.

Zhu et al., "Unpaired image-to-image translation using cycle-consistent adversarial networks", ICCV
2017. What a generator makes of an image must pass for an image of the other domain, and the other
generator must bring the image back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn

from imtoolkit.config.sections import CycleGANConfig, LossTerm
from imtoolkit.core.batch import DOMAIN, IMAGE, TARGET, Batch, Stage, StepOutput
from imtoolkit.core.errors import ConfigError, Problem
from imtoolkit.core.facts import DataFacts, TargetKind
from imtoolkit.losses.weighted_sum import WeightedSum
from imtoolkit.metrics.translation import CYCLE, IDENTITY, TranslationMetrics
from imtoolkit.nets.outputs import main_output

from .adversarial import DISCRIMINATOR, GENERATOR, AdversarialTask, Turn
from .building import build_terms
from .encoder import ImageEncoder, LooksEncoder
from .goals import OUTPUT, Goal, ImageGoal
from .goals.base import PixelSize, pixel_inputs
from .measuring import Prediction
from .pool import ImagePool
from .rows import Row

A, B = "a", "b"
OTHER: Final = {A: B, B: A}
DIRECTIONS: Final = {"a_to_b": A, "b_to_a": B}
"""Direction -> the domain that it starts from."""
INTO: Final = {A: "generator_ba", B: "generator_ab"}
"""Domain -> role of the generator whose images are of this domain."""
JUDGE: Final = {A: "discriminator_a", B: "discriminator_b"}
BACK: Final = "cycle"
"""Name of what came back, beside the translation, in what a step of validation returns."""


@dataclass
class Translation(StepOutput):
    """What `CycleGANTask.step` returns for a whole image.

    Attributes:
        domain: Domain of the image, ``a`` or ``b``; ``raw`` is of the other one.
        cycle: What the other generator makes of ``raw``, an image of the same domain.
        identity: What the generator into the domain of the image makes of the image itself; where
            the domains have as many channels.
    """

    domain: str = A
    cycle: Tensor | None = field(default=None, kw_only=True)
    identity: Tensor | None = field(default=None, kw_only=True)


class CycleGANTask(AdversarialTask):
    r"""Learns to translate images of domain A to domain B and back; parameters as `Task`.

    With the generators :math:`G: A \to B` and :math:`F: B \to A`, and :math:`d(x, y)` the weighted
    sum of ``losses:`` (left out, the L1 difference):

    .. math::
        L = w_a (L_\mathrm{GAN}(G, D_B) + L_\mathrm{GAN}(F, D_A))
          + w_c \left( d(F(G(a)), a) + d(G(F(b)), b) \right)
          + w_i \left( d(F(a), a) + d(G(b), b) \right)

    The last sum, the identity loss, gives each generator images of the domain that it makes: they
    shall stay as they are.

    Attributes:
        direction: What a prediction makes: ``a_to_b`` or ``b_to_a``.
        pools: For each domain translated images that its discriminator sees again.
        encoders: For each domain what makes features of an image, by which sets are compared.
    """

    category = "cyclegan"
    target_kind = TargetKind.IMAGE
    config_class: ClassVar[type[CycleGANConfig]] = CycleGANConfig
    config: CycleGANConfig
    roles: ClassVar[tuple[str, ...]] = (INTO[B], INTO[A], JUDGE[A], JUDGE[B])
    image_roles: ClassVar[tuple[str, ...]] = (INTO[B], INTO[A])

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        if not isinstance(config, CycleGANConfig):
            message = f"got {type(config).__name__}; expected CycleGANConfig"
            raise TypeError(message)
        super().__init__(config, *args, **kwargs)
        self.direction = config.direction
        self.pools = {domain: ImagePool(config.pool_size) for domain in (A, B)}
        self.encoders: dict[str, ImageEncoder] = {domain: LooksEncoder() for domain in (A, B)}

    # --- parts ----------------------------------------------------------------------------------

    @property
    def domain_names(self) -> tuple[str, str]:
        """What the domains are called in pictures."""
        first, second = self.config.domains
        return first, second

    @property
    def main_metric(self) -> str:  # type: ignore[override]  # of the config, not of the class
        """Metric by which the best state is chosen.

        How much translated images look like real ones, where validation has at least two images of
        each domain. What comes back says little: generators that change nothing are perfect by it.
        """
        there = self.facts.domain_samples.get(Stage.VAL.value, {})
        measured = all(there.get(domain, 0) > 1 for domain in "AB")
        return "val/frechet_distance" if measured else "val/cycle_psnr"

    def facts_of(self, role: str) -> DataFacts:
        """See `Task`; ``generator_ba`` and ``discriminator_b`` are given images of domain B."""
        return self.facts.turned() if role in (INTO[A], JUDGE[B]) else self.facts

    def source_facts(self) -> DataFacts:
        """Return the facts of the images that a prediction is made of."""
        return self.facts_of(INTO[OTHER[self.source]])

    @property
    def source(self) -> str:
        """Domain of the images that a prediction is made of."""
        return DIRECTIONS[self.direction]

    def turn_to(self, direction: str) -> None:
        """Choose what predictions are made.

        Args:
            direction: ``a_to_b`` or ``b_to_a``.

        Raises:
            ConfigError: If it is neither.
        """
        if direction not in DIRECTIONS:
            message = f"got '{direction}'; expected {' or '.join(DIRECTIONS)}"
            raise ConfigError(Problem(message, where="task.direction"))
        self.direction = direction
        self.goals = {OUTPUT: self.goal_into[OTHER[self.source]]}

    def build_goals(self) -> dict[str, Goal]:
        """See `Task`; the goal is an image of the domain that predictions are of."""
        self.goal_into = {A: self._goal(self.facts.turned()), B: self._goal(self.facts)}
        goal = self.goal_into[OTHER[DIRECTIONS[self.config.direction]]]
        self._check_channels()
        return {OUTPUT: goal}

    def _goal(self, facts: DataFacts) -> ImageGoal:
        goal = ImageGoal(facts, data_range=self.config.data_range, default_loss="l1")
        goal.use_steps(*self.steps_of(OUTPUT))
        return goal

    def _check_channels(self) -> None:
        ours, theirs = self.facts.in_channels, self.facts.target_channels
        if self.config.identity_weight > 0 and ours != theirs:
            message = (
                f"gives each generator images of the domain that it makes, and the images of "
                f"domain A have {ours} channel(s), those of domain B {theirs}. Set it to 0, or "
                "choose as many channels of both (data.channels of A, data.target_channels of B)"
            )
            raise ConfigError(Problem(message, where="task.identity_weight"))

    def build_nets(self) -> dict[str, nn.Module]:
        """See `Task`; ``generator`` and ``discriminator`` serve both unless both are named."""
        channels = {A: self.facts.in_channels, B: self.facts.target_channels}
        made = {INTO[end]: self.build_generator(INTO[end], channels[end], channels[OTHER[end]])
                for end in (B, A)}  # fmt: skip
        judges = {JUDGE[own]: self.build_discriminator(JUDGE[own], channels[own]) for own in (A, B)}
        return {**made, **judges}

    def build_losses(self) -> nn.Module:
        """See `Task`; one for each domain, since losses may depend on the number of channels."""
        return nn.ModuleDict({domain: self._loss(domain) for domain in (A, B)})

    def _loss(self, domain: str) -> WeightedSum:
        goal = self.goal_into[domain]
        terms: dict[str, LossTerm] = dict(self.config.losses) or goal.default_terms()
        return build_terms({name: (term, goal) for name, term in terms.items()})

    def build_metrics(self, stage: Stage) -> TranslationMetrics:
        """See `Measuring`."""
        suite = self.goal_into[B].build_metrics(stage, self.config.metrics)
        return TranslationMetrics(suite.metrics)

    def optimizer_nets(self) -> dict[str, tuple[str, ...]]:
        """See `Task`."""
        return {GENERATOR: (INTO[B], INTO[A]), DISCRIMINATOR: (JUDGE[A], JUDGE[B])}

    def discriminator_channels(self) -> dict[str, int]:
        """See `AdversarialTask`."""
        return {JUDGE[A]: self.facts.in_channels, JUDGE[B]: self.facts.target_channels}

    def check_nets(self) -> None:
        """See `Task`; a generator whose images have other channels than its domain is refused."""
        for domain, role in INTO.items():
            tried = self.tiling.trial(role)
            if tried is None:
                continue
            raw, size = tried
            facts = self.facts_of(role)
            image = torch.empty((2, facts.in_channels, *size), device="meta")
            made = main_output(raw, self.nets[role], facts.spatial_dims)
            self._check_output(domain, made, image, size=False)
        super().check_nets()

    # --- generators -----------------------------------------------------------------------------

    def translate(self, image: Tensor, domain: str) -> Tensor:
        """Return what a generator makes of images.

        Args:
            image: ``(B, C, [Z,] Y, X)``.
            domain: Domain of what is made, ``a`` or ``b``.
        """
        role = INTO[domain]
        raw = self.nets[role](self.in_memory_format(image))
        made = main_output(raw, self.nets[role], self.facts.spatial_dims)
        return self._check_output(domain, made, image)

    def _check_output(self, domain: str, made: Any, image: Tensor, *, size: bool = True) -> Tensor:
        name = type(self.nets[INTO[domain]]).__name__
        if not isinstance(made, Tensor):
            message = f"the net '{name}' returns named outputs {list(made)}; a generator has one"
            raise ConfigError(Problem(message, where=f"task.nets.{INTO[domain]}"))
        self.goal_into[domain].check_output(made, image, name, size=size)
        return made

    def apply_net(self, image: Tensor, **more: Tensor) -> Tensor:
        """See `Task`; goes in the direction of predictions."""
        del more
        return self.translate(image, OTHER[self.source])

    def whole(self, image: Tensor, stage: Stage, **more: Tensor) -> Tensor:
        """See `Task`."""
        del more
        return self._whole(image, OTHER[self.source], stage)

    def _whole(self, image: Tensor, domain: str, stage: Stage) -> Tensor:
        """Translate one whole image into a domain, tile by tile."""
        return self.by_tiles(partial(self.translate, domain=domain), image, stage, INTO[domain])

    # --- training -------------------------------------------------------------------------------

    def turns(self, batch: Batch, learning: frozenset[str]) -> Iterator[Turn]:
        """See `AdversarialTask`."""
        real = {A: batch[IMAGE], B: batch[TARGET]}
        with torch.set_grad_enabled(GENERATOR in learning):
            made = {end: self.translate(real[OTHER[end]], end) for end in (B, A)}
        if DISCRIMINATOR in learning:
            yield self._judging(real, made)
        if GENERATOR in learning:
            yield self._translating(real, made)

    def _judging(self, real: Mapping[str, Tensor], made: Mapping[str, Tensor]) -> Turn:
        """Return the turn of the discriminators, which learn with one optimizer."""
        turns = []
        for domain in (A, B):
            role = JUDGE[domain]
            fakes = self.pools[domain](made[domain])
            said = self.judged_by(role, real[domain])
            of_fakes = self.judged_by(role, fakes)
            turns.append(self.discriminator_turn(role, said, of_fakes, real[domain], f"{domain}_"))
        loss = turns[0].loss + turns[1].loss
        return Turn(DISCRIMINATOR, loss, {**turns[0].terms, **turns[1].terms})

    def _translating(self, real: Mapping[str, Tensor], made: Mapping[str, Tensor]) -> Turn:
        """Return the turn of the generators, which learn with one optimizer."""
        deceiving: dict[str, Tensor] = {}
        for end in (B, A):
            fooled = self.judged_by(JUDGE[end], made[end])
            deceiving |= self.deceiving(fooled, None, f"{OTHER[end]}_to_{end}_")
        loss, terms = self.weighted(deceiving), dict(deceiving)
        for domain in (A, B):
            back = self.translate(made[OTHER[domain]], domain)
            terms[f"cycle_{domain}"] = self._difference(domain, back, real[domain])
            loss = loss + self.config.cycle_weight * terms[f"cycle_{domain}"]
        for domain in (A, B) if self.config.identity_weight > 0 else ():
            same = self.translate(real[domain], domain)
            terms[f"identity_{domain}"] = self._difference(domain, same, real[domain])
            loss = loss + self.config.identity_weight * terms[f"identity_{domain}"]
        logged = {name: value.detach() for name, value in terms.items()}
        return Turn(GENERATOR, loss, logged, raw=made[B].detach())

    def _difference(self, domain: str, image: Tensor, wanted: Tensor) -> Tensor:
        """Return how much an image differs from what it should be, by the losses of the config."""
        step = self.global_step if self.training else None
        with torch.autocast(image.device.type, enabled=False):
            found: Tensor = self.losses.get_submodule(domain)(
                image.float(), {TARGET: wanted.float()}, step
            )[0]
        return found

    def process_state(self) -> dict[str, Any]:
        """See `AdversarialTask`: the pools."""
        return {domain: pool.state() for domain, pool in self.pools.items()}

    def restore_process_state(self, state: Mapping[str, Any]) -> None:
        """See `AdversarialTask`; with another number of processes the pools begin empty."""
        for domain, pool in self.pools.items():
            pool.restore(state.get(domain, []))

    # --- validation and test --------------------------------------------------------------------

    def step(self, batch: Batch, stage: Stage) -> Translation:
        """Translate one whole image to the other domain and back; training goes by `turns`."""
        image, domain = batch[IMAGE], domain_of(batch)
        made = self._whole(image, OTHER[domain], stage)
        back = self._whole(made.to(image.dtype), domain, stage)
        same = None
        if self.facts.in_channels == self.facts.target_channels:
            same = self._whole(image, domain, stage)
        loss = self._difference(domain, back, image)
        return Translation(loss, raw=made, domain=domain, cycle=back, identity=same)

    def prediction_of(self, output: StepOutput, spacing: PixelSize = None) -> Prediction | None:
        """See `Measuring`; with what came back beside the translation."""
        if output.raw is None or not isinstance(output, Translation):
            return super().prediction_of(output, spacing)
        assert isinstance(output.raw, Tensor)
        assert output.cycle is not None
        end = OTHER[output.domain]
        # the chain is made for what predictions are, and not for images of the other direction
        chained = output.domain == self.source
        made = self.goal_into[end].postprocess(output.raw, spacing) if chained else None
        clean = self.goal_into[end].first_result(output.raw)
        back = self.goal_into[output.domain].first_result(output.cycle)
        return {"": clean if made is None else made, BACK: back}

    def measure(
        self, output: StepOutput, prediction: Prediction | None, batch: Batch, stage: Stage
    ) -> Row:
        """See `Measuring`."""
        suite, domain = self.metrics(stage), domain_of(batch)
        assert isinstance(suite, TranslationMetrics)
        made = prediction.get("") if isinstance(prediction, dict) else prediction
        row: Row = {}
        if isinstance(made, Tensor) and TARGET in batch and output.raw is not None:
            goal = self.goal_into[OTHER[domain]]
            row |= goal.measure(suite, output.raw, made, batch)  # type: ignore[arg-type]
        if not isinstance(output, Translation) or not isinstance(output.raw, Tensor):
            return row
        row |= self._returned(suite, output, batch)
        row |= self._features(suite, domain, batch[IMAGE], output.raw)
        return row

    def _returned(self, suite: TranslationMetrics, output: Translation, batch: Batch) -> Row:
        image, goal = batch[IMAGE].float(), self.goal_into[output.domain]
        beside = pixel_inputs(batch)
        row: Row = {}
        for word, value in ((CYCLE, output.cycle), (IDENTITY, output.identity)):
            if value is not None:
                clean = goal.first_result(value.float())
                row |= suite.against(word, output.domain, clean, image, *beside)
        return row

    def _features(self, suite: TranslationMetrics, domain: str, image: Tensor, made: Tensor) -> Row:
        """Return the features of an image in its domain, and of its translation in the other."""
        row: Row = {}
        clean = self.goal_into[OTHER[domain]].first_result(made.float())
        for own, kind, pixels in ((domain, "real", image), (OTHER[domain], "made", clean)):
            if own in self.encoders:
                row |= suite.features(own, kind, self.encoders[own](pixels))
        return row

    def postprocess(self, raw: Any, spacing: PixelSize = None) -> Any:
        """See `Measuring`; of an image in the direction of predictions."""
        return self.goals[OUTPUT].postprocess(raw, spacing)


def domain_of(batch: Batch) -> str:
    """Return the domain of a batch of one whole image, ``a`` where it does not say."""
    domains = batch.get(DOMAIN) or ["A"]
    return str(domains[0]).lower()
