"""Reading with a chosen reader: ours with parameters, one of MONAI's, or one that a user wrote.

A user's reader is a MONAI ``ImageReader``; what it returns as metadata tells the axes:
``spatial_shape`` and ``original_channel_dim`` as MONAI has them, and, if it likes, ``axes``,
``spacing``, ``unit``, ``channel_names``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from monai.data import image_reader as monai_readers

from imtoolkit.core import registry

from .opened import OpenImage, PickScene, broken, guess_axes

_TURNED: Final = tuple(
    getattr(monai_readers, name)
    for name in ("NibabelReader", "ITKReader", "PydicomReader", "NrrdReader", "PILReader")
)
"""MONAI's readers whose arrays are ``(X, Y, Z)``."""


def resolve(reader: Any) -> Any:
    """Build a reader from a component, a mapping or a name; one that is built already is returned.

    Raises:
        ComponentError: If it is no reader, or lies outside what a config may use.
    """
    if isinstance(reader, monai_readers.ImageReader):
        return reader
    if isinstance(reader, str):
        return registry.build("reader", reader)
    if isinstance(reader, Mapping):
        return registry.build("reader", str(reader["name"]), reader.get("params"))
    return registry.build("reader", str(reader.name), reader.params)


def open_with(
    path: Path, inside: tuple[str, ...], axes: str | None, pick: PickScene, reader: Any
) -> OpenImage:
    """Open an image with a reader that was chosen; see `OpenImage`.

    Args:
        path: The file.
        inside: What follows ``::`` in a reference; our reader alone understands it.
        axes: The axes that the user gave.
        pick: Chooses the scene.
        reader: Which `resolve` returned.
    """
    if hasattr(reader, "open_image"):  # ours
        image: OpenImage = reader.open_image(path, inside, axes, pick)
        return image
    if inside:
        raise broken(str(path), f"'::{inside[0]}' is understood by imtoolkit's own readers only")
    pick(("0",))
    pixels, meta = reader.get_data(reader.read(str(path)))
    return _describe(path, np.asarray(pixels), dict(meta), turned=isinstance(reader, _TURNED))


def _describe(path: Path, pixels: Any, meta: dict[str, Any], *, turned: bool) -> OpenImage:
    axes = str(meta.get("axes") or _axes(path, pixels, meta, turned=turned))
    if turned:
        pixels, axes = pixels.T, axes[::-1]
    affine = _affine(meta, turned=turned)
    space = [letter for letter in axes if letter in "ZYX"]
    spacing: dict[str, float] = {}
    if meta.get("spacing") is not None and not turned:
        spacing = dict(zip(space, map(float, meta["spacing"]), strict=True))
    elif affine is not None:
        sizes = np.linalg.norm(affine[:3, :3], axis=0)
        spacing = {letter: float(sizes["XYZ".index(letter)]) for letter in space}
    return OpenImage(
        path=str(path),
        axes=axes,
        shape=pixels.shape,
        dtype=pixels.dtype,
        load=lambda index: pixels[index],
        spacing=spacing,
        unit=str(meta.get("unit") or "millimeter"),
        affine=affine,
        channel_names=tuple(map(str, meta.get("channel_names") or ())),
    )


def _axes(path: Path, pixels: Any, meta: dict[str, Any], *, turned: bool) -> str:
    dims = len(np.atleast_1d(meta.get("spatial_shape", pixels.shape)))
    channel = meta.get("original_channel_dim")
    letters = list("XYZ"[:dims] if turned else "ZYX"[-dims:])
    if channel is not None and channel != "no_channel" and not np.isnan(float(channel)):
        number = int(channel)
        letters.insert(number if number >= 0 else len(letters) + 1 + number, "C")
    if len(letters) != pixels.ndim:
        guessed = guess_axes(str(path), pixels.T.shape if turned else pixels.shape)
        return guessed[::-1] if turned else guessed
    return "".join(letters)


def _affine(meta: dict[str, Any], *, turned: bool) -> Any:
    """Return the affine of ``(X, Y, Z)``; MONAI's belongs to the axes of its array."""
    affine = meta.get("affine")
    if affine is None:
        return None
    affine = np.asarray(affine, dtype=np.float64)
    if affine.shape != (4, 4) or np.array_equal(affine, np.eye(4)):  # MONAI's word for unknown
        return None
    if turned:
        return affine
    dims = len(np.atleast_1d(meta.get("spatial_shape", (0, 0, 0))))
    return affine @ turn(dims)


def turn(dims: int) -> Any:
    """Return the matrix that exchanges ``(X, Y[, Z])`` and ``([Z,] Y, X)``; it is its own inverse.

    Example:
        >>> (turn(3) @ [1, 2, 3, 1]).tolist(), (turn(2) @ [1, 2, 0, 1]).tolist()
        ([3.0, 2.0, 1.0, 1.0], [2.0, 1.0, 0.0, 1.0])
    """
    matrix = np.eye(4)
    matrix[:dims, :dims] = np.eye(dims)[::-1]
    return matrix
