"""The folder of the cache: where an item lies, who may write it, and who is using it.

An item is written by one process at a time under a file lock, beside its place, and renamed there,
so a reader meets a whole file or none. Runs that use a folder hold a lease on it: a lock that the
operating system drops when the process ends, however it ends, and that `clear` respects.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from filelock import FileLock, Timeout

from imtoolkit.core.errors import DataError
from imtoolkit.core.files import replacing, write_json
from imtoolkit.data.cache.files import (
    SMALL,
    CacheFile,
    TornFileError,
    estimate_size,
    open_file,
    read_meta,
    write_file,
)

SUFFIX: Final = ".item"
_STRIPES: Final = 1024
_FOREIGN_LEASE_SECONDS: Final = 24 * 3600
_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class CacheError(DataError):
    """The folder of the cache cannot be used; nothing is wrong with the images."""


class BusyError(Exception):
    """Another process is making this item at the moment."""


@dataclass(frozen=True)
class Content:
    """What one item holds: arrays by name, and metadata that JSON can hold."""

    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]


class CacheStore:
    """The items of one recipe (reader, preprocessing, versions) below the cache's root.

    Args:
        root: Folder of the whole cache, shared by all recipes and runs.
        recipe: What all items of this folder have in common, as plain values (see `keys.Recipe`).
        name: Hash of the recipe, the folder's name.
    """

    def __init__(self, root: Path, recipe: Mapping[str, Any], name: str) -> None:
        self.root = root
        self.folder = root / name
        self._recipe = dict(recipe)

    def prepare(self) -> None:
        """Make the folder and see that it can be written.

        Raises:
            CacheError: If it cannot.
        """
        recipe = self.folder / "recipe.json"
        with self._explained(0):
            self.folder.mkdir(parents=True, exist_ok=True)
            if not recipe.exists():
                write_json(recipe, self._recipe)
            os.utime(recipe)  # the time of the last use, which also shows that we may write

    def path(self, key: str) -> Path:
        """Return where the item of ``key`` lies, whether it exists or not."""
        return self.folder / key[:2] / f"{key}{SUFFIX}"

    def open(self, key: str) -> CacheFile | None:
        """Map an item; ``None`` if it is missing or torn, so that it will be made anew."""
        with self._explained(0):
            try:
                found = open_file(self.path(key))
            except (FileNotFoundError, TornFileError):
                return None
        return None if found.nbytes <= SMALL and found.verify() else found

    def meta(self, key: str) -> dict[str, Any] | None:
        """Read the metadata of an item; ``None`` if it is missing or torn."""
        with self._explained(0):
            try:
                if self.path(key).stat().st_size > SMALL:
                    return read_meta(self.path(key))
            except (FileNotFoundError, TornFileError):
                return None
        found = self.open(key)
        return None if found is None else found.meta

    def make(
        self, key: str, compute: Callable[[], Content], *, wait: bool = True
    ) -> dict[str, Any]:
        """Make an item unless it exists, once, however many processes ask; return its metadata.

        Args:
            key: The item's key.
            compute: Makes the content; it runs under the item's lock.
            wait: Whether to wait for another process that makes the same item.

        Raises:
            BusyError: If another process makes it and ``wait`` is false.
            CacheError: If the folder cannot be written or the disk is full.
        """
        with self._locked(key, wait=wait):
            found = self.meta(key)
            if found is not None:
                return found
            content = compute()
            needed = estimate_size(content.arrays)
            # a small file that a power cut tore is seen when it is opened, and made again
            durable = needed > SMALL
            with self._explained(needed), replacing(self.path(key), durable=durable) as part:
                write_file(part, content.arrays, content.meta)
            return content.meta

    @contextlib.contextmanager
    def _locked(self, key: str, *, wait: bool) -> Iterator[None]:
        # stripes instead of a lock file for each item: lock files may not be deleted while others
        # wait on them
        stripe = int(key[:8], 16) % _STRIPES
        path = self.root / "locks" / f"{stripe:04d}.lock"
        with self._explained(0):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path, thread_local=False)
            try:
                lock.acquire(timeout=-1 if wait else 0)
            except Timeout as error:
                raise BusyError(key) from error
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def _explained(self, needed: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, Timeout):
                raise
            raise CacheError(explain_os_error(error, self.root, needed)) from error


def explain_os_error(error: OSError, root: Path, needed: int) -> str:
    """Say what is wrong with the cache folder and how to mend it."""
    remedy = (
        "Choose another folder with data.cache.root or the environment variable IMTOOLKIT_CACHE, "
        "or work without a cache on disk: data.cache.kind: none"
    )
    if error.errno in _DISK_FULL:
        free = "unknown"
        with contextlib.suppress(OSError):
            free = _megabytes(shutil.disk_usage(root).free)
        return (
            f"the disk is full: the cache folder '{root}' needs {_megabytes(needed)} more for the "
            f"next image, free are {free}. Nothing half-written was left. Make room, for example "
            f"with 'imtoolkit cache clear'. {remedy}"
        )
    return f"the cache folder '{root}' cannot be used: {error.strerror or error}. {remedy}"


class Lease:
    """A sign that a process uses one recipe's folder; it ends with the process or with `release`.

    Args:
        store: The store in use.
    """

    def __init__(self, store: CacheStore) -> None:
        folder = store.root / "leases"
        name = f"{store.folder.name}~{_host()}~{os.getpid()}~{uuid.uuid4().hex[:8]}.lock"
        self.path = folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # under the same lock as `clear`: it sees this lease or has finished before we start
            with FileLock(store.root / "clear.lock"):
                self._lock = FileLock(self.path, thread_local=False)
                self._lock.acquire()
        except OSError as error:
            raise CacheError(explain_os_error(error, store.root, 0)) from error

    def renew(self) -> None:
        """Note that the lease is still in use, for processes on other machines."""
        with contextlib.suppress(OSError):
            os.utime(self.path)

    def release(self) -> None:
        """End the lease."""
        self._lock.release()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def leased(root: Path) -> set[str]:
    """Return the names of the recipe folders that living processes use; forget the dead ones."""
    in_use: set[str] = set()
    for path in sorted((root / "leases").glob("*.lock")):
        name, host, _, _ = path.name.split("~")
        if host == _host():
            alive = _is_held(path)
        else:
            # locks of other machines cannot be trusted on every shared file system: go by the time
            alive = _is_held(path) or time.time() - path.stat().st_mtime < _FOREIGN_LEASE_SECONDS
        if alive:
            in_use.add(name)
        else:
            path.unlink(missing_ok=True)
    return in_use


def read_recipe(folder: Path) -> dict[str, Any]:
    """Read what all items of a recipe's folder have in common; empty where that is lost."""
    try:
        found = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_held(path: Path) -> bool:
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def _host() -> str:
    return socket.gethostname().replace("~", "-") or "localhost"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
