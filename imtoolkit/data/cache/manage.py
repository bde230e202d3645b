"""What the cache holds, whether it is sound, and making room: `inspect`, `verify`, `clear`.

None of them disturbs a run: what a living process uses is spared, and a broken item is only
removed, so that the next run makes it anew.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from filelock import FileLock

from imtoolkit.config import plugins as plugin_modules
from imtoolkit.config.sections import Component, DataConfig
from imtoolkit.core.errors import ImtoolkitError
from imtoolkit.core.facts import TargetKind, TargetSpec
from imtoolkit.data.cache.compute import compute
from imtoolkit.data.cache.files import CacheFile, TornFileError, open_file
from imtoolkit.data.cache.keys import item_key, recipe_name, recipe_of
from imtoolkit.data.cache.store import SUFFIX, CacheError, explain_os_error, leased, read_recipe
from imtoolkit.data.preprocess import Preprocessor

_DAY: Final = 24 * 3600
_ABANDONED: Final = 3600
"""Seconds after which a half-written file belongs to a process that was killed."""


@dataclass(frozen=True)
class Entry:
    """The items of one recipe.

    Attributes:
        name: The recipe's hash, name of its folder.
        items: Number of images.
        nbytes: Their size on disk.
        used: When a run last opened it.
        in_use: Whether a living process uses it.
        steps: Names of the preprocessing steps.
    """

    name: str
    items: int
    nbytes: int
    used: datetime
    in_use: bool
    steps: tuple[str, ...]


@dataclass
class Verification:
    """What `verify` found.

    Attributes:
        items: Files that were read to the last byte.
        torn: Files that were cut or unfinished; removed.
        damaged: Files whose bytes do not fit their checksum; removed.
        recomputed: Items that were made anew and found equal.
        different: Items that came out different; removed. A step is not deterministic, or the
            machine is ill.
        stale: Items whose file has changed or is gone since; nothing uses them any more.
        skipped: Why recipes could not be recomputed, by name.
    """

    items: int = 0
    torn: list[Path] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)
    recomputed: int = 0
    different: list[Path] = field(default_factory=list)
    stale: int = 0
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def is_sound(self) -> bool:
        """Whether nothing had to be removed."""
        return not (self.torn or self.damaged or self.different)


@dataclass(frozen=True)
class Clearance:
    """What `clear` removed, and what it spared because a living process uses it."""

    items: int
    nbytes: int
    spared: tuple[str, ...]


def inspect(root: Path) -> list[Entry]:
    """List the recipes in a cache, the last used first.

    Raises:
        CacheError: If the folder cannot be read.
    """
    with _explained(root):
        in_use = leased(root)
        entries = [_entry(folder, folder.name in in_use) for folder in _recipes(root)]
    return sorted(entries, key=lambda entry: entry.used, reverse=True)


def verify(
    root: Path,
    *,
    recompute: int = 3,
    progress: Callable[[Sequence[Path]], Iterable[Path]] | None = None,
) -> Verification:
    """Read every item, and make some anew to compare.

    Args:
        root: Folder of the cache.
        recompute: How many items of each recipe are made anew from their files, drawn at random.
        progress: Wraps the list of files, to show a progress bar.

    Raises:
        CacheError: If the folder cannot be read.
    """
    found = Verification()
    with _explained(root):
        for folder in _recipes(root):
            paths = list(_items(folder))
            sound = []
            for path in progress(paths) if progress is not None else paths:
                item = _check(path, found)
                if item is not None:
                    sound.append(path)
            _recompute(folder, sound, recompute, found)
        _remove_parts(root)
    return found


def clear(root: Path, *, unused_days: float = 0) -> Clearance:
    """Remove everything that no living process uses.

    Args:
        root: Folder of the cache.
        unused_days: Keep what was used in this many days.

    Raises:
        CacheError: If the folder cannot be written.
    """
    items = nbytes = 0
    spared = []
    with _explained(root):
        if not root.is_dir():
            return Clearance(0, 0, ())
        with FileLock(root / "clear.lock"):  # a run that starts now waits, and then makes its items
            in_use = leased(root)
            for folder in _recipes(root):
                entry = _entry(folder, folder.name in in_use)
                if entry.in_use:
                    spared.append(folder.name)
                elif time.time() - entry.used.timestamp() >= unused_days * _DAY:
                    shutil.rmtree(folder)
                    items += entry.items
                    nbytes += entry.nbytes
        _remove_parts(root)
    return Clearance(items, nbytes, tuple(spared))


def _recipes(root: Path) -> list[Path]:
    if not root.exists():
        return []
    return sorted(path.parent for path in root.glob("*/recipe.json"))


def _items(folder: Path) -> Iterator[Path]:
    return folder.glob(f"??/*{SUFFIX}")


def _entry(folder: Path, in_use: bool) -> Entry:
    sizes = [path.stat().st_size for path in _items(folder)]
    steps = tuple(str(step.get("name")) for step in read_recipe(folder).get("preprocess", []))
    used = datetime.fromtimestamp((folder / "recipe.json").stat().st_mtime).astimezone()
    return Entry(folder.name, len(sizes), sum(sizes), used, in_use, steps)


def _check(path: Path, found: Verification) -> CacheFile | None:
    try:
        item = open_file(path)
    except TornFileError:
        found.torn.append(path)
    except FileNotFoundError:  # cleared by someone since it was listed
        return None
    else:
        found.items += 1
        if not item.verify():
            return item
        found.damaged.append(path)
    path.unlink(missing_ok=True)
    return None


def _recompute(folder: Path, paths: list[Path], count: int, found: Verification) -> None:
    if count <= 0 or not paths:
        return
    try:
        preprocessor, target = _rebuild(folder)
    except (ImtoolkitError, KeyError, TypeError, ValueError) as error:
        found.skipped[folder.name] = str(error)
        return
    for path in random.sample(paths, min(count, len(paths))):
        item = open_file(path)
        row = item.meta["row"]
        if any(str(cell).startswith("array::") for cell in row.values()):
            found.skipped[folder.name] = "its images came from memory"
            continue
        try:
            unchanged = item_key(folder.name, row, target) == path.stem
            anew = compute(row, preprocessor, target).arrays if unchanged else None
        except ImtoolkitError:
            anew = None
        if anew is None:
            found.stale += 1
        elif _equal(item.arrays, anew):
            found.recomputed += 1
        else:
            found.different.append(path)
            path.unlink(missing_ok=True)


def _rebuild(folder: Path) -> tuple[Preprocessor, TargetSpec]:
    recipe = read_recipe(folder)
    plugins = [str(plugin) for plugin in recipe["plugins"]]
    untrusted = plugin_modules.untrusted(plugins)
    if untrusted:
        message = f"it needs plugins that are not trusted: {', '.join(untrusted)}"
        raise ValueError(message)
    reader = recipe["reader"]
    config = DataConfig(
        sources={},
        reader=Component(**reader) if reader else None,
        preprocess=[Component(**step) for step in recipe["preprocess"]],
        **recipe["read"],
    )
    wanted = recipe["target"]
    target = TargetSpec(
        TargetKind(wanted["kind"]),
        tuple(wanted["classes"]),
        annotations=wanted.get("annotations", False),
        unpaired=wanted.get("unpaired", False),
    )
    if recipe_name(recipe_of(config, target, plugins)) != folder.name:
        message = "it was made by other versions of imtoolkit or its packages; no run uses it now"
        raise ValueError(message)
    return Preprocessor(config, plugins), target


def _equal(old: dict[str, np.ndarray], new: dict[str, Any]) -> bool:
    return old.keys() == new.keys() and all(
        old[name].dtype == new[name].dtype and np.array_equal(old[name], new[name]) for name in old
    )


def _remove_parts(root: Path) -> None:
    for path in root.glob(f"*/??/.*{SUFFIX}.*.part"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink()


@contextlib.contextmanager
def _explained(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CacheError(explain_os_error(error, root, 0)) from error
