"""A YAML file as a tree whose every value knows where it was written.

The scalars are those of YAML 1.2 (``no`` and ``1:30`` are strings, ``010`` is ten, ``1e-3`` is a
number), a key may stand once, and no tag can make a Python object: what is read is data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Final

import yaml

from imtoolkit.core.errors import ConfigError, Problem

_TAG: Final = "tag:yaml.org,2002:"
_MOST_NODES: Final = 50_000
"""Aliases of aliases grow a small file without bound; no config comes near this."""


@dataclass(frozen=True)
class Place:
    """Where a value was written: file, line, and its key as the user wrote it."""

    file: str = ""
    line: int | None = None
    key: str = ""

    def below(self, key: Any, line: int | None = None) -> Place:
        """Return the place of an entry of the mapping or list that stands here."""
        return replace(
            self, key=f"{self.key}.{key}" if self.key else str(key), line=line or self.line
        )

    def problem(self, message: str) -> Problem:
        """Return a problem that points here."""
        return Problem(message, where=self.key, file=self.file, line=self.line)


@dataclass
class Node:
    """A value with its place.

    Attributes:
        value: A scalar, a list of nodes, or a dict from keys to nodes.
        place: Where it was written.
        single: True for the ``nets:`` that ``net:`` was expanded to: it stands for all entries.
        patch: True for a mapping made of dotted overrides: its keys may be the numbers of a list.
    """

    value: Any
    place: Place = field(default_factory=Place)
    single: bool = False
    patch: bool = False

    def plain(self) -> Any:
        """Return the value without its places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def walk(self) -> Iterator[Node]:
        """Yield this node and all below it."""
        yield self
        if isinstance(self.value, dict):
            for node in self.value.values():
                yield from node.walk()
        elif isinstance(self.value, list):
            for node in self.value:
                yield from node.walk()


def from_plain(value: Any, place: Place | None = None) -> Node:
    """Turn plain values, as Python code gives them, into nodes."""
    place = place or Place()
    if isinstance(value, Mapping):
        return Node({key: from_plain(item, place.below(key)) for key, item in value.items()}, place)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return Node([from_plain(item, place.below(n)) for n, item in enumerate(value)], place)
    if isinstance(value, Path):
        return Node(str(value), place)
    return Node(value, place)


def read(path: Path) -> Node:
    """Read a YAML file.

    Raises:
        ConfigError: If it is missing, not UTF-8, not YAML, or not a mapping.
    """
    name = str(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(Problem("no such file", file=name)) from None
    except IsADirectoryError:
        raise ConfigError(Problem("is a folder; a config is a YAML file", file=name)) from None
    except UnicodeDecodeError as error:
        message = (
            f"is not a text file in UTF-8 ({error.reason} at byte {error.start}). Save it as UTF-8"
        )
        raise ConfigError(Problem(message, file=name)) from error
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
        raise ConfigError(Problem(message, file=name)) from error
    node = parse(text, name)
    if not isinstance(node.value, dict):
        held = "a list" if isinstance(node.value, list) else f"only '{node.value}'"
        got = "is empty" if node.value is None else f"holds {held}"
        message = f"{got}; a config is a mapping with the sections 'data' and 'task'"
        raise ConfigError(Problem(message, file=name))
    return node


def parse(text: str, file: str = "", key: str = "") -> Node:
    """Parse YAML text.

    Raises:
        ConfigError: With all problems of duplicate keys and tags, or the first of the syntax.

    Example:
        >>> parse("{a: 1e-3, b: no, c: 010}").plain()
        {'a': 0.001, 'b': 'no', 'c': 10}
    """
    try:
        # a subclass of the safe loader, and only asked for nodes, never for objects
        root = yaml.compose(text, Loader=Yaml12Loader)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_syntax_problem(error, text, file, key)) from error
    except yaml.YAMLError as error:
        raise ConfigError(Problem(f"is not valid YAML: {error}", where=key, file=file)) from error
    place = Place(file, None, key)
    if root is None:
        return Node(None, place)
    composer = _Converter()
    node = composer.convert(root, place)
    if composer.problems:
        raise ConfigError(composer.problems)
    return node


def parse_scalar(text: str, key: str) -> Node:
    """Parse the value of an override: a YAML scalar, list or mapping in one line.

    Example:
        >>> parse_scalar("*.png", "data.source.params.image").value
        '*.png'
    """
    if text.startswith("*"):  # a pattern: there is no anchor that an alias could mean
        return Node(text, Place("", None, key))
    return parse(text, key=key)


class Yaml12Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The safe loader with the scalars of the YAML 1.2 core schema."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


_FIRST: Final = list("-+.0123456789")
Yaml12Loader.add_implicit_resolver(
    _TAG + "null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)
Yaml12Loader.add_implicit_resolver(
    _TAG + "bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
Yaml12Loader.add_implicit_resolver(
    _TAG + "int", re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), _FIRST
)
Yaml12Loader.add_implicit_resolver(
    _TAG + "float",
    re.compile(
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    _FIRST,
)


def _to_int(text: str) -> int:
    bases = {"0o": 8, "0x": 16}
    return int(text, bases.get(text[:2], 10))


def _to_float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _to_bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


_SCALARS: Final[dict[str, Callable[[str], Any]]] = {
    _TAG + "null": lambda text: None,
    _TAG + "bool": _to_bool,
    _TAG + "int": _to_int,
    _TAG + "float": _to_float,
    _TAG + "str": str,
}


class _Converter:
    """Turns the nodes of PyYAML into ours and collects what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._count = 0
        self._open: list[int] = []

    def convert(self, node: yaml.Node, place: Place) -> Node:
        line = place.line or node.start_mark.line + 1
        place = replace(place, line=line if place.file else None)
        self._count += 1
        if id(node) in self._open or self._count > _MOST_NODES:
            raise ConfigError(
                place.problem("holds itself, or grows without bound, through aliases")
            )
        self._open.append(id(node))
        try:
            return Node(self._value(node, place), place)
        finally:
            self._open.pop()

    def _value(self, node: yaml.Node, place: Place) -> Any:
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [
                self.convert(item, replace(place.below(number), line=item.start_mark.line + 1))
                for number, item in enumerate(node.value)
            ]
        if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
            try:
                return _SCALARS[node.tag](node.value)
            except ValueError:
                kind = node.tag.removeprefix(_TAG)
                self.problems.append(place.problem(f"'{node.value}' is not of the type '{kind}'"))
                return None
        tag = node.tag.replace(_TAG, "!!")
        reason = (
            "a config is data and makes no Python objects" if "python/" in tag else "unknown tag"
        )
        self.problems.append(place.problem(f"the YAML tag '{tag}' is refused: {reason}. Remove it"))
        return None

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[Any, Node]:
        entries: dict[Any, Node] = {}
        lines: dict[Any, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            here = replace(place, line=line if place.file else None)
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(here.problem("a key must be a word or a number"))
                continue
            key = self._value(key_node, here)
            if key == "<<" and not key_node.style:
                message = (
                    "merge keys ('<<') are not part of YAML 1.2; start from a file with 'base:'"
                )
                self.problems.append(here.problem(message))
                continue
            if key in entries:
                message = f"the key stands twice, first in line {lines[key]}. Remove one"
                self.problems.append(here.below(key).problem(message))
                continue
            lines[key] = line
            entries[key] = self.convert(value_node, here.below(key))
        return entries


def _syntax_problem(error: yaml.MarkedYAMLError, source: str, file: str, key: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    text = error.problem or "cannot be parsed"
    if error.context:
        text = f"{text} {error.context}"
    lines = source.splitlines()
    if mark is not None and mark.line < len(lines) and lines[mark.line].lstrip(" ")[:1] == "\t":
        text += "; there is a tab, indent with spaces"
    line = mark.line + 1 if mark is not None and file else None
    return Problem(f"is not valid YAML: {text}", where=key, file=file, line=line)
