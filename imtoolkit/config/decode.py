"""From plain values to the dataclasses of a config, and nothing coerced on the way.

`pyrallis.decode` builds the objects. It tries the members of a union in order and so makes 4 of
``"4"``; therefore each of our own dataclasses is registered with a decoder that picks the member of
a union by the type of the value. Built-in types are left as they are: the registry is global.
"""

from __future__ import annotations

import copy
from dataclasses import is_dataclass
from functools import partial
from typing import Any, Final, Union, get_args, get_origin

import pyrallis

from imtoolkit.core.errors import ConfigError, Problem, listed

from . import sections
from .categories import config_class, field_types
from .fit import pick
from .sections import CATEGORIES, Config, TaskConfig

SECTION_TYPES: Final = tuple(
    item for item in vars(sections).values() if is_dataclass(item) and isinstance(item, type)
)
"""Every dataclass of `imtoolkit.config.sections`."""


def decode(raw: dict[str, Any]) -> Config:
    """Build a config from validated plain values in long form."""
    config: Config = pyrallis.decode(Config, raw)
    return config


def _decode_section(cls: type[Any], raw: dict[str, Any]) -> Any:
    return cls(
        **{
            name: _decode_value(annotation, raw[name])
            for name, annotation in field_types(cls).items()
            if name in raw
        }
    )


def _decode_task(raw: dict[str, Any]) -> TaskConfig:
    found = config_class(raw["category"])
    if found is None:
        message = (
            f"unknown category '{raw['category']}': built in are {listed(list(CATEGORIES))}, and "
            "that of a plugin is known once the plugin is loaded"
        )
        raise ConfigError(Problem(message, where="task.category"))
    task: TaskConfig = _decode_section(found, raw)
    return task


def _decode_value(annotation: Any, raw: Any) -> Any:
    if raw is None:
        return None
    if get_origin(annotation) is Union:
        return _decode_value(pick(annotation, raw), raw)
    if get_origin(annotation) is list:
        return [_decode_value(get_args(annotation)[0], item) for item in raw]
    if get_origin(annotation) is dict:
        return {key: _decode_value(get_args(annotation)[1], item) for key, item in raw.items()}
    if annotation is Any:
        # arrays, which Python code may put into params, are shared; containers are not
        return copy.deepcopy(raw) if isinstance(raw, (dict, list)) and _is_plain(raw) else raw
    if is_dataclass(annotation) and annotation not in SECTION_TYPES and isinstance(raw, dict):
        return _decode_section(annotation, raw)  # type: ignore[arg-type]  # of a plugin
    return pyrallis.decode(annotation, raw)


def _is_plain(raw: Any) -> bool:
    if isinstance(raw, dict):
        return all(_is_plain(item) for item in raw.values())
    if isinstance(raw, list):
        return all(_is_plain(item) for item in raw)
    return raw is None or isinstance(raw, (str, int, float))


for _type in SECTION_TYPES:
    pyrallis.decode.register(_type, partial(_decode_section, _type))
pyrallis.decode.register(TaskConfig, _decode_task)
