"""Objects grown from their seeds: the watershed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from imtoolkit.labels.numbering import smallest_type

from .base import RESULT, Array, Makes, PostprocessStep
from .parts import numbered_parts
from .sizes import LABELS


def watershed(
    landscape: Array,
    seeds: Array,
    mask: Array | None = None,
    *,
    high_inside: bool = True,
    compactness: float = 0.0,
    keep_unseeded: bool = False,
) -> Array:
    """Grow seeds over a landscape until they meet (Meyer's flooding, as skimage has it).

    Args:
        landscape: Map ``([Z,] Y, X)``; objects part where it is lowest between them.
        seeds: Numbers of the seeds, 0 elsewhere.
        mask: Where objects may be; left out, they cover the image.
        high_inside: Whether the landscape is high inside of objects, as probabilities and distances
            are; otherwise it is low there, and high at their edges, as membranes are.
        compactness: How much an even shape counts besides the landscape.
        keep_unseeded: Make an object of each connected part of the mask that holds no seed.

    Returns:
        Numbers of the objects: those of their seeds, and further ones for parts without a seed.

    Example:
        >>> hills = np.array([[0.2, 0.9, 0.4, 0.5, 0.7, 0.2]])
        >>> watershed(hills, np.array([[0, 1, 0, 0, 2, 0]]), hills > 0.3).tolist()
        [[0, 1, 1, 2, 2, 0]]
    """
    from skimage import segmentation

    landscape, seeds = np.asarray(landscape), np.asarray(seeds)
    inside = None if mask is None else np.asarray(mask) > 0
    if not seeds.size:
        return seeds.copy()
    depth = -landscape.astype(np.float32) if high_inside else landscape
    found = segmentation.watershed(depth, seeds, mask=inside, compactness=compactness)
    if keep_unseeded and inside is not None:
        parts, count = numbered_parts(inside)
        seeded = np.zeros(count + 1, bool)
        seeded[parts[found > 0]] = True
        seeded[0] = True
        numbers = np.cumsum(~seeded) * ~seeded
        numbers[numbers > 0] += int(found.max())
        found = np.where(seeded[parts], found, numbers[parts])
    return np.asarray(found.astype(smallest_type(int(found.max()))))


class Watershed(PostprocessStep):
    """Grow seeds over a landscape until they meet.

    Args:
        landscape: Name of the map in whose valleys objects part.
        seeds: Name of the seeds.
        mask: Name of the mask (or of classes or objects) in which objects may be; left out, they
            cover the image.
        high_inside: Whether the landscape is high inside of objects, as probabilities and distances
            are.
        compactness: How much an even shape counts besides the landscape.
        keep_unseeded: Make an object of each connected part of the mask that holds no seed.
        to: Name of the result.
    """

    makes = Makes.INSTANCES
    takes: ClassVar[Mapping[str, tuple[Makes, ...]]] = {
        "landscape": (Makes.MAP,),
        "seeds": (Makes.INSTANCES,),
        "mask": LABELS,
    }

    def __init__(
        self,
        landscape: str,
        seeds: str = RESULT,
        mask: str | None = None,
        high_inside: bool = True,
        compactness: float = 0.0,
        keep_unseeded: bool = False,
        to: str = RESULT,
    ) -> None:
        super().__init__(seeds, to)
        if keep_unseeded and mask is None:
            message = "'keep_unseeded' keeps parts of a mask: give 'mask'"
            raise ValueError(message)
        self.landscape = landscape
        self.seeds = seeds
        self.mask = mask
        self.high_inside = high_inside
        self.compactness = compactness
        self.keep_unseeded = keep_unseeded

    def apply(self, values: Mapping[str, Array], spacing: Sequence[float] | None) -> Array:
        """See `PostprocessStep`."""
        del spacing
        return watershed(
            self.read(values, self.landscape),
            self.read(values, self.seeds),
            None if self.mask is None else self.read(values, self.mask),
            high_inside=self.high_inside,
            compactness=self.compactness,
            keep_unseeded=self.keep_unseeded,
        )
