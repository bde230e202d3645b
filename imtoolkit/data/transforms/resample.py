"""Images and labels at other positions: linear for images, nearest for labels, fast on a CPU.

torch's `grid_sample` is vectorised in 2D and on a GPU, and scalar for stacks on a CPU, where it
takes 80 ns a pixel: there `gather` takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from imtoolkit.data.transforms.gather import Gathering, Line, Planes, Points, gather

if TYPE_CHECKING:
    from imtoolkit.data.transforms.positions import Positions

PADDINGS = ("reflection", "border", "zeros")
"""What lies outside an image: its mirror image, its last pixel, or nothing."""

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
    if arrays[0].ndim < 5 or arrays[0].device.type != "cpu":
        outs = _on_grid(arrays, nearest, positions, padding)
    else:
        outs = _by_gathering(arrays, nearest, positions, padding)
    return [out.to(dtype) for out, dtype in zip(outs, dtypes, strict=True)]


def resample_points(field: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Return a smooth field ``(C, [Z,] Y, X)`` at ``points (dims, [Z,] Y, X)``, linearly."""
    if field.ndim == 4 and field.device.type == "cpu":
        out = torch.empty_like(field, memory_format=torch.contiguous_format)
        gather([Gathering([field], [False], Points(points), "border", [out])])
        return out
    return functional.grid_sample(
        field[None], _grid(points[None]), padding_mode="border", align_corners=False
    )[0]


def spread(
    matrix: np.ndarray, shape: tuple[int, ...], device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Return affine functions of all pixels, ``(N, [Z,] Y, X)``.

    Args:
        matrix: ``(N, dims + 1)``, applied to ``(position, 1)``.
        shape: ``([Z,] Y, X)``.
        device: Where it is computed.

    Example:
        >>> spread(np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.5]]), (1, 3))[1].tolist()
        [[0.5, 2.5, 4.5]]
    """
    dims = len(shape)
    out = torch.empty((len(matrix), *shape), device=device)
    for row, values in zip(matrix, out, strict=True):
        parts = []
        for axis, side in enumerate(shape):
            # a sum of one line for each axis, in double and rounded once: no product of matrices
            line = np.arange(side) * row[axis] + (row[dims] if axis == 0 else 0.0)
            ones = [side if axis == other else 1 for other in range(dims)]
            parts.append(torch.as_tensor(line, dtype=torch.float32, device=device).reshape(ones))
        torch.add(sum(parts[1:-1], parts[0]), parts[-1], out=values)
    return out


def _by_gathering(
    arrays: Sequence[torch.Tensor],
    nearest: Sequence[bool],
    positions: Sequence[Positions],
    padding: str,
) -> list[torch.Tensor]:
    outs = [torch.empty_like(array, memory_format=torch.contiguous_format) for array in arrays]
    gather(
        [
            Gathering(
                [array[place] for array in arrays],
                nearest,
                _of_stack(one),
                padding,
                [out[place] for out in outs],
            )
            for place, one in enumerate(positions)
        ]
    )
    return outs


def _of_stack(positions: Positions) -> Line | Points | Planes:
    matrix = positions.matrix
    if matrix is None:
        return Points(positions.dense())
    depth, height, width = positions.shape
    if positions.in_plane:
        depths = np.arange(depth) * matrix[0, 0] + matrix[0, 3]
        points = spread(matrix[1:, 1:], (height, width))
        return Planes(points, torch.as_tensor(depths, dtype=torch.float32))
    rows = spread(matrix[:, [0, 1, 3]], (depth, height))
    columns = np.outer(matrix[:, 2], np.arange(width))
    return Line(rows.flatten(1)[..., None], torch.as_tensor(columns, dtype=torch.float32)[:, None])


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
