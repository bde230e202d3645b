"""The user's own modules: found, trusted, imported, and found again in worker processes.

A plugin is a file beside the config (``plugins: [my_loss.py]``) or an installed package
(``plugins: [ourlab.losses]``). Importing runs its code, so it is imported only when the user trusts
it: with ``--trust`` (remembered by the hash of the file), ``load_config(path, trust=True)``, or
``trusted_packages`` in the user's settings.

A file ``my_loss.py`` becomes the module ``imtoolkit.config.plugins.my_loss``: this module acts as
their package, and a finder on the import path knows the files. The files are also kept in the
environment variable ``IMTOOLKIT_PLUGINS``, which child processes inherit; a spawned worker that
unpickles an object of a plugin imports this module, finds the file, and needs no preparation.
Plugins may import each other by that name; nothing is added to ``sys.path``.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Final

from imtoolkit.core import registry
from imtoolkit.core.errors import ConfigError, Problem

from .sections import Config
from .settings import is_remembered, load_settings, remember

ENVIRONMENT: Final = "IMTOOLKIT_PLUGINS"
FOLDER: Final = "plugins"
"""Folder inside a run folder that holds the copies."""
HASHES: Final = "SHA256SUMS"
"""File beside the copies with their hashes, in the format of ``sha256sum``."""

__path__: list[str] = []  # makes this module a package, whose modules the finder below supplies


def is_file(plugin: str) -> bool:
    """Tell whether an entry of ``plugins:`` is a file and not the name of a package."""
    return plugin.endswith(".py") or "/" in plugin or "\\" in plugin


def module_name(plugin: str) -> str:
    """Return the name under which a plugin is imported."""
    return f"{__name__}.{Path(plugin).stem}" if is_file(plugin) else plugin


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def plugin_files(config: Config) -> list[Path]:
    """Return the plugin files of a config; packages are not among them."""
    return [Path(plugin) for plugin in config.plugins if is_file(plugin)]


def absolute(plugin: str, folder: Path) -> str:
    """Return an entry of ``plugins:`` with files made absolute from the folder of their config."""
    return str((folder / Path(plugin).expanduser()).resolve()) if is_file(plugin) else plugin


def missing(plugins: Sequence[str]) -> dict[str, str]:
    """Return what is wrong with entries of ``plugins:``, trusted or not: entry -> message."""
    found: dict[str, str] = {}
    stems: dict[str, str] = {}
    for plugin in plugins:
        stem = Path(plugin).stem
        if not is_file(plugin):
            if not all(part.isidentifier() for part in plugin.split(".")):
                found[plugin] = f"'{plugin}' is neither a .py file nor the name of a package"
        elif not Path(plugin).is_file():
            found[plugin] = (
                f"no such file: {plugin}. Plugins are relative to the config that names them"
            )
        elif not stem.isidentifier() or not plugin.endswith(".py"):
            found[plugin] = (
                f"'{Path(plugin).name}' cannot be imported: name it like a variable, '.py' last"
            )
        elif stems.setdefault(stem, plugin) != plugin:
            found[plugin] = f"two plugins are named '{stem}.py'; rename one"
    return found


def untrusted(plugins: Sequence[str], config_file: Path | None = None) -> list[str]:
    """Return the plugins that the user has not trusted."""
    packages = load_settings().trusted_packages

    def is_trusted(plugin: str) -> bool:
        if is_file(plugin):
            return is_remembered(file_hash(Path(plugin)))
        return _is_below(plugin, packages) or is_remembered(_package_digest(plugin, config_file))

    return [plugin for plugin in plugins if not is_trusted(plugin)]


def trust(plugins: Sequence[str], config_file: Path | None = None) -> None:
    """Remember that the user trusts these plugins, as they are now."""
    if not plugins:
        return
    remember(
        {
            file_hash(Path(plugin))
            if is_file(plugin)
            else _package_digest(plugin, config_file): plugin
            for plugin in plugins
        }
    )


def load(plugins: Config | Sequence[str]) -> None:
    """Import trusted plugins and make their public names known to every kind of component.

    Trust is not asked for here: `load_config` did it.

    Raises:
        ConfigError: If one cannot be imported.
    """
    entries = plugins.plugins if isinstance(plugins, Config) else list(plugins)
    wrong = missing(entries)
    if wrong:
        raise ConfigError(Problem(text, where="plugins") for text in wrong.values())
    files = [plugin for plugin in entries if is_file(plugin)]
    known = _known_files()
    _publish({**known, **{Path(file).stem: file for file in files}})
    for plugin in entries:
        registry.add_plugin(
            _import(plugin, known), Path(plugin).stem if is_file(plugin) else plugin
        )


def copy_into(config: Config, folder: Path) -> Config:
    """Copy the plugin files into a run folder with their hashes; return a config naming them."""
    files = plugin_files(config)
    if not files:
        return config
    target = folder / FOLDER
    target.mkdir(parents=True, exist_ok=True)
    copies = {str(file): target / file.name for file in files}
    for file, place in copies.items():
        if Path(file).resolve() != place.resolve():
            shutil.copyfile(file, place)
    lines = [f"{file_hash(place)}  {place.name}\n" for place in copies.values()]
    (target / HASHES).write_text("".join(lines), encoding="utf-8")
    renamed = [
        str(copies[plugin].resolve()) if plugin in copies else plugin for plugin in config.plugins
    ]
    return replace(config, plugins=renamed)


def changed_copies(folder: Path) -> list[str]:
    """Return the plugin files of a run folder that differ from their recorded hash."""
    target = folder / FOLDER
    if not target.is_dir():
        return []
    sums = target / HASHES
    text = sums.read_text(encoding="utf-8") if sums.is_file() else ""
    recorded = {
        name: digest for digest, _, name in (line.partition("  ") for line in text.splitlines())
    }
    return [
        path.name
        for path in sorted(target.glob("*.py"))
        if recorded.get(path.name) != file_hash(path)
    ]


def _is_below(plugin: str, packages: Sequence[str]) -> bool:
    return any(plugin == name or plugin.startswith(f"{name}.") for name in packages)


def _package_digest(package: str, config_file: Path | None) -> str:
    # an installed package has no single file: it is trusted as named by this very config
    content = config_file.read_bytes() if config_file is not None and config_file.is_file() else b""
    return hashlib.sha256(package.encode() + b"\0" + content).hexdigest()


def _import(plugin: str, known: dict[str, str]) -> ModuleType:
    name = module_name(plugin)
    if is_file(plugin) and known.get(Path(plugin).stem, plugin) != plugin:
        sys.modules.pop(
            name, None
        )  # another file of this name, from another config of this session
    try:
        return importlib.import_module(name)
    except Exception as error:  # the user's code may raise anything
        message = f"cannot be imported: {type(error).__name__}: {error}"
        raise ConfigError(Problem(message, where="plugins", file=plugin)) from error


def _known_files() -> dict[str, str]:
    files = [entry for entry in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if entry]
    return {Path(file).stem: file for file in files}


def _publish(files: dict[str, str]) -> None:
    os.environ[ENVIRONMENT] = os.pathsep.join(files.values())


class _PluginFinder(importlib.abc.MetaPathFinder):
    """Finds ``imtoolkit.config.plugins.<stem>`` among the files that `load` was given."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        package, _, stem = fullname.rpartition(".")
        file = _known_files().get(stem) if package == __name__ else None
        return importlib.util.spec_from_file_location(fullname, file) if file else None


if not any(type(finder).__name__ == _PluginFinder.__name__ for finder in sys.meta_path):
    sys.meta_path.insert(0, _PluginFinder())
