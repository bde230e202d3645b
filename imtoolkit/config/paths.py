"""Which values of a config are paths, and how they are stored.

Data paths are written relative to the working directory and stored absolute, so that a run can be
resumed, and its config read, from anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

SOURCE_PATHS: Final = frozenset(
    {
        *("root", "roots", "file", "files", "path", "paths", "csv", "table", "datalist"),
        *("folder", "dataset", "json", "archive"),
    }
)
"""Parameters of sources that are paths; patterns such as ``images/*.tif`` are below ``root``."""

LOSS_PATHS: Final = frozenset({"weights"})
"""Parameters of losses that are paths where they are texts, such as the net of ``perceptual``."""

CONFIG_PATHS: Final = (("data", "cache", "root"), ("data", "split", "file"), ("tracking", "runs"))
"""Keys of the config that are paths."""


def make_absolute(raw: dict[str, Any], folder: Path | None = None) -> None:
    """Make the paths in plain values of long form absolute, in place.

    Args:
        raw: The config as plain values.
        folder: What relative paths start from; the working directory when left out.
    """
    for holder, key in path_entries(raw):
        holder[key] = _absolute(holder[key], folder or Path.cwd())


def path_entries(raw: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield (mapping, key) of each value that is a path, or a list of paths."""
    for *parents, key in CONFIG_PATHS:
        holder: Any = raw
        for parent in parents:
            holder = (holder.get(parent) or {}) if isinstance(holder, dict) else {}
        if isinstance(holder, dict) and holder.get(key):
            yield holder, key
    for source in ((raw.get("data") or {}).get("sources") or {}).values():
        params = source["source"].get("params") or {}
        for key in SOURCE_PATHS & set(params):
            yield params, key
    for term in ((raw.get("task") or {}).get("losses") or {}).values():
        yield from _loss_paths(term.get("params") or {})
    start = (raw.get("task") or {}).get("start_from")
    # `run` may also be the id of a run, or `latest`
    if start and Path(str(start["run"])).expanduser().exists():
        yield start, "run"


def _loss_paths(params: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the paths of a loss, and of those that stand in its parameters."""
    for key, value in params.items():
        if key in LOSS_PATHS and isinstance(value, str):
            yield params, key
        elif isinstance(value, dict) and isinstance(value.get("params"), dict):
            yield from _loss_paths(value["params"])


def _absolute(value: Any, folder: Path) -> Any:
    if isinstance(value, list):
        return [_absolute(item, folder) for item in value]
    if isinstance(value, str) and not re.match(r"^[a-z][a-z0-9+]+://", value):
        # not resolved: a link to the data shall stay a link
        return str(folder / Path(value).expanduser())
    return value
