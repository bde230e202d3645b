"""Arrays without a picture format: ``.npy``, ``.npz`` and HDF5.

Which array of several, and which row of it, is said in the path: ``file.h5::raw``,
``file.npz::images::12``. Nothing is ever unpickled. A channel of complex numbers becomes two, its
real and its imaginary part, one behind the other.
"""

from __future__ import annotations

import functools
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imtoolkit.core.errors import did_you_mean, listed

from .names import suffix_of
from .opened import OpenImage, PickScene, broken, guess_axes, micrometers


def open_array(
    path: Path, inside: tuple[str, ...], pick: PickScene, axes: str | None = None
) -> OpenImage:
    """Open an array; see `OpenImage`.

    Args:
        path: ``.npy``, ``.npz``, ``.h5``, ``.hdf5``.
        inside: Name of the array, number of the row, or both; see
            `imtoolkit.io.names.split_reference`.
        pick: Chooses the only scene.
        axes: The axes that the user gave: these files have none of their own.

    Raises:
        DataError: If there are several arrays and none was chosen, or the file is damaged.
    """
    pick(("0",))
    suffix = suffix_of(path)
    if suffix == ".npy":
        return _opened(path, _load_npy(path), inside, axes)
    if suffix == ".npz":
        key, row = _choose(path, _keys(path), inside)
        status = path.stat()
        whole = _load_npz(str(path), key, status.st_mtime_ns, status.st_size)
        return _opened(path, whole, row, axes)
    return _open_hdf5(path, inside, axes)


def _opened(path: Path, array: Any, row: tuple[str, ...], axes: str | None) -> OpenImage:
    start = (_row(path, row[0], len(array)),) if row else ()
    shape = tuple(array.shape[len(start) :])
    if array.dtype.hasobject or array.dtype.kind not in "buifc":
        raise broken(str(path), f"holds {array.dtype}, expected numbers")
    named = axes if axes is not None and len(axes) == len(shape) else guess_axes(str(path), shape)
    return OpenImage(
        path=str(path),
        axes=named,
        shape=shape,
        dtype=np.dtype(array.dtype),
        load=lambda index: np.array(array[(*start, *index)]),
    )


def _row(path: Path, text: str, rows: int) -> int:
    if text.isdecimal() and int(text) < rows:
        return int(text)
    raise broken(str(path), f"has no row '{text}'; it has {rows}, counted from 0")


def _choose(path: Path, keys: list[str], inside: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return the key of the array, and what is left of the reference."""
    if inside and inside[0] in keys:
        return inside[0], inside[1:]
    if len(keys) == 1 and (not inside or inside[0].isdecimal()):
        return keys[0], inside
    if not keys:
        raise broken(str(path), "holds no array of two or more axes")
    if not inside:
        message = (
            f"holds {len(keys)} arrays ({listed(keys)}) and none was chosen. Choose one: "
            f"'{path.name}::{keys[0]}'"
        )
        raise broken(str(path), message)
    message = f"has no array '{inside[0]}'; it holds {listed(keys)}.{did_you_mean(inside[0], keys)}"
    raise broken(str(path), message)


# --- numpy ----------------------------------------------------------------------------------------


def _load_npy(path: Path) -> NDArray[Any]:
    try:
        loaded: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        message = f"is not an array of numbers that numpy wrote, or is damaged ({error})"
        raise broken(str(path), message) from error
    return loaded


def _keys(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise broken(
            str(path), f"is not an archive that numpy wrote, or is damaged ({error})"
        ) from error
    return [name.removesuffix(".npy") for name in names if name.endswith(".npy")]


@functools.lru_cache(maxsize=2)
def _load_npz(path: str, key: str, _modified: int, _size: int) -> NDArray[Any]:
    # an archive is unpacked whole; kept, because sets of thousands of small images are read
    # row by row
    try:
        with np.load(path, allow_pickle=False) as archive:
            array: NDArray[Any] = archive[key]
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        message = f"array '{key}' cannot be read ({error}); the file is damaged or holds objects"
        raise broken(path, message) from error
    array.setflags(write=False)
    return array


# --- HDF5 -----------------------------------------------------------------------------------------


def _open_hdf5(path: Path, inside: tuple[str, ...], axes: str | None) -> OpenImage:
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise broken(str(path), f"is not an HDF5 file, or is damaged ({error})") from error
    try:
        keys: list[str] = []
        file.visititems(
            lambda name, node: (
                keys.append(name) if isinstance(node, h5py.Dataset) and node.ndim >= 2 else None
            )
        )
        asked = (inside[0].strip("/"), *inside[1:]) if inside else ()
        key, row = _choose(path, keys, asked)
        dataset = file[key]
        image = _opened(path, dataset, row, axes)
        sizes = dataset.attrs.get(
            "element_size_um"
        )  # Z, Y, X, as ImageJ's and PlantSeg's HDF5 have it
        if sizes is not None and len(sizes) == 3:
            known = {letter: micrometers(s, "µm") for letter, s in zip("ZYX", sizes, strict=True)}
            image.spacing = {letter: size for letter, size in known.items() if size is not None}
            image.unit = "micrometer"
        image.close = file.close
    except BaseException:
        file.close()
        raise
    return image
