"""A class for each pixel: the goal of a semantic segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from torch import Tensor

from imtoolkit.config.sections import Component, LossTerm
from imtoolkit.core.batch import Batch, Stage
from imtoolkit.core.errors import ConfigError, Problem
from imtoolkit.core.facts import DataFacts
from imtoolkit.inference.postprocess.base import Array
from imtoolkit.metrics.suite import MetricSuite, SegmentationMetrics

from .base import Goal, as_array, check_names, pixel_inputs
from .metrics import build_metrics

_OVERLAP: Final = ("dice", "iou")
_ALL: Final = ("dice", "iou", "hd95", "surface_dice")


class LabelsGoal(Goal):
    """Logits of classes ``(B, K, [Z,] Y, X)``; the truth is labels ``(B, 1, [Z,] Y, X)``.

    Args:
        facts: What the data module found.
        classes: Names of the classes in the order of their labels, background first.
        class_weights: Weight of each class in the losses that take weights.
        surface_tolerance: Distance within which a surface counts as met.
        channels: The one channel of the target image that holds the labels; ``None`` where it has
            one only.
        named: ``name``, ``key`` and ``where`` of a `Goal`.

    Raises:
        ConfigError: If classes, weights and channels make no sense.
    """

    main_metric = "dice"

    def __init__(
        self,
        facts: DataFacts,
        classes: Sequence[str],
        *,
        class_weights: Sequence[float] | None = None,
        surface_tolerance: float = 1.0,
        channels: Sequence[int] | None = None,
        **named: str,
    ) -> None:
        super().__init__(facts, len(classes), **named)
        self.classes = tuple(classes)
        self.class_weights = class_weights
        self.labels = True
        self.surface_tolerance = surface_tolerance
        self.channels = channels
        problems = check_names(classes, class_weights, self.where)
        if len(classes) < 2:
            message = f"got {list(classes)}; expected at least two, background first"
            problems.insert(0, Problem(message, where=f"{self.where}.classes"))
        if channels is not None and len(channels) != 1:
            message = f"got {list(channels)}; labels stand in one channel of the target image"
            problems.append(Problem(message, where=f"{self.where}.channels"))
        elif channels is not None and not 0 <= channels[0] < facts.target_channels:
            most = facts.target_channels
            message = f"got {list(channels)}; the target images have {most} channel(s), from 0"
            problems.append(Problem(message, where=f"{self.where}.channels"))
        if problems:
            raise ConfigError(problems)

    def default_terms(self) -> dict[str, LossTerm]:
        """Return Dice and cross-entropy together."""
        return {"dice_ce": LossTerm("dice_ce")}

    def target_of(self, batch: Batch) -> Tensor | None:
        """Return labels ``(B, 1, [Z,] Y, X)`` of integers."""
        target = super().target_of(batch)
        if target is None:
            return None
        if self.channels is not None:
            target = target[:, self.channels]
        # beside images, labels are read as numbers of the same type
        return target.round().long() if target.is_floating_point() else target

    def first_result(self, raw: Tensor) -> Tensor:
        """Return labels ``([B,] [Z,] Y, X)`` of logits ``([B,] K, [Z,] Y, X)``."""
        return raw.argmax(self._channel_axis(raw))

    def probabilities(self, raw: Tensor) -> Tensor:
        """Return the probability of each class, in the shape of the logits."""
        return raw.softmax(self._channel_axis(raw))

    def maps(self, raw: Tensor) -> dict[str, Array]:
        """Return the probability of each class by its name."""
        return dict(zip(self.classes, as_array(self.probabilities(raw.float())), strict=True))

    @property
    def map_names(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.classes

    def build_metrics(self, stage: Stage, components: Sequence[Component] | None) -> MetricSuite:
        """See `Goal`.

        Surface measures take longer than a training epoch on small sets, so that validation leaves
        them to the test unless the config names them.
        """
        classes, tolerance = self.classes, self.surface_tolerance
        if components is None:
            names = _ALL if stage is Stage.TEST else _OVERLAP
            return SegmentationMetrics(classes, names=names, surface_tolerance=tolerance)
        made = build_metrics(
            components, classes=classes, num_classes=len(classes), tolerance=tolerance
        )
        return MetricSuite(made, classes)

    def measure(
        self, metrics: MetricSuite, raw: Tensor, result: Tensor, batch: Batch
    ) -> dict[str, Any]:
        """See `Goal`."""
        del raw
        target = self.target_of(batch)
        if target is None:
            return {}
        return self.row_of(metrics, result, target[:, 0], batch)

    def row_of(
        self, metrics: MetricSuite, result: Tensor, labels: Tensor, batch: Batch
    ) -> dict[str, Any]:
        """Return the row of one image for labels ``(1, [Z,] Y, X)``."""
        return dict(metrics.rows(result, labels, *pixel_inputs(batch))[0])

    def describe(self) -> str:
        """See `Goal`."""
        return f"a segmentation into {len(self.classes)} classes"

    def _channel_axis(self, raw: Tensor) -> int:
        return raw.ndim - self.facts.spatial_dims - 1
