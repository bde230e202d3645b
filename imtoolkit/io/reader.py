"""`BioImageReader`: what `imtoolkit.io.read` reads, as a MONAI ``ImageReader``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader
from numpy.typing import NDArray

from .bio import check_class, open_class
from .foreign import turn
from .formats import open_by_suffix, read
from .names import is_image
from .opened import OpenImage, PickScene, broken
from .picture import Picture


class BioImageReader(ImageReader):  # type: ignore[misc]  # MONAI is not typed
    """MONAI reader of every format that `imtoolkit.io.read` knows.

    In MONAI's ``LoadImage(reader=BioImageReader(axes="ZYX"))`` arrays are ``(C, [Z,] Y, X)``, and
    the affine belongs to the spatial axes in that order.

    Args:
        image_class: Leave out to choose by suffix. ``"bioio.BioImage"`` or
            ``"aicsimageio.AICSImage"`` read every file with that class; other classes are refused.
        axes: Axes of the files, such as ``"YXC"`` or ``"ZYX"``; for this and the following see
            `imtoolkit.io.read`.
        channels: Channels to read, by number or name.
        scene: Scene to read, by number or name.
        time: Time point to read.
        z_range: First and past-the-last slice to read.

    Raises:
        ComponentError: If the class is not allowed.
    """

    def __init__(
        self,
        image_class: str | None = None,
        axes: str | None = None,
        channels: Sequence[int | str] | None = None,
        scene: int | str | None = None,
        time: int | None = None,
        z_range: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if image_class is not None:
            check_class(image_class)
        self.image_class = image_class
        self.selected = {
            "axes": axes,
            "channels": channels,
            "scene": scene,
            "time": time,
            "z_range": z_range,
        }

    def open_image(
        self, path: Path, inside: tuple[str, ...], axes: str | None, pick: PickScene
    ) -> OpenImage:
        """Open an image without reading its pixels; `imtoolkit.io.read` goes this way."""
        if self.image_class is None:
            return open_by_suffix(path, inside, axes, pick)
        if inside:
            raise broken(str(path), f"'::{inside[0]}' is not understood by {self.image_class}")
        return open_class(path, self.image_class, pick)

    # --- MONAI's contract -------------------------------------------------------------------------

    def verify_suffix(self, filename: Sequence[str | Path] | str | Path) -> bool:
        """Tell whether all files have a suffix that is read here, or are folders."""
        names = [filename] if isinstance(filename, str | Path) else list(filename)
        return all(is_image(name) or Path(name).is_dir() for name in names)

    def read(self, data: Sequence[str | Path] | str | Path, **kwargs: Any) -> Picture:
        """Read a file, or several as channels; ``kwargs`` replace what the reader was given."""
        return read(data, reader=self, **kwargs)

    def get_data(self, img: Picture) -> tuple[NDArray[np.generic], dict[str, Any]]:
        """Return ``(C, [Z,] Y, X)`` and the metadata that MONAI's transforms look for."""
        affine = monai_affine(img)
        meta = {
            "affine": affine,
            "original_affine": affine.copy(),
            "spatial_shape": np.asarray(img.pixels.shape[1:]),
            "original_channel_dim": 0,
            "space": "RAS",
            "spacing": np.asarray(img.spacing or (np.nan,) * img.spatial_dims),
            "unit": img.unit or "pixel",
            "channel_names": list(img.channel_names),
        }
        return img.pixels, meta


def monai_affine(picture: Picture) -> NDArray[np.float64]:
    """Return the affine of the spatial axes in the order ``[Z,] Y, X``, ``(4, 4)``.

    Without an affine in the file it is diagonal, of the pixel size or else of ones.
    """
    if picture.affine is not None:
        turned: NDArray[np.float64] = picture.affine @ turn(picture.spatial_dims)
        return turned
    affine = np.eye(4)
    for axis, size in enumerate(picture.spacing or ()):
        affine[axis, axis] = size
    return affine
