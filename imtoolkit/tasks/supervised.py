"""Tasks of one net with one output: what classification, segmentation and the others share.

A category writes `SupervisedTask.build_goal` and, where it has more to say,
`SupervisedTask.finish`.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from imtoolkit.config.sections import InferenceConfig, LossTerm, TaskConfig
from imtoolkit.core.batch import IMAGE, SPACING, Batch, Stage, StepOutput
from imtoolkit.core.errors import ConfigError, Problem
from imtoolkit.core.facts import DataFacts
from imtoolkit.inference.postprocess.base import Makes
from imtoolkit.losses.weighted_sum import DeepSupervision
from imtoolkit.metrics.suite import MetricSuite
from imtoolkit.nets.building import build_net
from imtoolkit.nets.outputs import all_outputs

from .base import Task
from .blocks import blocks_for, label_by_blocks
from .building import build_terms, net_of
from .goals import OUTPUT, Goal
from .goals.base import PixelSize, one_size
from .goals.metrics import metrics_of
from .measuring import Prediction
from .rows import Row


class SupervisedTask(Task):
    """Learns one output of a net from targets.

    Args:
        config: An object of `config_class`.
        facts: What the data module found.
        inference: How nets are applied to whole images.
        seed: Seed of the weights, and of dropout at each step.
    """

    config_class: ClassVar[type[TaskConfig]] = TaskConfig
    main_role: ClassVar[str] = "net"

    def __init__(
        self, config: TaskConfig, facts: DataFacts, inference: InferenceConfig, seed: int = 0
    ) -> None:
        if not isinstance(config, self.config_class):
            message = f"got {type(config).__name__}; expected {self.config_class.__name__}"
            raise TypeError(message)
        super().__init__(config, facts, inference, seed)

    # --- what a category writes -----------------------------------------------------------------

    @abstractmethod
    def build_goal(self) -> Goal:
        """Say what the output means."""

    def finish(self, outputs: list[Tensor], image: Tensor) -> list[Tensor]:
        """Turn what the net returns for an image into what losses and results are made of."""
        del image
        return outputs

    # --- parts ----------------------------------------------------------------------------------

    @property
    def goal(self) -> Goal:
        """What the output means."""
        return self.goals[OUTPUT]

    @property
    def main_metric(self) -> str:  # type: ignore[override]  # of the goal, not of the class
        """Metric by which the best state is chosen."""
        return f"{Stage.VAL.value}/{self.goal.main_metric}"

    def build_goals(self) -> dict[str, Goal]:
        """See `Task`."""
        return {OUTPUT: self.build_goal()}

    def build_nets(self) -> dict[str, nn.Module]:
        """See `Task`."""
        component = net_of(self.config, "net", self.roles)
        net = build_net(
            component.name,
            component.params,
            self.facts,
            self.goal.out_channels,
            deep_supervision=getattr(self.config, "deep_supervision", False),
            where="task.net",
        )
        return {"net": net}

    def build_losses(self) -> nn.Module:
        """See `Task`."""
        terms: dict[str, LossTerm] = dict(self.config.losses) or self.goal.default_terms()
        built = build_terms({name: (term, self.goal) for name, term in terms.items()})
        return DeepSupervision(built)

    def build_metrics(self, stage: Stage) -> MetricSuite:
        """See `Task`."""
        return metrics_of(self.goal, stage, self.config.metrics)

    def check_nets(self) -> None:
        """See `Task`; an output that does not fit the goal is refused with both shapes."""
        tried = self.tiling.trial()
        if tried is not None:
            raw, size = tried
            image = torch.empty((2, self.facts.in_channels, *size), device="meta")
            # which sizes fit is told by what follows
            self.goal.check_output(self._single(raw), image, self._net_name, size=False)
        super().check_nets()

    # --- the step -------------------------------------------------------------------------------

    def step(self, batch: Batch, stage: Stage) -> StepOutput:
        """See `Task`; training batches go through the net as they are, others image by image."""
        if stage is Stage.TRAIN:
            return self.judged(self.outputs(batch), batch, stage)
        more = self.further_inputs(batch, self.main_role)
        raw = self.raw_or_objects(batch[IMAGE], stage, batch.get(SPACING), **more)
        if not raw.is_floating_point():
            return StepOutput(None, raw=raw)  # of blocks the objects alone are kept
        return self.judged([raw], batch, stage)

    def judged(self, outputs: list[Tensor], batch: Batch, stage: Stage) -> StepOutput:
        """Compute the loss of outputs, where the batch holds the truth."""
        learnt = self.goal.learnt(batch)
        evaluated = stage is not Stage.TRAIN
        if learnt is None or (evaluated and not self.goal.labelled(batch)):
            return StepOutput(None, raw=outputs[0])
        count = None if evaluated else self.global_step
        # losses sum over many pixels, which half precision cannot hold
        with torch.autocast(outputs[0].device.type, enabled=False):
            loss, terms = self.losses(outputs, {**batch, self.goal.loss_key: learnt}, count)
        return StepOutput(loss, terms, raw=outputs[0])

    def measure(
        self, output: StepOutput, prediction: Prediction | None, batch: Batch, stage: Stage
    ) -> Row:
        """See `Task`."""
        if not isinstance(output.raw, Tensor) or not isinstance(prediction, Tensor):
            return {}
        return dict(self.goal.measure(self.metrics(stage), output.raw, prediction, batch))

    def outputs(self, batch: Batch) -> list[Tensor]:
        """Return the outputs for a batch, main output first, lower resolutions after it."""
        net = self.nets[self.main_role]
        found = all_outputs(self.call_net(batch, self.main_role), net, self.facts.spatial_dims)
        if isinstance(found, dict):
            self._single(found)
        assert isinstance(found, list)
        self.goal.check_output(found[0], batch[IMAGE], self._net_name)
        return self.finish(found, batch[IMAGE])

    def apply_net(self, image: Tensor, **more: Tensor) -> Tensor:
        """Return the main output for patches or whole images: ``(B, K, [Z,] Y, X)``, ``(B, K)``."""
        return self.outputs({IMAGE: image, **more})[0]

    def whole(self, image: Tensor, stage: Stage, **more: Tensor) -> Tensor:
        """Predict one whole image: tile by tile, or at once where a value is for the image.

        Returns:
            Float32 tensor ``(1, K, [Z,] Y, X)``, or ``(1, K)``.
        """
        if self.goal.dense:
            return self.tiled(image, stage, more=more)
        return self.at_once(partial(self.apply_net, **more), image, stage)

    def raw_or_objects(
        self, image: Tensor, stage: Stage, spacing: PixelSize = None, **more: Tensor
    ) -> Tensor:
        """Return the output; of a large image whose result is objects these, found by blocks.

        Returns:
            Float32 tensor ``(1, K, [Z,] Y, X)``, or ``(1, K)``; of blocks int32 ``(1, [Z,] Y, X)``.
        """
        goal = self.goal
        sizes = None
        if goal.dense and goal.makes is Makes.INSTANCES:
            sizes = blocks_for(image.shape[2:], self.inference)
        if sizes is None:
            return self.whole(image, stage, **more)

        def objects(part: Tensor) -> Tensor:
            return goal.postprocess(self.whole(part, stage, **more)[0], one_size(spacing))

        return label_by_blocks(objects, image, *sizes)

    def postprocess(self, raw: Tensor, spacing: PixelSize = None) -> Tensor:
        """Return the result of an output, with or without the axis of the batch."""
        return self.goal.postprocess(raw, spacing)

    def probabilities(self, raw: Tensor) -> Tensor | None:
        """Return the probability of each class in the shape of the output; else ``None``."""
        return self.goal.probabilities(raw)

    @property
    def _net_name(self) -> str:
        return type(self.nets[self.main_role]).__name__

    def _single(self, raw: Any) -> Tensor:
        if isinstance(raw, Tensor):
            return raw
        message = (
            f"the net returns named outputs {list(raw)}; {self.goal.describe()} needs a net with "
            "one output. Several are learnt by the category 'multitask'"
        )
        raise ConfigError(Problem(message, where="task.net"))
