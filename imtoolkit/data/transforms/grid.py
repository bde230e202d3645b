"""Deterministic changes of the pixel grid; each can be undone for predictions."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import DivisiblePad, InvertibleTransform, MapTransform, Spacing, SpatialPad

from imtoolkit.core.batch import IMAGE, SPACING, TARGET, WEIGHT
from imtoolkit.core.errors import DataError
from imtoolkit.data.transforms.base import Sample, grids, is_labels


class _GridTransform(MapTransform, InvertibleTransform):  # type: ignore[misc]
    """Applies one MONAI array transform to everything on the image's grid, and undoes it."""

    def __init__(self) -> None:
        MapTransform.__init__(self, (IMAGE, TARGET, WEIGHT), allow_missing_keys=True)

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        """Return the sample on its new grid."""
        sample = dict(data)
        for key in grids(sample):
            sample[key] = self.change(as_meta(sample[key]))
        return sample

    def change(self, array: MetaTensor) -> MetaTensor:
        """Return one array on the new grid."""
        raise NotImplementedError

    def undo(self, array: MetaTensor) -> MetaTensor:
        """Return one array on the old grid."""
        raise NotImplementedError

    def inverse(self, data: Mapping[Hashable, Any]) -> Sample:
        """Return the sample on the grid that it came from."""
        sample = dict(data)
        for key in grids(sample):
            sample[key] = self.undo(sample[key])
        return sample


class PadToMultiple(_GridTransform):
    """Pad every axis at its end and beginning until it is a multiple of a number.

    A net that halves the image four times needs multiples of 16. Image, target and cost map are
    mirrored alike, so the padded border is a valid example; predictions are cut back.

    Args:
        multiple: One number, or one for each axis ``[Z,] Y, X``.
        mode: How the new pixels are made, as in `numpy.pad`.
    """

    def __init__(self, multiple: int | Sequence[int] = 16, mode: str = "symmetric") -> None:
        super().__init__()
        self.pad = DivisiblePad(multiple, mode=mode)

    def change(self, array: MetaTensor) -> MetaTensor:
        """Pad one array."""
        return self.pad(array)

    def undo(self, array: MetaTensor) -> MetaTensor:
        """Cut the padding off."""
        return self.pad.inverse(array)


class PadZ(_GridTransform):
    """Pad the Z axis of a stack until it has at least so many slices; 2D images stay as they are.

    Args:
        slices: Smallest number of slices.
        mode: How the new slices are made, as in `numpy.pad`.
    """

    def __init__(self, slices: int, mode: str = "symmetric") -> None:
        super().__init__()
        if slices < 1:
            message = f"got slices={slices}; expected at least 1"
            raise ValueError(message)
        self.pad = SpatialPad([slices, -1, -1], mode=mode)

    def change(self, array: MetaTensor) -> MetaTensor:
        """Pad one array."""
        return self.pad(array) if array.ndim == 4 else array

    def undo(self, array: MetaTensor) -> MetaTensor:
        """Cut the padding off."""
        return self.pad.inverse(array) if array.ndim == 4 else array


class SpacingUnknownError(DataError):
    """A step needs the pixel size, which the image does not tell."""


class ResampleSpacing(_GridTransform):
    """Resample to a common pixel size; labels take the nearest value, images are interpolated.

    Args:
        spacing: Pixel size ``[Z,] Y, X`` in the unit of the files (micrometres or millimetres).
    """

    def __init__(self, spacing: Sequence[float]) -> None:
        super().__init__()
        if not spacing or any(size <= 0 for size in spacing):
            message = f"got spacing={list(spacing)}; expected a positive size for each of [Z,] Y, X"
            raise ValueError(message)
        self.spacing = tuple(float(size) for size in spacing)
        self.smooth = Spacing(self.spacing, mode="bilinear", padding_mode="border")
        self.nearest = Spacing(self.spacing, mode="nearest", padding_mode="border")

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        """Return the sample at the new pixel size."""
        dims = data[IMAGE].ndim - 1
        if len(self.spacing) != dims:
            message = (
                f"resample_spacing: got {len(self.spacing)} sizes {list(self.spacing)} for an "
                f"image of {dims} dimensions; give one for each axis"
            )
            raise DataError(message)
        known = data.get(SPACING)
        if known is None or bool(torch.isnan(torch.as_tensor(known)).any()):
            message = (
                "resample_spacing needs the pixel size, which the image file does not tell. Write "
                "it into the files, or leave resample_spacing out"
            )
            raise SpacingUnknownError(message)
        return super().__call__(data)

    def change(self, array: MetaTensor) -> MetaTensor:
        """Resample one array."""
        if not is_labels(array):
            return self.smooth(array)
        # exact for labels below 2**24, which float32 holds
        return self.nearest(array.float()).to(array.dtype)

    def undo(self, array: MetaTensor) -> MetaTensor:
        """Resample one array back; how it interpolates stands in what was traced."""
        if not is_labels(array):
            return self.smooth.inverse(array)
        return self.smooth.inverse(array.float()).round().to(array.dtype)


def as_meta(array: Any) -> MetaTensor:
    """Return a MONAI tensor that remembers what is done to it."""
    return array if isinstance(array, MetaTensor) else MetaTensor(torch.as_tensor(array))
