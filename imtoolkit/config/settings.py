"""The user's settings: where runs and the cache go, and which packages are trusted.

``settings.yaml`` lies in the user's configuration folder (``IMTOOLKIT_SETTINGS`` names another):

    runs: /scratch/me/runs
    cache: /scratch/me/cache
    trusted_packages: [ourlab]

``trust.json`` beside it remembers the hashes of the files that were trusted with ``--trust``.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import platformdirs

from imtoolkit.core.errors import ConfigError, Problem, did_you_mean
from imtoolkit.core.files import write_json

from .fit import fits, got, in_words
from .nodes import read
from .sections import Config

log = logging.getLogger(__name__)

RUNS_VARIABLE: Final = "IMTOOLKIT_RUNS"
CACHE_VARIABLE: Final = "IMTOOLKIT_CACHE"
SETTINGS_VARIABLE: Final = "IMTOOLKIT_SETTINGS"


@dataclass(frozen=True)
class Settings:
    """What the user's settings file says; each may be left out.

    Attributes:
        runs: Folder of all runs.
        cache: Folder of the caches.
        trusted_packages: Packages that a config may name under ``plugins:`` without ``--trust``.
    """

    runs: str | None = None
    cache: str | None = None
    trusted_packages: tuple[str, ...] = ()


def settings_path() -> Path:
    """Return where the settings file is looked for."""
    given = os.environ.get(SETTINGS_VARIABLE)
    if given:
        return Path(given).expanduser()
    return platformdirs.user_config_path("imtoolkit", appauthor=False) / "settings.yaml"


def load_settings() -> Settings:
    """Read the user's settings; without a file, all are left out.

    Raises:
        ConfigError: If the file has an unknown key or a value of the wrong type.
    """
    path = settings_path()
    if not path.is_file():
        return Settings()
    types: dict[str, Any] = {"runs": str, "cache": str, "trusted_packages": list[str]}
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    for key, node in read(path).value.items():
        value = node.plain()
        if key not in types:
            hint = did_you_mean(str(key), types)
            problems.append(node.place.problem(f"unknown setting.{hint} Known: {', '.join(types)}"))
        elif not fits(types[key], value):
            problems.append(node.place.problem(f"expects {in_words(types[key])}, got {got(value)}"))
        else:
            values[key] = tuple(value) if isinstance(value, list) else value
    if problems:
        raise ConfigError(problems)
    return Settings(**values)


def runs_root(config: Config | None = None) -> Path:
    """Return the folder of all runs: config, ``IMTOOLKIT_RUNS``, settings, or ``runs``."""
    given = config.tracking.runs if config is not None else None
    found = given or os.environ.get(RUNS_VARIABLE) or load_settings().runs or "runs"
    return Path(found).expanduser().absolute()


def cache_root(config: Config | None = None) -> Path:
    """Return the folder of caches: config, ``IMTOOLKIT_CACHE``, settings, user's cache folder."""
    given = config.data.cache.root if config is not None else None
    found = given or os.environ.get(CACHE_VARIABLE) or load_settings().cache
    if found:
        return Path(found).expanduser().absolute()
    return platformdirs.user_cache_path("imtoolkit", appauthor=False)


_trusted_now: Final[set[str]] = set()


def _trust_path() -> Path:
    return settings_path().with_name("trust.json")


def is_remembered(digest: str) -> bool:
    """Tell whether the user trusted a file with this hash before."""
    if digest in _trusted_now:
        return True
    try:
        known = json.loads(_trust_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # an unreadable memory trusts nothing
    return isinstance(known, dict) and digest in known


def remember(digests: dict[str, str]) -> None:
    """Remember that files are trusted: hash -> what it was, for the reader of the file.

    Where the settings cannot be written, they are trusted for the time of this process.
    """
    path = _trust_path()
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    known = known if isinstance(known, dict) else {}
    if digests.keys() <= known.keys():
        return
    try:
        write_json(path, {**known, **digests})
    except OSError as error:
        _trusted_now.update(digests)
        log.warning(
            "cannot remember in %s what you trust (%s): the next command will ask again. Set %s to "
            "a file in a folder that you may write to",
            *(path, error.strerror or error, SETTINGS_VARIABLE),
        )
