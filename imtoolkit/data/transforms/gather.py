"""Stacks at other positions on a CPU, by gathering neighbours: ten times `grid_sample`.

torch's own sampler for stacks works pixel by pixel. Here a chunk of pixels goes through each step
at once: positions, indices, eight neighbours, seven interpolations, all of which are vectorised.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch.nn import functional

_CHUNK = 1 << 15
"""Pixels that are worked on at a time: their numbers stay in the processor's cache."""


@dataclass(frozen=True)
class Line:
    """Positions in a stack that run evenly along X: a sum of two, made where they are needed.

    Attributes:
        rows: What each row adds, ``(3, Z * Y, 1)``.
        columns: What each place in a row adds, ``(3, 1, X)``.
    """

    rows: torch.Tensor
    columns: torch.Tensor

    def chunks(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield places in the flat stack, and their positions ``(3, N)``."""
        for rows, places in _cut(self.rows.shape[1], self.columns.shape[2]):
            yield places, (self.rows[:, rows] + self.columns).flatten(1)


@dataclass(frozen=True)
class Points:
    """Positions in a stack, one by one.

    Attributes:
        points: ``(3, Z, Y, X)``.
    """

    points: torch.Tensor

    def chunks(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield places in the flat stack, and their positions ``(3, N)``."""
        flat = self.points.flatten(1, 2)
        for rows, places in _cut(flat.shape[1], flat.shape[2]):
            yield places, flat[:, rows].flatten(1)


@dataclass(frozen=True)
class Planes:
    """Positions of planes that stay planes: the same in each of them.

    Attributes:
        points: Positions of Y and X, ``(2, Y, X)``.
        depths: Position of each plane, ``(Z,)``.
    """

    points: torch.Tensor
    depths: torch.Tensor

    def chunks(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield places in a flat plane, and their positions ``(2, N)``."""
        for rows, places in _cut(self.points.shape[1], self.points.shape[2]):
            yield places, self.points[:, rows].flatten(1)


def gather(jobs: Sequence[Gathering]) -> None:
    """Do all of them, a stack on each thread."""
    # what a stack does at a time is too small for torch to divide between its threads
    threads = min(torch.get_num_threads(), len(jobs))
    if threads < 2:
        for job in jobs:
            job.run()
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(job.run) for job in jobs]:
            done.result()


class Gathering:
    """One stack's arrays at new positions.

    Args:
        arrays: Images and labels, each ``(C, Z, Y, X)``.
        nearest: For each whether the nearest pixel is taken.
        positions: Where the new pixels come from.
        padding: ``reflection``, ``border`` or ``zeros``.
        outs: Contiguous arrays ``(C, Z, Y, X)`` that are filled.
    """

    def __init__(
        self,
        arrays: Sequence[torch.Tensor],
        nearest: Sequence[bool],
        positions: Line | Points | Planes,
        padding: str,
        outs: Sequence[torch.Tensor],
    ) -> None:
        self.positions, self.padding = positions, padding
        # zeros all round; otherwise, where there is one plane only, a second, whose share is 0
        self.border = int(padding == "zeros")
        sides = arrays[0].shape[1:]
        widths = [
            width
            for side in reversed(sides)
            for width in (self.border, self.border or int(side == 1))
        ]
        arrays = [functional.pad(array, widths) if any(widths) else array for array in arrays]
        self.sides = [side + 2 * self.border for side in sides]
        self.shape = tuple(arrays[0].shape[1:])
        self.strides = (self.shape[1] * self.shape[2], self.shape[2], 1)
        # indices are computed as floats, which are whole up to 2**24
        self.exact = torch.float32 if math.prod(self.shape) <= 1 << 24 else torch.float64
        self.labels: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.smooth: list[tuple[torch.Tensor, torch.Tensor]] = []
        for array, near, out in zip(arrays, nearest, outs, strict=True):
            pairs = zip(array.flatten(1), out.view(len(out), -1), strict=True)
            if near:
                self.labels += pairs
            else:
                self.smooth += [(values.to(torch.float32), target) for values, target in pairs]

    def run(self) -> None:
        """Fill the outs, a chunk of pixels at a time."""
        planes = isinstance(self.positions, Planes)
        first = 1 if planes else 0  # axes that one index counts in: all, or those of a plane
        for part, points in self.positions.chunks():
            at = [self._inside(line, axis) for axis, line in enumerate(points, start=first)]
            if self.labels:
                index = self._index([line.round() for line in at])
                for values, target in self.labels:
                    for source, _, out in self._pairs(values, target, nearest=True):
                        torch.index_select(source, 0, index, out=out[part])
            if self.smooth:
                low = [
                    line.floor().clamp_(max=side - 2)
                    for line, side in zip(at, self.shape[first:], strict=True)
                ]
                shares = [line.sub_(floor) for line, floor in zip(at, low, strict=True)]
                index = self._index(low)
                for values, target in self.smooth:
                    for source, deeper, out in self._pairs(values, target, nearest=False):
                        self._interpolate(source, deeper, index, shares, out[part])

    def _pairs(
        self, values: torch.Tensor, target: torch.Tensor, *, nearest: bool
    ) -> Iterator[tuple[torch.Tensor, float, torch.Tensor]]:
        """Yield what an index counts in, the share of the plane below, and what is filled."""
        if not isinstance(self.positions, Planes):
            yield values, 0.0, target
            return
        depths = self._inside(self.positions.depths, 0)
        low = depths.round() if nearest else depths.floor().clamp_(max=self.shape[0] - 2)
        starts = (low.long() * self.strides[0]).tolist()
        outs = target.view(len(starts), -1)
        for start, share, out in zip(starts, (depths - low).tolist(), outs, strict=True):
            yield values[start:], share, out

    def _interpolate(
        self,
        source: torch.Tensor,
        deeper: float,
        index: torch.Tensor,
        shares: Sequence[torch.Tensor],
        out: torch.Tensor,
    ) -> None:
        strides = self.strides[-len(shares) :]
        _linear(source, index, strides, shares, out)
        if deeper:
            below = torch.empty_like(out)
            _linear(source[self.strides[0] :], index, strides, shares, below)
            out.lerp_(below, deeper)

    def _inside(self, line: torch.Tensor, axis: int) -> torch.Tensor:
        line = line + self.border if self.border else line
        return inside(line, self.sides[axis], self.padding)

    def _index(self, at: Sequence[torch.Tensor]) -> torch.Tensor:
        out = at[-1].to(self.exact, copy=True)
        for line, stride in zip(at[-2::-1], self.strides[-2::-1], strict=False):
            out.add_(line.to(self.exact), alpha=stride)
        return out.long()


def inside(line: torch.Tensor, side: int, padding: str) -> torch.Tensor:
    """Bring positions along one axis into an image of so many pixels, as `grid_sample` does.

    Example:
        >>> inside(torch.tensor([-1.0, 0.5, 3.0, 4.0]), 4, "reflection").tolist()
        [0.0, 0.5, 3.0, 3.0]
    """
    if padding != "reflection":
        return line.clamp(0, side - 1)
    lowest, highest = (float(value) for value in line.aminmax())
    if lowest < -0.5 or highest > side - 0.5:
        line = line + 0.5
        if lowest < -0.5 - side or highest > 2 * side - 0.5:
            line = line - 2 * side * torch.floor(line / (2 * side))
        line = torch.rsub(line.abs_().sub_(side).abs_(), side - 0.5)
    return line.clamp(0, side - 1)


def _cut(rows: int, width: int) -> Iterator[tuple[slice, slice]]:
    step = max(1, _CHUNK // width)
    for begin in range(0, rows, step):
        end = min(begin + step, rows)
        yield slice(begin, end), slice(begin * width, end * width)


def _linear(
    values: torch.Tensor,
    index: torch.Tensor,
    strides: Sequence[int],
    shares: Sequence[torch.Tensor],
    out: torch.Tensor,
) -> None:
    """Interpolate between the four or eight neighbours that start at ``index``."""
    # one index serves all of them: each lies a fixed way further
    corners = [
        values[sum(way) :].index_select(0, index)
        for way in itertools.product(*[(0, stride) for stride in strides])
    ]
    for share in reversed(shares[1:]):
        corners = [
            low.lerp_(high, share) for low, high in zip(corners[::2], corners[1::2], strict=True)
        ]
    torch.lerp(corners[0], corners[1], shares[0], out=out)
