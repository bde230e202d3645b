"""Random changes of the pixel grid for training: image, target and cost map move together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from imtoolkit.core.batch import IMAGE
from imtoolkit.data.transforms.base import (
    Array,
    RandomSampleTransform,
    Sample,
    grids,
    is_labels,
    plain,
)


class Flips(RandomSampleTransform):
    """Mirror along each axis with probability ``prob``.

    Args:
        axes: Axes to mirror, such as ``[Y, X]``; all when left out.
        prob: Probability for each axis.
    """

    views = True
    moves = True

    def __init__(self, axes: Sequence[str] | None = None, prob: float = 0.5) -> None:
        super().__init__(prob)
        self.axes = None if axes is None else [_axis(name) for name in axes]

    def __call__(self, data: Sample) -> Sample:  # type: ignore[override]
        """Return the sample, mirrored."""
        sample = dict(data)
        dims = sample[IMAGE].ndim - 1
        draws = self.R.random_sample(3)  # always three, so that the next draw depends on nothing
        chosen = (
            range(-dims, 0) if self.axes is None else [axis for axis in self.axes if axis >= -dims]
        )
        turned = tuple(axis for axis in chosen if draws[axis] < self.prob)
        if turned:
            for key in grids(sample):
                sample[key] = _flip(sample[key], turned)
        return sample


class Rotations90(RandomSampleTransform):
    """Turn in the plane of Y and X by 0, 90, 180 or 270 degrees, each equally often.

    A patch whose Y and X differ is turned by 0 or 180 degrees only, so that its shape stays.

    Args:
        prob: How often one of the four turns is drawn.
    """

    views = True
    moves = True

    def change(self, sample: Sample) -> None:
        """Turn everything on the image's grid."""
        turns = int(self.R.random_sample() * 4)
        height, width = sample[IMAGE].shape[-2:]
        if height != width:
            turns = turns // 2 * 2
        if turns:
            for key in grids(sample):
                sample[key] = _turn(sample[key], turns)


class RandomAffine(RandomSampleTransform):
    """Turn, scale and shift by small random amounts, all of it in one interpolation.

    Stacks are turned in the plane of Y and X only, since Z is sampled differently.

    Args:
        degrees: Largest turn.
        scale: Largest relative change of size: 0.1 is 0.9 to 1.1.
        shift: Largest shift as a fraction of the size.
        prob: How often it is done.
        padding: What lies outside: ``reflection``, ``border`` or ``zeros``. The cost map becomes 0
            there if zeros.
    """

    moves = True

    def __init__(
        self,
        degrees: float = 15.0,
        scale: float = 0.1,
        shift: float = 0.0,
        prob: float = 0.5,
        padding: str = "reflection",
    ) -> None:
        super().__init__(prob)
        if padding not in ("reflection", "border", "zeros"):
            message = f"got padding={padding!r}; expected 'reflection', 'border' or 'zeros'"
            raise ValueError(message)
        if not 0 <= scale < 1 or degrees < 0 or shift < 0:
            message = (
                f"got degrees={degrees}, scale={scale}, shift={shift}; "
                "expected degrees and shift >= 0 and scale in [0, 1)"
            )
            raise ValueError(message)
        self.degrees, self.scale, self.shift, self.padding = degrees, scale, shift, padding

    def change(self, sample: Sample) -> None:
        """Move everything on the image's grid alike."""
        shape = sample[IMAGE].shape[1:]
        angle, scale, *shifts = self.R.uniform(-1, 1, 2 + 3)
        matrix = _affine_matrix(
            shape,
            angle=math.radians(self.degrees * angle),
            scale=1 + self.scale * scale,
            shifts=[2 * self.shift * value for value in shifts[: len(shape)]],
        )
        grid = functional.affine_grid(matrix[None], [1, 1, *shape], align_corners=False)
        for key in grids(sample):
            sample[key] = self._sample(plain(sample[key]), grid)

    def _sample(self, array: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        mode = "nearest" if is_labels(array) else "bilinear"
        moved = functional.grid_sample(
            array[None].float(), grid, mode=mode, padding_mode=self.padding, align_corners=False
        )
        return moved[0].to(array.dtype)


def _affine_matrix(
    shape: Sequence[int], *, angle: float, scale: float, shifts: Sequence[float]
) -> torch.Tensor:
    """Return the matrix of `torch.nn.functional.affine_grid`, whose axes run X, Y, [Z]."""
    dims = len(shape)
    height, width = shape[-2:]
    matrix = np.zeros((dims, dims + 1))
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    # coordinates run from -1 to 1 along each side, so a turn of a rectangle needs the ratio of its
    # sides
    matrix[0, :2] = cos, -sin * height / width
    matrix[1, :2] = sin * width / height, cos
    if dims == 3:
        matrix[2, 2] = 1.0
    matrix[:, -1] = shifts
    return torch.as_tensor(matrix, dtype=torch.float32)


def _axis(name: str) -> int:
    try:
        return {"Z": -3, "Y": -2, "X": -1}[name.upper()]
    except (KeyError, AttributeError) as error:
        message = f"got axis {name!r}; expected Z, Y or X"
        raise ValueError(message) from error


def _flip(array: Array, axes: tuple[int, ...]) -> Array:
    return np.flip(array, axes) if isinstance(array, np.ndarray) else torch.flip(array, axes)


def _turn(array: Array, turns: int) -> Array:
    if isinstance(array, np.ndarray):
        return np.rot90(array, turns, (-2, -1))
    return torch.rot90(array, turns, (-2, -1))
