"""How a cell of the manifest names pixels.

A reference is a string in one of these forms; `parse` and `split_channels` take it apart:

    /data/a.tif                       a file, or a folder such as an OME-Zarr or a DICOM series
    /data/a_0.nii.gz|/data/a_1.nii.gz one file for each channel, in the order of the channels
    /data/set.npz::train_images       an array inside a file
    /data/set.npz::train_images::17   element 17 of that array, counted from 0
    array::17                         element 17 of the arrays that the manifest holds in memory
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from imtoolkit.core.errors import DataError
from imtoolkit.io.names import is_image

CHANNELS: Final = "|"
"""Joins the files of an image that has one file for each channel."""
INSIDE: Final = "::"
"""Separates a file from the key and the index inside it."""
MEMORY: Final = "array"
"""Stands for the file where the pixels are in memory."""


@dataclass(frozen=True)
class Reference:
    """One file, or a place inside one.

    Attributes:
        path: The file, or ``"array"`` for pixels in memory.
        key: Name of the array inside the file.
        index: Element along the first axis of that array, or position in the manifest's arrays.
    """

    path: str
    key: str | None = None
    index: int | None = None

    @property
    def in_memory(self) -> bool:
        """Whether the pixels are in the manifest's arrays."""
        return self.path == MEMORY


def parse(reference: str) -> Reference:
    """Take a reference to one file apart.

    Example:
        >>> parse("set.npz::train_images::17")
        Reference(path='set.npz', key='train_images', index=17)
        >>> parse("array::3")
        Reference(path='array', key=None, index=3)
    """
    path, *inside = reference.split(INSIDE)
    if path == MEMORY and inside:
        return Reference(MEMORY, None, int(inside[0]))
    if len(inside) == 2 and inside[1].isdigit():
        return Reference(path, inside[0], int(inside[1]))
    return Reference(path, INSIDE.join(inside) if inside else None)


def split_channels(reference: str) -> list[str]:
    """Return the references that a multi-file image is made of, in the order of its channels.

    Example:
        >>> split_channels("a_0000.tif|a_0001.tif")
        ['a_0000.tif', 'a_0001.tif']
    """
    return reference.split(CHANNELS)


def join_channels(paths: Sequence[str]) -> str:
    """Make one reference of the files that hold the channels of an image.

    Raises:
        DataError: If a path holds the character that joins them.
    """
    for path in paths:
        check_path(path)
    return CHANNELS.join(paths)


def check_path(path: str) -> None:
    """Refuse a path that a reference cannot hold.

    Raises:
        DataError: If it contains ``|`` or ``::``.
    """
    for mark in (CHANNELS, INSIDE):
        if mark in path:
            message = f"'{path}' contains '{mark}', which imtoolkit uses to join paths: rename it"
            raise DataError(message)


def files_of(reference: str) -> list[str]:
    """Return the paths that a reference reads from; none for pixels in memory."""
    parts = (parse(part) for part in split_channels(reference))
    return [part.path for part in parts if not part.in_memory]


def is_reference(cell: str) -> bool:
    """Tell whether the cell of a target names pixels, and is not a class or a number.

    Example:
        >>> is_reference("/data/a.tif"), is_reference("array::0"), is_reference("nucleus")
        (True, True, False)
    """
    first = split_channels(cell)[0]
    return INSIDE in first or is_image(first) or Path(first).is_absolute()


def read_inside(reference: str, arrays: Sequence[Any]) -> np.ndarray:
    """Return the array in memory that ``array::index`` names; `imtoolkit.io.read` reads all others.

    Raises:
        DataError: If the reference names a file, or an element that is not there.
    """
    place = parse(reference)
    if not place.in_memory or place.index is None or place.index >= len(arrays):
        message = f"'{reference}' is none of the {len(arrays)} arrays in memory"
        raise DataError(message)
    return np.asarray(arrays[place.index])
