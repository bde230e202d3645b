"""Classification: a class for each image, or any number of classes, in 2D and 3D."""

from __future__ import annotations

from imtoolkit.config.sections import ClassificationConfig
from imtoolkit.core.facts import TargetKind

from .goals import ClassGoal
from .supervised import SupervisedTask


class ClassificationTask(SupervisedTask):
    """Learns the class of each image; parameters as `SupervisedTask`.

    A class that is there or not is one of two classes, such as ``[healthy, sick]``. Images go
    through the net whole, of unequal sizes one by one.
    """

    category = "classification"
    target_kind = TargetKind.CLASS
    config_class = ClassificationConfig
    config: ClassificationConfig

    def build_goal(self) -> ClassGoal:
        """See `SupervisedTask`."""
        return ClassGoal(
            self.facts,
            self.config.classes,
            multilabel=self.config.multilabel,
            class_weights=self.config.class_weights,
            # losses that the config names have a parameter of their own for it
            label_smoothing=0.0 if self.config.losses else self.config.label_smoothing,
        )
