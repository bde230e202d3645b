"""Random changes of the pixel grid for training: image, target and cost map move together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from imtoolkit.core.batch import IMAGE, WEIGHT
from imtoolkit.data.transforms.base import (
    Array,
    RandomSampleTransform,
    Sample,
    grids,
    is_labels,
    plain,
)
from imtoolkit.data.transforms.positions import Positions
from imtoolkit.data.transforms.ranges import between, spatial_axes
from imtoolkit.data.transforms.resample import PADDINGS, resample


class RandomGridTransform(RandomSampleTransform):
    """A random change of the grid; subclasses write `draw` and `move`.

    Args:
        prob: How often the change is made.
        padding: What lies outside, one of `PADDINGS`.
    """

    padding: str | None = None
    """``None`` where nothing is interpolated, and nothing from outside comes in."""

    def __init__(self, prob: float, padding: str | None = None) -> None:
        super().__init__(prob)
        if padding is not None and padding not in PADDINGS:
            message = f"got padding={padding!r}; expected 'reflection', 'border' or 'zeros'"
            raise ValueError(message)
        self.padding = padding

    def move(self, positions: Positions, drawn: Any) -> None:
        """Add what was drawn to the positions of one sample."""
        raise NotImplementedError

    def change(self, sample: Sample, drawn: Any) -> None:
        """Move everything on the image's grid alike."""
        positions = Positions(tuple(sample[IMAGE].shape[1:]))
        self.move(positions, drawn)
        keys = grids(sample)
        arrays = [plain(sample[key])[None] for key in keys]
        moved = resample(
            arrays,
            [takes_nearest(key, array) for key, array in zip(keys, arrays, strict=True)],
            [positions],
            self.padding or "reflection",
        )
        sample.update((key, array[0]) for key, array in zip(keys, moved, strict=True))


class TurningTransform(RandomGridTransform):
    """A change of the grid without interpolation; subclasses write `turned` and `undone`, too."""

    views = True

    def turned(self, array: Array, drawn: Any) -> Array:
        """Return one array ``(..., [Z,] Y, X)``, turned; a view where numpy can make one."""
        raise NotImplementedError

    def undone(self, array: Array, drawn: Any) -> Array:
        """Return one array ``(..., [Z,] Y, X)``, turned back."""
        raise NotImplementedError

    def change(self, sample: Sample, drawn: Any) -> None:
        """Turn everything on the image's grid alike."""
        for key in grids(sample):
            sample[key] = self.turned(sample[key], drawn)


def takes_nearest(key: str, array: torch.Tensor) -> bool:
    """Tell what is never interpolated: labels, and the cost map, whose zeros shall stay zeros."""
    return key == WEIGHT or is_labels(array)


class Flips(TurningTransform):
    """Mirror along each axis with probability ``prob``.

    Args:
        axes: Axes to mirror, such as ``[Y, X]``; all when left out.
        prob: Probability for each axis.
    """

    def __init__(self, axes: Sequence[str] | None = None, prob: float = 0.5) -> None:
        super().__init__(prob)
        self.axes = spatial_axes(axes)

    def drawn(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Draw the axes to mirror, counted from the end."""
        dims = len(shape) - 1
        draws = self.R.random_sample(3)  # always three, so that the next draw depends on nothing
        mirrored = (axis for axis in self.axes if axis >= -dims and draws[axis] < self.prob)
        return tuple(mirrored) or None

    def turned(self, array: Array, drawn: tuple[int, ...]) -> Array:
        """Mirror one array."""
        if isinstance(array, np.ndarray):
            return np.flip(array, drawn)
        return torch.flip(array, drawn)

    def undone(self, array: Array, drawn: tuple[int, ...]) -> Array:
        """Mirror one array back."""
        return self.turned(array, drawn)

    def move(self, positions: Positions, drawn: tuple[int, ...]) -> None:
        """Add the mirroring."""
        dims = len(positions.shape)
        matrix = np.eye(dims, dims + 1)
        for axis in drawn:
            matrix[axis + dims, axis + dims] = -1
            matrix[axis + dims, dims] = positions.shape[axis] - 1
        positions.affine(matrix)


class Rotations90(TurningTransform):
    """Turn in the plane of Y and X by 0, 90, 180 or 270 degrees, each equally often.

    A patch whose Y and X differ is turned by 0 or 180 degrees only, so that its shape stays.

    Args:
        prob: How often one of the four turns is drawn.
    """

    def __init__(self, prob: float = 1.0) -> None:
        super().__init__(prob)

    def draw(self, shape: tuple[int, ...]) -> int | None:
        """Draw the number of quarter turns."""
        turns = int(self.R.random_sample() * 4)
        if shape[-1] != shape[-2]:
            turns = turns // 2 * 2
        return turns or None

    def turned(self, array: Array, drawn: int) -> Array:
        """Turn one array."""
        if isinstance(array, np.ndarray):
            return np.rot90(array, drawn, (-2, -1))
        return torch.rot90(array, drawn, (-2, -1))

    def undone(self, array: Array, drawn: int) -> Array:
        """Turn one array back."""
        return self.turned(array, -drawn)

    def move(self, positions: Positions, drawn: int) -> None:
        """Add the turn."""
        dims, last = len(positions.shape), positions.shape[-1] - 1
        quarter = np.eye(dims, dims + 1)
        quarter[-2:, -3:] = [[0, 1, 0], [-1, 0, last]]  # y comes from x, and x from last - y
        if drawn == 2:
            quarter[-2:, -3:] = [[-1, 0, positions.shape[-2] - 1], [0, -1, last]]
        for _ in range(1 if drawn == 2 else drawn):
            positions.affine(quarter)


class RandomAffine(RandomGridTransform):
    """Turn, scale and shift by small random amounts, all of it in one interpolation.

    Stacks are turned and scaled in the plane of Y and X only, since Z is sampled differently; with
    ``tilt`` they are turned out of it as well, as if pixels were cubes.

    Args:
        degrees: Largest turn.
        scale: Largest relative change of size: 0.1 is 0.9 to 1.1.
        shift: Largest shift as a fraction of the size.
        prob: How often it is done.
        padding: What lies outside: ``reflection``, ``border`` or ``zeros``. The cost map becomes 0
            there if zeros.
        tilt: Largest turn of a stack about its X and Y axes, in degrees.
    """

    def __init__(
        self,
        degrees: float = 15.0,
        scale: float = 0.1,
        shift: float = 0.0,
        prob: float = 0.5,
        padding: str = "reflection",
        tilt: float = 0.0,
    ) -> None:
        super().__init__(prob, padding)
        if not 0 <= scale < 1 or degrees < 0 or shift < 0 or tilt < 0:
            message = (
                f"got degrees={degrees}, scale={scale}, shift={shift}, tilt={tilt}; "
                "expected degrees, shift and tilt >= 0 and scale in [0, 1)"
            )
            raise ValueError(message)
        self.degrees, self.scale, self.shift, self.tilt = degrees, scale, shift, tilt

    def draw(self, shape: tuple[int, ...]) -> np.ndarray:
        """Draw old positions as a function of new ones: a matrix ``(dims, dims + 1)``."""
        turn, scale, *shifts = self.R.uniform(-1, 1, 2 + 3)
        sides = np.array(shape[1:])
        tilts = self.R.uniform(-1, 1, 2) * self.tilt if self.tilt and len(sides) == 3 else (0, 0)
        size = 1 + self.scale * scale
        linear = _turned(len(sides), -2, -1, self.degrees * turn) / size
        if len(sides) == 3:
            linear[0, 0] = 1.0
            linear = _turned(3, 0, 1, tilts[0]) @ _turned(3, 0, 2, tilts[1]) @ linear
        centre = (sides - 1) / 2
        moved = self.shift * np.array(shifts[: len(sides)][::-1]) * sides  # drawn for X, Y, Z
        return np.column_stack([linear, centre + moved - linear @ centre])

    def move(self, positions: Positions, drawn: np.ndarray) -> None:
        """Add turn, scale and shift."""
        positions.affine(drawn)


class RandomElastic(RandomGridTransform):
    """Bend smoothly: every pixel moves by a cubic spline through random vectors on a coarse grid.

    Rueckert et al., "Nonrigid registration using free-form deformations", IEEE Trans. Med. Imaging
    18 (1999). Nothing folds: the largest shift is kept below ``spacing / 2.48`` (Choi and Lee,
    "Injectivity conditions of 2D and 3D uniform cubic B-spline functions", Graphical Models 62
    (2000)).

    Args:
        amplitude: Largest shift along each axis in pixels, a number or a range to draw from.
        spacing: Distance of the coarse grid's points in pixels.
        axes: Axes along which pixels move; Y and X when left out, since Z is sampled differently.
        prob: How often it is done.
        padding: What lies outside: ``reflection``, ``border`` or ``zeros``.
    """

    def __init__(
        self,
        amplitude: float | Sequence[float] = (0.0, 8.0),
        spacing: float = 32.0,
        axes: Sequence[str] = ("Y", "X"),
        prob: float = 0.3,
        padding: str = "reflection",
    ) -> None:
        super().__init__(prob, padding)
        self.amplitude = between(amplitude, "amplitude", lowest=0.0)
        self.spacing, self.axes = float(spacing), spatial_axes(axes)
        if spacing <= 0 or self.amplitude[1] > spacing / _FOLDS:
            message = (
                f"got amplitude={amplitude}, spacing={spacing}; expected an amplitude of at most "
                f"spacing / {_FOLDS}, here {max(spacing, 0) / _FOLDS:.3g}, or the image would fold"
            )
            raise ValueError(message)

    def draw(self, shape: tuple[int, ...]) -> np.ndarray:
        """Draw the shifts of the coarse grid's points, ``(dims, [Z,] Y, X)`` in pixels."""
        sides = shape[1:]
        amplitude = self.R.uniform(*self.amplitude)
        points = [int((side - 1) / self.spacing) + 4 for side in sides]
        coarse = self.R.uniform(-amplitude, amplitude, (len(sides), *points))
        still = [axis for axis in range(len(sides)) if axis - len(sides) not in self.axes]
        coarse[still] = 0.0
        return np.asarray(coarse, dtype=np.float32)

    def move(self, positions: Positions, drawn: np.ndarray) -> None:
        """Add the bending."""
        field = torch.as_tensor(drawn, device=positions.device)
        for axis, side in enumerate(positions.shape):
            basis = torch.as_tensor(_spline(side, self.spacing), device=positions.device)
            field = torch.movedim(torch.tensordot(basis, field, ([1], [axis + 1])), 0, axis + 1)
        positions.shift(field)


_FOLDS = 2.48
"""Spacing of a cubic spline's points over the largest shift that cannot fold it, in 3D."""


def _turned(dims: int, first: int, second: int, degrees: float) -> np.ndarray:
    """Return the matrix of a turn in the plane of two axes."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = np.eye(dims)
    matrix[first, first] = matrix[second, second] = cos
    matrix[first, second], matrix[second, first] = sin, -sin
    return matrix


def _spline(side: int, spacing: float) -> np.ndarray:
    """Return what each coarse point adds to each pixel: uniform cubic B-splines, rows sum to 1."""
    cell, share = np.divmod(np.arange(side) / spacing, 1.0)
    weights = [
        (1 - share) ** 3,
        3 * share**3 - 6 * share**2 + 4,
        -3 * share**3 + 3 * share**2 + 3 * share + 1,
        share**3,
    ]
    basis = np.zeros((side, int((side - 1) / spacing) + 4), dtype=np.float32)
    for place, weight in enumerate(weights):
        basis[np.arange(side), cell.astype(int) + place] = weight / 6
    return basis
