"""Semantic segmentation: a class for each pixel, in 2D and 3D, with any net."""

from __future__ import annotations

from typing import ClassVar, Final

import torch
from torch import Tensor, nn

from imtoolkit.config.sections import InferenceConfig, LossTerm, SegmentationConfig, TaskConfig
from imtoolkit.core.batch import IMAGE, TARGET, Batch, Stage, StepOutput
from imtoolkit.core.errors import ConfigError, Problem
from imtoolkit.core.facts import DataFacts, TargetKind
from imtoolkit.losses.weighted_sum import DeepSupervision
from imtoolkit.metrics.suite import MetricSuite, SegmentationMetrics
from imtoolkit.nets.building import build_net
from imtoolkit.nets.outputs import all_outputs

from .base import Task
from .building import build_metrics, build_terms, net_of

_OVERLAP: Final = ("dice", "iou")
_ALL: Final = ("dice", "iou", "hd95", "surface_dice")


class SegmentationTask(Task):
    """Learns a class for each pixel.

    Args:
        config: A `SegmentationConfig`.
        facts: What the data module found.
        inference: How nets are applied to whole images.
        seed: Seed of the weights, and of dropout at each step.
    """

    category = "segmentation"
    target_kind = TargetKind.LABELS
    main_metric: ClassVar[str] = "val/dice"
    config: SegmentationConfig

    def __init__(
        self, config: TaskConfig, facts: DataFacts, inference: InferenceConfig, seed: int = 0
    ) -> None:
        if not isinstance(config, SegmentationConfig):
            message = f"got {type(config).__name__}; expected SegmentationConfig"
            raise TypeError(message)
        _check_classes(config)
        super().__init__(config, facts, inference, seed)

    def build_nets(self) -> dict[str, nn.Module]:
        """See `Task`."""
        component = net_of(self.config, "net", self.roles)
        net = build_net(
            component.name,
            component.params,
            self.facts,
            len(self.config.classes),
            deep_supervision=self.config.deep_supervision,
            where="task.net",
        )
        return {"net": net}

    def build_losses(self) -> nn.Module:
        """See `Task`."""
        terms = self.config.losses or {"dice_ce": LossTerm("dice_ce")}
        return DeepSupervision(
            build_terms(
                terms,
                out_channels=len(self.config.classes),
                spatial_dims=self.facts.spatial_dims,
                class_weights=self.config.class_weights,
            )
        )

    def build_metrics(self, stage: Stage) -> MetricSuite:
        """See `Task`.

        Surface measures take longer than a training epoch on small sets, so that validation leaves
        them to the test unless the config names them.
        """
        classes, tolerance = self.config.classes, self.config.surface_tolerance
        if self.config.metrics is None:
            names = _ALL if stage is Stage.TEST else _OVERLAP
            return SegmentationMetrics(classes, names=names, surface_tolerance=tolerance)
        made = build_metrics(
            self.config.metrics, classes=classes, num_classes=len(classes), tolerance=tolerance
        )
        return MetricSuite(made, classes)

    def step(self, batch: Batch, stage: Stage) -> StepOutput:
        """See `Task`; patches go through the net at once, whole images tile by tile."""
        if stage is Stage.TRAIN:
            outputs = self._outputs(batch[IMAGE])
        else:
            outputs = [self.tiled(batch[IMAGE], stage)]
        if TARGET not in batch:
            return StepOutput(None, raw=outputs[0])
        count = self.global_step if stage is Stage.TRAIN else None
        # losses sum over many pixels, which half precision cannot hold
        with torch.autocast(outputs[0].device.type, enabled=False):
            loss, terms = self.losses(outputs, batch, count)
        return StepOutput(loss, terms, raw=outputs[0])

    def apply_net(self, image: Tensor) -> Tensor:
        """Return the logits ``(B, K, [Z,] Y, X)`` of a batch of patches."""
        return self._outputs(image)[0]

    def postprocess(self, raw: Tensor) -> Tensor:
        """Return labels ``([B,] [Z,] Y, X)`` of logits ``([B,] K, [Z,] Y, X)``."""
        return raw.argmax(self._channel_axis(raw))

    def probabilities(self, raw: Tensor) -> Tensor:
        """Return the probability of each class, in the shape of the logits."""
        return raw.softmax(self._channel_axis(raw))

    def _channel_axis(self, raw: Tensor) -> int:
        return raw.ndim - self.facts.spatial_dims - 1

    def _outputs(self, image: Tensor) -> list[Tensor]:
        net = self.nets["net"]
        outputs = all_outputs(net(self.in_memory_format(image)), net, self.facts.spatial_dims)
        if isinstance(outputs, dict):
            message = "the net returns named outputs; a segmentation needs a net with one output"
            raise ConfigError(Problem(message, where="task.net"))
        return outputs


def _check_classes(config: SegmentationConfig) -> None:
    """Refuse too few classes, equal names, and weights of another number."""
    problems = []
    if len(config.classes) < 2:
        message = f"got {config.classes}; expected at least two, background first"
        problems.append(Problem(message, where="task.classes"))
    if len(set(config.classes)) < len(config.classes):
        problems.append(Problem(f"got {config.classes}; names must differ", where="task.classes"))
    weights = config.class_weights
    if weights is not None and len(weights) != len(config.classes):
        message = f"got {len(weights)} weights for {len(config.classes)} classes"
        problems.append(Problem(message, where="task.class_weights"))
    if problems:
        raise ConfigError(problems)
