"""The input of super-resolution: the image enlarged to the grid of its finer target."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform

from imtoolkit.core.batch import IMAGE
from imtoolkit.core.errors import DataError
from imtoolkit.data.transforms.base import Sample, plain
from imtoolkit.data.transforms.grid import as_meta


class Enlarge(MapTransform):  # type: ignore[misc]
    """Enlarge the image by a whole factor, so that it lies on the grid of a finer target.

    Target and cost map stay as they are. The prediction keeps the finer grid, and is written with
    the smaller pixel size; so nothing that changes the grid may stand before this step. Pixels
    are squares: the border of the image stays where it is, and new pixel ``i`` has its centre at
    ``(i + 0.5) / factor - 0.5`` of the old.

    Args:
        factor: A whole number, or one for each axis ``[Z,] Y, X``, such as ``[1, 2, 2]``.
        order: Order of the spline: 0 repeats pixels, 1 is linear, 3 is cubic.

    Example:
        >>> image = torch.tensor([[[0.0, 4.0]]])
        >>> Enlarge([1, 2], order=1)({"image": image})["image"].tolist()
        [[[0.0, 1.0, 3.0, 4.0]]]
    """

    def __init__(self, factor: int | Sequence[int] = 2, order: int = 3) -> None:
        super().__init__((IMAGE,), allow_missing_keys=True)
        factors = [factor] if isinstance(factor, int) else list(factor)
        whole = all(isinstance(value, int) and value >= 1 for value in factors)
        if not whole or len(factors) not in (1, 2, 3) or max(factors) < 2:
            message = (
                f"got factor={factor}; expected a whole number of 2 or more, or one for each of "
                "[Z,] Y, X of which 1 leaves an axis as it is"
            )
            raise ValueError(message)
        if order not in range(6):
            message = f"got order={order}; expected a spline of order 0 to 5"
            raise ValueError(message)
        self.factors, self.order = tuple(factors), order

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        """Return the sample with its image enlarged."""
        sample = dict(data)
        image = as_meta(sample[IMAGE])
        factors = self.of_axes(image.ndim - 1)
        out = MetaTensor(self.change(plain(image), factors)).copy_meta_from(image)
        out.affine = torch.as_tensor(finer_affine(np.asarray(image.affine), factors))
        sample[IMAGE] = out
        return sample

    def of_axes(self, dims: int) -> tuple[int, ...]:
        """Return the factor of each axis.

        Raises:
            DataError: If there are not as many as axes.
        """
        if len(self.factors) not in (1, dims):
            message = (
                f"enlarge: got {len(self.factors)} factors {list(self.factors)} for an image of "
                f"{dims} dimensions; give one number, or one for each axis"
            )
            raise DataError(message)
        return self.factors * dims if len(self.factors) == 1 else self.factors

    def change(self, image: torch.Tensor, factors: Sequence[int]) -> torch.Tensor:
        """Return the enlarged image ``(C, [Z,] Y, X)``."""
        from scipy import ndimage

        values = image.to(torch.float32).numpy()
        # each channel by itself; grid_mode takes pixels for squares and not for points
        channels = [
            ndimage.zoom(channel, factors, order=self.order, mode="nearest", grid_mode=True)
            for channel in values
        ]
        return torch.from_numpy(np.stack(channels))


def finer_affine(affine: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Return the affine of a grid that is finer by whole factors and covers the same space.

    Example:
        >>> finer_affine(np.eye(4), (2, 4))[:2].tolist()
        [[0.5, 0.0, 0.0, -0.25], [0.0, 0.25, 0.0, -0.375]]
    """
    step = np.eye(len(affine))
    for axis, factor in enumerate(factors):
        step[axis, axis] = 1 / factor
        step[axis, -1] = 0.5 / factor - 0.5
    finer: np.ndarray = np.asarray(affine, dtype=np.float64) @ step
    return finer
