"""The dataset of preprocessed images, on MONAI's `PersistentDataset`.

MONAI's class decides when an item is computed and when it is taken from the cache; what it gets
wrong is overridden: its key knows neither a changed file nor a changed transform, it loads whole
volumes, and its `set_data` deletes the folder. Items are opened as memory maps and kept open, few
at a time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from monai.data import PersistentDataset

from imtoolkit.config.sections import CacheKind
from imtoolkit.core.batch import IMAGE, TARGET, WEIGHT
from imtoolkit.core.errors import DataError
from imtoolkit.core.facts import TargetSpec
from imtoolkit.data.cache.compute import compute
from imtoolkit.data.cache.content import FOREGROUND
from imtoolkit.data.cache.keys import item_key
from imtoolkit.data.cache.store import CacheStore, Content
from imtoolkit.data.preprocess import Preprocessor
from imtoolkit.data.table import Manifest

_MOST_OPEN: Final = 64
_MOST_BYTES: Final = 512 * 2**20
_PREFIX: Final = f"{FOREGROUND}/"


@dataclass
class Item:
    """One preprocessed image to cut patches from; its arrays may be maps: never write to them.

    Attributes:
        grids: ``image``, ``target``, ``weight``: arrays ``(C, [Z,] Y, X)``.
        foreground: Positions of foreground pixels of each label, in the order of the labels; of
            instances, one array with a row for each object.
        meta: Metadata, see `content_of`.
        touched: Bytes that reading has mapped so far, at most.
        values: What `Labelling` found for it, as long as it is open.
    """

    grids: dict[str, np.ndarray]
    foreground: list[np.ndarray]
    meta: dict[str, Any]
    touched: int = 0
    values: dict[str, Any] | None = None

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], meta: dict[str, Any]) -> Item:
        """Sort the arrays of a cache file or of a computed content."""
        grids = {key: arrays[key] for key in (IMAGE, TARGET, WEIGHT) if key in arrays}
        labels = sorted(int(name[len(_PREFIX) :]) for name in arrays if name.startswith(_PREFIX))
        return cls(grids, [arrays[f"{_PREFIX}{label}"] for label in labels], meta)


class CachedDataset(PersistentDataset):  # type: ignore[misc]
    """Preprocessed images by position in a manifest.

    Args:
        manifest: The samples.
        preprocessor: Makes an item where the cache has none.
        target: What the task wants of the targets.
        kind: Where items are kept.
        store: The folder of the cache; needed for `CacheKind.persistent`.
        keys: Key of each sample as bytes, ``(len(manifest), 16)`` uint8.
    """

    def __init__(
        self,
        manifest: Manifest,
        preprocessor: Preprocessor,
        target: TargetSpec,
        *,
        kind: CacheKind = CacheKind.none,
        store: CacheStore | None = None,
        keys: np.ndarray | None = None,
    ) -> None:
        super().__init__(data=manifest, transform=[], cache_dir=None)
        self.preprocessor, self.target = preprocessor, target
        self.kind, self.store, self.keys = kind, store, keys
        self._open: OrderedDict[int, Item] = OrderedDict()
        self._touched = 0
        self._kept: dict[int, Content] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict(), "_touched": 0}  # maps belong to a process

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Item:
        return self._transform(index)

    def set_data(self, data: Manifest) -> None:
        """Take other samples. Nothing is deleted: other runs may use what the cache holds."""
        self.data = data
        self._open.clear()
        self._kept.clear()
        if self.store is not None:
            name = self.store.folder.name
            keys = [item_key(name, row, self.target, data.arrays) for row in data.rows()]
            self.keys = pack_keys(keys)

    def key(self, index: int) -> str:
        """Return the key of a sample in the cache."""
        assert self.keys is not None
        return bytes(self.keys[index]).hex()

    def part(self, places: np.ndarray) -> CachedDataset:
        """Return the samples at these positions as a dataset, with what is in memory."""
        made = CachedDataset(
            self.data.take(places),
            self.preprocessor,
            self.target,
            kind=self.kind,
            store=self.store,
            keys=None if self.keys is None else self.keys[places],
        )
        made._kept = {
            new: self._kept[int(old)] for new, old in enumerate(places) if int(old) in self._kept
        }
        return made

    def make(self, index: int, *, wait: bool = True) -> dict[str, Any]:
        """See that an item exists, and return its metadata.

        Raises:
            BusyError: If another process makes it and ``wait`` is false.
            DataError: If the sample is bad, or the cache cannot be written.
        """
        if self.kind is CacheKind.memory:
            if index not in self._kept:
                self._kept[index] = self._compute(index)
            return self._kept[index].meta
        if self.kind is CacheKind.none or self.store is None:
            return self._compute(index).meta
        found = self.store.meta(self.key(index))
        if found is not None:
            return found
        return self.store.make(self.key(index), lambda: self._compute(index), wait=wait)

    def touch(self, item: Item, nbytes: int) -> None:
        """Note that bytes of an item are about to be read; close old maps when it is too much.

        What a process maps counts as its memory, although the system can take it back: without this
        bound, a worker would seem to grow with the number and the size of the images.
        """
        item.touched += nbytes
        self._touched += nbytes
        while self._touched > _MOST_BYTES and self._open:
            _, closed = self._open.popitem(last=False)
            self._touched -= closed.touched

    def _transform(self, index: int) -> Item:
        item = self._open.get(index)
        if item is None:
            item = self._cachecheck(index)
            self._open[index] = item
            if len(self._open) > (_MOST_OPEN if self.kind is CacheKind.persistent else 2):
                _, closed = self._open.popitem(last=False)
                self._touched -= closed.touched
        else:
            self._open.move_to_end(index)
        return item

    def _cachecheck(self, item_transformed: int) -> Item:
        index = item_transformed
        if self.kind is CacheKind.persistent and self.store is not None:
            found = self.store.open(self.key(index))
            if found is None:  # never made, deleted by someone, or torn
                self.store.make(self.key(index), lambda: self._compute_unchanged(index))
                found = self.store.open(self.key(index))
            if found is None:
                message = (
                    f"the cache file '{self.store.path(self.key(index))}' vanished as it was made; "
                    "is another program cleaning the folder?"
                )
                raise DataError(message)
            return Item.of(found.arrays, found.meta)
        if self.kind is CacheKind.memory:
            self.make(index)
            kept = self._kept[index]
            return Item.of(kept.arrays, kept.meta)
        content = self._compute(index)
        return Item.of(content.arrays, content.meta)

    def _compute(self, index: int) -> Content:
        return compute(self.data.row(index), self.preprocessor, self.target, self.data.arrays)

    def _compute_unchanged(self, index: int) -> Content:
        assert self.store is not None
        row = self.data.row(index)
        if item_key(self.store.folder.name, row, self.target, self.data.arrays) != self.key(index):
            message = (
                f"sample '{row['id']}' changed while the run was using it, and its cached copy "
                "is gone; "
                "start anew, so that the run knows its data"
            )
            raise DataError(message)
        return self._compute(index)


def pack_keys(keys: list[str]) -> np.ndarray:
    """Return keys as one array of bytes: a million strings would be copied into every worker.

    Example:
        >>> pack_keys(["00ff" * 8]).shape
        (1, 16)
    """
    return np.frombuffer(bytes.fromhex("".join(keys)), np.uint8).reshape(-1, 16)
