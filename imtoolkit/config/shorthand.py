"""The short forms of a config and the long ones that they stand for.

A bare string is a component without parameters (a column without options in ``data.tabular``),
``net:`` is the single entry of ``nets:``, and a component may stand where a source with a role is
expected. Every layer (base, file, overrides) is
expanded before the layers are merged, so that short and long forms meet as one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from imtoolkit.core.errors import Problem

from .nodes import Node

SINGULAR: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "data": {"source": ("sources", "main")},
    "task": {
        "net": ("nets", "net"),
        "loss": ("losses", "loss"),
        "optimizer": ("optimizers", "net"),
        "scheduler": ("schedulers", "net"),
    },
}
"""Section -> short key -> (long key, name of the single entry)."""

COMPONENT_LISTS: Final = {
    "": ("callbacks", "loggers"),
    "data": ("preprocess", "augment", "degrade"),
    "task": ("metrics",),
    "inference": ("postprocess",),
    "inference.uncertainty": ("perturb",),
}
"""Section -> keys that hold a list of components; "" is the top of the config."""

COMPONENT_DICTS: Final = {"trainer": ("schedules",)}
"""Section -> keys that hold components by name."""

COMPONENT_KEYS: Final = {"name", "params"}


def long_key(key: str) -> str:
    """Return a key with its section's short form written out.

    Example:
        >>> long_key("task.loss.weight"), long_key("task.net.params.dropout")
        ('task.losses.loss.weight', 'task.nets.net.params.dropout')
    """
    section, _, rest = key.partition(".")
    first, dot, below = rest.partition(".")
    long = SINGULAR.get(section, {}).get(first)
    return key if long is None else f"{section}.{'.'.join(long)}{dot}{below}"


def expand(root: Node) -> list[Problem]:
    """Expand the short forms of one layer in place and return what contradicts itself."""
    problems: list[Problem] = []
    if not isinstance(root.value, dict):
        return problems
    names = ("data", "task", "trainer", "inference")
    sections = {"": root, **{key: root.value.get(key) for key in names}}
    inference = sections["inference"]
    if inference is not None and isinstance(inference.value, dict):
        sections["inference.uncertainty"] = inference.value.get("uncertainty")
    for section, node in sections.items():
        if node is None or not isinstance(node.value, dict):
            continue
        for short in SINGULAR.get(section, {}):
            problems += _expand_single(node, section, short)
        for long, _ in SINGULAR.get(section, {}).values():
            _each(node.value.get(long), _as_source if long == "sources" else _as_component)
        for key in COMPONENT_LISTS.get(section, ()):
            _each(node.value.get(key), _as_component, only_lists=True)
        for key in COMPONENT_DICTS.get(section, ()):
            _each(node.value.get(key), _as_component)
        if section == "data" and "reader" in node.value:
            node.value["reader"] = _as_component(node.value["reader"])
        if section == "task":
            _expand_heads(node.value.get("heads"))
        if section == "data":
            _each(node.value.get("tabular"), _as_column, only_lists=True)
    return problems


def _expand_single(section: Node, name: str, short: str) -> list[Problem]:
    long, entry = SINGULAR[name][short]
    if short not in section.value:
        return _look_alike(section.value.get(long), short, long)
    if section.value[short].value is None:
        del section.value[short]  # an empty `scheduler:` asks for none
        section.value.setdefault(long, Node({}, section.place, single=True))
        return []
    if long in section.value:
        both = section.value[short].place.problem(
            f"'{short}' is the single entry of '{long}', and both are given. Keep one of them"
        )
        del section.value[short]
        return [both]
    node = section.value.pop(short)
    section.value[long] = Node({entry: node}, node.place, single=True)
    return []


def _expand_heads(heads: Node | None) -> None:
    """Expand the metrics and the steps of post-processing of each head."""
    if heads is None or not isinstance(heads.value, dict):
        return
    for head in heads.value.values():
        if isinstance(head.value, dict):
            for key in ("metrics", "postprocess"):
                _each(head.value.get(key), _as_component, only_lists=True)


def _look_alike(node: Node | None, short: str, long: str) -> list[Problem]:
    """Find a component that stands where named components are expected."""
    if node is None or not isinstance(node.value, dict) or "name" not in node.value:
        return []
    if node.patch or not set(node.value) <= COMPONENT_KEYS | {"weight"}:
        return []
    return [
        node.place.problem(
            f"holds named entries, such as '{long}: {{a: {{name: ...}}}}', and not one component. "
            f"For a single one write '{short}:'"
        )
    ]


def _each(node: Node | None, change: Callable[[Node], Node], *, only_lists: bool = False) -> None:
    if node is None:
        return
    if isinstance(node.value, list):
        node.value = [change(item) for item in node.value]
    elif isinstance(node.value, dict) and (node.patch or not only_lists):
        node.value = {key: change(item) for key, item in node.value.items()}


def _as_component(node: Node) -> Node:
    if isinstance(node.value, str):
        return Node({"name": node}, node.place)
    return node


def _as_column(node: Node) -> Node:
    """Turn the bare name of a column into ``{column: name}``."""
    return Node({"column": node}, node.place) if isinstance(node.value, str) else node


def _as_source(node: Node) -> Node:
    """Turn ``folder`` and ``{name: folder, ...}`` into ``{source: {name: folder, ...}}``."""
    node = _as_component(node)
    if not isinstance(node.value, dict):
        return node
    if "source" in node.value:
        node.value["source"] = _as_component(node.value["source"])
        return node
    own = {key: node.value.pop(key) for key in list(node.value) if key in COMPONENT_KEYS}
    if own:
        node.value["source"] = Node(own, node.place, patch=node.patch)
    return node
