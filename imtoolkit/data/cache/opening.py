"""From a manifest to its dataset of preprocessed images, with the key of every item."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np

from imtoolkit.config import settings
from imtoolkit.config.sections import CacheKind
from imtoolkit.core.facts import TargetSpec
from imtoolkit.data.cache.dataset import CachedDataset, pack_keys
from imtoolkit.data.cache.fill import usable_cores
from imtoolkit.data.cache.keys import item_key, recipe_name, recipe_of
from imtoolkit.data.cache.store import CacheStore, Lease
from imtoolkit.data.preprocess import Preprocessor
from imtoolkit.data.table import Manifest

_ROWS: Final = 4096


def open_images(
    manifest: Manifest, preprocessor: Preprocessor, target: TargetSpec, root: Path | None = None
) -> tuple[CachedDataset, Lease | None]:
    """Return the images of a manifest; those that the cache lacks are made when they are asked for.

    Args:
        manifest: The samples.
        preprocessor: Makes an item where the cache has none; its config says where items are kept.
        target: What is read of the targets.
        root: Folder of the cache; left out, as config, environment and settings say.

    Returns:
        The images, and a lease on their folder if they are kept on disk.

    Raises:
        CacheError: If the folder cannot be used.
    """
    config = preprocessor.config
    kind = config.cache.kind
    if kind is not CacheKind.persistent:
        return CachedDataset(manifest, preprocessor, target, kind=kind), None
    recipe = recipe_of(config, target, preprocessor.plugins)
    store = CacheStore(_root(root or config.cache.root), recipe, recipe_name(recipe))
    store.prepare()
    lease = Lease(store)

    def key(row: dict[str, Any]) -> str:
        return item_key(store.folder.name, row, target, manifest.arrays)

    rows, packed = iter(manifest.rows()), []
    # more threads than cores: they wait for the disk
    with ThreadPoolExecutor(min(8, 2 * usable_cores())) as pool:
        # the pool takes all that it is given at once: a part of a long table at a time
        while part := list(itertools.islice(rows, _ROWS)):
            packed.append(pack_keys(list(pool.map(key, part))))
    keys = np.concatenate(packed) if packed else pack_keys([])
    images = CachedDataset(manifest, preprocessor, target, kind=kind, store=store, keys=keys)
    return images, lease


def _root(given: Path | str | None) -> Path:
    return Path(given).expanduser().absolute() if given else settings.cache_root()
