"""Arrays in an npz file, as MedMNIST has them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from imtoolkit.core.errors import DataError, did_you_mean, listed
from imtoolkit.data.columns import vector_text
from imtoolkit.data.references import INSIDE, check_path
from imtoolkit.data.sources.base import Source, absolute
from imtoolkit.data.sources.listing import nearest_existing
from imtoolkit.data.table import Manifest

PARTS: Final = ("train", "val", "test")
IMAGE_KEYS: Final = ("images", "image", "x", "X", "data", "arr_0")
TARGET_KEYS: Final = ("labels", "label", "masks", "mask", "targets", "target", "y", "Y", "arr_1")
WEIGHT_KEYS: Final = ("weights", "weight")


class NpzSource(Source):
    """Samples along the first axis of the arrays in an npz file.

    MedMNIST's keys ``train_images``, ``train_labels``, ``val_images``, ... decide the split;
    otherwise one array of images, with one of targets where there is one. Targets of shape ``(N,)``
    or ``(N, 1)`` are classes or numbers for the whole image and stand in the table, as do those of
    shape ``(N, K)``: 0 or 1 for each of several classes, or several numbers. Others are pixels and
    are read when needed. Pickled arrays are refused.

    Args:
        path: The npz file.
        image: Key of the images; left out, the usual names (``images``, ``x``, ...).
        target: Key of the targets; left out, the usual names, where there is one.
        weight: Key of the cost maps; left out, ``weights``, where there is one.

    Raises:
        DataError: If the file is none, a key is missing, or lengths differ.
    """

    def __init__(
        self,
        path: str,
        image: str | None = None,
        target: str | None = None,
        weight: str | None = None,
    ) -> None:
        self.path = absolute(path)
        self.image, self.target, self.weight = image, target, weight

    def samples(self) -> Manifest:
        """List the elements of the arrays, in their order."""
        check_path(str(self.path))
        shapes = array_shapes(self.path)
        columns: dict[str, list[str | None]] = {
            name: [] for name in ("id", "image", "target", "weight", "split")
        }
        for split in PARTS:
            if f"{split}_images" in shapes and self.image is None:
                self._add(columns, shapes, split, f"{split}_images")
        if not columns["id"]:
            self._add(
                columns, shapes, None, self._key(shapes, "image", self.image, IMAGE_KEYS) or ""
            )
        typed = {name: pa.array(values, pa.string()) for name, values in columns.items()}
        return Manifest.from_columns(typed)

    def _add(
        self,
        columns: dict[str, list[str | None]],
        shapes: dict[str, tuple[int, ...]],
        split: str | None,
        image: str,
    ) -> None:
        count = shapes[image][0] if shapes[image] else 0
        prefix = f"{split}_" if split else ""
        others = {
            "target": self._key(shapes, "target", self.target, TARGET_KEYS, prefix),
            "weight": self._key(shapes, "weight", self.weight, WEIGHT_KEYS, prefix),
        }
        digits = max(len(str(count - 1)), 4)
        columns["id"] += [f"{prefix}{at:0{digits}d}" for at in range(count)]
        columns["image"] += self._references(image, count)
        columns["split"] += [split] * count
        for name, key in others.items():
            columns[name] += self._column(key, shapes, count, image)

    def _column(
        self, key: str | None, shapes: dict[str, tuple[int, ...]], count: int, image: str
    ) -> list[str | None]:
        if key is None:
            return [None] * count
        shape = shapes[key]
        if not shape or shape[0] != count:
            message = (
                f"'{self.path}': '{image}' has {count} samples, but '{key}' has the shape {shape}: "
                "expected as many along the first axis"
            )
            raise DataError(message)
        single = int(np.prod(shape)) == count
        if not single and not (len(shape) == 2 < len(shapes[image])):
            return self._references(key, count)
        with np.load(self.path, allow_pickle=False) as archive:
            array = archive[key]
        if not single:
            return [vector_text(row) for row in array]
        return [str(value) for value in array.reshape(-1).tolist()]

    def _references(self, key: str, count: int) -> list[str | None]:
        return [f"{self.path}{INSIDE}{key}{INSIDE}{at}" for at in range(count)]

    def _key(
        self,
        shapes: dict[str, tuple[int, ...]],
        what: str,
        given: str | None,
        usual: tuple[str, ...],
        prefix: str = "",
    ) -> str | None:
        if given is not None:
            # one name serves all parts: target 'masks' finds 'train_masks'
            found = next((name for name in (f"{prefix}{given}", given) if name in shapes), None)
            if found is None:
                message = (
                    f"'{self.path}' holds no array '{prefix}{given}', but "
                    f"{listed(list(shapes), 20)}."
                    f"{did_you_mean(given, shapes)} Set '{what}' to one of them."
                )
                raise DataError(message)
            return found
        found = next((f"{prefix}{name}" for name in usual if f"{prefix}{name}" in shapes), None)
        if found is None and what == "image":
            message = (
                f"'{self.path}' holds {listed(list(shapes), 20)}: set 'image' to the array of the "
                "images"
            )
            raise DataError(message)
        return found


def array_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each array of an npz file, reading only their headers.

    Raises:
        DataError: If the file is missing, is none, or holds pickled objects.
    """
    if not path.is_file():
        message = f"file '{path}' does not exist. {nearest_existing(path)}"
        raise DataError(message)
    shapes: dict[str, tuple[int, ...]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".npy"):
                    shapes[name.removesuffix(".npy")] = _shape(archive, name)
    except (zipfile.BadZipFile, OSError, ValueError, EOFError) as error:
        message = f"'{path}' is no readable npz file: {error}"
        raise DataError(message) from error
    return shapes


def _shape(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    with archive.open(name) as stream:
        version = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(stream)
    if dtype.hasobject:
        message = f"array '{name}' holds pickled objects, which are not loaded: store plain numbers"
        raise ValueError(message)
    return tuple(int(size) for size in shape)
