"""A config as plain values and as YAML that loads back to an equal config."""

from __future__ import annotations

import hashlib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pyrallis
import yaml

from .decode import decode
from .nodes import Yaml12Loader
from .sections import Config


def to_dict(config: Config) -> dict[str, Any]:
    """Return a config as plain values: long forms, every default spelt out.

    Arrays that Python code put into parameters are described by type, shape and hash, because a
    text file cannot hold them.
    """
    raw: dict[str, Any] = _described(config)
    # `base` is resolved when a config is loaded; a null would only raise questions
    raw.pop("base", None)
    return raw


def from_dict(raw: dict[str, Any]) -> Config:
    """Rebuild a config from what `to_dict` returned."""
    return decode(raw)


def to_yaml(config: Config, *, relative_to: Path | None = None) -> str:
    """Return a config as YAML.

    Args:
        config: What to write.
        relative_to: Folder that the file goes to; plugin files inside it are written relative to
            it, so that the folder can be moved.
    """
    raw = to_dict(config)
    if relative_to is not None:
        raw["plugins"] = [_relative(plugin, relative_to.resolve()) for plugin in raw["plugins"]]
    order = ["config_version", "name", "seed", "plugins", "data", "task"]
    ordered = {key: raw[key] for key in order} | raw
    return yaml.dump(
        ordered, Dumper=ConfigDumper, sort_keys=False, default_flow_style=None, width=100
    )


def _relative(plugin: str, folder: Path) -> str:
    path = Path(plugin)
    if path.is_absolute() and path.resolve().is_relative_to(folder):
        return path.resolve().relative_to(folder).as_posix()
    return plugin


def _described(value: Any) -> Any:
    """Copy a value as plain containers and replace what no text file can hold by a description."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: _described(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, dict):
        return {key: _described(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_described(item) for item in value]
    if hasattr(value, "dtype") and hasattr(value, "tobytes"):
        digest = hashlib.sha256(value.tobytes()).hexdigest()[:16]
        return f"<array {value.dtype} {tuple(value.shape)} sha256:{digest}>"
    return pyrallis.encode(value)


class ConfigDumper(yaml.SafeDumper):
    """Quotes every text that YAML 1.1 or 1.2 would read as something else; writes no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write equal objects twice instead of as an anchor and an alias."""
        return True


ConfigDumper.yaml_implicit_resolvers = {
    key: [
        *yaml.SafeDumper.yaml_implicit_resolvers.get(key, []),
        *Yaml12Loader.yaml_implicit_resolvers.get(key, []),
    ]
    for key in {*yaml.SafeDumper.yaml_implicit_resolvers, *Yaml12Loader.yaml_implicit_resolvers}
}
