"""A set of metrics: rows for each image, records of it, and the numbers of all rows together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imtoolkit.core.errors import ComponentError, listed

from .base import (
    Array,
    Better,
    CountedMetric,
    ImageMetric,
    PreparedMetric,
    SetMetric,
    mean_of_defined,
)
from .classification import (
    AccuracyMetric,
    BalancedAccuracyMetric,
    F1Metric,
    MccMetric,
    SensitivityMetric,
    SpecificityMetric,
)
from .foreign import as_image_metric
from .foreign_sets import as_set_metric
from .instances import (
    ApMetric,
    InstanceF1Metric,
    MatchedIoUMetric,
    ObjectCountMetric,
    PanopticQualityMetric,
)
from .pooled import PooledMetric
from .ranking import AuprcMetric, AurocMetric, BrierMetric, EceMetric
from .records import ClassRecords, MultilabelRecords, NumberRecords, Records, SetArrays
from .regression import MeanAbsoluteError, PearsonCorrelation, R2Score, RootMeanSquaredError
from .segmentation import DiceMetric, HausdorffMetric, IoUMetric, SurfaceDiceMetric

Row = dict[str, Any]


class MetricSuite:
    """Several metrics of one output of a net.

    Without ``records`` each metric is computed for each image of a batch. With them, the output is
    a class or numbers for the whole image: each image leaves a record, and the metrics are computed
    from the records of all.

    Args:
        metrics: Ours; those of MONAI and torchmetrics are wrapped, see `as_image_metric` and
            `as_set_metric`.
        classes: Names of the classes, for metrics of MONAI that return one value for each class.
        records: What an image leaves, where the metrics are of whole sets.

    Attributes:
        metrics: Metrics of single images.
        set_metrics: Metrics of whole sets; with those of single images that can be pooled.
        records: What an image leaves; ``None`` where each image is measured.

    Raises:
        ComponentError: If two have the same name, or one measures something else.
    """

    def __init__(
        self,
        metrics: Sequence[Any],
        classes: Sequence[str] = (),
        *,
        records: Records | None = None,
    ) -> None:
        self.records = records
        self.metrics: list[ImageMetric] = []
        self.set_metrics: list[SetMetric] = []
        if records is None:
            self.metrics = [as_image_metric(item, classes) for item in metrics]
            self.set_metrics = [
                PooledMetric(item) for item in self.metrics if isinstance(item, CountedMetric)
            ]
        else:
            self.set_metrics = [as_set_metric(item, records) for item in metrics]
        names = [metric.name for metric in self._every]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            message = f"several metrics are named {listed(twice)}: one would hide the other"
            raise ComponentError(message)

    @property
    def _every(self) -> list[ImageMetric | SetMetric]:
        return [*self.metrics, *self.set_metrics]

    @property
    def directions(self) -> dict[str, Better]:
        """Whether larger or smaller is better, by the name of each metric."""
        return {metric.name: metric.better for metric in self._every}

    def summarise(self, rows: Sequence[Mapping[str, Any]], prefix: str = "") -> dict[str, float]:
        """Return the means of the columns of each image, and the metrics of the whole set.

        Args:
            rows: One for each image, of all ranks.
            prefix: Name of the head, whose columns are ``<prefix>/...``; left out, all columns
                count.

        Returns:
            ``{name: value}``, with the prefix in the names.
        """
        start = f"{prefix}/" if prefix else ""
        kept = [
            {name: value for name, value in row.items()
             if name.startswith(start) and not self.is_record(name, prefix)}
            for row in rows
        ]  # fmt: skip
        return {**reduce_rows(kept), **self.of_set(rows, prefix)}

    def of_set(self, rows: Sequence[Mapping[str, Any]], prefix: str = "") -> dict[str, float]:
        """Return the metrics of the whole set alone, see `summarise`."""
        if not rows:
            return {}
        start = f"{prefix}/" if prefix else ""
        found: dict[str, float] = {}
        for metric, arrays in self.sets(rows, prefix):
            values = metric(arrays.predicted, arrays.target, arrays.probability)
            found |= {f"{start}{name}": value for name, value in values.items()}
        return found

    def sets(
        self, rows: Sequence[Mapping[str, Any]], prefix: str = ""
    ) -> list[tuple[SetMetric, SetArrays]]:
        """Return each metric of the whole set with what it is computed from, see `summarise`."""
        if self.records is not None:
            arrays = self.records.arrays(rows, prefix)
            return [(metric, arrays) for metric in self.set_metrics]
        pooled = [metric for metric in self.set_metrics if isinstance(metric, PooledMetric)]
        return [(metric, metric.arrays(rows, prefix)) for metric in pooled]

    def is_record(self, name: str, prefix: str = "") -> bool:
        """Tell whether a column is a record or a count, and no number to average."""
        if self.records is not None:
            return self.records.has(name, prefix)
        start = f"{prefix}/" if prefix else ""
        return name.startswith(start) and name.removeprefix(start) in self._columns

    @cached_property
    def _columns(self) -> frozenset[str]:
        counted = [metric for metric in self.metrics if isinstance(metric, CountedMetric)]
        return frozenset(name for metric in counted for name in metric.columns)

    @property
    def parts(self) -> dict[str, MetricSuite]:
        """The suites of single outputs by the name of their head; ``""`` where there is one."""
        return {"": self}

    def rows(
        self,
        prediction: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        spacing: Tensor | None = None,
    ) -> list[Row]:
        """Measure each image of a batch.

        Args:
            prediction: Labels ``(B, [Z,] Y, X)`` or images ``(B, C, [Z,] Y, X)``, as the metrics
                expect.
            target: Same shape.
            weight: Cost maps ``(B, [Z,] Y, X)``, or ``None``.
            spacing: Pixel sizes ``(B, dims)``, NaN where unknown, or ``None``.

        Returns:
            One dict of names and values for each image.
        """
        return [
            self._row(
                _array(prediction[index]),
                _array(target[index]),
                None if weight is None else _array(weight[index]),
                None if spacing is None else spacing[index].tolist(),
            )
            for index in range(prediction.shape[0])
        ]

    def _row(
        self,
        prediction: Array,
        target: Array,
        weight: Array | None,
        spacing: Sequence[float] | None,
    ) -> Row:
        row: Row = {}
        prepared: dict[Any, Any] = {}
        for metric in self.metrics:
            if not isinstance(metric, PreparedMetric):
                row |= metric(prediction, target, weight=weight, spacing=spacing)
                continue
            if metric.prepare not in prepared:
                prepared[metric.prepare] = metric.prepare(prediction, target, weight)
            row |= metric.of(prepared[metric.prepare])
        counts = {name: row.pop(name) for name in list(row) if name in self._columns}
        return {**row, **counts}


class SegmentationMetrics(MetricSuite):
    """The metrics of a segmentation.

    Args:
        classes: Names of the classes in the order of their labels, background first.
        names: Which of ``dice``, ``iou``, ``hd95``, ``surface_dice`` to compute; the surface
            measures take most of the time.
        surface_tolerance: See `SurfaceDiceMetric`.
        extra: Further metrics.
    """

    def __init__(
        self,
        classes: Sequence[str],
        *,
        names: Sequence[str] = ("dice", "iou", "hd95", "surface_dice"),
        surface_tolerance: float = 1.0,
        extra: Sequence[Any] = (),
    ) -> None:
        made: dict[str, Callable[[], ImageMetric]] = {
            "dice": lambda: DiceMetric(classes),
            "iou": lambda: IoUMetric(classes),
            "hd95": lambda: HausdorffMetric(classes),
            "surface_dice": lambda: SurfaceDiceMetric(classes, surface_tolerance),
        }
        super().__init__([*(made[name]() for name in names), *extra], classes)


class InstanceMetrics(MetricSuite):
    """The metrics of objects, whose rows are for each image, and pooled over all.

    Args:
        names: Which of ``ap``, ``instance_f1``, ``panoptic_quality``, ``matched_iou``,
            ``object_count`` to compute; the objects of an image are matched once for all.
        extra: Further metrics.

    Example:
        >>> target = torch.tensor([[[1, 1, 0, 2, 2, 2]]])
        >>> row = InstanceMetrics(names=["ap"]).rows(target * 3, target)[0]
        >>> row["ap"], row["ap/50"], row["objects/tp/50"]
        (1.0, 1.0, 2)
    """

    def __init__(
        self,
        *,
        names: Sequence[str] = (
            *("ap", "instance_f1", "panoptic_quality", "matched_iou", "object_count"),
        ),
        extra: Sequence[Any] = (),
    ) -> None:
        kinds = (
            *(ApMetric, InstanceF1Metric, PanopticQualityMetric, MatchedIoUMetric),
            ObjectCountMetric,
        )
        made: dict[str, Callable[[], ImageMetric]] = {kind.name: kind for kind in kinds}
        super().__init__([*(made[name]() for name in names), *extra])


class ClassificationMetrics(MetricSuite):
    """The metrics of a classification of whole images.

    Args:
        classes: Names of the classes; of two, the last is the positive one.
        multilabel: Whether an image may have any number of the classes.
        names: Which of ours to compute.
        extra: Further metrics.
    """

    def __init__(
        self,
        classes: Sequence[str],
        *,
        multilabel: bool = False,
        names: Sequence[str] = (
            *("accuracy", "balanced_accuracy", "auroc", "auprc", "f1", "mcc"),
            *("sensitivity", "specificity", "brier", "ece"),
        ),
        extra: Sequence[Any] = (),
    ) -> None:
        kinds = (
            *(AccuracyMetric, BalancedAccuracyMetric, AurocMetric, AuprcMetric, F1Metric),
            *(MccMetric, SensitivityMetric, SpecificityMetric, BrierMetric, EceMetric),
        )
        made = {kind.name: kind for kind in kinds}
        records = (MultilabelRecords if multilabel else ClassRecords)(tuple(classes))
        ours = [made[name](classes, multilabel=multilabel) for name in names]
        super().__init__([*ours, *extra], classes, records=records)


class RegressionMetrics(MetricSuite):
    """The metrics of numbers for whole images.

    Args:
        columns: Names of the numbers, where there are several.
        names: Which of ``mae``, ``rmse``, ``pearson``, ``r2`` to compute.
        extra: Further metrics.
    """

    def __init__(
        self,
        columns: Sequence[str] = (),
        *,
        names: Sequence[str] = ("mae", "rmse", "pearson", "r2"),
        extra: Sequence[Any] = (),
    ) -> None:
        kinds = (MeanAbsoluteError, RootMeanSquaredError, PearsonCorrelation, R2Score)
        made = {kind.name: kind for kind in kinds}
        ours = [made[name](columns) for name in names]
        super().__init__([*ours, *extra], records=NumberRecords(tuple(columns)))


def reduce_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Average each numeric column over the images, leaving out images where it is not defined.

    A metric is not defined (NaN) where an image holds nothing to measure. A loss always is: where
    that of one image is NaN, so is the mean.

    Example:
        >>> reduce_rows([{"id": "a", "dice": 1.0}, {"id": "b", "dice": 0.5}])
        {'dice': 0.75}
    """
    names = dict.fromkeys(
        name
        for row in rows
        for name, value in row.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    )
    means: dict[str, float] = {}
    for name in names:
        values = [float(row[name]) for row in rows if name in row]
        means[name] = float(np.mean(values)) if is_loss(name) else mean_of_defined(values)
    return means


def is_loss(name: str) -> bool:
    """Tell whether a column holds a loss or a term of one.

    Example:
        >>> is_loss("loss/dice"), is_loss("dice")
        (True, False)
    """
    return name.partition("/")[0] == "loss"


def _array(tensor: Tensor) -> Array:
    detached = tensor.detach()
    if detached.dtype is torch.bfloat16:
        detached = detached.float()  # numpy has no bfloat16
    return np.asarray(detached.cpu())
