"""Semantic segmentation: a class for each pixel, in 2D and 3D, with any net.

Or objects, learnt as the classes background, inside and boundary.
"""

from __future__ import annotations

from imtoolkit.config.sections import SegmentationConfig
from imtoolkit.core.facts import TargetKind

from .goals import BoundaryGoal, LabelsGoal
from .supervised import SupervisedTask


class SegmentationTask(SupervisedTask):
    """Learns a class for each pixel, or objects by such classes; parameters as `SupervisedTask`."""

    category = "segmentation"
    target_kind = TargetKind.LABELS
    config_class = SegmentationConfig
    config: SegmentationConfig

    def build_goal(self) -> LabelsGoal:
        """See `SupervisedTask`."""
        if self.config.instances is not None:
            return BoundaryGoal(
                self.facts,
                self.config.classes,
                boundary=self.config.instances.boundary,
                class_weights=self.config.class_weights,
            )
        return LabelsGoal(
            self.facts,
            self.config.classes,
            class_weights=self.config.class_weights,
            surface_tolerance=self.config.surface_tolerance,
        )
