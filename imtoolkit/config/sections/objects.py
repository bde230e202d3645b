"""How objects are learnt as something that a net of pixels can tell, and made objects again."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BoundaryConfig:
    """Objects, learnt as classes of pixels: background, inside and boundary; a watershed makes objects of them again."""

    boundary: float = 1.0
    """Width of the boundary within each object in pixels, at least 1; 0 learns no boundary, and touching objects are split by their shape alone."""


@dataclass(frozen=True)
class DistanceConfig:
    """Objects, learnt as the distance of each pixel to the edge of its object; a watershed makes objects of it again."""

    normalize: bool = True
    """Divide by the greatest distance in each object, so that small and large ones reach 1; otherwise it is in pixels."""
