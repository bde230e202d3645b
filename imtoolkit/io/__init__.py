"""Pixels in and out, with axes and pixel size: `read`, `probe` and `write`.

    from imtoolkit.io import read, write
    picture = read("cells.czi", channels=["DAPI"], z_range=(4, 20))
    write("nuclei.ome.tif", picture.pixels, spacing=picture.spacing, unit=picture.unit)

A time-lapse is read and written with the memory of one time point, by `open_frames` and
`FrameWriter`.

Formats are imported when a file needs them: a plain TIFF is read without torch and bioio.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .names import is_image, split_reference, strip_suffix

if TYPE_CHECKING:
    from .formats import open_frames, probe, read
    from .frames import Frames, FrameWriter
    from .picture import Picture, PictureInfo
    from .writer import write

BUILTINS = {"reader": {"BioImageReader": "imtoolkit.io.reader:BioImageReader"}}

__all__ = [
    "BUILTINS",
    "FrameWriter",
    "Frames",
    "Picture",
    "PictureInfo",
    "is_image",
    "open_frames",
    "probe",
    "read",
    "split_reference",
    "strip_suffix",
    "write",
]

_HOMES = {
    "read": "imtoolkit.io.formats",
    "probe": "imtoolkit.io.formats",
    "write": "imtoolkit.io.writer",
    "open_frames": "imtoolkit.io.formats",
    "Frames": "imtoolkit.io.frames",
    "FrameWriter": "imtoolkit.io.frames",
    "Picture": "imtoolkit.io.picture",
    "PictureInfo": "imtoolkit.io.picture",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    message = f"module 'imtoolkit.io' has no attribute '{name}'"
    raise AttributeError(message)
