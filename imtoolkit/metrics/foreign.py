"""Metrics of MONAI and torchmetrics, used image by image like our own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.metrics import Cumulative, PanopticQualityMetric
from monai.metrics import Metric as MonaiMetric
from torchmetrics import Metric as TorchMetric

from imtoolkit.core.errors import ComponentError

from .base import Array, Better, ImageMetric, SamplesMetric, SetMetric, mean_of_defined
from .names import snake


def as_image_metric(metric: Any, classes: Sequence[str] = ()) -> ImageMetric:
    """Wrap a metric of MONAI or torchmetrics; return one of ours as it is.

    Args:
        metric: What the config built.
        classes: Names of the classes, background first; MONAI's metrics get one-hot labels of them.

    Raises:
        TypeError: If it is none of the three.
        ComponentError: If it is known to measure something else than label images.
    """
    if isinstance(metric, ImageMetric):
        return metric
    if isinstance(metric, SetMetric):
        message = (
            f"metric '{metric.name}' measures one class or number for each image of a set, and this"
            " output is an image: take one of images, such as dice for labels or psnr"
        )
        raise ComponentError(message)
    if isinstance(metric, SamplesMetric):
        message = (
            f"metric '{metric.name}' compares several predictions of one image, which the category "
            "'probabilistic_unet' makes: take one of single predictions, such as dice"
        )
        raise ComponentError(message)
    if isinstance(metric, TorchMetric):
        return _TorchImageMetric(metric, classes)
    if isinstance(metric, PanopticQualityMetric):
        message = (
            "PanopticQualityMetric of MONAI compares pairs of class and instance maps; for objects "
            "take panoptic_quality"
        )
        raise ComponentError(message)
    if isinstance(metric, MonaiMetric):
        return _MonaiImageMetric(metric, classes)
    message = (
        f"got a {type(metric).__name__} as a metric; expected an ImageMetric, "
        "a monai.metrics.Metric or a torchmetrics.Metric"
    )
    raise TypeError(message)


class _Foreign(ImageMetric):
    name = ""

    def __init__(self, metric: Any, better: Better) -> None:
        self.metric = metric
        self.name = snake(type(metric).__name__)
        self.better = better

    def _kept(self, image: Array, weight: Array | None) -> Array:
        """Return the pixels that count, of all channels where there are some."""
        return image if weight is None else image[..., weight > 0]


class _TorchImageMetric(_Foreign):
    """A torchmetrics metric, computed anew for each image."""

    def __init__(self, metric: TorchMetric, classes: Sequence[str] = ()) -> None:
        super().__init__(metric, "min" if metric.higher_is_better is False else "max")
        self.classes = tuple(classes)
        room = type(metric).__module__
        # those take whole images with their axes, the others any number of pixels
        self._whole = room.startswith("torchmetrics.segmentation")
        self._windows = room.startswith("torchmetrics.image") and not room.endswith("psnr")

    def __call__(
        self,
        prediction: Array,
        target: Array,
        *,
        weight: Array | None = None,
        spacing: Sequence[float] | None = None,
    ) -> dict[str, float]:
        del spacing  # torchmetrics counts in pixels
        self.metric.reset()
        if self._windows and weight is not None:  # what does not count has no error
            prediction = np.where(weight > 0, prediction, target)
        try:
            value = self.metric(self._prepared(prediction, weight), self._prepared(target, weight))
        except (TypeError, ValueError, RuntimeError) as error:
            kind = "images" if prediction.dtype.kind == "f" else "label images"
            message = f"metric {type(self.metric).__name__} cannot measure {kind}: {error}"
            raise ComponentError(message) from error
        return _named(self.name, value)

    def _prepared(self, labels: Array, weight: Array | None) -> torch.Tensor:
        if self._windows:
            return torch.as_tensor(labels)[None]
        if not self._whole:
            kept = torch.as_tensor(self._kept(labels, weight))
            return kept.flatten() if kept.is_floating_point() else kept
        if weight is not None:  # what does not count is background in both
            labels = np.where(weight > 0, labels, 0)
        if getattr(self.metric, "input_format", "index") == "index":
            return torch.as_tensor(labels)[None].long()
        return _one_hot(labels, self.classes).long()


class _MonaiImageMetric(_Foreign):
    """A MONAI metric on one-hot labels, computed for each image."""

    def __init__(self, metric: MonaiMetric, classes: Sequence[str]) -> None:
        distance = any(
            word in type(metric).__name__ for word in ("Distance", "Error", "MSE", "MAE", "MAPE")
        )
        super().__init__(metric, "min" if distance else "max")
        self.classes = tuple(classes)

    def __call__(
        self,
        prediction: Array,
        target: Array,
        *,
        weight: Array | None = None,
        spacing: Sequence[float] | None = None,
    ) -> dict[str, float]:
        if weight is not None:  # what does not count is background in both
            prediction = np.where(weight > 0, prediction, 0)
            target = np.where(weight > 0, target, 0)
        known = spacing is not None and bool(np.isfinite(spacing).all())
        extra = {"spacing": list(spacing or ())} if known and _takes_spacing(self.metric) else {}
        try:
            values = self._values(
                _one_hot(prediction, self.classes), _one_hot(target, self.classes), extra
            )
        except (TypeError, ValueError, RuntimeError) as error:
            message = f"metric {type(self.metric).__name__} cannot measure label images: {error}"
            raise ComponentError(message) from error
        background = getattr(self.metric, "include_background", True)
        labels = self.classes if background else self.classes[1:]
        named = zip(labels, values, strict=True) if len(labels) == len(values) else ()
        return {
            self.name: mean_of_defined(values),
            **{f"{self.name}/{label}": number for label, number in named},
        }

    def _values(
        self, prediction: torch.Tensor, target: torch.Tensor, extra: dict[str, Any]
    ) -> list[float]:
        """Return one value for each class, or a single one where the metric joins the classes."""
        found = self.metric(prediction, target, **extra)
        if isinstance(self.metric, Cumulative):
            self.metric.reset()  # it keeps what it was given, for a mean that is made elsewhere
        if isinstance(found, torch.Tensor) and found.ndim <= 2:  # (B, classes)
            return [float(value) for value in found.flatten()]
        # counts of a confusion matrix, which `aggregate` turns into the metric; what MONAI keeps
        # would be gathered from all ranks, which may be at other images
        self.metric.get_buffer = lambda: found
        whole = self.metric.aggregate()
        parts = whole if isinstance(whole, (list, tuple)) else [whole]
        return [float(value) for part in parts for value in torch.as_tensor(part).flatten()]


def _one_hot(labels: Array, classes: Sequence[str]) -> torch.Tensor:
    """Return a batch of one, with a channel for each class; the labels themselves without any."""
    if not classes:
        return torch.as_tensor(labels)[None]
    hot = np.stack([labels == index for index in range(len(classes))])
    return torch.from_numpy(hot)[None].float()


def _takes_spacing(metric: MonaiMetric) -> bool:
    return "Surface" in type(metric).__name__ or "Hausdorff" in type(metric).__name__


def _named(name: str, value: Any) -> dict[str, float]:
    if isinstance(value, dict):
        return {f"{name}/{key}": float(number) for key, number in value.items()}
    numbers = torch.as_tensor(value).flatten().tolist()
    if len(numbers) == 1:
        return {name: float(numbers[0])}
    parts = {f"{name}/{index}": float(number) for index, number in enumerate(numbers)}
    return {name: mean_of_defined(numbers), **parts}
