"""Layers of a config laid over each other: base, file, overrides.

Mappings merge, lists replace, and a component whose name changes replaces the whole component, so
that the parameters of one net never reach another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from imtoolkit.core.errors import ConfigError, Problem

from .nodes import Node, Place, from_plain, parse_scalar

_OVERRIDE: Final = re.compile(
    r"^(?:--)?(?P<key>[A-Za-z_][\w-]*(?:\.[^.\s=]+)*)(?:=(?P<value>.*))?$", re.S
)


def override_pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    """Split ``["--a.b", "1", "--c=2"]`` into pairs of key and text.

    Raises:
        ConfigError: If a word is not an override, or one has no value.

    Example:
        >>> override_pairs(["--trainer.max_epochs", "5", "seed=3"])
        [('trainer.max_epochs', '5'), ('seed', '3')]
    """
    pairs: list[tuple[str, str]] = []
    problems: list[Problem] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        match = _OVERRIDE.match(word)
        if match is None:
            problems.append(Problem(f"'{word}' is not an override such as --trainer.max_epochs 5"))
        elif match["value"] is not None:
            pairs.append((match["key"], match["value"]))
        elif queue and not re.match(r"^--[A-Za-z_]", queue[0]):
            pairs.append((match["key"], queue.pop(0)))
        else:
            problems.append(Problem("needs a value", where=f"--{match['key']}"))
    if problems:
        raise ConfigError(problems)
    return pairs


def overrides_tree(overrides: Mapping[str, Any] | Sequence[str]) -> Node:
    """Make a layer of dotted overrides.

    Words of a command line are parsed as YAML; values of a mapping are taken as they are.

    Raises:
        ConfigError: If a value is not YAML, or one override stands inside another's value.
    """
    if isinstance(overrides, Mapping):
        items = [
            (key, from_plain(value, Place(key=f"--{key}"))) for key, value in overrides.items()
        ]
    else:
        if isinstance(overrides, str):
            overrides = [overrides]
        items = [(key, parse_scalar(text, f"--{key}")) for key, text in override_pairs(overrides)]
    root = Node({}, patch=True)
    problems: list[Problem] = []
    for key, node in items:
        _set(root, key.removeprefix("--").split("."), node, problems)
    if problems:
        raise ConfigError(problems)
    return root


def _set(root: Node, parts: list[str], node: Node, problems: list[Problem]) -> None:
    here = root
    for part in parts[:-1]:
        here = here.value.setdefault(part, Node({}, node.place, patch=True))
        if not isinstance(here.value, dict):
            message = f"contradicts the override {here.place.key}, which sets the whole value"
            problems.append(node.place.problem(message))
            return
    here.value[parts[-1]] = node


def merge(under: Node, over: Node, problems: list[Problem]) -> Node:
    """Lay one expanded layer over another and return the result; neither is changed."""
    if over.patch and isinstance(under.value, list):
        return _patch_list(under, over, problems)
    if not isinstance(over.value, dict) or not isinstance(under.value, dict):
        return over
    if over.single:
        return _merge_single(under, over, problems)
    if _other_component(under, over) or _renamed_single(under, over):
        return over
    merged = dict(under.value)
    for given, node in over.value.items():
        key = _same_key(given, merged) if over.patch else given
        if key in merged and key == "params":
            merged[key] = _merge_params(merged[key], node, problems)
        else:
            merged[key] = merge(merged[key], node, problems) if key in merged else node
    # the root of the upper layer gives the file that messages without a line of their own name
    place = under.place if over.patch else over.place
    return Node(merged, place, single=under.single, patch=under.patch)


def _merge_params(under: Node, over: Node, problems: list[Problem]) -> Node:
    """Merge parameters; here a key ``name`` is a parameter like any other."""
    if not isinstance(under.value, dict) or not isinstance(over.value, dict):
        return over
    merged = dict(under.value)
    for given, node in over.value.items():
        key = _same_key(given, merged) if over.patch else given
        merged[key] = merge(merged[key], node, problems) if key in merged else node
    return Node(merged, under.place if over.patch else over.place)


def _other_component(under: Node, over: Node) -> bool:
    if "name" not in under.value or "name" not in over.value or not over.place.key:
        return False
    return bool(under.value["name"].value != over.value["name"].value)


def _renamed_single(under: Node, over: Node) -> bool:
    """Tell whether named entries take the place of the single one that ``loss:`` stands for."""
    return under.single and not over.patch and not set(under.value) & set(over.value)


def _merge_single(under: Node, over: Node, problems: list[Problem]) -> Node:
    """Lay the ``nets:`` that ``net:`` was expanded to over named entries."""
    if not over.value or not under.value:
        return over
    ((entry, node),) = over.value.items()
    if len(under.value) > 1:
        if isinstance(node.value, dict) and "name" not in _component_of(node).value:
            names = ", ".join(map(str, under.value))
            problems.append(
                node.place.problem(f"is ambiguous: there are {names}. Name one of them")
            )
            return under
        return over
    ((under_entry, under_node),) = under.value.items()
    merged = merge(under_node, node, problems)
    renamed = merged is node or _component_of(merged) is _component_of(node)
    return Node({entry if renamed else under_entry: merged}, over.place, single=True)


def _component_of(node: Node) -> Node:
    """Return the component of a source with a role, or the component itself."""
    inner = node.value.get("source") if isinstance(node.value, dict) else None
    return inner if inner is not None and isinstance(inner.value, dict) else node


def _patch_list(under: Node, over: Node, problems: list[Problem]) -> Node:
    items = list(under.value)
    for key, node in over.value.items():
        number = int(key) if str(key).isdecimal() else -1
        if not 0 <= number < len(items):
            holds = f"entries 0 to {len(items) - 1}" if items else "no entries"
            problems.append(node.place.problem(f"there is no entry '{key}': the list has {holds}"))
            continue
        items[number] = merge(items[number], node, problems)
    return Node(items, under.place)


def _same_key(key: Any, known: Mapping[Any, Node]) -> Any:
    """Find a key of a mapping by its text: parameters such as ``{255: 1}`` have numbers as keys."""
    if key in known:
        return key
    return next((other for other in known if str(other) == str(key)), key)
