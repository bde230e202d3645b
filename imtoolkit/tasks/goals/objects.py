"""Objects, learnt as classes or distances of pixels: the simple strong baseline.

Caicedo et al., "Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl",
Nature Methods 2019: three classes, of which the boundary parts touching objects. The distance to
the edge instead: Naylor et al., IEEE TMI 2019. A watershed from one seed for each object does the
rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor

from imtoolkit.config.sections import Component
from imtoolkit.core.batch import DISTANCE, PIXEL_CLASSES, Batch, Stage
from imtoolkit.core.errors import ComponentError, ConfigError, Problem, listed
from imtoolkit.core.facts import DataFacts
from imtoolkit.inference.postprocess.base import Makes
from imtoolkit.labels.maps import distance_map, pixel_classes
from imtoolkit.metrics.segmentation import ForegroundDiceMetric
from imtoolkit.metrics.suite import InstanceMetrics, MetricSuite

from .base import Goal, pixel_inputs
from .image import ImageGoal
from .labels import LabelsGoal
from .metrics import build_metrics

CLASSES: Final = ("background", "inside", "boundary")
"""Names of the classes where the config gives none."""
METRICS: Final = (
    *("ap", "instance_f1", "panoptic_quality", "matched_iou", "object_count", "foreground_dice"),
)
"""The metrics of objects."""
_LEAST: Final = 10  # pixels: less is noise in most images
_MASK, _HEIGHT = "object_mask", "object_height"


class ObjectsGoal(Goal):
    """What goals have in common whose truth and result are objects ``(B, 1, [Z,] Y, X)``."""

    main_metric = "ap/50"

    @property
    def truth_makes(self) -> Makes:
        """See `Goal`."""
        return Makes.INSTANCES

    def target_of(self, batch: Batch) -> Tensor | None:
        """Return the objects ``(B, 1, [Z,] Y, X)``."""
        target = batch.get(self.key)
        return target if isinstance(target, Tensor) else None

    def build_metrics(self, stage: Stage, components: Sequence[Component] | None) -> MetricSuite:
        """See `Goal`.

        Raises:
            ComponentError: If one measures something else than objects.
        """
        del stage
        if components is None:
            return InstanceMetrics(extra=[ForegroundDiceMetric()])
        for component in components:
            if "." not in component.name and component.name not in METRICS:
                message = f"metric '{component.name}' measures no objects: {listed(METRICS)} do"
                raise ComponentError(message)
        return MetricSuite(build_metrics(components))

    def measure(
        self, metrics: MetricSuite, raw: Tensor, result: Tensor, batch: Batch
    ) -> dict[str, Any]:
        """See `Goal`."""
        del raw
        target = self.target_of(batch)
        if target is None:
            return {}
        return dict(metrics.rows(result, target[:, 0], *pixel_inputs(batch))[0])


class BoundaryGoal(ObjectsGoal, LabelsGoal):
    """Logits of background, inside and boundary ``(B, 3, [Z,] Y, X)``; the truth is objects.

    The losses compare with `PIXEL_CLASSES`. The usual chain takes seeds where inside is far more
    probable than boundary, and grows them over inside and boundary.

    Args:
        facts: What the data module found.
        classes: Names of the classes in this order; empty for `CLASSES`.
        boundary: Width of the boundary in pixels; 0 for two classes, background and inside.
        class_weights: Weight of each class in the losses that take weights.
        named: ``name``, ``key`` and ``where`` of a `Goal`.

    Raises:
        ConfigError: If the names are not as many as the classes.
    """

    def __init__(
        self,
        facts: DataFacts,
        classes: Sequence[str] = (),
        *,
        boundary: float = 1.0,
        class_weights: Sequence[float] | None = None,
        **named: Any,
    ) -> None:
        self.boundary = boundary
        usual = CLASSES if boundary else CLASSES[:2]
        super().__init__(facts, tuple(classes) or usual, class_weights=class_weights, **named)
        if len(self.classes) != len(usual):
            message = f"got {list(classes)}; expected names for {', '.join(usual)}, or none"
            raise ConfigError(Problem(message, where=f"{self.where}.classes"))

    def learnt(self, batch: Batch) -> Tensor | None:
        """Return the class of each pixel ``(B, 1, [Z,] Y, X)``."""
        target = self.target_of(batch)
        if target is None:
            return None
        if not self.boundary:
            return (target > 0).to(torch.uint8)
        found = batch.get(PIXEL_CLASSES)
        if isinstance(found, Tensor):
            return found
        return each_image(target, lambda labels: pixel_classes(labels, self.boundary))

    def default_steps(self) -> list[Component]:
        """Return seeds, and a watershed from them."""
        inside = self.classes[1]
        if not self.boundary:
            return [
                Component("threshold", {"of": inside, "value": 0.5, "to": _MASK}),
                Component("distance", {"of": _MASK, "to": _HEIGHT}),
                Component("smooth", {"of": _HEIGHT, "sigma": 1.0, "to": _HEIGHT}),
                Component("seeds", {"of": _HEIGHT, "method": "h_maxima", "height": 0.5}),
                *_grown(),
            ]
        edge = self.classes[2]
        both = {inside: 1.0, edge: 1.0}
        return [
            Component("weighted_sum", {"weights": both, "to": _MASK}),
            Component("threshold", {"of": _MASK, "value": 0.5, "to": _MASK}),
            Component("weighted_sum", {"weights": {inside: 1.0, edge: -1.0}, "to": _HEIGHT}),
            Component("seeds", {"of": _HEIGHT, "method": "parts", "threshold": 0.8}),
            *_grown(),
        ]

    def describe(self) -> str:
        """See `Goal`."""
        return f"an instance segmentation by {len(self.classes)} classes of pixels"


class DistanceGoal(ObjectsGoal, ImageGoal):
    """Distance of each pixel to the edge of its object ``(B, 1, [Z,] Y, X)``; the truth is objects.

    The losses compare with `DISTANCE`. The usual chain takes seeds at the hills of the distance,
    and grows them over what is above 0.

    Args:
        facts: What the data module found.
        normalize: Whether distances are divided by the greatest in each object.
        default_loss: The loss where the config names none.
        named: ``name``, ``key`` and ``where`` of a `Goal`.
    """

    def __init__(
        self,
        facts: DataFacts,
        *,
        normalize: bool = True,
        default_loss: str = "charbonnier",
        **named: Any,
    ) -> None:
        self.normalize = normalize
        limits = [0.0, 1.0] if normalize else None
        super().__init__(
            facts, out_channels=1, data_range=limits, default_loss=default_loss, **named
        )

    def learnt(self, batch: Batch) -> Tensor | None:
        """Return the distances ``(B, 1, [Z,] Y, X)``."""
        found, target = batch.get(DISTANCE), self.target_of(batch)
        if isinstance(found, Tensor) or target is None:
            return found
        return each_image(target, lambda labels: distance_map(labels, normalize=self.normalize))

    def default_steps(self) -> list[Component]:
        """Return seeds, and a watershed from them."""
        edge, height = (0.05, 0.15) if self.normalize else (0.5, 0.75)
        return [
            Component("threshold", {"value": edge, "to": _MASK}),
            Component("smooth", {"of": "0", "sigma": 1.0, "to": _HEIGHT}),
            Component("seeds", {"of": _HEIGHT, "method": "h_maxima", "height": height}),
            *_grown(),
        ]

    def describe(self) -> str:
        """See `Goal`."""
        return "an instance segmentation by distances"


def each_image(target: Tensor, make: Any) -> Tensor:
    """Make a map of the objects of each image ``(B, 1, [Z,] Y, X)``, where the loader made none."""
    made = [torch.from_numpy(make(labels.cpu().numpy())) for labels in target[:, 0]]
    return torch.stack(made)[:, None].to(target.device)


def _grown() -> list[Component]:
    """Return the watershed from the seeds before it, and what follows."""
    over = {"landscape": _HEIGHT, "mask": _MASK, "keep_unseeded": True}
    return [
        Component("watershed", over),
        Component("fill_holes"),
        Component("remove_small", {"size": _LEAST}),
    ]
