"""Objects by spatial embeddings: each pixel tells where the centre of its object is."""

from dataclasses import dataclass
from typing import Optional

from .task import TaskConfig


@dataclass(frozen=True)
class EmbedSegConfig(TaskConfig):
    """Instance segmentation by spatial embeddings (EmbedSeg), 2D or 3D: the net tells for each pixel the way to the centre of its object, how far the object reaches, and how sure it is."""

    centre: str = "medoid"
    """What the pixels of an object point to: `centroid`, its mean position; `medoid`, the pixel nearest to all others, which lies on the object; `approximate_medoid`, the pixel nearest to the centroid."""
    n_sigma: Optional[int] = None
    """How many scales an object has: 1, or one for each axis; left out, one for each axis."""
    anisotropy: Optional[list[float]] = None
    """Size of a pixel along `[Z,] Y, X` relative to that along X, such as `[4, 1, 1]`; left out, from the pixel size that the files tell."""
    object_radius: float = 10.0
    """Usual radius of an object in pixels of X: the unit in which the net speaks, and the scale that it starts from."""
    grid: float = 1024.0
    """Length of the coordinates in pixels of X: no pixel points farther."""
