"""MRC and CCP4 maps of electron microscopy, through the package mrcfile."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from imtoolkit.core.errors import MissingPackageError

from .opened import OpenImage, PickScene, micrometers

_LETTERS: Final = {1: "X", 2: "Y", 3: "Z"}


def open_mrc(path: Path, pick: PickScene) -> OpenImage:
    """Open an image, a volume or a stack of volumes, memory-mapped; see `OpenImage`.

    Raises:
        MissingPackageError: If mrcfile is not installed.
    """
    try:
        import mrcfile  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        package, extra, purpose = "mrcfile", "formats", f"{path}: reading MRC"
        raise MissingPackageError(package, extra, purpose) from error
    pick(("0",))
    file = mrcfile.mmap(path, mode="r")
    pixels = file.data
    # the header tells which axis of space the columns, rows and sections are; crystals differ
    header = file.header
    space = [_LETTERS.get(int(header[key]), "") for key in ("maps", "mapr", "mapc")]
    volume = pixels.ndim > 2 and set(space) == set("XYZ")
    axes = "".join(["T", *space] if volume else "TZYX")[-pixels.ndim :]
    sizes = {
        letter: micrometers(file.voxel_size[letter.lower()].item(), "angstrom") for letter in "XYZ"
    }
    return OpenImage(
        path=str(path),
        axes=axes,
        shape=pixels.shape,
        dtype=np.dtype(pixels.dtype),
        load=lambda index: np.array(pixels[index]),
        spacing={letter: size for letter, size in sizes.items() if size is not None},
        unit="micrometer",
        close=file.close,
    )
