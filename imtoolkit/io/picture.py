"""What reading gives: the pixels of an image in one order of axes, and what the file says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imtoolkit.core.errors import DataError

MICROMETER = "micrometer"
MILLIMETER = "millimeter"


@dataclass(frozen=True, eq=False)
class Picture:
    """One image, read.

    Attributes:
        pixels: ``(C, [Z,] Y, X)`` in the file's dtype (native byte order; 1-bit images as uint8 0
            and 1; complex channels as two, real and imaginary part).
        spacing: Pixel size in ``[Z,] Y, X``; ``None`` where the file does not tell it for every
            axis.
        unit: ``"micrometer"`` or ``"millimeter"``; ``None`` with ``spacing``.
        affine: From pixel index ``(X, Y, Z, 1)`` to world, ``(4, 4)``, as NIfTI means it (RAS);
            else ``None``.
        channel_names: One for each channel; its number where the file has no names.
        axes: ``"CYX"`` or ``"CZYX"``.
    """

    pixels: NDArray[np.generic]
    spacing: tuple[float, ...] | None
    unit: str | None
    affine: NDArray[np.float64] | None
    channel_names: tuple[str, ...]
    axes: str

    @property
    def spatial_dims(self) -> int:
        """2 or 3."""
        return len(self.axes) - 1


@dataclass(frozen=True, eq=False)
class PictureInfo:
    """What a file says about an image, without its pixels.

    Attributes:
        path: The file, as it was asked for.
        axes: Axes of what `read` would return, ``"CYX"`` or ``"CZYX"``.
        shape: Shape of what `read` would return.
        dtype: Type of the pixels.
        spacing: As in `Picture`.
        unit: As in `Picture`.
        affine: As in `Picture`.
        channel_names: As in `Picture`.
        scenes: Names of all scenes of the file, in order.
        times: Number of time points.
        file_axes: Axes as they lie in the file, with ``S`` for the colours of a pixel.
        file_shape: Shape of the chosen scene in the file.
    """

    path: str
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    spacing: tuple[float, ...] | None
    unit: str | None
    affine: NDArray[np.float64] | None
    channel_names: tuple[str, ...]
    scenes: tuple[str, ...]
    times: int
    file_axes: str
    file_shape: tuple[int, ...]


def join_channels(pictures: Sequence[Picture], names: Sequence[str]) -> Picture:
    """Join files that hold one channel each, such as nnU-Net's ``_0000`` and ``_0001``.

    Args:
        pictures: Equal in spatial shape; spacing and affine are those of the first.
        names: The files, for the message.

    Raises:
        DataError: If the shapes differ.
    """
    first = pictures[0]
    for picture, name in zip(pictures, names, strict=True):
        if picture.pixels.shape[1:] != first.pixels.shape[1:]:
            message = (
                f"{name}: the channels of an image must be of one size: "
                f"got {picture.pixels.shape[1:]}, and {first.pixels.shape[1:]} in {names[0]}"
            )
            raise DataError(message)
    if len(pictures) == 1:
        return first
    pixels = np.concatenate([picture.pixels for picture in pictures])
    return replace(first, pixels=pixels, channel_names=tuple(map(str, range(len(pixels)))))
