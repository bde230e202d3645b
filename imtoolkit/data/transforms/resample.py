"""Images and labels at other positions: linear for images, nearest for labels, fast on a CPU.

torch's `grid_sample` is vectorised in 2D and on a GPU, and scalar for stacks on a CPU, where it
takes 80 ns a pixel. Stacks on a CPU go another way here: a move that keeps the planes of Y and X is
done for all planes of a stack at once in 2D, and then along Z; any other by gathering the eight
neighbours of many pixels at a time (10 ns a pixel for image and labels).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from imtoolkit.data.transforms.positions import Positions

PADDINGS = ("reflection", "border", "zeros")
"""What lies outside an image: its mirror image, its last pixel, or nothing."""

_CHUNK = 1 << 15
"""Pixels that are worked on at a time: their numbers stay in the processor's cache."""

_WIDER = {torch.uint16: torch.int32, torch.uint32: torch.int64}
"""Kinds of labels that torch stores but cannot pick from."""


def resample(
    arrays: Sequence[torch.Tensor],
    nearest: Sequence[bool],
    positions: Sequence[Positions],
    padding: str = "reflection",
) -> list[torch.Tensor]:
    """Return images, labels, ... of a batch at new positions, all of them at the same ones.

    Args:
        arrays: Each ``(B, C, [Z,] Y, X)``, on one grid and one device.
        nearest: For each array whether the nearest pixel is taken; linear otherwise.
        positions: For each sample of the batch.
        padding: One of `PADDINGS`; mirrored at the outer edge of the pixels.

    Returns:
        New arrays with the dtypes of the old ones.
    """
    dtypes = [array.dtype for array in arrays]
    arrays = [array.to(_WIDER.get(array.dtype, array.dtype)) for array in arrays]
    volumes = arrays[0].ndim == 5 and arrays[0].device.type == "cpu"
    flat = [place for place, one in enumerate(positions) if not volumes or one.in_plane]
    outs = [torch.empty_like(array, memory_format=torch.contiguous_format) for array in arrays]
    if flat:
        some = [array if len(flat) == len(positions) else array[flat] for array in arrays]
        how = _in_planes if volumes else _on_grid
        for out, moved in zip(
            outs, how(some, nearest, [positions[place] for place in flat], padding), strict=True
        ):
            out[flat] = moved
    for place in sorted(set(range(len(positions))) - set(flat)):
        points = positions[place].dense()
        _gather(
            [array[place] for array in arrays], nearest, points, padding, [o[place] for o in outs]
        )
    return [out.to(dtype) for out, dtype in zip(outs, dtypes, strict=True)]


def resample_points(field: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Return a smooth field ``(C, [Z,] Y, X)`` at ``points (dims, [Z,] Y, X)``, linearly."""
    if field.ndim == 4 and field.device.type == "cpu":
        out = torch.empty_like(field)
        _gather([field], [False], points.clone(), "border", [out])
        return out
    return functional.grid_sample(
        field[None], _grid(points[None]), padding_mode="border", align_corners=False
    )[0]


def spread(
    matrix: np.ndarray, shape: tuple[int, ...], device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Return an affine function of all pixels, ``(dims, [Z,] Y, X)``.

    Args:
        matrix: ``(dims, dims + 1)``, applied to ``(position, 1)``.
        shape: ``([Z,] Y, X)``.
        device: Where it is computed.

    Example:
        >>> spread(np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.5]]), (1, 3))[1].tolist()
        [[0.5, 2.5, 4.5]]
    """
    dims = len(shape)
    out = torch.empty((dims, *shape), device=device)
    for row, values in zip(matrix, out, strict=True):
        parts = []
        for axis, side in enumerate(shape):
            # a sum of one line for each axis, in double and rounded once: no product of matrices
            line = np.arange(side) * row[axis] + (row[dims] if axis == 0 else 0.0)
            ones = [side if axis == other else 1 for other in range(dims)]
            parts.append(torch.as_tensor(line, dtype=torch.float32, device=device).reshape(ones))
        torch.add(sum(parts[1:-1], parts[0]), parts[-1], out=values)
    return out


def _on_grid(
    arrays: Sequence[torch.Tensor],
    nearest: Sequence[bool],
    positions: Sequence[Positions],
    padding: str,
) -> list[torch.Tensor]:
    """Use torch's own sampler."""
    grid = _grid(torch.stack([one.dense() for one in positions]))
    return [
        _sampled(array, grid, padding, nearest=near)
        for array, near in zip(arrays, nearest, strict=True)
    ]


def _sampled(
    array: torch.Tensor, grid: torch.Tensor, padding: str, *, nearest: bool
) -> torch.Tensor:
    mode = "nearest" if nearest else "bilinear"
    return functional.grid_sample(
        array.to(torch.float32), grid, mode=mode, padding_mode=padding, align_corners=False
    ).to(array.dtype)


def _grid(points: torch.Tensor) -> torch.Tensor:
    """Return positions ``(B, dims, ...)`` as `grid_sample` wants them: last, X first, -1 to 1."""
    sides = points.shape[2:]
    scaled = [(2 * points[:, axis] + 1) / side - 1 for axis, side in enumerate(sides)]
    return torch.stack(scaled[::-1], dim=-1)


def _in_planes(
    arrays: Sequence[torch.Tensor],
    nearest: Sequence[bool],
    positions: Sequence[Positions],
    padding: str,
) -> list[torch.Tensor]:
    """Move all planes of a stack alike, as if they were channels of one image; then along Z."""
    height, width = arrays[0].shape[-2:]
    points, depths = [], []
    for one in positions:
        matrix = one.matrix
        assert matrix is not None
        points.append(spread(matrix[1:, 1:], (height, width)))
        depths.append(np.arange(arrays[0].shape[2]) * matrix[0, 0] + matrix[0, 3])
    grid = _grid(torch.stack(points))
    outs = []
    for array, near in zip(arrays, nearest, strict=True):
        planes = array.reshape(len(array), -1, height, width)
        moved = _sampled(planes, grid, padding, nearest=near).reshape(array.shape)
        outs.append(
            torch.stack(
                [
                    _along_z(stack, depth, padding, nearest=near)
                    for stack, depth in zip(moved, depths, strict=True)
                ]
            )
        )
    return outs


def _along_z(
    stack: torch.Tensor, depth: np.ndarray, padding: str, *, nearest: bool
) -> torch.Tensor:
    """Return the planes of ``(C, Z, Y, X)`` at new depths."""
    count = stack.shape[1]
    if np.array_equal(depth, np.arange(count)):
        return stack
    if padding == "zeros":
        stack = functional.pad(stack, (0, 0, 0, 0, 1, 1))
        depth, count = depth + 1, count + 2
    at = _inside(torch.as_tensor(depth), count, padding)
    if nearest:
        return stack.index_select(1, at.round().long())
    below = at.floor().clamp_(max=max(count - 2, 0))
    share = (at - below).to(stack.dtype).reshape(-1, 1, 1)
    low = stack.index_select(1, below.long())
    if not share.any():
        return low
    high = stack.index_select(1, (below.long() + 1).clamp_(max=count - 1))
    return low.lerp_(high, share)


def _gather(
    arrays: Sequence[torch.Tensor],
    nearest: Sequence[bool],
    points: torch.Tensor,
    padding: str,
    outs: Sequence[torch.Tensor],
) -> None:
    """Fill ``outs`` with one stack's arrays ``(C, Z, Y, X)`` at ``points``, which are changed."""
    arrays, points, sides = _with_border(arrays, points, padding)
    shape = arrays[0].shape[1:]
    strides = (shape[1] * shape[2], shape[2], 1)
    # indices are computed as floats, which are whole up to 2**24
    dtype = torch.float32 if math.prod(shape) <= 1 << 24 else torch.float64
    kinds = list(zip(arrays, nearest, outs, strict=True))
    smooth = [
        (a.to(torch.float32).flatten(1), o.view(len(o), -1)) for a, near, o in kinds if not near
    ]
    labels = [(a.flatten(1), o.view(len(o), -1)) for a, near, o in kinds if near]
    lines = points.reshape(3, -1)
    for begin in range(0, lines.shape[1], _CHUNK):
        part = slice(begin, begin + _CHUNK)
        at = [_inside(line[part], side, padding) for line, side in zip(lines, sides, strict=True)]
        if labels:
            index = _index([line.round() for line in at], strides, dtype)
            for array, out in labels:
                for values, target in zip(array, out, strict=True):
                    torch.index_select(values, 0, index, out=target[part])
        if smooth:
            low = [line.floor().clamp_(max=side - 2) for line, side in zip(at, shape, strict=True)]
            shares = [line.sub_(floor) for line, floor in zip(at, low, strict=True)]
            index = _index(low, strides, dtype)
            for array, out in smooth:
                for values, target in zip(array, out, strict=True):
                    target[part] = _trilinear(values, index, strides, shares)


def _trilinear(
    values: torch.Tensor,
    index: torch.Tensor,
    strides: tuple[int, int, int],
    shares: Sequence[torch.Tensor],
) -> torch.Tensor:
    """Interpolate between the eight neighbours that start at ``index``."""
    # one index serves all eight: the others lie a fixed way further
    corners = [
        values[z * strides[0] + y * strides[1] + x :].index_select(0, index)
        for z in (0, 1)
        for y in (0, 1)
        for x in (0, 1)
    ]
    for share in (shares[2], shares[1], shares[0]):
        corners = [
            low.lerp_(high, share) for low, high in zip(corners[::2], corners[1::2], strict=True)
        ]
    return corners[0]


def _index(
    at: Sequence[torch.Tensor], strides: tuple[int, int, int], dtype: torch.dtype
) -> torch.Tensor:
    z, y, x = (line.to(dtype) for line in at)
    return (z * strides[0]).add_(y, alpha=strides[1]).add_(x).long()


def _with_border(
    arrays: Sequence[torch.Tensor], points: torch.Tensor, padding: str
) -> tuple[list[torch.Tensor], torch.Tensor, tuple[int, ...]]:
    """Give every pixel a neighbour; return arrays, positions and the sides that these count in."""
    sides = tuple(arrays[0].shape[1:])
    if padding == "zeros":
        bordered = [functional.pad(array, [1] * 6) for array in arrays]
        return bordered, points + 1, tuple(side + 2 for side in sides)
    # where there is one plane only, a second gets the share 0: its values are never seen
    widths = [width for side in reversed(sides) for width in (0, int(side == 1))]
    if any(widths):
        arrays = [functional.pad(array, widths) for array in arrays]
    return list(arrays), points, sides


def _inside(line: torch.Tensor, side: int, padding: str) -> torch.Tensor:
    """Bring positions along one axis into an image of so many pixels, as `grid_sample` does."""
    if padding != "reflection":
        return line.clamp(0, side - 1)
    lowest, highest = (float(value) for value in line.aminmax())
    if lowest < -0.5 or highest > side - 0.5:
        line = line + 0.5
        if lowest < -0.5 - side or highest > 2 * side - 0.5:
            line = line - 2 * side * torch.floor(line / (2 * side))
        line = line.abs_().sub_(side).abs_().neg_().add_(side - 0.5)
    return line.clamp(0, side - 1)
