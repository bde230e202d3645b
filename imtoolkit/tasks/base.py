"""The base of all tasks: nets, losses and optimizers by role, one step, exact numbers.

A category writes `Task.build_nets`, `Task.build_losses`, `Task.build_metrics`, `Task.step`,
`Task.apply_net`, `Task.measure` and `Task.postprocess`, or derives from `SupervisedTask`, which
writes them from a goal; everything else stands here and, for validation and test, in `measuring`,
in the order in which it runs.
"""

from __future__ import annotations

import contextlib
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import Any, ClassVar, Final

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from imtoolkit.config.sections import Component, InferenceConfig, OptimizerConfig, TaskConfig
from imtoolkit.core.batch import IMAGE, Batch, Stage, StepOutput
from imtoolkit.core.errors import DataError
from imtoolkit.core.facts import DataFacts, TargetKind
from imtoolkit.core.seeding import mix
from imtoolkit.inference.predict import Net, mirrored, pad_to, predict_tiled
from imtoolkit.nets.freezing import freeze, hold_frozen_norms
from imtoolkit.nets.inputs import inputs_of
from imtoolkit.nets.loading import LoadReport, load_matching, renamed

from . import optimization
from .goals import Goal
from .goals.base import PixelSize
from .means import EpochMeans
from .measuring import Measuring
from .moments import choose_states, classes_of, states_by_name
from .rows import batch_size, first_of
from .tiling import Tiling, check_inputs

_WEIGHTS: Final = 1  # tells the seed of the weights from those of the steps
_CHECKPOINT_KEY: Final = "imtoolkit"


class Task(Measuring):
    """What is learnt: nets by role, their losses, and how they are measured.

    Args:
        config: The section ``task`` of a config.
        facts: What the data module found.
        inference: How nets are applied to whole images.
        seed: Seed of the weights, and of dropout at each step.

    Attributes:
        goals: What each output of the net means, by name; empty where a task does not say.
        nets: Nets by role.
        losses: The loss; returns the sum and its terms.
        image_roles: The roles whose nets turn images into predictions; ``None`` for all.
        tiling: Knows the tile for an image, and the sizes that these nets take.
        monitors: Metric that a schedule watches, by the schedule's name.
        load_report: What `start_from` loaded; ``None`` where nothing was.
        start_states: What `start_from` found for the optimizers, by names of weights.
    """

    category: ClassVar[str]
    target_kind: ClassVar[TargetKind]
    roles: ClassVar[tuple[str, ...]] = ("net",)
    image_roles: ClassVar[tuple[str, ...] | None] = None
    default_optimizer: ClassVar[OptimizerConfig] = OptimizerConfig("adamw", {"lr": 1e-3})

    def __init__(
        self, config: TaskConfig, facts: DataFacts, inference: InferenceConfig, seed: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        self.facts = facts
        self.inference = inference
        self.seed = seed
        self.load_report: LoadReport | None = None
        self.start_states: dict[str, dict[str, Any]] = {}
        self.monitors: dict[str, str] = {}
        self.memory_format: torch.memory_format = torch.contiguous_format
        self._means = EpochMeans()
        self._restored = False
        self.goals = self.build_goals()
        for name, goal in self.goals.items():
            goal.use_steps(*self.steps_of(name))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mix(seed, _WEIGHTS))
            self.nets = nn.ModuleDict(self.build_nets())
            self.losses = self.build_losses()
        self.frozen = freeze(self, config.freeze)
        hold_frozen_norms(self)
        applied = {r: self.nets[r] for r in self.nets if r in (self.image_roles or self.nets)}
        self.tiling = Tiling(applied, {r: self.facts_of(r) for r in applied}, inference)
        self.check_nets()

    # --- what a category writes ----------------------------------------------------------------

    def build_goals(self) -> dict[str, Goal]:
        """Say what each output of the net means."""
        return {}

    def steps_of(self, goal: str) -> tuple[Sequence[Component] | None, str]:
        """Return the steps of post-processing of a goal as the config has them, and their key.

        ``None`` stands for those that the goal has of its own.
        """
        del goal
        return self.inference.postprocess, "inference.postprocess"

    @abstractmethod
    def build_nets(self) -> dict[str, nn.Module]:
        """Build the net of each role."""

    @abstractmethod
    def build_losses(self) -> nn.Module:
        """Build the loss: called with (outputs, batch, step), returns the sum and its terms."""

    def optimizer_nets(self) -> dict[str, tuple[str, ...]]:
        """Return role of an optimizer -> roles of the nets that it trains.

        Where there is one optimizer, it trains everything.
        """
        return {role: (role,) for role in self.nets}

    def facts_of(self, role: str) -> DataFacts:
        """Return the facts of the images that the net of a role is given."""
        del role
        return self.facts

    def averaged_weights(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield name and value of the weights that `imtoolkit.callbacks.ema` averages."""
        yield from ((name, w) for name, w in self.named_parameters() if w.requires_grad)

    def check_nets(self) -> None:
        """Refuse nets that cannot take the inputs, patches or tiles, before anything is trained.

        Raises:
            ConfigError: With what fits.
        """
        for role in self.nets if self.image_roles is None else self.image_roles:
            where = f"task.{'net' if role == 'net' else 'nets.' + role}"
            check_inputs(self.nets[role], self.facts_of(role), where=where)
        self.tiling.check()

    # --- training ---------------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """Train on a batch; random numbers depend on (seed, epoch, batch, rank) alone."""
        seed = mix(self.seed, self.current_epoch, batch_idx, self.global_rank)
        torch.manual_seed(seed)
        output = self.train_batch(batch, batch_idx)
        self._record(output, batch_size(batch), batch_idx)
        return output.loss

    def train_batch(self, batch: Batch, batch_idx: int) -> StepOutput:
        """Compute the loss of a training batch; tasks with several optimizers step them here."""
        del batch_idx
        return self.step(batch, Stage.TRAIN)

    def trial(self, batch: Batch) -> StepOutput:
        """Compute what a training batch is learnt from, without a trainer, as ``check`` does."""
        return self.step(batch, Stage.TRAIN)

    def _record(self, output: StepOutput, count: int, batch_idx: int) -> None:
        values = {} if output.loss is None else {"loss": output.loss}
        values |= {f"loss/{name}": value for name, value in self._shown_terms(output).items()}
        if values:
            counts = {f"loss/{name}": number for name, number in output.counts.items()}
            self._means.add(values, count, (self.current_epoch, batch_idx), counts)
        if output.loss is not None and self._trainer is not None:
            self.log("train/loss_step", output.loss.detach(), prog_bar=True, batch_size=count)

    def on_train_epoch_end(self) -> None:
        """Log the means of the epoch and step the schedules that watch a metric."""
        means = {f"train/{name}": value for name, value in self._means.reduced().items()}
        for name, value in means.items():
            self._log(name, value)
        optimization.step_plateaus(self, means, self._validated)
        self._means.reset()
        self._validated = {}

    def configure_optimizers(self) -> Any:
        """Build optimizers and schedules by role."""
        return optimization.configure(self)

    # --- nets on images ---------------------------------------------------------------------------

    def forward(self, image: Tensor, **more: Tensor) -> Any:
        """Return the main output for a batch of patches ``(B, C, [Z,] Y, X)``."""
        return self.apply_net(image, **more)

    @abstractmethod
    def apply_net(self, image: Tensor, **more: Tensor) -> Any:
        """Return the output that predicts: ``(B, K, [Z,] Y, X)`` or ``(B, K)``.

        Args:
            image: Patches or whole images ``(B, C, [Z,] Y, X)``.
            more: Further inputs of the net by their keys in the batch, such as ``tabular``; those
                of one image serve all its patches.
        """

    def call_net(self, batch: Batch, role: str = "net") -> Any:
        """Apply a net to what it takes of a batch: its ``inputs``, the image where it has none."""
        return self.nets[role](*(self._input(batch, key) for key in inputs_of(self.nets[role])))

    def _input(self, batch: Batch, key: str) -> Any:
        image = batch[IMAGE]
        if key == IMAGE:
            return self.in_memory_format(image)
        if key not in batch:
            message = f"the net takes '{key}' beside the image, and there is none"
            raise DataError(message)
        value = batch[key]
        if isinstance(value, Tensor) and len(value) == 1 < len(image):
            return value.expand(len(image), *value.shape[1:])
        return value

    def further_inputs(self, batch: Batch, role: str = "net") -> dict[str, Tensor]:
        """Return what a net takes of a batch beside the image."""
        wanted = inputs_of(self.nets[role])
        return {key: batch[key] for key in wanted if key != IMAGE and key in batch}

    def in_memory_format(self, image: Tensor) -> Tensor:
        """Return the image in the memory format that the nets are in."""
        return image.contiguous(memory_format=self.memory_format)

    def whole(self, image: Tensor, stage: Stage, **more: Tensor) -> Any:
        """Predict one whole image: tile by tile, unless a task does otherwise."""
        return self.tiled(image, stage, more=more)

    def raw_or_objects(
        self, image: Tensor, stage: Stage, spacing: PixelSize = None, **more: Tensor
    ) -> Any:
        """Return the output for a whole image, or the objects of one that is too large for it.

        Args:
            image: ``(1, C, [Z,] Y, X)`` on the device of the nets.
            stage: See `tiled`.
            spacing: Pixel size of the image, which steps of post-processing in physical units need.
            more: Further inputs of the net, see `apply_net`.
        """
        del spacing
        return self.whole(image, stage, **more)

    def tiled(
        self,
        image: Tensor,
        stage: Stage,
        role: str | None = None,
        *,
        more: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Predict one whole image, tile by tile.

        Args:
            image: ``(1, C, [Z,] Y, X)`` on the device of the nets.
            stage: Test and prediction average over mirrored copies where the config asks for it.
            role: Whose sizes count; the first role when left out.
            more: Further inputs of the net, see `apply_net`.

        Returns:
            Float32 tensor ``(1, K, [Z,] Y, X)``.
        """
        return self.by_tiles(partial(self.apply_net, **(more or {})), image, stage, role)

    def by_tiles(self, net: Net, image: Tensor, stage: Stage, role: str | None = None) -> Tensor:
        """Apply a function of patches to a whole image ``(1, C, [Z,] Y, X)``, see `tiled`."""
        return predict_tiled(
            net,
            image,
            tile=self.tiling.tile_for(tuple(image.shape[2:]), role),
            overlap=self.inference.overlap,
            blend=self.inference.blend.value,
            batch_size=self.inference.batch_size,
            flips=self.averages_flips(stage),
            vectors=self.vector_channels,
        )

    @property
    def vector_channels(self) -> int:
        """Leading channels of the output that are a vector, whose signs turn with the image."""
        return 0

    def at_once(self, net: Net, image: Tensor, stage: Stage) -> Tensor:
        """Apply a function to a whole image, padded where the net takes no such size.

        Returns:
            Float32 tensor ``(1, K)``.
        """
        padded = pad_to(image, self.tiling.fitting(tuple(image.shape[2:])))
        if self.averages_flips(stage):
            net = mirrored(net, self.facts.spatial_dims)
        return net(padded).float()

    def averages_flips(self, stage: Stage) -> bool:
        """Tell whether a stage averages over mirrored copies; validation does without."""
        return self.inference.flips and stage in (Stage.TEST, Stage.PREDICT)

    def predict_image(self, image: Tensor, *, spacing: PixelSize = None, **more: Tensor) -> Any:
        """Predict one whole image outside of a trainer.

        Args:
            image: ``(C, [Z,] Y, X)`` or ``(1, C, [Z,] Y, X)``, preprocessed, on any device.
            spacing: Pixel size of the (preprocessed) image, see `raw_or_objects`.
            more: Further inputs of the net, such as ``tabular`` ``(F,)`` or ``(1, F)``.

        Returns:
            Float32 output ``(K, [Z,] Y, X)`` or ``(K,)`` on the device of the task; a dict of them
            for a net of named outputs. Of an image that goes by blocks its objects, integers
            ``([Z,] Y, X)``.
        """
        with evaluating(self), torch.inference_mode():
            given, beside = self.as_batch(image), self._beside(more)
            return first_of(self.raw_or_objects(given, Stage.PREDICT, spacing, **beside))

    def applied(self, image: Tensor, /, stage: Stage = Stage.PREDICT, **more: Any) -> Any:
        """Predict one whole image as `predict_image` does, with the nets in the mode they are in.

        Args:
            image: See `predict_image`.
            stage: Validation averages over no mirrored copies, whatever the config asks for.
            more: See `predict_image`.
        """
        return first_of(self.whole(self.as_batch(image), stage, **self._beside(more)))

    def as_batch(self, image: Tensor) -> Tensor:
        """Return an image ``([1,] C, [Z,] Y, X)`` as a batch of one, as the nets take it."""
        batched = image[None] if image.ndim == self.facts.spatial_dims + 1 else image
        return self.as_weights(batched)

    def as_weights(self, value: Tensor) -> Tensor:
        """Return a tensor on the device of the weights, and of their type."""
        # with a precision such as bf16-true the weights themselves are of another type
        dtype = next((w.dtype for w in self.nets.parameters()), torch.float32)
        return value.to(self.device, dtype)

    def _beside(self, more: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return further inputs of the net for a batch of one."""
        return {
            key: self.as_weights(value[None] if value.ndim == 1 else value)
            for key, value in more.items()
        }

    # --- weights ----------------------------------------------------------------------------------

    def start_from(
        self,
        state: Mapping[str, Any],
        exclude: Sequence[str] = (),
        *,
        include: Sequence[str] | None = None,
        rename: Mapping[str, str] | None = None,
        checkpoint: Mapping[str, Any] | None = None,
    ) -> LoadReport:
        """Load the weights that fit from another run's checkpoint, or from a saved part.

        Args:
            state: Names and tensors, the ``state_dict`` of a checkpoint.
            exclude: Patterns of names to leave as initialised.
            include: Patterns of the names here to load; left out, all.
            rename: Beginning of names there -> beginning of names here; left out, what
                `counterparts` says.
            checkpoint: The whole checkpoint, from which the optimizers' state of the loaded weights
                is taken over as well; left out, optimizers begin anew.

        Raises:
            RunError: If nothing fits.
        """
        rename = rename or self.counterparts(state)
        report = load_matching(self, state, exclude, include=include, rename=rename)
        if checkpoint is not None:
            names = {here: there for there, here in renamed(state, rename).items()}
            names = {here: names[here] for here in report.loaded}
            kept = checkpoint.get(_CHECKPOINT_KEY, {}).get("optimizers", [])
            chosen, notes = choose_states(
                optimization.build_optimizers(self), states_by_name(checkpoint, kept), names
            )
            self.start_states = chosen
            report = replace(report, moments=tuple(chosen), notes=(*report.notes, *notes))
        self.load_report = report
        return report

    def counterparts(self, state: Mapping[str, Any]) -> dict[str, str]:
        """Return how the net that predicts is called there -> here, where the two differ.

        So a generator starts from the net of an enhancement, and the other way round.
        """
        there = dict.fromkeys(name.split(".")[1] for name in state if name.startswith("nets."))
        here = (self.image_roles or tuple(self.nets))[0]
        if here in there:
            return {}
        nets = [role for role in there if role == "net" or role.startswith("generator")]
        return {f"nets.{nets[0]}.": f"nets.{here}."} if nets else {}

    def use_channels_last(self) -> None:
        """Keep weights and images with the channel as the last axis in memory."""
        dims = self.facts.spatial_dims
        self.memory_format = torch.channels_last if dims == 2 else torch.channels_last_3d
        for weight in self.nets.parameters():
            if weight.ndim == dims + 2:
                weight.data = weight.data.contiguous(memory_format=self.memory_format)

    def train(self, mode: bool = True) -> Task:
        """Set training mode; frozen norms keep their statistics."""
        super().train(mode)
        if mode and self.frozen:
            hold_frozen_norms(self)
        return self

    # --- the trainer's hooks ----------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Compile the nets where the config asks for it."""
        del stage
        # what is logged was brought together from all ranks already: averaging it again is no help
        warnings.filterwarnings(
            "ignore", message=r"It is recommended to use `self\.log\(.*sync_dist"
        )
        if self.config.compile:
            for net in self.nets.values():
                if net._compiled_call_impl is None:
                    net.compile()

    def on_fit_start(self) -> None:
        """Check what the task needs of the trainer."""
        if not self._restored:
            self._means.reset()
            self._validated = {}
        self._restored = False
        self.check_trainer(self.trainer)

    def check_trainer(self, trainer: pl.Trainer) -> None:
        """Refuse settings of the trainer that the task cannot work with.

        Raises:
            ConfigError: For example for accumulation with optimizers that evaluate a batch twice.
        """
        optimization.check_closures(self, trainer)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a resumed epoch needs, as plain values."""
        checkpoint[_CHECKPOINT_KEY] = {
            "version": version("imtoolkit"),
            "category": self.config.category,
            "means": self._means.state(),
            "optimizers": classes_of(self.trainer.optimizers),
            "validated": dict(self._validated),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the sums, and the last validation, of an epoch that was cut."""
        state = checkpoint.get(_CHECKPOINT_KEY, {})
        if "means" in state:
            self._means.restore(state["means"], self.global_rank)
            self._validated = dict(state.get("validated", {}))
            self._restored = True


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and back into what it was."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)
