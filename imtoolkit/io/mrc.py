"""MRC and CCP4 maps of electron microscopy, through the package mrcfile."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imtoolkit.core.errors import MissingPackageError

from .opened import OpenImage, PickScene, micrometers


def open_mrc(path: Path, pick: PickScene) -> OpenImage:
    """Open an image, a volume or a stack of volumes, memory-mapped; see `OpenImage`.

    Raises:
        MissingPackageError: If mrcfile is not installed.
    """
    try:
        import mrcfile  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        package, extra, purpose = "mrcfile", "formats", f"{path}: reading MRC"
        raise MissingPackageError(package, extra, purpose) from error
    pick(("0",))
    file = mrcfile.mmap(path, mode="r")
    pixels = file.data
    # a stack of single images has no depth, but its slices are what a volume's are
    axes = "TZYX"[-pixels.ndim :]
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
