"""Parameters of a net that hold nets: read from their annotations, which are text and not run.

``nn.Module`` is a net: a component, or its bare name. ``Mapping[str, nn.Module]`` holds nets by
name. An entry that may be a mapping as well (a stream) has its net under ``net``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from imtoolkit.core.errors import Problem, did_you_mean, listed

from .nodes import Node

ENTRY: Final = ("net", "channels")
"""Keys of a stream: its net, and the channels of the image that it is given."""
_MAPPINGS: Final = frozenset({"dict", "Dict", "Mapping", "MutableMapping"})
_COMPONENT: Final = frozenset({"name", "params"})


@dataclass(frozen=True)
class Holds:
    """What a parameter holds: a net, nets by name, and whether entries may have keys of their own.

    Example:
        >>> holds("nn.Module | None")
        Holds(one=True, named=False, entries=False)
        >>> holds("str | nn.Module"), holds("Mapping[str, nn.Module]")
        (None, Holds(one=False, named=True, entries=False))
    """

    one: bool
    named: bool
    entries: bool


def holds(annotation: str | None) -> Holds | None:
    """Return what a parameter holds, or ``None`` where it holds no net (or takes texts as well)."""
    if annotation is None or "Module" not in annotation:
        return None
    try:
        members = list(_members(ast.parse(annotation.strip("'\""), mode="eval").body))
    except SyntaxError:
        return None
    if any(_name(item) == "str" for item in members):
        return None
    named = [list(_members(_values(item))) for item in members if _is_mapping(item)]
    found = Holds(
        one=any(_name(item) == "Module" for item in members),
        named=any(_name(part) == "Module" for parts in named for part in parts),
        entries=any(_is_mapping(part) for parts in named for part in parts),
    )
    return found if found.one or found.named else None


def nets_in(node: Node, found: Holds, problems: list[Problem]) -> Iterator[Node]:
    """Yield the components that stand in a parameter, bare names made components.

    Args:
        node: Value of the parameter.
        found: What the parameter holds.
        problems: What cannot be a net is added here.
    """
    if node.value is None:
        return
    if found.named and isinstance(node.value, dict) and not (found.one and "name" in node.value):
        if set(node.value) == _COMPONENT and isinstance(node.value["name"].value, str):
            message = "holds nets by name, such as {mask: {name: dense, params: {}}}; got one net"
            problems.append(node.place.problem(message))
            return
        for item in node.value.values():
            yield from _entry(item, found, problems)
        return
    if not found.one:
        message = "holds nets by name, such as {mask: {name: dense, params: {}}}"
        problems.append(node.place.problem(message))
        return
    yield from _one(node, problems)


def _entry(node: Node, found: Holds, problems: list[Problem]) -> Iterator[Node]:
    if not found.entries or not isinstance(node.value, dict) or "name" in node.value:
        yield from _one(node, problems)
        return
    for key, item in node.value.items():
        if key not in ENTRY:
            hint = did_you_mean(str(key), ENTRY) or f" Known: {listed(list(ENTRY))}"
            problems.append(item.place.problem(f"unknown key '{key}'.{hint}"))
    channels = node.value.get("channels")
    if channels is not None and not _whole_numbers(channels.plain()):
        message = f"expects a list of channels counted from 0, got {channels.plain()}"
        problems.append(channels.place.problem(message))
    if "net" in node.value:
        yield from _one(node.value["net"], problems)
    else:
        problems.append(node.place.problem("the key 'net' is missing: {net: ..., channels: [0]}"))


def _one(node: Node, problems: list[Problem]) -> Iterator[Node]:
    if isinstance(node.value, str):
        yield Node({"name": node}, node.place)
        return
    if isinstance(node.value, dict) and "name" in node.value:
        wrong = [key for key in node.value if key not in _COMPONENT]
        for key in wrong:
            message = f"unknown key '{key}'. Parameters of a component stand under its 'params'"
            problems.append(node.value[key].place.problem(message))
        params = node.value.get("params")
        if params is not None and not isinstance(params.value, dict):
            problems.append(params.place.problem("expects a mapping of parameters"))
        elif not wrong:
            yield node
        return
    if _is_object(node.value):
        return  # a module that Python code made
    message = f"expects a net, {{name: ..., params: {{...}}}}, got {node.plain()}"
    problems.append(node.place.problem(message))


def _is_object(value: Any) -> bool:
    return value is not None and not isinstance(value, (dict, list, str, int, float))


def _whole_numbers(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(type(item) is int and item >= 0 for item in value)
    )


def _members(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        yield from _members(node.left)
        yield from _members(node.right)
    elif isinstance(node, ast.Subscript) and _name(node.value) in ("Optional", "Union"):
        for item in node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]:
            yield from _members(item)
    else:
        yield node


def _values(node: ast.expr) -> ast.expr:
    """Return the annotation of the values of ``Mapping[str, ...]``."""
    assert isinstance(node, ast.Subscript)
    assert isinstance(node.slice, ast.Tuple)
    return node.slice.elts[-1]


def _is_mapping(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Subscript)
        and _name(node.value) in _MAPPINGS
        and isinstance(node.slice, ast.Tuple)
    )


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
