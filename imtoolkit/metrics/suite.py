"""A set of metrics over batches: rows for each image, directions, means over rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imtoolkit.core.errors import ComponentError, listed

from .base import Array, Better, ImageMetric, mean_of_defined
from .foreign import as_image_metric
from .segmentation import DiceMetric, HausdorffMetric, IoUMetric, SurfaceDiceMetric

Row = dict[str, Any]


class MetricSuite:
    """Several metrics, computed for each image of a batch.

    Args:
        metrics: Image metrics; MONAI's and torchmetrics' are wrapped, see `as_image_metric`.
        classes: Names of the classes, for metrics of MONAI that return one value for each class.

    Raises:
        ComponentError: If two have the same name.
    """

    def __init__(self, metrics: Sequence[Any], classes: Sequence[str] = ()) -> None:
        self.metrics: list[ImageMetric] = [as_image_metric(item, classes) for item in metrics]
        names = [metric.name for metric in self.metrics]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            message = f"several metrics are named {listed(twice)}: one would hide the other"
            raise ComponentError(message)

    @property
    def directions(self) -> dict[str, Better]:
        """Whether larger or smaller is better, by the name of each metric."""
        return {metric.name: metric.better for metric in self.metrics}

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
        rows: list[Row] = []
        for index in range(prediction.shape[0]):
            row: Row = {}
            for metric in self.metrics:
                row |= metric(
                    _array(prediction[index]),
                    _array(target[index]),
                    weight=None if weight is None else _array(weight[index]),
                    spacing=None if spacing is None else spacing[index].tolist(),
                )
            rows.append(row)
        return rows


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
