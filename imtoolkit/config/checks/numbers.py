"""Keys of ``trainer.schedules``: each leads to a number that can change while a net is trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from imtoolkit.config.index import Index, open_index
from imtoolkit.config.limits import SCHEDULED
from imtoolkit.config.nodes import Node
from imtoolkit.config.shorthand import long_key
from imtoolkit.core.errors import Problem, did_you_mean, listed

from .values import Values

_PLACES: Final = (
    "task.losses.NAME.weight, task.losses.NAME.params.X, task.nets.ROLE.params.X (or task.net), "
    "data.augment.N.params.X, data.degrade.N.params.X"
)


def _schedules(values: Values) -> Iterator[Problem]:
    node = values.node("trainer.schedules")
    if node is None or not isinstance(node.value, dict) or not node.value:
        return
    index = open_index(values.get("plugins") or ())
    seen: dict[str, str] = {}
    for key, item in node.value.items():
        message = _wrong(values, str(key), index)
        long = long_key(str(key))
        if message is None and long in seen:
            message = f"is the same number as '{seen[long]}'"
        seen.setdefault(long, str(key))
        if message is not None:
            yield item.place.problem(message)
        yield from _ends(values, item)


def _wrong(values: Values, key: str, index: Index) -> str | None:
    """Return why a key leads to no number, or None."""
    parts = long_key(key).split(".")
    holder, rest = ".".join(parts[:2]), parts[2:]
    if len(parts) == 2 and parts[1] in SCHEDULED.get(str(values.get("task.category")), ()):
        return None
    kinds = {"task.losses": "loss", "task.nets": "net"}
    kinds |= {"data.augment": "transform", "data.degrade": "transform"}
    if holder not in kinds or len(rest) < 2:
        return _nowhere(values, key, index, kinds)
    name, *path = rest
    component = values.node(f"{holder}.{name}")
    if component is None:
        entries = values.node(holder)
        known = _names(entries)
        near, there = did_you_mean(name, known), listed(known) or "none"
        return f"there is no '{name}' in {holder}.{near} There is {there}"
    if path == ["weight"] and holder == "task.losses":
        return None
    if path[0] != "params" or len(path) < 2:
        return _nowhere(values, key, index, kinds)
    return _wrong_parameter(component, kinds[holder], path[1:], index)


def _nowhere(values: Values, key: str, index: Index, kinds: dict[str, str]) -> str:
    near = did_you_mean(key, _numbers(values, index, kinds))
    return f"leads to no number that can change.{near} Schedules change {_PLACES}"


def _wrong_parameter(component: Node, kind: str, path: list[str], index: Index) -> str | None:
    plain = component.plain()
    value = plain.get("params") or {}
    entry = index.get(kind, str(plain.get("name")))
    if kind == "transform" and entry is not None and path[0] not in entry.signature.names:
        names = entry.signature.names
        if not entry.signature.open:
            near = did_you_mean(path[0], names) or f" It takes {listed(list(names), 20)}"
            return f"transform '{plain['name']}' takes no parameter '{path[0]}'.{near}"
    for name in path:
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        elif kind == "transform" and len(path) > 1 and name != path[0]:
            return f"there is no '{name}' in the parameter '{path[0]}' as it is written"
        else:
            return None  # not written: it has a default, or is found in what is built
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f"is {value!r}, which is no number"
    return None


def _ends(values: Values, item: Node) -> Iterator[Problem]:
    """Ask for the length of schedules where the training has no number of epochs."""
    plain = item.plain()
    if not isinstance(plain, dict) or plain.get("name") not in ("linear", "cosine", "exponential"):
        return
    epochs = values.get("trainer.max_epochs")
    limited = values.get("trainer.max_steps", -1) != -1 or values.get("trainer.max_time")
    endless = epochs == -1 or (epochs is None and limited)
    if endless and "epochs" not in (plain.get("params") or {}):
        message = "needs 'epochs' in its params: the training has no number of epochs"
        yield item.place.problem(message)


def _numbers(values: Values, index: Index, kinds: dict[str, str]) -> list[str]:
    """Return keys that could be meant."""
    found = [f"task.{name}" for name in SCHEDULED.get(str(values.get("task.category")), ())]
    for holder, kind in kinds.items():
        entries = values.node(holder)
        for name in _names(entries):
            node = values.node(f"{holder}.{name}")
            component = node.plain() if node is not None else None
            if not isinstance(component, dict):
                continue
            entry = index.get(kind, str(component.get("name")))
            if holder == "task.losses":
                found.append(f"{holder}.{name}.weight")
            names = entry.signature.names if entry is not None else ()
            found += [f"{holder}.{name}.params.{parameter}" for parameter in names]
    return found


def _names(entries: Node | None) -> list[str]:
    held = entries.value if entries is not None else {}
    return [str(key) for key in (held if isinstance(held, dict) else range(len(held or ())))]


CHECKS: Final = (_schedules,)
"""All of them."""
