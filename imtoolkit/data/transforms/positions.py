"""Where in the old image each pixel of a new one lies: moves that are composed before any pixel.

Turning, scaling, shifting and bending one after the other interpolates once, not four times.
Positions are counted in pixels from the centre of the first one, axes ``[Z,] Y, X``.
"""

from __future__ import annotations

import numpy as np
import torch

from imtoolkit.data.transforms.resample import resample_points, spread


class Positions:
    """The old position of every pixel of the new image, which has the same shape.

    Moves are added in the order in which they would be applied to the image one by one.

    Args:
        shape: Spatial shape ``([Z,] Y, X)``.
        device: Where positions are computed.

    Example:
        >>> positions = Positions((1, 4))
        >>> positions.affine(np.array([[1.0, 0, 0], [0, -1, 3]]))  # mirrored along X
        >>> positions.dense()[1].tolist()
        [[3.0, 2.0, 1.0, 0.0]]
    """

    def __init__(self, shape: tuple[int, ...], device: torch.device | str = "cpu") -> None:
        self.shape, self.device = shape, torch.device(device)
        self._moves: list[np.ndarray | torch.Tensor] = []

    def affine(self, matrix: np.ndarray) -> None:
        """Add the move whose old positions are ``matrix @ (position, 1)``; ``(dims, dims + 1)``."""
        if self._moves and isinstance(self._moves[-1], np.ndarray):
            self._moves[-1] = chained(self._moves[-1], matrix)
        else:
            self._moves.append(matrix)

    def shift(self, field: torch.Tensor) -> None:
        """Add the move whose old positions lie ``field`` away; pixels, ``(dims, [Z,] Y, X)``."""
        self._moves.append(field)

    @property
    def matrix(self) -> np.ndarray | None:
        """The whole as one matrix ``(dims, dims + 1)``; ``None`` if something was bent."""
        if not self._moves:
            return np.eye(len(self.shape), len(self.shape) + 1)
        only = self._moves[0]
        return only if len(self._moves) == 1 and isinstance(only, np.ndarray) else None

    @property
    def in_plane(self) -> bool:
        """Whether planes of Y and X stay planes: then Z can be treated by itself."""
        matrix = self.matrix
        if matrix is None or len(self.shape) != 3:
            return False
        return not (matrix[0, 1:3].any() or matrix[1:, 0].any())

    def dense(self) -> torch.Tensor:
        """Return the old positions ``(dims, [Z,] Y, X)``, float32."""
        points: torch.Tensor | None = None
        # the last move is asked first: where a pixel came from before it, and so on to the first
        for move in reversed(self._moves):
            if isinstance(move, np.ndarray):
                points = self._pixels(move) if points is None else _transformed(points, move)
            elif points is None:
                points = self._pixels() + move
            else:
                points = points + resample_points(move, points)
        return self._pixels() if points is None else points

    def _pixels(self, matrix: np.ndarray | None = None) -> torch.Tensor:
        dims = len(self.shape)
        return spread(np.eye(dims, dims + 1) if matrix is None else matrix, self.shape, self.device)


def chained(first: np.ndarray, then: np.ndarray) -> np.ndarray:
    """Return the matrix of two moves: the old position of the second is looked up in the first.

    Example:
        >>> double, one_further = np.array([[2.0, 0.0]]), np.array([[1.0, 1.0]])
        >>> chained(double, one_further).tolist()
        [[2.0, 2.0]]
    """
    dims = len(first)
    out = first[:, :dims] @ then
    out[:, dims] += first[:, dims]
    return np.asarray(out)


def _transformed(points: torch.Tensor, matrix: np.ndarray) -> torch.Tensor:
    dims = len(points)
    linear = torch.as_tensor(matrix[:, :dims], dtype=points.dtype, device=points.device)
    offset = torch.as_tensor(matrix[:, dims], dtype=points.dtype, device=points.device)
    moved: torch.Tensor = torch.tensordot(linear, points, 1) + offset.reshape(-1, *[1] * dims)
    return moved
