"""Numbers of a task that schedules change: weights of terms, parameters of losses and nets.

A key of the config, such as ``task.losses.edge.weight`` or ``task.net.params.dropout``, is traced
to the objects that hold the number in the built task:

- ``task.X`` is a number of the loss as a whole, such as ``task.beta``;
- ``task.losses.NAME.weight`` is the factor of a term;
- ``task.losses.NAME.params.X`` is the attribute X of the loss, or of what it is made of;
- ``task.nets.ROLE.params.X`` is the attribute X of the net, or of the modules in it; ``dropout``
  is the probability of all its dropout layers.

``X.Y`` leads on into an attribute, ``X.0`` into a tuple or list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from imtoolkit.config.shorthand import long_key
from imtoolkit.core.errors import ConfigError, Problem, did_you_mean, listed
from imtoolkit.losses.weighted_sum import WeightedSum

if TYPE_CHECKING:
    from .base import Task

Setter = Callable[[float], None]

DROPOUT: Final = ("dropout", "dropout_rate", "dropout_prob", "drop_rate")
"""Names by which nets call the probability of their dropout layers."""


def setter_of(task: Task, key: str) -> Setter:
    """Return what sets the number that a key of the config leads to.

    Raises:
        ConfigError: If it leads to none; what there is instead is named.
    """
    parts = long_key(key).split(".")
    where = f"trainer.schedules.{key}"
    if parts[0] == "task" and len(parts) == 2:
        places = _places(task.losses, parts[1:])
        if not places:
            raise ConfigError(Problem(_no_number("loss", task.losses, parts[1:]), where))
        return partial(_set_all, places)
    if parts[:2] == ["task", "losses"] and len(parts) > 3:
        return _of_loss(task, parts[2], parts[3:], where)
    if parts[:2] == ["task", "nets"] and len(parts) > 4 and parts[3] == "params":
        if parts[2] not in task.nets:
            raise ConfigError(Problem(_absent("net", parts[2], list(task.nets)), where))
        return _of_net(task.nets[parts[2]], parts[4:], where)
    message = (
        "leads to no number that can change: take task.losses.NAME.weight, "
        "task.losses.NAME.params.X, task.nets.ROLE.params.X or data.augment.N.params.X"
    )
    raise ConfigError(Problem(message, where))


def _of_loss(task: Task, name: str, path: Sequence[str], where: str) -> Setter:
    sums = [part for part in task.losses.modules() if isinstance(part, WeightedSum)]
    found = [(whole, term) for whole in sums for term in whole.terms if term.name == name]
    if not found:
        known = [term.name for whole in sums for term in whole.terms]
        raise ConfigError(Problem(_absent("loss term", name, known), where))
    if path == ["weight"]:
        return partial(_set_weights, [whole for whole, _ in found], name)
    if path[0] != "params" or len(path) < 2:
        message = f"of a loss term, 'weight' and 'params.X' can change, not '{path[0]}'"
        raise ConfigError(Problem(message, where))
    places = [place for _, term in found for place in _places(term.loss, path[1:])]
    if not places:
        raise ConfigError(Problem(_no_number("loss", found[0][1].loss, path[1:]), where))
    return partial(_set_all, places)


def _of_net(net: nn.Module, path: Sequence[str], where: str) -> Setter:
    places = _places(net, path)
    if path[0] in DROPOUT and len(path) == 1:
        # what the net itself keeps under this name is a note of what it was made with
        places = [place for place in places if place[0] is not net]
        places += [(part, "p") for part in net.modules() if isinstance(part, _DropoutNd)]
        if not places:
            message = (
                "the net has no dropout layers. Nets leave them out where the probability is 0: "
                f"give it a '{path[0]}' above 0 in its params"
            )
            raise ConfigError(Problem(message, where))
    if not places:
        raise ConfigError(Problem(_no_number("net", net, path), where))
    return partial(_set_all, places)


Place = tuple[Any, str]
"""An object, and the attribute or index of it that holds a number."""


def _places(module: nn.Module, path: Sequence[str]) -> list[Place]:
    """Return where the number is: in the module itself, else in whichever modules it holds."""
    own = _descend(module, path)
    if own is not None:
        return [own]
    found = (_descend(part, path) for part in module.modules())
    return [place for place in found if place is not None]


def _descend(target: Any, path: Sequence[str]) -> Place | None:
    for number, name in enumerate(path):
        value = vars_of(target).get(name)
        rest = path[number + 1 :]
        if not rest:
            return (target, name) if _is_number(value) else None
        if isinstance(value, (tuple, list)) and len(rest) == 1:
            return (target, f"{name}.{rest[0]}") if _item_is_number(value, rest[0]) else None
        if value is None:
            return None
        target = value
    return None


def vars_of(target: Any) -> dict[str, Any]:
    """Return the attributes of an object; of a module, its buffers and modules as well."""
    found = dict(getattr(target, "__dict__", {}))
    if isinstance(target, nn.Module):
        found |= dict(target.named_buffers(recurse=False)) | dict(target.named_children())
    return {name: value for name, value in found.items() if not name.startswith("_")}


def _is_number(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.requires_grad
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _item_is_number(values: Sequence[Any], number: str) -> bool:
    return number.isdecimal() and int(number) < len(values) and _is_number(values[int(number)])


def _set_all(places: Sequence[Place], number: float) -> None:
    for target, name in places:
        _set(target, name, number)


def _set(target: Any, name: str, number: float) -> None:
    name, _, index = name.partition(".")
    old = vars_of(target)[name]
    if index:
        items = list(old)
        items[int(index)] = _like(items[int(index)], number)
        setattr(target, name, type(old)(items))
    elif isinstance(old, Tensor):
        with torch.no_grad():
            old.fill_(number)
    else:
        setattr(target, name, _like(old, number))


def _like(old: Any, number: float) -> float:
    return round(number) if isinstance(old, int) else float(number)


def _set_weights(sums: Sequence[WeightedSum], name: str, number: float) -> None:
    for whole in sums:
        whole.terms = tuple(
            replace(term, weight=float(number)) if term.name == name else term
            for term in whole.terms
        )


def _absent(what: str, name: str, known: Sequence[str]) -> str:
    return f"there is no {what} '{name}'.{did_you_mean(name, known)} There is {listed(known)}"


def _no_number(what: str, module: nn.Module, path: Sequence[str]) -> str:
    known = sorted(dict.fromkeys(_numbers(module)))
    asked = ".".join(path)
    hint = did_you_mean(asked, known)
    holds = f" It holds {listed(known, 12)}" if known else " It holds no number"
    return f"the {what} {type(module).__name__} has no number '{asked}'.{hint or holds}"


def _numbers(module: nn.Module) -> Iterator[str]:
    for part in module.modules():
        yield from (name for name, value in vars_of(part).items() if _is_own(name, value))


def _is_own(name: str, value: Any) -> bool:
    return name != "training" and not isinstance(value, Tensor) and _is_number(value)
