"""The base of all tasks: nets, losses and optimizers by role, one step, exact numbers.

A category writes `Task.build_nets`, `Task.build_losses`, `Task.build_metrics`, `Task.step` and
`Task.postprocess`; everything else stands here, in the order in which it runs.
"""

from __future__ import annotations

import contextlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any, ClassVar, Final, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from imtoolkit.config.sections import InferenceConfig, TaskConfig
from imtoolkit.core.batch import SPACING, TARGET, WEIGHT, Batch, Stage, StepOutput
from imtoolkit.core.errors import ConfigError, Problem
from imtoolkit.core.facts import DataFacts, TargetKind
from imtoolkit.core.seeding import mix
from imtoolkit.inference.predict import predict_tiled
from imtoolkit.metrics.suite import MetricSuite
from imtoolkit.nets.freezing import freeze, hold_frozen_norms
from imtoolkit.nets.loading import LoadReport, load_matching

from . import optimization
from .means import EpochMeans
from .rows import Row, batch_size, gathered, one_by_one, place_of, summarised, unique_sorted
from .tiling import Tiling

_WEIGHTS: Final = 1  # tells the seed of the weights from those of the steps
_CHECKPOINT_KEY: Final = "imtoolkit"


class Task(pl.LightningModule, ABC):
    """What is learnt: nets by role, their losses, and how they are measured.

    Args:
        config: The section ``task`` of a config.
        facts: What the data module found.
        inference: How nets are applied to whole images.
        seed: Seed of the weights, and of dropout at each step.

    Attributes:
        nets: Nets by role.
        losses: The loss; returns the sum and its terms.
        tiling: Knows the tile for an image, and the sizes that the nets take.
        rows: For each stage, one row for each image of the last evaluation, equal on all ranks.
        load_report: What `start_from` loaded; ``None`` where nothing was.
    """

    category: ClassVar[str]
    target_kind: ClassVar[TargetKind]
    roles: ClassVar[tuple[str, ...]] = ("net",)
    main_metric: ClassVar[str] = "val/loss"

    def __init__(
        self, config: TaskConfig, facts: DataFacts, inference: InferenceConfig, seed: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        self.facts = facts
        self.inference = inference
        self.seed = seed
        self.rows: dict[Stage, list[Row]] = {}
        self.load_report: LoadReport | None = None
        self.memory_format: torch.memory_format = torch.contiguous_format
        self._means = EpochMeans()
        self._validated: dict[str, float] = {}
        self._restored = False
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mix(seed, _WEIGHTS))
            self.nets = nn.ModuleDict(self.build_nets())
            self.losses = self.build_losses()
        self.frozen = freeze(self, config.freeze)
        hold_frozen_norms(self)
        self._metrics: dict[Stage, MetricSuite] = {}
        self.tiling = Tiling(self.nets, facts, inference)
        self.tiling.check()

    # --- what a category writes ----------------------------------------------------------------

    @abstractmethod
    def build_nets(self) -> dict[str, nn.Module]:
        """Build the net of each role."""

    @abstractmethod
    def build_losses(self) -> nn.Module:
        """Build the loss: called with (outputs, batch, step), returns the sum and its terms."""

    @abstractmethod
    def build_metrics(self, stage: Stage) -> MetricSuite:
        """Build the metrics of a stage."""

    @abstractmethod
    def step(self, batch: Batch, stage: Stage) -> StepOutput:
        """Apply the nets to a batch and compute the loss; serves training, validation and test."""

    @abstractmethod
    def postprocess(self, raw: Tensor) -> Tensor:
        """Turn the net's output ``([B,] K, [Z,] Y, X)`` into what is written to a file."""

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

    def _record(self, output: StepOutput, count: int, batch_idx: int) -> None:
        values = {} if output.loss is None else {"loss": output.loss}
        values |= {f"loss/{name}": value for name, value in self._shown_terms(output).items()}
        if values:
            self._means.add(values, count, (self.current_epoch, batch_idx))
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

    # --- validation and test ----------------------------------------------------------------------

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure each image of a batch."""
        self._evaluate(batch, batch_idx, Stage.VAL)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure each image of a batch."""
        self._evaluate(batch, batch_idx, Stage.TEST)

    def on_validation_epoch_start(self) -> None:
        """Start new rows."""
        self.rows[Stage.VAL] = []

    def on_test_epoch_start(self) -> None:
        """Start new rows."""
        self.rows[Stage.TEST] = []

    def on_validation_epoch_end(self) -> None:
        """Bring the rows of all ranks together and log their means."""
        self._finish(Stage.VAL)

    def on_test_epoch_end(self) -> None:
        """Bring the rows of all ranks together and log their means."""
        self._finish(Stage.TEST)

    def _evaluate(self, batch: Batch, batch_idx: int, stage: Stage) -> None:
        for index, one in enumerate(one_by_one(batch)):
            output = self.step(one, stage)
            row = place_of(one, fallback=f"{self.global_rank}-{batch_idx:06d}-{index}")
            if output.loss is not None:
                row["loss"] = float(output.loss)
            terms = self._shown_terms(output)
            row |= {f"loss/{name}": float(value) for name, value in terms.items()}
            row |= self.measure(output, one, stage)
            self.rows[stage].append(row)

    def measure(self, output: StepOutput, batch: Batch, stage: Stage) -> Row:
        """Return the metrics of one image; nothing where there is no target."""
        if TARGET not in batch or not isinstance(output.raw, Tensor):
            return {}
        target, weight = batch[TARGET], batch.get(WEIGHT)
        rows = self.metrics(stage).rows(
            self.postprocess(output.raw),
            target[:, 0],
            None if weight is None else weight[:, 0],
            batch.get(SPACING),
        )
        return dict(rows[0])

    def _finish(self, stage: Stage) -> None:
        self.rows[stage] = unique_sorted(gathered(self.rows[stage]))
        means = summarised(self.rows[stage])
        named = {f"{stage.value}/{name}": value for name, value in means.items()}
        for name, value in named.items():
            self._log(name, value)
        if stage is Stage.VAL and not self.trainer.sanity_checking:
            self._validated = named

    def _log(self, name: str, value: float) -> None:
        """Log a number that is the same on every rank already."""
        self.log(name, value, batch_size=1)

    def _shown_terms(self, output: StepOutput) -> dict[str, Tensor]:
        """Leave out the only term of a loss, which is the loss itself."""
        return output.terms if len(output.terms) > 1 else {}

    # --- metrics and their meaning ----------------------------------------------------------------

    def metrics(self, stage: Stage) -> MetricSuite:
        """Return the metrics of a stage, built once."""
        if stage not in self._metrics:
            self._metrics[stage] = self.build_metrics(stage)
        return self._metrics[stage]

    @property
    def directions(self) -> dict[str, Literal["max", "min"]]:
        """Whether larger or smaller is better, by the name of each metric without stage."""
        return {"loss": "min", **self.metrics(Stage.TEST).directions}

    def better(self, name: str, where: str = "trainer.checkpoint.monitor") -> Literal["max", "min"]:
        """Tell whether larger or smaller values of a name such as ``val/dice/nucleus`` are better.

        Args:
            name: Name of a metric; one of validation must be computed there.
            where: Key of the config that gives it, for the message.

        Raises:
            ConfigError: If no part of the name is a metric.
        """
        known = self.directions
        if name.startswith("val/"):
            known = {"loss": "min", **self.metrics(Stage.VAL).directions}
        for part in name.split("/")[1:] or [name]:
            if part in known:
                return known[part]
        message = f"'{name}' is no metric of this task; names are like val/{' or val/'.join(known)}"
        raise ConfigError(Problem(message, where=where))

    # --- nets on images ---------------------------------------------------------------------------

    def forward(self, image: Tensor) -> Tensor:
        """Return the main output for a batch of patches ``(B, C, [Z,] Y, X)``."""
        return self.apply_net(image)

    @abstractmethod
    def apply_net(self, image: Tensor) -> Tensor:
        """Return the output that predicts: ``(B, K, [Z,] Y, X)``."""

    def in_memory_format(self, image: Tensor) -> Tensor:
        """Return the image in the memory format that the nets are in."""
        return image.contiguous(memory_format=self.memory_format)

    def tiled(self, image: Tensor, stage: Stage, role: str | None = None) -> Tensor:
        """Predict one whole image, tile by tile.

        Args:
            image: ``(1, C, [Z,] Y, X)`` on the device of the nets.
            stage: Test and prediction average over mirrored copies where the config asks for it.
            role: Whose sizes count; the first role when left out.

        Returns:
            Float32 tensor ``(1, K, [Z,] Y, X)``.
        """
        return predict_tiled(
            self.apply_net,
            image,
            tile=self.tiling.tile_for(tuple(image.shape[2:]), role),
            overlap=self.inference.overlap,
            blend=self.inference.blend.value,
            batch_size=self.inference.batch_size,
            flips=self.inference.flips and stage in (Stage.TEST, Stage.PREDICT),
        )

    def predict_image(self, image: Tensor) -> Tensor:
        """Predict one whole image outside of a trainer.

        Args:
            image: ``(C, [Z,] Y, X)`` or ``(1, C, [Z,] Y, X)``, preprocessed, on any device.

        Returns:
            Float32 output ``(K, [Z,] Y, X)`` on the device of the task.
        """
        batched = image[None] if image.ndim == self.facts.spatial_dims + 1 else image
        with evaluating(self), torch.inference_mode():
            return self.tiled(batched.to(self.device, torch.float32), Stage.PREDICT)[0]

    # --- weights ----------------------------------------------------------------------------------

    def start_from(self, state: Mapping[str, Any], exclude: Sequence[str] = ()) -> LoadReport:
        """Load the weights that fit from the ``state_dict`` of another run's checkpoint.

        Raises:
            RunError: If nothing fits.
        """
        self.load_report = load_matching(self, state, exclude)
        return self.load_report

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
