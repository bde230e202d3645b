"""Validation and test: a row of numbers for each image, brought together, averaged and logged.

Means are made of the rows of all ranks, each image once, so that they are exact for any number of
ranks and any batch size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import pytorch_lightning as pl
from torch import Tensor

from imtoolkit.core.batch import BESIDE, PREDICTION, SPACING, TARGET, Batch, Stage, StepOutput
from imtoolkit.core.errors import ConfigError, Problem
from imtoolkit.metrics.suite import MetricSuite

from .goals.base import PixelSize, pixel_inputs
from .rows import Row, first_of, gathered, one_by_one, place_of, summarised, unique_sorted

Prediction = Tensor | dict[str, Tensor]


class Measuring(pl.LightningModule, ABC):
    """A LightningModule that measures each image of validation and test.

    Attributes:
        rows: For each stage, one row for each image of the last evaluation, equal on all ranks.
    """

    main_metric: ClassVar[str] = "val/loss"

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[Stage, list[Row]] = {}
        self._metrics: dict[Stage, MetricSuite] = {}
        self._validated: dict[str, float] = {}

    @abstractmethod
    def build_metrics(self, stage: Stage) -> MetricSuite:
        """Build the metrics of a stage."""

    @abstractmethod
    def step(self, batch: Batch, stage: Stage) -> StepOutput:
        """Apply the nets to a batch and compute the loss; serves training, validation and test."""

    @abstractmethod
    def postprocess(self, raw: Any, spacing: PixelSize = None) -> Any:
        """Turn the net's output, with or without the axis of the batch, into the result.

        Labels ``([B,] [Z,] Y, X)``, an image ``([B,] C, [Z,] Y, X)``, a class ``([B])``, numbers
        ``([B,] n)``; of a net of named outputs a dict of them.

        Args:
            raw: The output.
            spacing: Pixel size of the (preprocessed) images, which steps of post-processing in
                physical units need.
        """

    # --- Lightning's hooks ------------------------------------------------------------------------

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Measure each image of a batch; callbacks are given the predictions."""
        return self._evaluate(batch, batch_idx, Stage.VAL)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Measure each image of a batch; callbacks are given the predictions."""
        return self._evaluate(batch, batch_idx, Stage.TEST)

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

    def _evaluate(self, batch: Batch, batch_idx: int, stage: Stage) -> dict[str, Any]:
        """Add a row for each image; return what was predicted, which Lightning drops after use."""
        predictions: list[Prediction | None] = []
        beside: list[dict[str, Tensor] | None] = []
        for index, one in enumerate(one_by_one(batch)):
            output = self.step(one, stage)
            row = place_of(one, fallback=f"{self.global_rank}-{batch_idx:06d}-{index}")
            if output.loss is not None:
                row["loss"] = float(output.loss)
            terms = self._shown_terms(output)
            row |= {f"loss/{name}": float(value) for name, value in terms.items()}
            prediction = self.prediction_of(output, one.get(SPACING))
            row |= self.measure(output, prediction, one, stage)
            self.rows[stage].append(row)
            predictions.append(first_of(prediction))
            beside.append(self.beside_of(output, one))
        return {PREDICTION: predictions, BESIDE: beside}

    def beside_of(self, output: StepOutput, batch: Batch) -> dict[str, Tensor] | None:
        """Return what pictures show of one image beside its prediction, by name."""
        del output, batch
        return None

    def prediction_of(self, output: StepOutput, spacing: PixelSize = None) -> Prediction | None:
        """Return the results ``(B, ...)`` of a step, by name for a net of named outputs."""
        return None if output.raw is None else self.postprocess(output.raw, spacing)

    def measure(
        self, output: StepOutput, prediction: Prediction | None, batch: Batch, stage: Stage
    ) -> Row:
        """Return the metrics and records of one image; metrics only where there is a target.

        Args:
            output: What `step` returned for a batch of one.
            prediction: What `prediction_of` made of it.
            batch: The batch of one.
            stage: Validation or test.
        """
        del output
        if TARGET not in batch or not isinstance(prediction, Tensor):
            return {}
        target, (weight, spacing) = batch[TARGET], pixel_inputs(batch)
        return dict(self.metrics(stage).rows(prediction, target[:, 0], weight, spacing)[0])

    def _finish(self, stage: Stage) -> None:
        self.rows[stage] = unique_sorted(gathered(self.rows[stage]))
        means = summarised(self.rows[stage], self.metrics(stage))
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
        places = {metric: f"/{name}/".find(f"/{metric}/") for metric in known}
        there = [metric for metric, place in places.items() if place >= 0]
        if there:  # a class may be called like a metric: what stands first is the metric
            return known[min(there, key=lambda metric: places[metric])]
        message = f"'{name}' is no metric of this task; names are like val/{' or val/'.join(known)}"
        raise ConfigError(Problem(message, where=where))
