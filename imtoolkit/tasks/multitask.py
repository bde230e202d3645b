"""Several heads on one net: dense and image-level outputs, learnt from what labels there are."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from imtoolkit.config.sections import Component, InferenceConfig, MultitaskConfig, TaskConfig
from imtoolkit.core.batch import IMAGE, TARGET, WEIGHT, Batch, Stage, StepOutput
from imtoolkit.core.errors import ConfigError, Problem, listed
from imtoolkit.core.facts import DataFacts, TargetKind
from imtoolkit.metrics.heads import HeadMetrics
from imtoolkit.metrics.suite import MetricSuite
from imtoolkit.nets.building import build_net

from .base import Task
from .building import build_terms, net_of
from .goals import Goal
from .goals.base import PixelSize
from .goals.metrics import metrics_of
from .heads import goal_of_head, terms_of_heads
from .measuring import Prediction
from .rows import Row

log = logging.getLogger(__name__)
Named = dict[str, Tensor]


class MultitaskTask(Task):
    """Learns each named output of a net from the labels that it has.

    An image without a label for a head does not count for that head; a batch without any gives a
    loss of zero with a gradient. Whole images are predicted tile by tile for dense heads; the
    outputs of image-level heads are averaged over the tiles then.

    Args:
        config: A `MultitaskConfig`.
        facts: What the data module found.
        inference: How nets are applied to whole images.
        seed: Seed of the weights, and of dropout at each step.
    """

    category = "multitask"
    target_kind = TargetKind.NONE
    config_class: ClassVar[type[TaskConfig]] = MultitaskConfig
    config: MultitaskConfig

    def __init__(
        self, config: TaskConfig, facts: DataFacts, inference: InferenceConfig, seed: int = 0
    ) -> None:
        if not isinstance(config, MultitaskConfig):
            message = f"got {type(config).__name__}; expected MultitaskConfig"
            raise TypeError(message)
        super().__init__(config, facts, inference, seed)

    # --- parts ------------------------------------------------------------------------------------

    @property
    def main_metric(self) -> str:  # type: ignore[override]  # of the heads, not of the class
        """That of the first head."""
        name, goal = next(iter(self.goals.items()))
        return f"{Stage.VAL.value}/{name}/{goal.main_metric}"

    def build_goals(self) -> dict[str, Goal]:
        """See `Task`."""
        if not self.config.heads:
            message = "got no head; expected at least one: {mask: {kind: segmentation, ...}}"
            raise ConfigError(Problem(message, where="task.heads"))
        heads = self.config.heads.items()
        return {name: goal_of_head(name, head, self.facts) for name, head in heads}

    def steps_of(self, goal: str) -> tuple[Sequence[Component] | None, str]:
        """See `Task`; the steps are those of the head.

        Raises:
            ConfigError: If there are steps for no head.
        """
        if self.inference.postprocess is not None:
            message = (
                "the steps of a net of several heads belong to a head: task.heads.NAME.postprocess"
            )
            raise ConfigError(Problem(message, where="inference.postprocess"))
        return self.config.heads[goal].postprocess, f"task.heads.{goal}.postprocess"

    def build_nets(self) -> dict[str, nn.Module]:
        """See `Task`."""
        component = net_of(self.config, "net", self.roles)
        channels = {name: goal.out_channels for name, goal in self.goals.items()}
        net = build_net(component.name, component.params, self.facts, channels, where="task.net")
        return {"net": net}

    def build_losses(self) -> nn.Module:
        """See `Task`."""
        terms = terms_of_heads(self.config.losses, self.goals)
        self._head_of = {name: term.prediction for name, (term, _) in terms.items()}
        return build_terms(terms)

    def build_metrics(self, stage: Stage) -> MetricSuite:
        """See `Task`."""
        heads = self.config.heads
        return HeadMetrics(
            {
                name: metrics_of(goal, stage, heads[name].metrics)
                for name, goal in self.goals.items()
            }
        )

    def check_nets(self) -> None:
        """See `Task`; an output that does not fit its head is refused with both shapes."""
        tried = self.tiling.trial()
        if tried is not None:
            raw, size = tried
            image = torch.empty((2, self.facts.in_channels, *size), device="meta")
            self._by_head(raw, image)
        super().check_nets()

    def on_fit_start(self) -> None:
        """See `Task`; tells for how many images each head has no label."""
        super().on_fit_start()
        count = self.facts.samples.get("train", 0)
        for key, missing in self.facts.missing.items():
            heads = [name for name, goal in self.goals.items() if goal.key == key]
            if missing and heads:
                log.warning(
                    "%d of %d training images have no label for %s: they do not count there",
                    *(missing, count, listed(heads)),
                )

    # --- the step ---------------------------------------------------------------------------------

    def step(self, batch: Batch, stage: Stage) -> StepOutput:
        """See `Task`."""
        if stage is Stage.TRAIN:
            raw = self._by_head(self.call_net(batch), batch[IMAGE], extra=True)
        else:
            raw = self.whole(batch[IMAGE], stage, **self.further_inputs(batch))
        return self.judged(raw, batch, stage)

    def judged(self, raw: Named, batch: Batch, stage: Stage) -> StepOutput:
        """Compute the loss of the heads that have labels in this batch."""
        counts = {name: goal.labelled(batch) for name, goal in self.goals.items()}
        if stage is not Stage.TRAIN and not any(counts.values()):
            return StepOutput(None, raw=raw)
        step = self.global_step if stage is Stage.TRAIN else None
        loss, terms = self.losses(raw, self._learnt(batch), step)
        of_terms = {
            name: counts.get(self._head_of[name] or "", len(batch[IMAGE])) for name in terms
        }
        if stage is not Stage.TRAIN:  # an image counts where it has a label
            terms = {name: value for name, value in terms.items() if of_terms[name]}
        return StepOutput(loss, terms, raw=raw, counts=of_terms)

    def measure(
        self, output: StepOutput, prediction: Prediction | None, batch: Batch, stage: Stage
    ) -> Row:
        """See `Task`; columns begin with the name of their head."""
        if not isinstance(output.raw, dict) or not isinstance(prediction, dict):
            return {}
        metrics = self.metrics(stage)
        assert isinstance(metrics, HeadMetrics)
        row: Row = {}
        for name, goal in self.goals.items():
            own = goal.measure(metrics.heads[name], output.raw[name], prediction[name], batch)
            row |= {f"{name}/{column}": value for column, value in own.items()}
        return row

    # --- nets on images ---------------------------------------------------------------------------

    def apply_net(self, image: Tensor, **more: Tensor) -> Named:
        """Return the output of each head for patches or whole images."""
        return self._by_head(self.call_net({IMAGE: image, **more}), image)

    def whole(self, image: Tensor, stage: Stage, **more: Tensor) -> Named:
        """Predict one whole image.

        Returns:
            For each head a float32 tensor ``(1, K, [Z,] Y, X)`` or ``(1, K)``.
        """
        dense = {name: goal.out_channels for name, goal in self.goals.items() if goal.dense}
        others: dict[str, list[Tensor]] = {name: [] for name in self.goals if name not in dense}

        def net(patches: Tensor) -> Tensor:
            raw = self.apply_net(patches, **more)
            for name, seen in others.items():
                seen.append(raw[name].float())
            # one tensor for the tiles, which are blended alike
            return torch.cat([raw[name] for name in dense], 1) if dense else seen[-1]

        found: Named = {}
        if dense:
            parts = torch.split(self.by_tiles(net, image, stage), list(dense.values()), 1)
            found = dict(zip(dense, parts, strict=True))
        else:
            self.at_once(net, image, stage)
        found |= {name: torch.cat(seen).mean(0, keepdim=True) for name, seen in others.items()}
        return {name: found[name] for name in self.goals}

    def postprocess(self, raw: Mapping[str, Tensor], spacing: PixelSize = None) -> Named:
        """Return the result of each head."""
        return {name: goal.postprocess(raw[name], spacing) for name, goal in self.goals.items()}

    def probabilities(self, raw: Mapping[str, Tensor]) -> Named:
        """Return the probabilities of the classes of each head that has classes."""
        found = {name: goal.probabilities(raw[name]) for name, goal in self.goals.items()}
        return {name: values for name, values in found.items() if values is not None}

    def _learnt(self, batch: Batch) -> Batch:
        """Return a batch with what each head learns under its name, unknown where there is none."""
        learnt = dict(batch)
        for goal in self.goals.values():
            value = goal.learnt(batch)
            learnt[goal.loss_key] = goal.unknown(batch[IMAGE]) if value is None else value
        if TARGET not in batch:  # no image of the batch has labels of pixels
            learnt[WEIGHT] = torch.zeros_like(batch[IMAGE][:, :1])
        return learnt

    def _by_head(self, raw: Any, image: Tensor, *, extra: bool = False) -> Named:
        """Return the outputs by head; with ``extra`` what terms read beside them as well."""
        name = type(self.nets["net"]).__name__
        if isinstance(raw, Tensor) and len(self.goals) == 1:
            raw = dict.fromkeys(self.goals, raw)
        given = raw if isinstance(raw, dict) else {}
        lacking = [head for head in self.goals if head not in given]
        read = {*self.goals, *(head for head in self._head_of.values() if head)}
        unread = [head for head in given if head not in read]
        if lacking or unread:
            got = f"the outputs {listed(list(given))}" if given else "one output without a name"
            message = f"net '{name}' returns {got}; task.heads has {listed(list(self.goals))}"
            raise ConfigError(Problem(message, where="task.net"))
        main = {
            head: value[0] if isinstance(value, (list, tuple)) else value
            for head, value in given.items()
        }
        for head, goal in self.goals.items():
            goal.check_output(main[head], image, name)
        return {head: main[head] for head in (main if extra else self.goals)}
