"""A number for each image, or several: the goal of a regression."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from imtoolkit.config.sections import Component, LossTerm
from imtoolkit.core.batch import TARGET, Batch, Stage
from imtoolkit.core.errors import ConfigError, Problem, listed
from imtoolkit.core.facts import DataFacts
from imtoolkit.metrics.records import NumberRecords
from imtoolkit.metrics.suite import MetricSuite, RegressionMetrics

from .base import Goal
from .classes import known_images
from .metrics import build_metrics


class NumbersGoal(Goal):
    r"""Numbers ``(B, n)``, learnt as :math:`(y - \mu) / \sigma` of the training samples.

    The net's output stays on that scale, so that a step of the optimizer means the same whatever
    the unit; results and metrics are in the user's units. Unknown numbers (NaN) are left out.

    Args:
        facts: What the data module found.
        columns: Names of the numbers; empty for one number.
        standardize: Whether to learn on the scale of the training spread.
        named: ``name``, ``key`` and ``where`` of a `Goal`.

    Raises:
        ConfigError: If a number is the same in all training samples, or the data tell no spread.
    """

    dense = False
    main_metric = "mae"

    def __init__(
        self,
        facts: DataFacts,
        columns: Sequence[str] = (),
        *,
        standardize: bool = True,
        **named: str,
    ) -> None:
        super().__init__(facts, max(1, len(columns)), **named)
        self.classes = tuple(columns) if len(columns) > 1 else ()
        self.records = NumberRecords(self.classes)
        self.mean, self.std = (0.0,) * self.out_channels, (1.0,) * self.out_channels
        if standardize:
            self.mean, self.std = self._spread(columns)

    def default_terms(self) -> dict[str, LossTerm]:
        """Return the smooth L1 loss, which outliers do not dominate."""
        return {"smooth_l1": LossTerm("SmoothL1Loss")}

    def learnt(self, batch: Batch) -> Tensor | None:
        """Return the numbers on the scale of the training spread."""
        target = self.target_of(batch)
        if target is None:
            return None
        return (target - target.new_tensor(self.mean)) / target.new_tensor(self.std)

    def target_of(self, batch: Batch) -> Tensor | None:
        """Return numbers ``(B, n)`` in the user's units."""
        target = super().target_of(batch)
        return target[:, None] if target is not None and target.ndim == 1 else target

    def labelled(self, batch: Batch) -> int:
        """See `Goal`."""
        target = self.target_of(batch)
        return 0 if target is None else known_images(target)

    def unknown(self, image: Tensor) -> Tensor:
        """See `Goal`."""
        return image.new_full((len(image), self.out_channels), math.nan)

    def first_result(self, raw: Tensor) -> Tensor:
        """Return numbers ``([B,] n)`` in the user's units."""
        raw = raw.float()
        return raw * raw.new_tensor(self.std) + raw.new_tensor(self.mean)

    def build_metrics(self, stage: Stage, components: Sequence[Component] | None) -> MetricSuite:
        """See `Goal`; all of them are made from the records of the whole set."""
        del stage
        if components is None:
            return RegressionMetrics(self.classes)
        made = build_metrics(components, columns=self.classes, num_outputs=self.out_channels)
        return MetricSuite(made, records=self.records)

    def measure(
        self, metrics: MetricSuite, raw: Tensor, result: Tensor, batch: Batch
    ) -> dict[str, Any]:
        """Return the record: target and prediction, in the user's units."""
        del metrics, raw  # no single image defines them
        target = self.target_of(batch)
        row: dict[str, Any] = self.records.row(result[0], None if target is None else target[0])
        return row

    def describe(self) -> str:
        """See `Goal`."""
        return f"a regression of {self.out_channels} number(s)"

    def _spread(self, columns: Sequence[str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        mean, std = self.facts.number_mean.get(self.key), self.facts.number_std.get(self.key)
        names = list(columns) or [self.key if self.key != TARGET else "the target"]
        if mean is None or std is None:
            message = "the training data tell no mean and spread of the numbers: set it to false"
            raise ConfigError(Problem(message, where=f"{self.where}.standardize"))
        if len(mean) != self.out_channels:
            message = f"got {len(names)} columns, and the training data hold {len(mean)} numbers"
            raise ConfigError(Problem(message, where=f"{self.where}.columns"))
        constant = [name for name, spread in zip(names, std, strict=True) if not spread > 0]
        if constant:
            message = f"{listed(constant)} is the same in all training samples: nothing to learn"
            raise ConfigError(Problem(message, where=f"{self.where}.columns"))
        return tuple(mean), tuple(std)
