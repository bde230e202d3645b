"""What a key of the config means: its type, default, choices, documentation and an example."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum, EnumMeta
from typing import Any, Final, Union, get_args, get_origin

import yaml

from imtoolkit.core.errors import ConfigError, did_you_mean

from .dump import ConfigDumper
from .examples import COMPLETE, VALUES
from .field_docs import field_doc
from .fit import in_words
from .index import open_index
from .limits import CHOICES, RANGES
from .parts import PLACES
from .sections import CATEGORIES, Component, Config, TaskConfig
from .shorthand import SINGULAR

KINDS_OF_KEYS: Final = {
    **dict(PLACES),
    "data.sources": "source",
    "data.sources.NAME.source": "source",
    "task.heads.NAME.metrics": "metric",
    "task.heads.NAME.postprocess": "postprocess",
}
"""Key that holds components -> their kind."""

ENTRY: Final = "NAME"
"""Stands for the name of an entry, as in ``data.sources.NAME.role``."""


@dataclass(frozen=True)
class KeyDoc:
    """All there is to say about a key.

    Attributes:
        key: Dotted key, in the form a user would write.
        doc: What it means.
        type: What it takes, in words.
        required: Whether a config must have it.
        default: The default as YAML, or "" where there is none to show.
        limits: Smallest and largest value in words, or "".
        choices: The values that it may have, if they are few.
        kind: Kind of the components that it holds, or "".
        example: YAML that uses it.
        children: Keys below it, with the first sentence of their documentation.
    """

    key: str
    doc: str
    type: str
    required: bool
    default: str
    limits: str
    choices: tuple[str, ...]
    kind: str
    example: str
    children: dict[str, str]


def explain(key: str) -> KeyDoc:
    """Describe a key such as ``data.patch.size``, ``task.net`` or ``trainer``.

    Raises:
        ConfigError: If there is no such key; the nearest ones are named.
    """
    docs = key_docs()
    key = key.removeprefix("--")
    if key in docs:
        return docs[key]
    hits = [known for known in docs if known.rpartition(".")[2] == key]
    if len(hits) == 1:
        return docs[hits[0]]
    if hits:
        message = f"'{key}' exists in several sections: {', '.join(hits)}. Name one of them"
        raise ConfigError(message)
    if ".params." in key or key.endswith(".params"):
        message = (
            f"'{key}' is a parameter of a component. Its parameters are shown by: "
            "imtoolkit components KIND NAME"
        )
        raise ConfigError(message)
    if kinds := open_index(()).kinds_of(key):
        message = f"'{key}' is a {kinds[0]}. Show it with: imtoolkit components {kinds[0]} {key}"
        raise ConfigError(message)
    last = {known.rpartition(".")[2]: known for known in docs}
    hint = did_you_mean(key, docs)
    if not hint and (near := did_you_mean(key.rpartition(".")[2], last)):
        hint = f" Did you mean '{last[near.split(chr(39))[1]]}'?"
    message = f"there is no key '{key}'.{hint} All sections: imtoolkit explain"
    raise ConfigError(message)


def key_docs() -> dict[str, KeyDoc]:
    """Return the documentation of all keys, in the order of the dataclasses."""
    docs: dict[str, KeyDoc] = {}
    _add_section(docs, Config, "")
    return docs


def sections_overview() -> list[tuple[str, str]]:
    """Return (section, documentation) of the top of a config."""
    return [(item.name, field_doc(Config, item.name)) for item in fields(Config)]


def complete_example() -> str:
    """Return a whole config that trains on drawn nuclei."""
    return COMPLETE


def _add_section(docs: dict[str, KeyDoc], cls: type[Any], prefix: str) -> None:
    classes = [cls]
    if cls is TaskConfig:
        classes = [TaskConfig, *CATEGORIES.values()]
    for owner in classes:
        for item in fields(owner):
            key = prefix + item.name
            if key not in docs:
                _add_short(docs, prefix, item.name, item.type)
                docs[key] = _key_doc(owner, item, key)
            # what two categories call alike may hold different keys, as `instances` does
            inner = _inner_section(item.type)
            if inner is not None:
                _add_section(docs, inner, _below(key, item.type))


def _add_short(docs: dict[str, KeyDoc], prefix: str, name: str, annotation: Any) -> None:
    """Add the short form of a key before the key itself: ``task.net`` before ``task.nets``."""
    section = prefix.rstrip(".")
    for short, (long, entry) in SINGULAR.get(section, {}).items():
        if long != name:
            continue
        key = prefix + short
        kind = KINDS_OF_KEYS[prefix + long]
        docs[key] = KeyDoc(
            key,
            f"The {kind}: the single entry of '{prefix}{long}', where it is named '{entry}'.",
            "a component: a name, or {name: ..., params: ...}",
            required=short == "source",
            default="",
            limits="",
            choices=(),
            kind=kind,
            example=_example(key, VALUES.get(key)),
            children=_children(get_args(_without_none(annotation))[1], f"{key}."),
        )


def _key_doc(cls: type[Any], item: Any, key: str) -> KeyDoc:
    annotation = _without_none(item.type)
    required = item.default is MISSING and item.default_factory is MISSING
    default = None if required else _default_of(item)
    choices = CHOICES.get(key, ())
    if isinstance(annotation, EnumMeta):
        choices = tuple(annotation.__members__)
    if key == "task.category":
        choices = tuple(CATEGORIES)
    low, high = RANGES.get(key, (None, None))
    limits = "" if low is None else f"at least {low}" if high is None else f"{low} to {high}"
    inner = _inner_section(item.type)
    doc = field_doc(cls, item.name)
    value = VALUES.get(key, default)
    return KeyDoc(
        key,
        doc,
        in_words(item.type),
        required,
        "" if required or is_dataclass(default) else _yaml(default),
        limits,
        tuple(map(str, choices)),
        KINDS_OF_KEYS.get(key, ""),
        _example(key, value),
        _children(inner, _below(key, item.type)),
    )


def _children(cls: type[Any] | None, prefix: str) -> dict[str, str]:
    if cls is None:
        return {}
    found: dict[str, str] = {}
    for owner in [cls, *CATEGORIES.values()] if cls is TaskConfig else [cls]:
        for item in fields(owner):
            section = prefix.rstrip(".")
            for short, (long, _) in SINGULAR.get(section, {}).items():
                if long == item.name:
                    found.setdefault(prefix + short, f"The single entry of '{long}'.")
            found.setdefault(prefix + item.name, field_doc(owner, item.name).partition(";")[0])
    return found


def _inner_section(annotation: Any) -> type[Any] | None:
    """Return the dataclass that a field holds, itself or as entries; not a plain component."""
    inner = _without_none(annotation)
    if get_origin(inner) in (dict, list):
        inner = get_args(inner)[-1]
    if not is_dataclass(inner) or inner is Component:
        return None
    return inner if isinstance(inner, type) else None


def _below(key: str, annotation: Any) -> str:
    """Return what the keys below a key begin with; those of a list's entries have no number."""
    named = get_origin(_without_none(annotation)) is dict
    return f"{key}.{ENTRY}." if named else f"{key}."


def _without_none(annotation: Any) -> Any:
    args = [arg for arg in get_args(annotation) if arg is not type(None)]
    return args[0] if get_origin(annotation) is Union and len(args) == 1 else annotation


def _default_of(item: Any) -> Any:
    value = item.default if item.default is not MISSING else item.default_factory()
    return value.value if isinstance(value, Enum) else value


def _yaml(value: Any) -> str:
    if value is None:
        return "left out"
    text = yaml.dump(value, Dumper=ConfigDumper, default_flow_style=True, width=1000)
    return text.removesuffix("\n").removesuffix("\n...")


def _example(key: str, value: Any) -> str:
    """Return YAML that sets one key."""
    if value is None or is_dataclass(value) or value in ([], {}):
        return ""
    nested: Any = value
    for part in reversed(key.split(".")):
        nested = {part.replace(ENTRY, "main"): nested}
    text = yaml.dump(nested, Dumper=ConfigDumper, default_flow_style=None, width=100)
    return text.rstrip("\n")
