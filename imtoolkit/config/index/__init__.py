"""Names, signatures and first lines of documentation of all components, without importing them.

`Index` answers from JSON files in the user's cache folder: one for the installed packages, made
once for each set of versions, and one for imtoolkit's own rooms, made again when their sources
change. Modules under ``plugins:`` are read each time, with `ast` and whether trusted or not.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from imtoolkit.config.settings import cache_root
from imtoolkit.core.registry import ALLOWED_PACKAGES, KINDS

from .build import Builder
from .entry import Entry, Table
from .modules import Reader
from .versions import own_key, packages_key

__all__ = ["Entry", "Index", "open_index"]

_log = logging.getLogger(__name__)


class Index:
    """Finds components of a kind by name.

    Args:
        plugins: First part of dotted paths into a plugin -> name and file of its module. They are
            read, never imported.
    """

    def __init__(self, plugins: Mapping[str, tuple[str, Path]] | None = None) -> None:
        self._plugins = {name: module for name, (module, _) in (plugins or {}).items()}
        self._builder = Builder(Reader(dict((plugins or {}).values())))
        self._packages = _load("packages", packages_key(), Builder.packages)
        self._own = _load("own", own_key(), Builder.own)
        self._plugin_tables: dict[str, dict[str, Entry]] = {}

    def names(self, kind: str) -> list[str]:
        """Return all names of a kind: built-ins, names of plugins, names of the namespaces."""
        own, packages = self._own.names(kind), self._packages.names(kind)
        return list(dict.fromkeys([*own, *self._of_plugins(kind), *packages]))

    def suggestions(self, kind: str) -> list[str]:
        """Return the names of a kind, the usual spelling of each after its aliases."""
        names = self.names(kind)
        return sorted(names, key=lambda name: self._is_main(kind, name))

    def _is_main(self, kind: str, name: str) -> bool:
        entry = self.get(kind, name)
        return entry is not None and entry.path.endswith(f".{name}")

    def builtins(self, kind: str) -> list[str]:
        """Return the names of imtoolkit's own components of a kind."""
        return self._own.names(kind)

    def get(self, kind: str, name: str) -> Entry | None:
        """Return what is known of a component; None if it is unknown or of another kind.

        A name is looked up as `imtoolkit.core.registry.resolve` does it.
        """
        found = self._own.get(kind, name)
        if found is not None:
            return found
        if "." in name:
            return self._by_path(kind, name)
        return self._of_plugins(kind).get(name) or self._packages.get(kind, name)

    def exists(self, path: str) -> bool:
        """Tell whether a dotted path leads to a class or function, of whatever kind."""
        return self._builder.find(self._plugin_path(path)) is not None

    def is_plugin(self, path: str) -> bool:
        """Tell whether a dotted path leads into one of the plugins."""
        return self._plugin_path(path) != path or any(
            path.startswith(f"{name}.") for name in self._plugins
        )

    def kinds_of(self, name: str) -> list[str]:
        """Return the kinds that have a component of this name."""
        return [
            kind for kind in KINDS if name in self._own.names(kind) + self._packages.names(kind)
        ]

    def plugin_with(self, name: str) -> str | None:
        """Return the plugin that defines a class or function, of whatever kind, under a name."""
        for plugin, module in self._plugins.items():
            found = self._builder.find(f"{module}.{name}")
            if found is not None and found.module == module:
                return plugin
        return None

    def _by_path(self, kind: str, path: str) -> Entry | None:
        own_path = self._plugin_path(path)
        if own_path == path and path.partition(".")[0] not in ALLOWED_PACKAGES:
            return None
        found = self._packages.by_path(kind, path)
        return found or self._builder.entry(kind, own_path, plugin=own_path != path)

    def _plugin_path(self, path: str) -> str:
        for name in self._plugins:
            if path.startswith(f"{name}."):
                return f"{self._plugins[name]}.{path.removeprefix(f'{name}.')}"
        return path

    def _of_plugins(self, kind: str) -> dict[str, Entry]:
        if kind not in self._plugin_tables:
            table: dict[str, Entry] = {}
            for module in self._plugins.values():
                table.update(self._builder.public(kind, module))
            self._plugin_tables[kind] = table
        return self._plugin_tables[kind]


def open_index(plugins: Iterable[str] = ()) -> Index:
    """Return the index with the plugins of a config, as `imtoolkit.config.plugins` names them."""
    from imtoolkit.config.plugins import is_file, module_name

    from .modules import module_file

    files: dict[str, tuple[str, Path]] = {}
    for plugin in plugins:
        file = Path(plugin) if is_file(plugin) else module_file(plugin)
        if file is not None and file.is_file():
            files[Path(plugin).stem if is_file(plugin) else plugin] = (module_name(plugin), file)
    stats = [file.stat() for _, file in files.values()]
    stamp = own_key() + "".join(f"{stat.st_mtime_ns}-{stat.st_size};" for stat in stats)
    return _cached_index(tuple(files.items()), stamp)


@lru_cache(maxsize=8)
def _cached_index(plugins: tuple[tuple[str, tuple[str, Path]], ...], stamp: str) -> Index:
    return Index(dict(plugins))


def _load(name: str, key: str, make: Any) -> Table:
    """Read a table from the cache, or make it and try to keep it."""
    folder = cache_root() / "index"
    file = folder / f"{name}-{key}.json"
    try:
        return Table(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        pass  # not there yet, or torn: it is made again
    if name == "packages":
        _log.info(
            "reading the components of torch, MONAI and torchmetrics, once for these versions"
        )
    table: Table = make()
    table.save(file)
    return table
