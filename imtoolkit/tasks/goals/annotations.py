"""A class for each pixel of which several people may say different things."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from imtoolkit.config.sections import Component, LossTerm
from imtoolkit.core.batch import WEIGHT, Batch, Stage
from imtoolkit.metrics.base import SamplesMetric
from imtoolkit.metrics.samples import (
    GeneralizedEnergyDistance,
    SampleDiversity,
    SampledMetrics,
    mean_of_rows,
)
from imtoolkit.metrics.suite import MetricSuite

from .labels import LabelsGoal
from .metrics import build_metrics


class AnnotationsGoal(LabelsGoal):
    """Logits of classes; the truth is one annotation or several ``(B, M, [Z,] Y, X)``.

    The mean prediction is measured against each annotation, and the values are averaged; samples
    are measured against all of them together.
    """

    main_metric = "ged"

    def default_terms(self) -> dict[str, LossTerm]:
        """Return cross-entropy, which makes the loss a bound of the evidence."""
        return {"cross_entropy": LossTerm("cross_entropy")}

    def annotations_of(self, batch: Batch) -> Tensor | None:
        """Return all annotations ``(B, M, [Z,] Y, X)``; ``None`` where the batch has none."""
        return super().target_of(batch)

    def target_of(self, batch: Batch) -> Tensor | None:
        """Return the first annotation ``(B, 1, [Z,] Y, X)``, which pictures show."""
        found = self.annotations_of(batch)
        return None if found is None else found[:, :1]

    def build_metrics(self, stage: Stage, components: Sequence[Component] | None) -> MetricSuite:
        """See `Goal`; unasked, the metrics of a segmentation and those of samples."""
        if components is None:
            usual = super().build_metrics(stage, None)
            of_samples = [GeneralizedEnergyDistance(self.classes), SampleDiversity(self.classes)]
            return SampledMetrics(usual.metrics, self.classes, of_samples)
        made = build_metrics(
            components,
            classes=self.classes,
            num_classes=len(self.classes),
            tolerance=self.surface_tolerance,
        )
        own = [item for item in made if isinstance(item, SamplesMetric)]
        return SampledMetrics([item for item in made if item not in own], self.classes, own)

    def measure(
        self, metrics: MetricSuite, raw: Tensor, result: Tensor, batch: Batch
    ) -> dict[str, Any]:
        """See `Goal`."""
        annotations = self.annotations_of(batch)
        if annotations is None:
            return {}
        each = [
            self.row_of(metrics, result, annotations[:, index], batch)
            for index in range(annotations.shape[1])
        ]
        return mean_of_rows(each)

    def measure_samples(
        self, metrics: MetricSuite, samples: Tensor, batch: Batch
    ) -> dict[str, Any]:
        """Return the row of the samples of one image.

        Args:
            metrics: What `build_metrics` returned.
            samples: Labels ``(S, [Z,] Y, X)``.
            batch: A batch of one.
        """
        annotations = self.annotations_of(batch)
        if annotations is None or not isinstance(metrics, SampledMetrics):
            return {}
        weight = batch.get(WEIGHT)
        return metrics.row_of_samples(
            samples.cpu().numpy(),
            annotations[0].cpu().numpy(),
            None if weight is None else weight[0, 0].cpu().numpy(),
        )

    def describe(self) -> str:
        """See `Goal`."""
        return f"a distribution of segmentations into {len(self.classes)} classes"
