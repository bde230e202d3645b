"""A task of one's own: how far each pixel of a nucleus lies from its border.

The net learns a smooth landscape instead of classes. Its peaks are the middles of nuclei, so nuclei
that touch can be told apart.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from imtoolkit.config.sections import TaskConfig
from imtoolkit.core.batch import Batch
from imtoolkit.core.facts import TargetKind
from imtoolkit.labels.edges import boundaries
from imtoolkit.tasks.goals import ImageGoal
from imtoolkit.tasks.supervised import SupervisedTask


@dataclass(frozen=True)
class DistanceConfig(TaskConfig):
    """What the section `task` takes beside the keys of every task."""

    reach: float = 8.0
    """Distance in pixels from which on it no longer counts."""


class DistanceGoal(ImageGoal):
    """An image of distances, made of the labels while training."""

    reach: float

    def target_of(self, batch: Batch) -> Tensor | None:
        """Return the distances ``(B, 1, [Z,] Y, X)`` from 0 (border) to 1 (``reach`` away)."""
        labels = super().target_of(batch)  # (B, 1, [Z,] Y, X): numbers of nuclei
        if labels is None:
            return None
        maps = [distances(image[0].cpu().numpy()) for image in labels]
        return (
            torch.from_numpy(np.stack(maps)[:, None]).to(labels.device).div(self.reach).clamp(max=1)
        )


class DistanceTask(SupervisedTask):
    """What `task.category: distance` stands for."""

    category = "distance"
    config_class = DistanceConfig
    target_kind = TargetKind.INSTANCES  # what the data shall read: a number for each object
    config: DistanceConfig

    def build_goal(self) -> DistanceGoal:
        """Say what the net's output means: its channels, losses, metrics and pictures follow."""
        goal = DistanceGoal(self.facts, data_range=[0, 1], default_loss="mse")
        goal.reach = self.config.reach
        return goal


def distances(labels: np.ndarray) -> np.ndarray:
    """Return how far each pixel of an object lies from its border, 0 outside."""
    inside = (labels > 0) & ~boundaries(labels)
    return distance_transform_edt(inside).astype(np.float32)
