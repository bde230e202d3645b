"""Stacks at other positions on a CPU, by gathering neighbours: ten times `grid_sample`.

torch's own sampler for stacks works pixel by pixel. Here a chunk of pixels goes through each step
at once: positions, indices, eight neighbours, seven interpolations, all of which are vectorised.
"""

from __future__ import annotations

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
        positions: Line | Points,
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
        for part, points in self.positions.chunks():
            at = [
                inside(line + self.border if self.border else line, side, self.padding)
                for line, side in zip(points, self.sides, strict=True)
            ]
            if self.labels:
                index = self._index([line.round() for line in at])
                for values, target in self.labels:
                    torch.index_select(values, 0, index, out=target[part])
            if self.smooth:
                low = [
                    line.floor().clamp_(max=side - 2)
                    for line, side in zip(at, self.shape, strict=True)
                ]
                shares = [line.sub_(floor) for line, floor in zip(at, low, strict=True)]
                index = self._index(low)
                for values, target in self.smooth:
                    _trilinear(values, index, self.strides, shares, target[part])

    def _index(self, at: Sequence[torch.Tensor]) -> torch.Tensor:
        z, y, x = (line.to(self.exact) for line in at)
        return x.add(y, alpha=self.strides[1]).add_(z, alpha=self.strides[0]).long()


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


def _trilinear(
    values: torch.Tensor,
    index: torch.Tensor,
    strides: tuple[int, int, int],
    shares: Sequence[torch.Tensor],
    out: torch.Tensor,
) -> None:
    """Interpolate between the eight neighbours that start at ``index``."""
    # one index serves all eight: the others lie a fixed way further
    corners = [
        values[z * strides[0] + y * strides[1] + x :].index_select(0, index)
        for z in (0, 1)
        for y in (0, 1)
        for x in (0, 1)
    ]
    for share in (shares[2], shares[1]):
        corners = [
            low.lerp_(high, share) for low, high in zip(corners[::2], corners[1::2], strict=True)
        ]
    torch.lerp(corners[0], corners[1], shares[0], out=out)
