"""The base of tasks in which nets learn against each other: generators and discriminators.

Lightning trains one optimizer by itself; here each of two roles, ``generator`` and
``discriminator``, has an optimizer, a schedule and clipping of its own, and everything else counts
as it does elsewhere: a pair of steps is one step of ``trainer.global_step``, ``max_steps``,
schedules, the average of weights and ``metrics.csv``.

Both gradients of a step are taken at the same weights, and then both optimizers step, as in
pix2pixHD (Wang et al., CVPR 2018): so the order of the two makes no difference, and gradients that
are gathered over several batches are those of one large batch.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.strategies import DDPStrategy, ParallelStrategy
from torch import Tensor, nn

from imtoolkit.config.sections import AdversarialConfig, Component, OptimizerConfig
from imtoolkit.core.batch import Batch, StepOutput
from imtoolkit.core.closures import ATTRIBUTE, limits_of
from imtoolkit.core.errors import ConfigError, DataError, Problem
from imtoolkit.core.registry import paths_of
from imtoolkit.losses.adversarial import (
    AdversarialLoss,
    FeatureMatchingLoss,
    Judgement,
    gradient_penalty,
    judgement_of,
)
from imtoolkit.nets.building import build_net
from imtoolkit.nets.initialising import initialise
from imtoolkit.nets.sizes import LARGEST, SizeProbe, least_size

from .base import Task
from .manual import step_is_due, step_schedules, step_together, unsynchronised
from .optimization import SHARED
from .rows import gathered
from .updates import Updates, share_buffers, weights_of

GENERATOR: Final = "generator"
DISCRIMINATOR: Final = "discriminator"
ADVERSARIAL: Final = "adversarial"
MATCHING: Final = "feature_matching"
"""Names of the generator's terms that come from a discriminator."""

DEFAULT_GENERATOR: Final = Component(
    "BasicUNet",
    {"features": [32, 32, 64, 128, 256, 32], "norm": "batch", "upsample": "nontrainable"},
)
"""A U-Net that enlarges by interpolation, since transposed convolutions make checkerboards.

Its norm is that of batches: instance norm sees one tile of an image at a time, and leaves seams.
"""
DEFAULT_DISCRIMINATOR: Final = Component("patch_discriminator")
_STATE: Final = "adversarial"


@dataclass
class Turn:
    """The loss of one role for one batch.

    Attributes:
        role: Whose weights gather its gradient.
        loss: Scalar with a graph.
        terms: What is logged of it, each as ``train/loss/<name>``, unweighted.
        raw: The main output of a generator, where this is its turn.
    """

    role: str
    loss: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)
    raw: Tensor | None = None


class AdversarialTask(Task):
    """Trains generators and discriminators in turns; parameters as `Task`.

    A category writes `turns` beside what every task writes, and `optimizer_nets` where a role has
    several nets.

    Attributes:
        updates: How gathered gradients become steps; set from the section ``trainer``.
        last_terms: The terms of the last turn, which tell which one a bad loss comes from.
    """

    config: AdversarialConfig
    default_optimizer: ClassVar[OptimizerConfig] = OptimizerConfig(
        "adam", {"lr": 2e-4, "betas": [0.5, 0.999]}
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._least: dict[str, tuple[int, ...] | None] = {}
        super().__init__(*args, **kwargs)
        self.automatic_optimization = False
        self.updates = Updates(clip_by_role=self.config.gradient_clip)
        self.adversarial_loss = AdversarialLoss(
            self.config.adversarial, self.config.label_smoothing
        )
        self._matching = FeatureMatchingLoss()
        self.last_terms: dict[str, Tensor] = {}
        self._batches = 0  # whose gradients are gathered
        self._last_loss: Tensor | float = math.nan

    # --- what a category writes -----------------------------------------------------------------

    def optimizer_nets(self) -> dict[str, tuple[str, ...]]:
        """See `Task`."""
        return {GENERATOR: (GENERATOR,), DISCRIMINATOR: (DISCRIMINATOR,)}

    def discriminator_channels(self) -> dict[str, int]:
        """Return role of each discriminator -> channels of what it judges."""
        return {}

    def averaged_weights(self) -> Iterator[tuple[str, nn.Parameter]]:
        """See `Task`; discriminators predict nothing, so only generators are averaged."""
        for role in self.optimizer_nets()[GENERATOR]:
            for name, weight in self.nets[role].named_parameters(prefix=f"nets.{role}"):
                if weight.requires_grad:
                    yield name, weight

    @abstractmethod
    def turns(self, batch: Batch, learning: frozenset[str]) -> Iterator[Turn]:
        """Yield the loss of each role that learns from a batch.

        Between two turns the gradient of the first is taken and its graph freed, so what a later
        turn needs must stand in a graph of its own. What a turn computes with weights of another
        role sends its gradient through them and leaves none there: nothing need be switched off.

        Args:
            batch: A training batch.
            learning: The roles whose turn it is; the others shall not be yielded.
        """

    def process_state(self) -> dict[str, Any]:
        """Return what this process must find again when it resumes, such as a pool of images.

        Plain values and tensors on the CPU only; each process gets back its own.
        """
        return {}

    def restore_process_state(self, state: Mapping[str, Any]) -> None:
        """Take up what `process_state` returned; empty where the number of processes changed."""

    # --- parts ----------------------------------------------------------------------------------

    def build_generator(
        self, role: str, out_channels: int, in_channels: int | None = None
    ) -> nn.Module:
        """Build the net of a generator's role: any net, a U-Net where the config names none."""
        named = self.config.nets
        own = next((key for key in (role, GENERATOR, SHARED) if key in named), role)
        return self._drawn(role, own, named.get(own, DEFAULT_GENERATOR), in_channels, out_channels)

    def build_discriminator(self, role: str, in_channels: int) -> nn.Module:
        """Build the net of a discriminator's role: a PatchGAN where the config names none."""
        named = self.config.nets
        own = next((key for key in (role, DISCRIMINATOR) if key in named), role)
        return self._drawn(role, own, named.get(own, DEFAULT_DISCRIMINATOR), in_channels, 1)

    def _drawn(
        self, role: str, key: str, component: Component, in_channels: int | None, out_channels: int
    ) -> nn.Module:
        """Build a net and draw its weights in the way that the config names."""
        facts = self.facts
        if in_channels is not None:
            facts = replace(facts, in_channels=in_channels)
        where = f"task.nets.{key}"
        net = build_net(component.name, component.params, facts, out_channels, where=where)
        if self.config.init is not None:
            initialise(net, self.config.init, self.config.init_gain)
        return net

    def check_nets(self) -> None:
        """See `Task`; patches that are too small for a discriminator are refused as well.

        Raises:
            ConfigError: With the least size that each can judge.
        """
        super().check_nets()
        dims = self.facts.spatial_dims
        for role, channels in self.discriminator_channels().items():
            size = self.facts_of(role).patch_size
            least = least_size(self.nets[role], channels, dims)
            self._least[role] = least
            if size is None:
                continue
            if least is None:
                self._check_judged(role, channels, size)
                continue
            if any(side < small for side, small in zip(size, least, strict=True)):
                message = (
                    f"got patches of {list(size)}; the {role} '{type(self.nets[role]).__name__}' "
                    f"needs at least {list(least)} to judge. Take larger patches, or make it "
                    "shallower (its params depth or scales)"
                )
                raise ConfigError(Problem(message, where="data.patch.size"))

    def _check_judged(self, role: str, channels: int, size: tuple[int, ...]) -> None:
        """Refuse a discriminator for which no size was found, where it cannot take this one."""
        net, dims = self.nets[role], self.facts.spatial_dims
        complaint = SizeProbe(net, channels, dims, keeps_size=False).complaint(size)
        if complaint is not None:
            message = (
                f"the {role} '{type(net).__name__}' judges neither patches of {list(size)} nor any "
                f"up to {LARGEST} pixels wide ({complaint}). Make it shallower (its params depth "
                "or scales)"
            )
            raise ConfigError(Problem(message, where=f"task.nets.{DISCRIMINATOR}"))

    def judged_by(self, role: str, image: Tensor) -> Judgement:
        """Return what a discriminator says of images, see `imtoolkit.losses.adversarial`.

        Raises:
            DataError: If the images are too small for it, where they are trained on whole.
        """
        least = self._least.get(role)
        shape = tuple(image.shape[2:])
        if least is not None and any(a < b for a, b in zip(shape, least, strict=True)):
            message = (
                f"an image of {list(shape)} is too small for the {role}, which needs at least "
                f"{list(least)}: leave such images out, or make the net shallower"
            )
            raise DataError(message)
        return judgement_of(self.nets[role](self.in_memory_format(image)))

    def discriminator_turn(
        self, role: str, real: Judgement, fake: Judgement, images: Tensor, prefix: str = ""
    ) -> Turn:
        """Return the turn of a discriminator.

        Args:
            role: Role of its net.
            real: What it says of real images.
            fake: What it says of made ones; no gradient may lead to the generator.
            images: The real images, for the penalty on its gradient.
            prefix: Put before the names of what is logged, where there are several.
        """
        with torch.autocast(images.device.type, enabled=False):
            loss = self.adversarial_loss.discriminator(real, fake)
            terms = {f"{prefix}discriminator": loss.detach()}
            if self.config.r1_weight > 0:
                penalty = gradient_penalty(lambda seen: self.judged_by(role, seen), images)
                loss = loss + self.config.r1_weight * penalty
                terms[f"{prefix}r1"] = penalty.detach()
        return Turn(DISCRIMINATOR, loss, terms)

    def deceiving(
        self, fake: Judgement, real: Judgement | None, prefix: str = ""
    ) -> dict[str, Tensor]:
        """Return the terms of a generator that come from a discriminator, without weights.

        Args:
            fake: What the discriminator says of made images.
            real: What it says of real ones, for the matching of features.
            prefix: Put before the names.

        Raises:
            ConfigError: If features shall be matched and the discriminator shows none.
        """
        with torch.autocast(fake[0][-1].device.type, enabled=False):
            terms = {f"{prefix}{ADVERSARIAL}": self.adversarial_loss.generator(fake)}
            if self.config.feature_matching_weight > 0 and real is not None:
                try:
                    terms[f"{prefix}{MATCHING}"] = self._matching(fake, real)
                except ValueError as error:
                    where = "task.feature_matching_weight"
                    raise ConfigError(Problem(str(error), where=where)) from error
        return terms

    def weighted(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum of the terms of `deceiving`."""
        waits = self.global_step < self.config.adversarial_warmup_steps
        adversarial = 0.0 if waits else self.config.adversarial_weight
        parts = [
            value
            * (adversarial if name.endswith(ADVERSARIAL) else self.config.feature_matching_weight)
            for name, value in terms.items()
        ]
        return torch.stack(parts).sum()

    # --- the step -------------------------------------------------------------------------------

    def train_batch(self, batch: Batch, batch_idx: int) -> StepOutput:
        """Gather the gradients of a batch, and step where enough are gathered."""
        learning = self.learning()
        optimizers = self._by_role()
        taken: list[Turn] = []
        with unsynchronised(self.trainer):
            for turn in self.turns(batch, learning):
                self.last_terms = {"loss": turn.loss.detach(), **turn.terms}
                self.manual_backward(turn.loss, inputs=weights_of(optimizers[turn.role].optimizer))
                turn.loss = turn.loss.detach()
                taken.append(turn)
        self._batches += 1
        if step_is_due(self.trainer):
            ordered = sorted(learning, key=lambda role: (role == GENERATOR, role))
            step_together(
                self, {role: optimizers[role] for role in ordered}, self.updates, self._batches
            )
            self._batches = 0
            share_buffers(self.nets)
            step_schedules(self)
        return _output_of(taken)

    def learning(self) -> frozenset[str]:
        """Return the roles that learn in this step.

        The generator learns in the first of ``discriminator_steps`` steps, each with new images.
        """
        roles = frozenset(self.optimizer_nets())
        early = self.global_step % self.config.discriminator_steps == 0
        return roles if early else roles - {GENERATOR}

    def _record(self, output: StepOutput, count: int, batch_idx: int) -> None:
        """See `Task`; where the generator does not learn, its last loss stays what is shown."""
        super()._record(output, count, batch_idx)
        if output.loss is not None:
            self._last_loss = output.loss.detach()
        elif self._trainer is not None:
            self.log("train/loss_step", self._last_loss, prog_bar=True, batch_size=count)

    def trial(self, batch: Batch) -> StepOutput:
        """See `Task`; the loss is the sum of all turns."""
        turns = list(self.turns(batch, frozenset(self.optimizer_nets())))
        output = _output_of(turns)
        output.loss = torch.stack([turn.loss for turn in turns]).sum()
        self.last_terms = output.terms
        return output

    def _by_role(self) -> dict[str, LightningOptimizer]:
        found = self.optimizers()
        listed = found if isinstance(found, list) else [found]
        return dict(zip(self.optimizer_nets(), listed, strict=True))

    # --- the trainer's hooks ----------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """See `Task`; tell Lightning how many batches make a step.

        It refuses to be told so before, and from here on counts right by it.
        """
        super().setup(stage)
        if stage == "fit":
            self.trainer.accumulate_grad_batches = self.updates.accumulate

    def teardown(self, stage: str) -> None:
        """Leave the trainer as it was."""
        super().teardown(stage)
        if stage == "fit":
            self.trainer.accumulate_grad_batches = 1

    def on_train_epoch_start(self) -> None:
        """Begin with no gradients: an epoch may have been cut in the middle of a step."""
        self._batches = 0
        for optimizer in self.trainer.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def check_trainer(self, trainer: pl.Trainer) -> None:
        """See `Task`; optimizers that call closures and strategies that cut weights are refused."""
        require_plain_steps(dict(zip(self.optimizer_nets(), trainer.optimizers, strict=True)))
        strategy = trainer.strategy
        if isinstance(strategy, ParallelStrategy) and not isinstance(strategy, DDPStrategy):
            message = (
                f"got {type(strategy).__name__}; generator and discriminator need whole weights in "
                "each process: take ddp"
            )
            raise ConfigError(Problem(message, where="trainer.strategy"))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """See `Task`; add what each process keeps."""
        super().on_save_checkpoint(checkpoint)
        kept = {"loss": float(self._last_loss), "state": self.process_state()}
        checkpoint[_STATE] = gathered([kept])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """See `Task`; give back what this process kept."""
        super().on_load_checkpoint(checkpoint)
        states = checkpoint.get(_STATE, [])
        alike = len(states) == (self.trainer.world_size if self._trainer is not None else 1)
        kept = states[self.global_rank] if alike else {}
        self._last_loss = float(kept.get("loss", math.nan))
        self.restore_process_state(kept.get("state", {}))


def require_plain_steps(optimizers: Mapping[str, torch.optim.Optimizer]) -> None:
    """Refuse optimizers that evaluate a batch several times in a step.

    Raises:
        ConfigError: With each of them.
    """
    problems = []
    for role, optimizer in optimizers.items():
        kind = type(optimizer)
        closes = bool(getattr(kind, ATTRIBUTE, False))
        if limits_of(paths_of(kind), needs_closure=closes) is not None:
            message = (
                f"{kind.__name__} evaluates a batch several times, and here two nets step against "
                "each other: take adam or adamw"
            )
            problems.append(Problem(message, where=f"task.optimizers.{role}"))
    if problems:
        raise ConfigError(problems)


def _output_of(turns: list[Turn]) -> StepOutput:
    """Return what is logged: the loss of the generator, and the terms of all."""
    terms: dict[str, Tensor] = {}
    for turn in turns:
        terms |= turn.terms
    losses = [turn.loss for turn in turns if turn.role == GENERATOR]
    raws = [turn.raw for turn in turns if turn.raw is not None]
    return StepOutput(losses[0] if losses else None, terms, raws[0] if raws else None)
