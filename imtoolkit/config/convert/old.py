"""Old YAML files as plain values with their lines.

They were read by PyYAML with the scalars of YAML 1.1, where ``yes`` is true and ``1e-3`` a text,
and of keys that stand twice the last counted. Nothing here is imported, built or run: module names,
functions and tags are texts.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from imtoolkit.core.errors import ConfigError, Problem

_MOST_NODES: Final = 50_000
_DEEPEST: Final = 100  # what Python can follow, and more than any config needs
_TAGS: Final = "tag:yaml.org,2002:"


ALIASES: Final = (
    ("trainer", "training"),
    ("trainer.params", "run"),
    ("model.framework", "model.category"),
    ("model.net.generator", "model.generator"),
    ("model.net.discriminator", "model.discriminator"),
    ("model.checkpoint", "model.ckpt.checkpoint_path"),
    ("data.inference_input.dir", "data.input.dir"),
    ("data.inference_input.data_type", "data.input.params.data_type"),
    ("data.inference_input.reader_params", "data.input.reader_params"),
    ("data.inference_output", "data.output"),
    ("data.postprocess", "model.post_processing"),
    ("data.dataloader.train_val_ratio", "data.train_val_ratio"),
    ("data.dataloader.train.dataloader_params", "data.dataloader_params.train"),
    ("data.dataloader.val.dataloader_params", "data.dataloader_params.val"),
)
"""Key of later releases -> what it was called in the first ones (2022)."""


@dataclass(frozen=True)
class Leaf:
    """A value of an old file that holds no mappings.

    Attributes:
        key: Its key, written with dots, as later releases call it.
        value: A scalar, a list without mappings, or an empty mapping.
        line: Its line, counted from 1.
    """

    key: str
    value: Any
    line: int
    written: str = ""
    """The key as the file has it, where it is another one."""


@dataclass
class OldFile:
    """An old file.

    Attributes:
        path: Where it was read.
        root: Its values.
        leaves: All values that hold no mappings, in the order of the file.
        doubled: ``(key, line)`` of keys that stand twice; the last counts.
    """

    path: Path
    root: dict[str, Any]
    leaves: list[Leaf] = field(default_factory=list)
    doubled: list[tuple[str, int]] = field(default_factory=list)
    asked: str = ""
    """The key that was looked up last, to point to what cannot be converted."""

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key written with dots; ``default`` where it is absent or null."""
        self.asked = key
        value: Any = self.root
        for part in key.split("."):
            if isinstance(value, dict):
                value = value.get(part)
            elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
                value = value[int(part)]
            else:
                return default
        return default if value is None else value

    def line(self, key: str) -> int | None:
        """Return the line of a key, or of the first value below it."""
        start = f"{key}."
        lines = (item.line for item in self.leaves if item.key == key or item.key.startswith(start))
        return next(lines, None)

    def problem(self, key: str, message: str) -> Problem:
        """Return a problem that points to a key."""
        return Problem(message, where=key, file=str(self.path), line=self.line(key))


def read_old(path: Path) -> OldFile:
    """Read an old file.

    Raises:
        ConfigError: If it is missing, not UTF-8, not YAML, or not a mapping.
    """
    name = str(path)
    text = _text(path)
    try:
        node = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else None
        message = f"is not valid YAML: {error.problem or error}"
        raise ConfigError(Problem(message, file=name, line=line)) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(Problem(f"is not valid YAML: {error}", file=name)) from error
    if not isinstance(node, yaml.MappingNode):
        got = "is empty" if node is None else "is no mapping"
        message = f"{got}; a file of mmv_im2im has the sections 'data', 'model' and 'trainer'"
        raise ConfigError(Problem(message, file=name))
    reader = _Reader(path)
    root = reader.value(node, "")
    renamed = _renamed(root)
    leaves = [_leaf(leaf, renamed) for leaf in reader.leaves(root)]
    for later, first in renamed.items():
        _place(root, later, _taken(root, first))
    return OldFile(path, root, leaves, reader.doubled)


def _renamed(root: dict[str, Any]) -> dict[str, str]:
    """Return those names of the first releases that a file uses."""
    there = OldFile(Path(), root)
    return {
        later: first
        for later, first in ALIASES
        if there.get(first) is not None and there.get(later) is None
    }


def _leaf(leaf: Leaf, renamed: dict[str, str]) -> Leaf:
    for later, first in renamed.items():
        if leaf.key == first or leaf.key.startswith(f"{first}."):
            return Leaf(later + leaf.key[len(first) :], leaf.value, leaf.line, leaf.key)
    return leaf


def _taken(root: dict[str, Any], key: str) -> Any:
    *parents, last = key.split(".")
    section: Any = root
    for parent in parents:
        section = section[parent]
    return section.pop(last)


def _place(root: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    section: Any = root
    for parent in parents:
        if not isinstance(section.get(parent), dict):
            section[parent] = {}
        section = section[parent]
    section[last] = value


def _text(path: Path) -> str:
    name = str(path)
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(Problem("no such file", file=name)) from None
    except UnicodeDecodeError as error:
        message = f"is not a text file in UTF-8 ({error.reason} at byte {error.start})"
        raise ConfigError(Problem(message, file=name)) from error
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
        raise ConfigError(Problem(message, file=name)) from error


class _Reader:
    """Turns the nodes of PyYAML into plain values and remembers their lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.doubled: list[tuple[str, int]] = []
        self._lines: dict[str, int] = {}
        self._count = 0
        self._open: list[int] = []

    def value(self, node: yaml.Node, key: str) -> Any:
        """Return the value of a node, and note its line under its key."""
        self._count += 1
        if id(node) in self._open or self._count > _MOST_NODES:
            self._refuse(node, key, "holds itself, or grows without bound, through aliases")
        if len(self._open) > _DEEPEST:
            self._refuse(node, key, f"is not valid YAML: nested more than {_DEEPEST} deep")
        self._lines[key] = node.start_mark.line + 1
        self._open.append(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, key)
            if isinstance(node, yaml.SequenceNode):
                # pyrallis wrote tuples of old runs with a tag of Python; they are lists here
                return [self.value(item, f"{key}.{n}") for n, item in enumerate(node.value)]
            return self._scalar(node, key)
        finally:
            self._open.pop()

    def leaves(self, root: dict[str, Any]) -> list[Leaf]:
        """Return all values that hold no mappings, in the order of the file."""
        return [Leaf(key, value, self._lines[key]) for key, value in _walk(root, "")]

    def _mapping(self, node: yaml.MappingNode, key: str) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._refuse(key_node, key, "a key must be a word or a number")
            name = str(key_node.value)
            below = f"{key}.{name}" if key else name
            if key_node.tag == f"{_TAGS}merge":
                sources = value_node.value if isinstance(value_node, yaml.SequenceNode) else None
                for part in sources or [value_node]:
                    values = self.value(part, key)
                    merged = {**(values if isinstance(values, dict) else {}), **merged}
                continue
            if name in found:
                self.doubled.append((below, key_node.start_mark.line + 1))
            found[name] = self.value(value_node, below)
            self._lines[below] = key_node.start_mark.line + 1
        return {**merged, **found}

    def _scalar(self, node: yaml.Node, key: str) -> Any:
        known = ("null", "bool", "int", "float", "str", "timestamp", "merge", "value")
        if node.tag.removeprefix(_TAGS) not in known:
            tag = node.tag.replace(_TAGS, "!!")
            self._refuse(node, key, f"the tag '{tag}' would make an object of Python; remove it")
        try:
            value = yaml.SafeLoader("").construct_object(node)
        except (ValueError, yaml.YAMLError):
            value = node.value
        return _number(value) if isinstance(value, str) else _plain(value)

    def _refuse(self, node: yaml.Node, key: str, message: str) -> None:
        line = node.start_mark.line + 1
        raise ConfigError(Problem(message, where=key, file=str(self.path), line=line))


def _walk(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _walk(item, f"{key}.{name}" if key else name)
    elif isinstance(value, list) and any(map(_holds_mapping, value)):
        for place, item in enumerate(value):
            yield from _walk(item, f"{key}.{place}")
    else:
        yield key, value


def _holds_mapping(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_holds_mapping, value))
    return isinstance(value, dict)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def _number(text: str) -> Any:
    """Read what pyrallis read as a number or a list of numbers out of a text.

    Example:
        >>> _number("1e-3"), _number("(0.5, 0.999)"), _number("1e-3.ckpt"), _number("{'a': 1}")
        (0.001, [0.5, 0.999], '1e-3.ckpt', "{'a': 1}")
    """
    if not text.strip()[:1].isdecimal() and text.strip()[:1] not in ("(", "[", "-", "+", "."):
        return text
    try:
        value = ast.literal_eval(text.strip())  # constants only: it runs nothing
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    if isinstance(value, (tuple, list)):
        return _listed(value) if all(_is_plain(item) for item in value) else text
    return value if isinstance(value, (int, float)) else text


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, (tuple, list)) else value


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return isinstance(value, (int, float, str))
