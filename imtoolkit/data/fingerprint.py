"""Has a file changed, and are two data sets equal: signatures of files, and one hash of a manifest.

A signature costs two small reads whatever the size of the file: its size, its time, and a hash of
its head and tail. A change in the middle that keeps the size is seen by the time.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from stat import S_ISDIR
from typing import Any, Final

import numpy as np

from imtoolkit.core.errors import DataError
from imtoolkit.data.references import is_reference, parse, split_channels
from imtoolkit.data.sources.listing import absence, nearest_existing
from imtoolkit.data.table import Manifest

ENDS: Final = 64 * 1024
"""Bytes that are hashed at the head and at the tail of a file."""
_THREADS: Final = 16


def file_signature(reference: str) -> str:
    """Return a text that changes when the content that a reference names has changed.

    It holds size, time of the last change in nanoseconds, and a hash of head and tail; of a folder
    (OME-Zarr, DICOM), a hash over path, size and time of every file in it; of several files, one
    for each; of an element of an array in a file, that of the file and which element.

    Args:
        reference: See `imtoolkit.data.references`; not ``array::n``, see `array_signature`.

    Raises:
        DataError: If a file is missing or cannot be read.
    """
    return "|".join(_one(part, with_time=True) for part in split_channels(reference))


def content_signature(reference: str) -> str:
    """Return the same without the time, so that a copy of the file has the same signature."""
    return "|".join(_one(part, with_time=False) for part in split_channels(reference))


def array_signature(array: Any) -> str:
    """Return a hash of the type, shape and values of an array.

    Example:
        >>> array_signature([1, 2]) == array_signature(np.array([1, 2]))
        True
    """
    values = np.ascontiguousarray(array)
    digest = hashlib.blake2b(f"{values.dtype.str}{values.shape}".encode(), digest_size=16)
    digest.update(values.tobytes())
    return digest.hexdigest()


def fingerprint(manifest: Manifest, columns: Sequence[str] = ()) -> str:
    """Return one hash over all samples: ids, data sets, groups, images, targets and weights.

    Neither the place of the files nor their time, their order or the split has a part in it: equal
    data have equal fingerprints on every machine.

    Args:
        manifest: The samples.
        columns: Further columns that are learnt from.

    Raises:
        DataError: If a file is missing or cannot be read.
    """
    signature = _of_cell(manifest)
    digest = hashlib.blake2b(digest_size=16)
    with ThreadPoolExecutor(_THREADS) as pool:
        lines = pool.map(
            functools.partial(_line, signature=signature, columns=tuple(columns)),
            manifest.rows(),
            chunksize=64,
        )
        for line in sorted(lines):
            digest.update(line.encode())
    return digest.hexdigest()


def _line(
    row: dict[str, Any], signature: Callable[[str | None], str], columns: Sequence[str]
) -> str:
    names = [str(row[name]) for name in ("id", "dataset", "group")]
    pixels = [signature(row[name]) for name in ("image", "target", "weight")]
    cells = [f"{name}={row.get(name)!r}" for name in columns]
    return "\0".join([*names, *pixels, *cells]) + "\n"


def _of_cell(manifest: Manifest) -> Callable[[str | None], str]:
    def signature(cell: str | None) -> str:
        if cell is None or not is_reference(cell):
            return repr(cell)
        place = parse(cell)
        if place.in_memory:
            return array_signature(manifest.arrays[place.index or 0])
        return content_signature(cell)

    return signature


def _one(reference: str, *, with_time: bool) -> str:
    place = parse(reference)
    try:
        status = Path(place.path).stat()
        if S_ISDIR(status.st_mode):
            found = _folder(place.path, with_time=with_time)
        else:
            # the times are a part of what is remembered, so that a changed file is read again; the
            # time of the last change of the inode cannot be set back, as that of the content can
            ends = _ends(place.path, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            found = f"{status.st_size}:{ends}"
            found += f":{status.st_mtime_ns}" if with_time else ""
    except FileNotFoundError as error:
        missing = Path(place.path)
        hint = "" if missing.is_symlink() else f". {nearest_existing(missing)}"
        message = f"{absence(missing)}{hint}"
        raise DataError(message) from error
    except OSError as error:
        message = f"file '{place.path}' cannot be read: {error.strerror or error}"
        raise DataError(message) from error
    inside = [place.key, place.index]
    return found + "".join(f"::{part}" for part in inside if part is not None)


@functools.lru_cache(maxsize=4096)
def _ends(path: str, size: int, _changed: int, _inode_changed: int) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with Path(path).open("rb") as stream:
        digest.update(stream.read(ENDS))
        if size > ENDS:
            stream.seek(max(size - ENDS, ENDS))
            digest.update(stream.read(ENDS))
    return digest.hexdigest()


def _folder(path: str, *, with_time: bool) -> str:
    digest = hashlib.blake2b(digest_size=16)
    count = total = 0
    for name, status in _files(path):
        time = status.st_mtime_ns if with_time else ""
        digest.update(f"{name}\0{status.st_size}\0{time}\n".encode())
        count += 1
        total += status.st_size
    return f"{count} files:{total}:{digest.hexdigest()}"


def _files(path: str) -> Iterator[tuple[str, os.stat_result]]:
    for folder, folders, files in os.walk(path):
        folders.sort()
        inside = Path(folder).relative_to(path)
        for name in sorted(files):
            yield (inside / name).as_posix(), (Path(folder) / name).stat()
