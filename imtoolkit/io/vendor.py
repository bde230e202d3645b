"""Where bioio's plugins for CZI and LIF read wrongly or not at all, and what is done instead.

Each case was seen with the versions named; the tests compare with the makers' own libraries.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .opened import Index, OpenImage


def mended_czi(image: OpenImage, reader: Any) -> OpenImage:
    """Read the colours of a CZI at once, in the order red, green, blue.

    bioio-czi 3.0.1 returns the first colour three times when it reads lazily, and CZI stores
    colours as blue, green, red (its pixel types are Bgr24, Bgr48, Bgra32), which the plugin passes
    on.
    """
    if "S" not in image.axes:
        return image
    colours = image.shape[image.axes.index("S")]
    order = [2, 1, 0, *range(3, colours)]

    def load(index: Index) -> NDArray[np.generic]:
        stitched = reader.mosaic_xarray_data if "M" in reader.dims.order else reader.xarray_data
        pixels = np.moveaxis(stitched.values, image.axes.index("S"), -1)[..., order]
        part: NDArray[np.generic] = np.moveaxis(pixels, -1, image.axes.index("S"))[index]
        return part

    return replace(image, load=load, alpha=colours == 4)


def mended_lif(image: OpenImage, path: Path, scene: int) -> OpenImage:
    """Read LIF scans whose frames are not ``YX``, such as xz scans, through liffile.

    bioio-lif 2.0.1 refuses them: it selects an axis that liffile holds within the frame.
    """

    def load(index: Index) -> NDArray[np.generic]:
        try:
            return image.load(index)
        except ValueError as error:
            if "frame dimension" not in str(error):
                raise
        import liffile  # comes with bioio-lif

        with liffile.LifFile(path) as file:
            scan = file.images[scene]
            pixels, dims = scan.asarray(), list(scan.dims)
        for letter in image.axes:
            if letter not in dims:
                pixels, dims = pixels[np.newaxis], [letter, *dims]
        part: NDArray[np.generic] = pixels.transpose([dims.index(a) for a in image.axes])[index]
        return part

    return replace(image, load=load)
