"""Regression: a number for each image, or several, in 2D and 3D."""

from __future__ import annotations

from imtoolkit.config.sections import RegressionConfig
from imtoolkit.core.facts import TargetKind

from .goals import NumbersGoal
from .supervised import SupervisedTask


class RegressionTask(SupervisedTask):
    """Learns numbers of each image; parameters as `SupervisedTask`.

    The net learns them in units of their training spread; results are in the user's units.
    """

    category = "regression"
    target_kind = TargetKind.NUMBER
    config_class = RegressionConfig
    config: RegressionConfig

    def build_goal(self) -> NumbersGoal:
        """See `SupervisedTask`."""
        return NumbersGoal(self.facts, self.config.columns, standardize=self.config.standardize)
