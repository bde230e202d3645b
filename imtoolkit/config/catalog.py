"""Components as `imtoolkit components` lists them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from imtoolkit.core.errors import ComponentError, did_you_mean, listed
from imtoolkit.core.filled import is_filled
from imtoolkit.core.registry import KINDS

from .index import Entry, Index, open_index
from .parts import OWNED

_LISTS: Final = ("preprocess", "augment", "degrade")  # keys of a config that hold transforms


def check_kind(kind: str) -> str:
    """Return the name of a kind; plurals and the keys of lists of transforms are understood.

    Raises:
        ComponentError: If there is no such kind.
    """
    for known in KINDS:
        if kind.lower() in (known, f"{known}s", f"{known}es"):
            return known
    if kind.lower() in _LISTS:
        return "transform"
    hint = did_you_mean(kind, KINDS)
    message = f"there is no kind of component '{kind}'.{hint} Kinds: {listed(list(KINDS), 20)}"
    raise ComponentError(message)


def list_components(kind: str, plugins: Sequence[str] = ()) -> list[tuple[str, str, bool]]:
    """Return (name, first line of documentation, built in or not), built-ins first.

    Further names of one class, such as ``RandFlipD`` and ``RandFlipDict`` of ``RandFlipd``, are
    left out, and so is what a config cannot use.
    """
    index = open_index(plugins)
    builtins = set(index.builtins(kind))
    seen: dict[str, str] = {}
    rows: list[tuple[str, str, bool]] = []
    for name in index.names(kind):
        entry = index.get(kind, name)
        if entry is None or entry.refused is not None or _is_for_arrays(kind, name, entry, index):
            continue
        first = seen.setdefault(entry.path, _main_name(name, entry))
        if name in builtins or name == first:
            rows.append((name, entry.doc, name in builtins))
    return rows


def describe_component(kind: str, name: str, plugins: Sequence[str] = ()) -> dict[str, Any]:
    """Return path, documentation, source and parameters of a component.

    Raises:
        ComponentError: If there is no such component of this kind.
    """
    index = open_index(plugins)
    entry = index.get(kind, name)
    if entry is None:
        others = [other for other in index.kinds_of(name) if other != kind]
        hint = f" It is a {others[0]}." if others else did_you_mean(name, index.suggestions(kind))
        message = f"unknown {kind} '{name}'.{hint} List them with: imtoolkit components {kind}"
        raise ComponentError(message)
    parameters = [
        {
            "name": item.name,
            "type": item.annotation or "",
            "default": item.default,
            "required": item.required and not is_filled(kind, item.name),
            "filled": is_filled(kind, item.name),
            "refused": entry.refuses(item.name, "x"),
        }
        for item in entry.signature.parameters
        if item.name != OWNED.get(kind)
    ]
    return {
        "kind": kind,
        "name": name,
        "path": entry.path,
        "source": f"{entry.file}:{entry.line}",
        "doc": entry.full_doc(),
        "parameters": parameters,
        "open": entry.signature.open,
        "refused": entry.refused,
    }


def _is_for_arrays(kind: str, name: str, entry: Entry, index: Index) -> bool:
    if kind != "transform" or "keys" in entry.signature.names:
        return False
    return index.get(kind, f"{name}d") is not None


def _main_name(name: str, entry: Entry) -> str:
    """Return the name of the class where an alias of it comes first."""
    own = entry.path.rpartition(".")[2]
    return own if entry.path.startswith(("monai.", "torch")) else name
