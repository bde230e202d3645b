"""The components of a config, checked against the index: their names, kinds and parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from imtoolkit.core.errors import Problem, did_you_mean, listed
from imtoolkit.core.filled import FILLED, is_filled
from imtoolkit.core.registry import ALLOWED_PACKAGES, KINDS, is_component, nested_kind, outside

from .annotations import mismatch
from .index import Entry, Index, open_index
from .nested import holds, nets_in
from .nodes import Node

PLACES: Final = (
    ("data.preprocess", "transform"),
    ("data.augment", "transform"),
    ("inference.uncertainty.perturb", "transform"),
    ("data.degrade", "transform"),
    ("data.reader", "reader"),
    ("task.nets", "net"),
    ("task.losses", "loss"),
    ("task.optimizers", "optimizer"),
    ("task.schedulers", "scheduler"),
    ("task.metrics", "metric"),
    ("inference.postprocess", "postprocess"),
    ("callbacks", "callback"),
    ("loggers", "logger"),
    ("trainer.schedules", "schedule"),
)
"""Key of a config (a component, a list of them, or named ones) -> kind; sources come besides."""

OWNED: Final = {"optimizer": "params", "scheduler": "optimizer"}
"""Parameters that are always filled in and cannot be given."""


def components_of(root: Node) -> Iterator[tuple[str, str, Node]]:
    """Yield (key, kind, node) of each component of a config in long form."""
    sources = _at(root, "data.sources")
    for item in _items(sources):
        inner = item.value.get("source") if isinstance(item.value, dict) else None
        if inner is not None:
            yield "data.sources", "source", inner
    for key, kind in PLACES:
        node = _at(root, key)
        if key == "data.reader":
            if node is not None:
                yield key, kind, node
            continue
        for item in _items(node):
            yield key, kind, item
    for head in _items(_at(root, "task.heads")):
        for field, kind in (("metrics", "metric"), ("postprocess", "postprocess")):
            inner = head.value.get(field) if isinstance(head.value, dict) else None
            for item in _items(inner):
                yield "task.heads", kind, item


def check_components(root: Node) -> list[Problem]:
    """Return what is wrong with the names and parameters of the components of a config."""
    index = open_index(_plugins(root))
    problems: list[Problem] = []
    for key, kind, node in components_of(root):
        entry = _check(kind, node, index, problems)
        if key == "data.preprocess" and entry is not None and entry.random:
            problems.append(
                node.value["name"].place.problem(
                    f"transform '{node.value['name'].value}' is random, and what 'preprocess' "
                    "makes is kept in the cache. Move it to 'augment'"
                )
            )
    return problems


def _check(kind: str, node: Node, index: Index, problems: list[Problem]) -> Entry | None:
    """Check one component and those inside its parameters."""
    name_node = node.value.get("name") if isinstance(node.value, dict) else None
    if name_node is None or not isinstance(name_node.value, str):
        return None  # its shape is wrong, which is told elsewhere
    name = name_node.value
    entry = index.get(kind, name)
    if entry is None:
        problems.append(name_node.place.problem(_unknown(kind, name, index)))
        return None
    if entry.refused is not None:
        problems.append(name_node.place.problem(f"{kind} '{name}' is refused: it {entry.refused}"))
        return None
    if kind == "transform" and "keys" not in entry.signature.names and index.get(kind, f"{name}d"):
        message = f"transform '{name}' works on arrays; the one for samples is '{name}d'"
        problems.append(name_node.place.problem(message))
        return None
    params = node.value.get("params")
    given = params.value if params is not None and isinstance(params.value, dict) else {}
    for key, value in given.items():
        _check_parameter(kind, name, entry, str(key), value, index, problems)
    missing = [
        item.name
        for item in entry.signature.parameters
        if item.required and item.name not in given and not is_filled(kind, item.name)
    ]
    if missing:
        message = f"{kind} '{name}' needs {_parameters(missing)}"
        problems.append(name_node.place.problem(f"{message}. {_example(kind, name, missing)}"))
    return entry


def _check_parameter(
    kind: str, name: str, entry: Entry, key: str, node: Node, index: Index, problems: list[Problem]
) -> None:
    value = node.plain()
    known = {item.name: item for item in entry.signature.parameters}
    reason = entry.refuses(key, value)
    if reason is not None:
        problems.append(
            node.place.problem(f"{kind} '{name}': the parameter '{key}' is refused: it {reason}")
        )
    elif key == OWNED.get(kind):
        problems.append(node.place.problem(f"the parameter '{key}' is filled in by imtoolkit"))
    elif key not in known:
        if not entry.signature.open:
            problems.append(node.place.problem(_unknown_parameter(kind, name, key, entry)))
    elif kind == "net" and (found := holds(known[key].annotation)) is not None:
        for item in nets_in(node, found, problems):
            _check("net", item, index, problems)
        return
    elif _is_half_a_component(value, known[key].annotation):
        whole = f"{{name: {value['name']}, params: {{}}}}"
        message = f"{kind} '{name}': '{key}' within parameters needs both keys: {whole}"
        problems.append(node.place.problem(message))
        return
    elif not _holds_components(value):
        wrong = mismatch(known[key].annotation, known[key].default, value)
        hint = _component_hint(kind, key, known[key].annotation, value, index)
        if hint or (wrong is not None and not _is_fact(kind, key, value)):
            text = ". ".join(part for part in (wrong, hint) if part)
            problems.append(node.place.problem(f"{kind} '{name}': {text}"))
    _check_nested(kind, key, node, index, problems)


def _is_half_a_component(value: Any, annotation: str | None) -> bool:
    """Tell whether a part is given by its name alone, as it may be where it is no parameter."""
    parts = ("Module", "Optimizer", "LRScheduler")
    named = isinstance(value, dict) and set(value) == {"name"}
    return named and any(word in (annotation or "") for word in parts)


def _check_nested(kind: str, key: str, node: Node, index: Index, problems: list[Problem]) -> None:
    if is_component(node.value):
        _check(nested_kind(kind, key), node, index, problems)
        return
    for item in _items(node):
        _check_nested(kind, key, item, index, problems)


def _holds_components(value: Any) -> bool:
    if is_component(value):
        return True
    if isinstance(value, dict):
        return any(_holds_components(item) for item in value.values())
    return isinstance(value, list) and any(_holds_components(item) for item in value)


def _is_fact(kind: str, key: str, value: Any) -> bool:
    # class weights are given as a list and become a tensor where the loss is built
    return FILLED.get(kind, {}).get(key) == "class_weights" and isinstance(value, list)


def _unknown(kind: str, name: str, index: Index) -> str:
    if "." in name:
        root = name.partition(".")[0]
        if index.exists(name) and (root in ALLOWED_PACKAGES or index.is_plugin(name)):
            return f"'{name}' is not a {kind}{_expected(kind) if index.is_plugin(name) else ''}"
        if root not in ALLOWED_PACKAGES and not index.is_plugin(name):
            return outside(kind, name)
        return f"{kind} '{name}' does not exist: no such module or name"
    others = index.kinds_of(name)
    if others:
        return f"'{name}' is not a {kind}, but a {others[0]}"
    plugin = index.plugin_with(name)
    if plugin is not None:
        return f"'{name}' of the plugin '{plugin}' is not a {kind}{_expected(kind)}"
    builtins = index.builtins(kind)
    own = [item for item in builtins if item.rstrip("s") == name.lower().rstrip("s")]
    hint = did_you_mean(name, own or index.suggestions(kind))  # flips, and not MONAI's Flip
    hint = hint or (f" Built in: {listed(builtins, 20)}." if builtins else "")
    return f"unknown {kind} '{name}'.{hint} List them with: imtoolkit components {kind}"


def _expected(kind: str) -> str:
    """Return what one's own class must be to count as of a kind."""
    bases = " or ".join(KINDS[kind].expects)
    return f": derive the class from {bases}{', or write a function' * KINDS[kind].functions}"


def _unknown_parameter(kind: str, name: str, key: str, entry: Entry) -> str:
    names = [item for item in entry.signature.names if item != OWNED.get(kind)]
    hint = did_you_mean(key, names) or (
        f" It takes {listed(names, 30)}" if names else " It takes none"
    )
    return f"{kind} '{name}' takes no parameter '{key}'.{hint}"


def _component_hint(kind: str, key: str, annotation: str | None, value: Any, index: Index) -> str:
    """Tell how a component is written where its bare name stands inside ``params``."""
    takes_text = "str" in (annotation or "str")
    inner = nested_kind(kind, key)
    named = inner in key.lower() and isinstance(value, str) and not takes_text
    if not named or index.get(inner, value) is None:
        return ""
    return f"a component inside params is written {{name: {value}, params: {{}}}}"


def _parameters(names: list[str]) -> str:
    return (
        f"the parameter {listed(names)}" if len(names) == 1 else f"the parameters {listed(names)}"
    )


def _example(kind: str, name: str, missing: list[str]) -> str:
    if kind == "transform" and missing == ["keys"]:
        return f"Write {{name: {name}, params: {{keys: image}}}}, or keys: [image, target]"
    return f"See: imtoolkit components {kind} {name}"


def _plugins(root: Node) -> list[str]:
    node = root.value.get("plugins") if isinstance(root.value, dict) else None
    values = node.plain() if node is not None else []
    return [item for item in values if isinstance(item, str)] if isinstance(values, list) else []


def _at(root: Node, key: str) -> Node | None:
    node: Node | None = root
    for part in key.split("."):
        if node is None or not isinstance(node.value, dict):
            return None
        node = node.value.get(part)
    return node


def _items(node: Node | None) -> list[Node]:
    if node is None:
        return []
    if isinstance(node.value, dict):
        return list(node.value.values())
    return list(node.value) if isinstance(node.value, list) else []
