"""Metrics of torchmetrics over whole sets of images, used like our own."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torchmetrics import Metric as TorchMetric

from imtoolkit.core.errors import ComponentError

from .base import Array, Better, ImageMetric, SamplesMetric, SetMetric, mean_of_defined
from .names import snake
from .records import ClassRecords, MultilabelRecords, NumberRecords, Records


def as_set_metric(metric: Any, records: Records) -> SetMetric:
    """Return a metric of a whole set as one of ours.

    Args:
        metric: What the config built: a `SetMetric`, one of torchmetrics, or one of ours that
            measures images as well as numbers (``mae``, ``rmse``, ``pearson``).
        records: What each image leaves.

    Raises:
        ComponentError: If it measures something else.
        TypeError: If it is no metric.
    """
    if isinstance(metric, SetMetric):
        return metric
    if isinstance(metric, TorchMetric):
        _refuse_other_kind(metric, records)
        return TorchSetMetric(metric, records.names)
    if hasattr(metric, "of_numbers") and isinstance(records, NumberRecords):
        of_numbers: SetMetric = metric.of_numbers()
        return of_numbers
    if isinstance(metric, (ImageMetric, SamplesMetric)) or type(metric).__module__.startswith(
        "monai."
    ):
        wanted = "numbers" if isinstance(records, NumberRecords) else "classes"
        remedy = "mae, r2" if isinstance(records, NumberRecords) else "auroc, accuracy"
        name = getattr(metric, "name", type(metric).__name__)
        message = (
            f"metric '{name}' measures images, and this output is {wanted} of whole images: take "
            f"one of ours such as {remedy}, or one of torchmetrics"
        )
        raise ComponentError(message)
    message = f"got a {type(metric).__name__} as a metric; expected a SetMetric or torchmetrics'"
    raise TypeError(message)


class TorchSetMetric(SetMetric):
    """A torchmetrics metric, computed anew for each set.

    Args:
        metric: The metric. ``Binary...`` is given the probability of the last class,
            ``Multiclass...`` and ``Multilabel...`` those of all, others the predicted numbers.
        names: Names of the classes or numbers, for metrics that return a value for each.
    """

    most_resamples: ClassVar[int | None] = 200

    def __init__(self, metric: TorchMetric, names: tuple[str, ...] = ()) -> None:
        self.metric = metric
        self.name = snake(type(metric).__name__)
        self.better: Better = "min" if metric.higher_is_better is False else "max"
        self.names = names

    def __call__(
        self, predicted: Array, target: Array, probability: Array | None = None
    ) -> dict[str, float]:
        """See `SetMetric`."""
        given, wanted = self._prepared(predicted, target, probability)
        if not len(wanted):
            return {self.name: float("nan")}
        self.metric.reset()
        try:
            value = self.metric(given, wanted)
        except (TypeError, ValueError, RuntimeError) as error:
            message = f"metric {type(self.metric).__name__} cannot measure these images: {error}"
            raise ComponentError(message) from error
        return self._named(value)

    def _prepared(
        self, predicted: Array, target: Array, probability: Array | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if probability is None:
            whole = ~(target != target).any(1)  # torchmetrics knows no missing numbers
            numbers = [torch.as_tensor(item[whole]).float() for item in (predicted, target)]
            first, second = (item[:, 0] if item.shape[1] == 1 else item for item in numbers)
            return first, second
        chances = torch.as_tensor(probability)
        if target.ndim == 2:
            whole = ~(target != target).any(1)
            return chances[torch.as_tensor(whole)], torch.as_tensor(target[whole]).long()
        binary = type(self.metric).__name__.startswith("Binary")
        return chances[:, -1] if binary else chances, torch.as_tensor(target).long()

    def _named(self, value: Any) -> dict[str, float]:
        if isinstance(value, dict):
            return {f"{self.name}/{key}": float(number) for key, number in value.items()}
        tensor = torch.as_tensor(value).float()
        if tensor.ndim > 1:
            message = (
                f"metric {type(self.metric).__name__} returns a table {tuple(tensor.shape)}; "
                "expected one value, or one for each class"
            )
            raise ComponentError(message)
        numbers = tensor.flatten().tolist()
        if len(numbers) == 1:
            return {self.name: numbers[0]}
        fits = len(numbers) == len(self.names)
        names = self.names if fits else tuple(str(index) for index in range(len(numbers)))
        parts = {f"{self.name}/{name}": one for name, one in zip(names, numbers, strict=True)}
        return {self.name: mean_of_defined(numbers), **parts}


def _refuse_other_kind(metric: TorchMetric, records: Records) -> None:
    """Refuse metrics of classes for numbers and the other way round, before anything is trained."""
    name, room = type(metric).__name__, type(metric).__module__
    of_classes = room.startswith("torchmetrics.classification")
    kinds: dict[type[Records], tuple[str, ...]] = {
        ClassRecords: ("Binary", "Multiclass"),
        MultilabelRecords: ("Multilabel",),
        NumberRecords: (),
    }
    fits = kinds.get(type(records), ())
    if isinstance(records, NumberRecords) and not of_classes and "regression" in room:
        return
    if of_classes and (name.startswith(fits) if fits else False):
        if name.startswith("Binary") and len(records.names) != 2:
            message = f"{name} measures two classes, and there are {len(records.names)}"
            raise ComponentError(message)
        return
    if not room.startswith("torchmetrics."):  # somebody's own
        return
    expected = " or ".join(f"{word}..." for word in fits) or "one of torchmetrics.regression"
    message = f"metric {name} does not measure this output; expected {expected}, or one of ours"
    raise ComponentError(message)
