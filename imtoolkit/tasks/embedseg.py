"""EmbedSeg: objects by spatial embeddings, in 2D and 3D.

Lalit et al., "EmbedSeg: Embedding-based Instance Segmentation for Biomedical Microscopy Data",
Medical Image Analysis 2022, after Neven et al., "Instance Segmentation by Jointly Optimizing
Spatial Embeddings and Clustering Bandwidth", CVPR 2019.
"""

from __future__ import annotations

from torch import Tensor

from imtoolkit.config.sections import EmbedSegConfig
from imtoolkit.core.facts import TargetKind

from .goals.embedseg import EmbedSegGoal
from .supervised import SupervisedTask


class EmbedSegTask(SupervisedTask):
    """Learns where pixels belong; parameters as `SupervisedTask`.

    Any net serves that gives ``dims + n_sigma + 1`` channels for each pixel, in this order: the
    offset along each axis, the scales, the seed. Offsets are relative to the pixel, so that the
    maps of overlapping tiles can be averaged, and objects are clustered once in the whole image, or
    in large blocks of it.
    """

    category = "embedseg"
    target_kind = TargetKind.INSTANCES
    config_class = EmbedSegConfig
    config: EmbedSegConfig

    def build_goal(self) -> EmbedSegGoal:
        """See `SupervisedTask`."""
        config = self.config
        return EmbedSegGoal(
            self.facts,
            n_sigma=config.n_sigma,
            anisotropy=config.anisotropy,
            object_radius=config.object_radius,
            grid=config.grid,
        )

    @property
    def vector_channels(self) -> int:
        """See `Task`: the offsets turn with a mirrored image."""
        return self.facts.spatial_dims

    def finish(self, outputs: list[Tensor], image: Tensor) -> list[Tensor]:
        """See `SupervisedTask`; of several resolutions the main one counts."""
        del image
        goal = self.goal
        assert isinstance(goal, EmbedSegGoal)
        return [goal.embedding(outputs[0])]
