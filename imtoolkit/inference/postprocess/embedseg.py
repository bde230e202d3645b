"""Objects out of spatial embeddings: pixels that point to one place belong together.

The most certain pixel says where an object is and how far it reaches, and takes the pixels that
point there; then the most certain of those that are left (Neven et al., CVPR 2019; Lalit et al.,
Medical Image Analysis 2022). An object looks only at the cells of a grid that it reaches, so that
the work grows with the pixels and the sizes of objects, not with pixels times objects.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .base import RESULT, Array, Makes, PostprocessStep

_CELL: Final = 8.0  # side of the cells, in pixels
_LEAST: Final = 1e-6  # of a scale: no division by 0
_BLOCK: Final = 256  # seeds looked at together when the next free one is searched


def cluster_embeddings(
    offsets: ArrayLike,
    scales: ArrayLike,
    seeds: ArrayLike,
    *,
    seed_threshold: float = 0.7,
    foreground_threshold: float = 0.5,
    min_pixels: int = 16,
    min_unclustered: float = 0.5,
    membership: float = 0.5,
) -> NDArray[np.int32]:
    r"""Return the objects that an embedding tells of.

    The free pixel :math:`k` with the highest seed, the first in scan order where several are, takes
    all pixels of the foreground with :math:`\exp(-\sum_d (e_{id} - e_{kd})^2 / (2 \sigma_{kd}^2))`
    above ``membership``, where :math:`e_i` is the place of a pixel plus its offset. Those that are
    still free become an object, unless they are too few; all of them are free no longer.

    Args:
        offsets: From each pixel to the centre of its object ``(dims, [Z,] Y, X)``, in pixels.
        scales: How far an object reaches around its centre, as standard deviations in pixels, one
            ``(1, [Z,] Y, X)`` or one for each axis ``(dims, [Z,] Y, X)``.
        seeds: How surely a pixel points to its centre ``([Z,] Y, X)`` or ``(1, [Z,] Y, X)``, from 0
            to 1.
        seed_threshold: Least seed of a pixel that starts an object.
        foreground_threshold: Least seed of a pixel that belongs to any.
        min_pixels: Least number of pixels of an object.
        min_unclustered: Least fraction of the pixels around a centre that must still be free:
            otherwise they are the rim of an object that was found before.
        membership: Gaussian value above which a pixel belongs to an object.

    Returns:
        Labels ``([Z,] Y, X)``, numbered by falling seeds; 0 is background.

    Raises:
        ValueError: If shapes do not belong together, or a threshold makes no sense.

    Example:
        Four pixels in a row point to the second, one stands for itself:

        >>> offsets = np.array([[[0, 0, 0, 0, 0]], [[1, 0, -1, -2, 0]]])
        >>> scales, seeds = np.full((1, 1, 5), 0.5), np.array([[0.8, 0.9, 0.7, 0.6, 0.8]])
        >>> cluster_embeddings(offsets, scales, seeds, min_pixels=1).tolist()
        [[1, 1, 1, 1, 2]]
    """
    shift, width, trust = (np.asarray(values) for values in (offsets, scales, seeds))
    trust = trust[0] if trust.ndim == len(shift) + 1 and len(trust) == 1 else trust
    _check(shift, width, trust, membership, min_unclustered)
    labels = np.zeros(trust.shape, np.int32)
    kept = (trust >= foreground_threshold) & np.isfinite(shift).all(0)
    places = np.nonzero(kept)
    if not len(places[0]):
        return labels
    points = np.stack([at + shift[axis][places] for axis, at in enumerate(places)], axis=1)
    spread = np.stack([part[places] for part in width], axis=1).astype(np.float64)
    spread = np.broadcast_to(spread, points.shape).clip(_LEAST)
    cells = _Cells(points.astype(np.float64), trust.shape)
    chosen = _grown(
        cells,
        spread,
        trust[places],
        seed_threshold,
        math.sqrt(-2 * math.log(membership)),
        (max(min_pixels, 1), min_unclustered),
    )
    labels[places] = chosen
    return labels


class ClusterEmbeddings(PostprocessStep):
    """`cluster_embeddings` as a step of a chain.

    Args:
        seed_threshold: Least seed of a pixel that starts an object.
        foreground_threshold: Least seed of a pixel that belongs to any.
        min_pixels: Least number of pixels of an object.
        min_unclustered: Least fraction of its pixels that no object before it has taken.
        membership: Gaussian value above which a pixel belongs to an object.
        of: Name of the map of seeds.
        to: Name under which the objects stand.
        offsets: Name of the map of offsets.
        scales: Name of the map of scales.
    """

    makes = Makes.INSTANCES
    takes: ClassVar[Mapping[str, tuple[Makes, ...]]] = {"of": (), "offsets": (), "scales": ()}
    tunable: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "seed_threshold": (0.5, 0.6, 0.7, 0.8, 0.9),
        "foreground_threshold": (0.3, 0.4, 0.5, 0.6),
        "min_pixels": (4, 8, 16, 32, 64),
        "min_unclustered": (0.3, 0.5, 0.7),
        "membership": (0.2, 0.3, 0.4, 0.5),
    }

    def __init__(
        self,
        seed_threshold: float = 0.7,
        foreground_threshold: float = 0.5,
        min_pixels: int = 16,
        min_unclustered: float = 0.5,
        membership: float = 0.5,
        of: str = "seeds",
        to: str = RESULT,
        offsets: str = "offsets",
        scales: str = "scales",
    ) -> None:
        super().__init__(of, to)
        self.offsets = offsets
        self.scales = scales
        self.thresholds: dict[str, Any] = {
            "seed_threshold": seed_threshold,
            "foreground_threshold": foreground_threshold,
            "min_pixels": min_pixels,
            "min_unclustered": min_unclustered,
            "membership": membership,
        }
        _check_fractions(membership, min_unclustered)

    def apply(self, values: Mapping[str, Array], spacing: Sequence[float] | None) -> Array:
        """See `PostprocessStep`."""
        del spacing  # offsets and scales are in pixels
        maps = (self.read(values, name) for name in (self.offsets, self.scales, self.of))
        return cluster_embeddings(*maps, **self.thresholds)


class _Cells:
    """Points in the order of the cells of a grid; the cells at its rim hold all beyond.

    Attributes:
        points: ``(N, dims)``, by cell, in scan order within each.
        order: The number of each among the points that were given.
    """

    def __init__(self, points: NDArray[np.float64], shape: Sequence[int]) -> None:
        self.sides = [max(1, math.ceil(side / _CELL)) for side in shape]
        number = np.zeros(len(points), np.int64)
        for axis, count in enumerate(self.sides):
            cell = np.clip(points[:, axis] / _CELL, 0, count - 1).astype(np.int64)
            number = number * count + cell
        self.order = _order_of(number)
        self.points = points[self.order]
        filled = np.bincount(number, minlength=math.prod(self.sides))
        # plain numbers, which are read one at a time
        self._begins = [0, *np.cumsum(filled).tolist()]

    def around(self, centre: Sequence[float], reach: Sequence[float]) -> list[slice]:
        """Return where all points lie that are no farther away along any axis than ``reach``."""
        starts, stops = [], []
        for at, far, count in zip(centre, reach, self.sides, strict=True):
            starts.append(int(min(max((at - far) / _CELL, 0.0), count - 1)))
            stops.append(int(min(max((at + far) / _CELL, 0.0), count - 1)))
        rows = [0]
        for start, stop, count in zip(starts[:-1], stops[:-1], self.sides[:-1], strict=True):
            rows = [row * count + own for row in rows for own in range(start, stop + 1)]
        found = []
        for row in rows:  # the cells of a row lie side by side
            first = row * self.sides[-1]
            begin, end = self._begins[first + starts[-1]], self._begins[first + stops[-1] + 1]
            if begin < end:
                found.append(slice(begin, end))
        return found


def _grown(
    cells: _Cells,
    spread: NDArray[np.float64],
    trust: NDArray[Any],
    threshold: float,
    radius: float,
    least: tuple[int, float],
) -> NDArray[np.int32]:
    """Return the object of each point, in the order in which the points were given."""
    points, width = cells.points, spread[cells.order]
    where = np.empty(len(points), np.int64)
    where[cells.order] = np.arange(len(points))
    able = np.flatnonzero(trust >= threshold)
    queue = where[able[_falling(trust[able])]]
    labels, free = np.zeros(len(points), np.int32), np.ones(len(points), bool)
    count = 0
    for seed in _free_ones(queue, free):
        reach = radius * width[seed]
        parts = cells.around(points[seed].tolist(), reach.tolist())
        near = [_inside(points[part], points[seed], reach) + part.start for part in parts]
        members = near[0] if len(near) == 1 else np.concatenate(near)
        new = members[free[members]]
        if len(new) >= least[0] and len(new) >= least[1] * len(members):
            count += 1
            labels[new] = count
        free[members] = False
    return labels[where]


def _inside(
    points: NDArray[np.float64], centre: NDArray[np.float64], reach: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return which points lie in an ellipsoid."""
    away = (points - centre) / reach
    return np.flatnonzero(np.einsum("ij,ij->i", away, away) < 1)


def _falling(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return the order of falling values, equal ones as they come."""
    order = np.argsort(-values)  # several times as fast as a stable one, which `_order_of` makes up
    ordered = values[order]
    rank = np.zeros(len(values), np.int64)
    rank[order[1:]] = np.cumsum(ordered[1:] != ordered[:-1])
    return _order_of(rank)


def _order_of(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the order of rising numbers, equal ones as they come."""
    # a number and its place in one word: sorted much faster than by a stable sort of the numbers
    words = numbers.astype(np.uint64) << np.uint64(32) | np.arange(len(numbers), dtype=np.uint64)
    words.sort()
    return (words & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _free_ones(queue: NDArray[np.int64], free: NDArray[np.bool_]) -> Iterator[int]:
    """Yield the entries of a queue that are free when their turn comes."""
    at = 0
    while at < len(queue):
        block = free[queue[at : at + _BLOCK]]
        first = int(block.argmax())
        if not block[first]:
            at += _BLOCK
            continue
        yield int(queue[at + first])
        at += first + 1


def _check(
    offsets: Array, scales: Array, seeds: Array, membership: float, min_unclustered: float
) -> None:
    shape, dims = seeds.shape, seeds.ndim
    if offsets.shape != (dims, *shape) or scales.shape not in ((1, *shape), (dims, *shape)):
        message = (
            f"got offsets {offsets.shape}, scales {scales.shape} and seeds {shape}; expected "
            f"{(dims, *shape)}, {(1, *shape)} or {(dims, *shape)}, and {shape}"
        )
        raise ValueError(message)
    _check_fractions(membership, min_unclustered)


def _check_fractions(membership: float, min_unclustered: float) -> None:
    if not 0 < membership < 1 or not 0 <= min_unclustered <= 1:
        message = (
            f"got membership={membership}, min_unclustered={min_unclustered}; expected fractions, "
            "the first of them above 0 and below 1"
        )
        raise ValueError(message)
