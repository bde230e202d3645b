"""PNG, JPEG and BMP through Pillow; 16-bit colours, which Pillow would cut to 8, by imagecodecs.

Colours are read as channels ``red green blue``, transparency is dropped. An image with a palette
becomes its colours, unless the axes are said to be ``YX``: then the palette's numbers are the
pixels, as label images with coloured palettes mean them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from .opened import OpenImage, PickScene, broken

_PNG_COLOUR_TYPES: Final = {
    2: 3,
    4: 2,
    6: 4,
}  # samples of a pixel, for the types that Pillow cuts to 8 bits
_GREY: Final = {
    "1": np.bool_,
    "L": np.uint8,
    "I;16": np.uint16,
    "I;16B": np.uint16,
    "F": np.float32,
}
_SAMPLES: Final = {"LA": 2, "La": 2, "RGB": 3, "RGBA": 4, "RGBa": 4, "RGBX": 3}


def open_plain(path: Path, pick: PickScene, axes: str | None = None) -> OpenImage:
    """Open a PNG, JPEG or BMP; see `OpenImage`.

    Args:
        path: The file.
        pick: Chooses the only scene.
        axes: The axes that the user gave; ``"YX"`` keeps the numbers of a palette.

    Raises:
        DataError: If it is no such image or is damaged.
    """
    name = str(path)
    pick(("0",))
    deep = _deep_png(path)
    try:
        file = Image.open(path)
    except (
        UnidentifiedImageError,
        SyntaxError,
        OSError,
        ValueError,
        Image.DecompressionBombError,
    ) as error:
        message = (
            f"is not an image of the kind that its suffix says, or is damaged ({error}). Export it "
            "again"
        )
        raise broken(name, message) from error
    mode = "I;16" if deep == 1 else _mode(file, axes)
    samples = deep if deep > 1 else _SAMPLES.get(mode, 1)
    dtype = np.dtype(np.uint16 if deep else _GREY.get(mode, np.int32 if mode == "I" else np.uint8))
    height, width = file.height, file.width

    def load(index: tuple[int | slice, ...]) -> NDArray[np.generic]:
        try:
            pixels = _decode_deep(path) if deep > 1 else _decode(file, mode)
        except (OSError, SyntaxError, ValueError, RuntimeError) as error:
            message = f"is damaged: its pixels cannot be read ({error}). Copy or export it again"
            raise broken(name, message) from error
        return pixels.astype(dtype, copy=False)[index]

    return OpenImage(
        path=name,
        axes="YXS" if samples > 1 else "YX",
        shape=(height, width, samples) if samples > 1 else (height, width),
        dtype=dtype,
        load=load,
        alpha=samples in (2, 4),
        close=file.close,
    )


def _mode(file: Image.Image, axes: str | None) -> str:
    if file.mode in ("P", "PA"):
        return "L" if axes == "YX" else "RGB"
    return file.mode if file.mode in (*_GREY, *_SAMPLES, "I") else "RGB"


def _decode(file: Image.Image, mode: str) -> NDArray[np.generic]:
    if file.mode == "P" and mode == "L":
        return np.asarray(file)  # converting would look the grey values up
    if file.mode == mode or mode == "I;16":
        return np.asarray(file)
    return np.asarray(file.convert(mode))


def _deep_png(path: Path) -> int:
    """Return the samples of a pixel of a 16-bit PNG, 0 for any other file."""
    with path.open("rb") as stream:
        head = stream.read(26)
    if head[:8] != b"\x89PNG\r\n\x1a\n" or len(head) < 26 or head[24] != 16:
        return 0
    return _PNG_COLOUR_TYPES.get(head[25], 1)


def _decode_deep(path: Path) -> NDArray[np.generic]:
    from imagecodecs import png_decode

    decoded: NDArray[np.generic] = png_decode(path.read_bytes())
    return decoded
