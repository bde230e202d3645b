"""One cached image as one file: a JSON header, raw arrays that are memory-mapped, and a trailer.

Layout, all numbers little-endian::

    magic (8) | length of the header (8) | CRC of the header (8) | header, JSON in UTF-8
    array 0, aligned to a page | array 1 | ... | magic (8) | size of the file (8) | CRC of the
    header (8)

The header names each array's dtype, shape, offset and CRC-32, and holds the metadata. The trailer
is the last thing written, so a file that was cut or never finished is recognised by opening it; a
flipped bit in an array is found by `CacheFile.verify`. Nothing is pickled: reading a file cannot
run code.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

FORMAT_VERSION: Final = 1
"""Part of the key of every item: another layout never meets an old file."""
_MAGIC: Final = b"imtkit\x00\x01"
_EDGE: Final = struct.Struct("<8sQQ")
_PAGE: Final = 4096
SMALL: Final = 64 * 1024
"""Bytes up to which the store verifies a file as a whole whenever it opens it.

That costs microseconds, and so small files need not be flushed to disk one by one.
"""
_ALLOWED_KINDS: Final = "fiub"


class TornFileError(Exception):
    """The file is not whole: cut, unfinished, or not a cache file at all."""


def write_file(path: Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> int:
    """Write arrays and metadata to ``path``, which the caller renames; return the bytes written.

    Raises:
        OSError: As the file system does, a full disk included.
    """
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    for name, array in whole.items():
        if array.dtype.kind not in _ALLOWED_KINDS:
            message = f"array '{name}' has dtype {array.dtype}, which the cache cannot hold"
            raise TypeError(message)
    header, offsets, end = _plan(whole, meta)
    crc = zlib.crc32(header)
    with path.open("wb") as stream:
        stream.write(_EDGE.pack(_MAGIC, len(header), crc))
        stream.write(header)
        for name, array in whole.items():
            stream.write(b"\0" * (offsets[name] - stream.tell()))
            stream.write(_bytes_of(array))
        stream.write(_EDGE.pack(_MAGIC, end + _EDGE.size, crc))
    return end + _EDGE.size


def estimate_size(arrays: Mapping[str, np.ndarray]) -> int:
    """Return about how many bytes `write_file` needs for these arrays."""
    return sum(array.nbytes + _PAGE for array in arrays.values()) + 2 * _PAGE


@dataclass
class CacheFile:
    """An open cache file.

    Attributes:
        arrays: Read-only views into the memory map, by name.
        meta: The metadata that were written with them.
        nbytes: Size of the file.
    """

    path: Path
    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]
    nbytes: int
    checksums: dict[str, int]

    def verify(self) -> list[str]:
        """Read every byte and return the names of arrays whose checksum does not fit."""
        return [
            name
            for name, array in self.arrays.items()
            if zlib.crc32(_bytes_of(array)) != self.checksums[name]
        ]


def open_file(path: Path) -> CacheFile:
    """Map a file that `write_file` wrote; arrays are read from disk as they are touched.

    Raises:
        FileNotFoundError: If there is none.
        TornFileError: If it is not whole.
    """
    with path.open("rb") as stream:
        header, size = _read_header(path, stream)
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    arrays, checksums = {}, {}
    for name, spec in header["arrays"].items():
        shape = tuple(spec["shape"])
        flat = np.frombuffer(mapped, np.dtype(spec["dtype"]), math.prod(shape), spec["offset"])
        arrays[name] = flat.reshape(shape)
        checksums[name] = spec["crc"]
    return CacheFile(path, arrays, header["meta"], size, checksums)


def read_meta(path: Path) -> dict[str, Any]:
    """Read the metadata alone, after the same checks as `open_file`."""
    with path.open("rb") as stream:
        header, _ = _read_header(path, stream)
    return cast(dict[str, Any], header["meta"])


def _read_header(path: Path, stream: Any) -> tuple[dict[str, Any], int]:
    size = os.fstat(stream.fileno()).st_size
    start = stream.read(_EDGE.size)
    if size < 2 * _EDGE.size or len(start) < _EDGE.size:
        message = f"{path}: only {size} bytes"
        raise TornFileError(message)
    magic, length, crc = _EDGE.unpack(start)
    if magic != _MAGIC or length > size - 2 * _EDGE.size:
        message = f"{path}: not a cache file of this format"
        raise TornFileError(message)
    header = stream.read(length)
    stream.seek(size - _EDGE.size)
    if stream.read(_EDGE.size) != _EDGE.pack(_MAGIC, size, crc) or zlib.crc32(header) != crc:
        message = f"{path}: cut or unfinished ({size} bytes)"
        raise TornFileError(message)
    return json.loads(header), size


def _plan(
    arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]
) -> tuple[bytes, dict[str, int], int]:
    # offsets stand in the header, whose length depends on them: plan with room for the largest
    specs: dict[str, dict[str, Any]] = {
        name: {
            "dtype": array.dtype.str,
            "shape": list(array.shape),
            "crc": zlib.crc32(_bytes_of(array)),
            "offset": 0,
        }
        for name, array in arrays.items()
    }
    content = {"arrays": specs, "meta": dict(meta)}
    room = len(json.dumps(content).encode()) + 20 * len(arrays)
    place = _next_page(_EDGE.size + room)
    for name, array in arrays.items():
        specs[name]["offset"] = place
        place = _next_page(place + array.nbytes)
    last = [specs[name]["offset"] + array.nbytes for name, array in arrays.items()]
    header = json.dumps(content).encode()
    return (
        header,
        {name: specs[name]["offset"] for name in arrays},
        (last[-1] if last else _EDGE.size + len(header)),
    )


def _next_page(place: int) -> int:
    return -(-place // _PAGE) * _PAGE


def _bytes_of(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
