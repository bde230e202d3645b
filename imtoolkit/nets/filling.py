"""What the data tell a net: channels, dimensions, image size, under the name that the net uses.

A value that the user writes is kept and compared with the data; where the two differ the message
shows both.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from imtoolkit.core.errors import ConfigError, Problem, listed
from imtoolkit.core.facts import DataFacts
from imtoolkit.core.filled import FILLED

Outputs = int | Mapping[str, int] | None
"""Channels that a net shall give: a number, one for each named output, or whatever suits."""

_MIDDLE: Final = 32
_WIDTHS: Final = ("channels", "features", "filters", "feature_size", "init_filters")
_SEEN_IN: Final = {
    "in_channels": "{before} {} channel(s)",
    "out_channels": "the task needs {} output channel(s)",
    "spatial_dims": "the images have {} spatial dimensions",
    "image_size": "the net is given patches of {}",
    "image_shape": "the net is given patches of {} (channels first)",
    "out_shape": "the task needs {}",
    "tabular_features": "'data.tabular' gives {} feature(s)",
}


def signature_of(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the named parameters of a class or function, with those that ``**kwargs`` forwards.

    Example:
        >>> class Base:
        ...     def __init__(self, in_channels): ...
        >>> class Derived(Base):
        ...     def __init__(self, depth, **kwargs): ...
        >>> list(signature_of(Derived))
        ['depth', 'in_channels']
    """
    made = factory if inspect.isclass(factory) else _returned(factory)
    makers: list[Any] = [] if inspect.isclass(factory) else [factory]
    makers += [vars(cls).get("__init__") for cls in (made.__mro__ if made is not None else ())]
    found: dict[str, inspect.Parameter] = {}
    for maker in filter(None, makers):
        try:
            parameters = inspect.signature(maker).parameters
        except (TypeError, ValueError):  # some builtins tell nothing
            break
        named = {
            key: value
            for key, value in parameters.items()
            if key != "self" and value.kind in (value.POSITIONAL_OR_KEYWORD, value.KEYWORD_ONLY)
        }
        found = {**found, **{key: value for key, value in named.items() if key not in found}}
        if not any(value.kind is value.VAR_KEYWORD for value in parameters.values()):
            break
    return found


def _returned(function: Callable[..., Any]) -> type | None:
    """Return the class that a factory such as ``resnet18(**kwargs) -> ResNet`` makes."""
    told = getattr(function, "__annotations__", {}).get("return")
    found = getattr(function, "__globals__", {}).get(told) if isinstance(told, str) else told
    return found if inspect.isclass(found) else None


def fill_net(
    factory: Callable[..., Any],
    params: Mapping[str, Any],
    facts: DataFacts,
    out_channels: Outputs,
    *,
    where: str = "task.net",
    before: str = "the images have",
    map_channels: Sequence[int] | None = None,
    middle: bool = False,
) -> dict[str, Any]:
    """Return the parameters of a net, completed from the data.

    Args:
        factory: Class (or function) that makes the net.
        params: What the user wrote.
        facts: Facts of the data; for a part of a net, with the channels and size that arrive there.
        out_channels: Channels that the task needs, such as the number of classes; by name where
            the net shall have several outputs; ``None`` leaves that to the user.
        where: Key of the config, for messages.
        before: Who gives the channels, for messages.
        map_channels: Channels of all feature maps, for a head whose ``in_channels`` is a list.
        middle: Whether other parts process what the net gives: its number of output channels is
            then the width of its finest level, or 32.

    Raises:
        ConfigError: If a value that the user wrote does not fit the data.
    """
    parameters = signature_of(factory)
    known = _facts_by_name(facts, out_channels)
    filled = dict(params)
    problems: list[Problem] = []
    for name, parameter in parameters.items():
        fact = FILLED["net"].get(name)
        if fact == "out_channels" and middle:
            _fill_width(name, parameter, filled)
            continue
        if fact is None or known.get(fact) is None:
            continue
        value = _as_annotated(known[fact], parameter)
        if fact == "in_channels" and map_channels is not None and _is_list(parameter):
            value = tuple(map_channels)
        if isinstance(value, Mapping) and not _is_mapping(parameter):
            problems.append(_one_output(out_channels, where))
        elif name not in params:
            filled.update({} if value is None else {name: value})
        elif value is not None and not _equal(params[name], value):
            problems.append(_differs(name, params[name], value, fact, where, before))
    if "pretrained" in parameters and "pretrained" not in params:
        filled["pretrained"] = False  # weights come from the network only when asked for
    if problems:
        raise ConfigError(problems)
    return filled


def _facts_by_name(facts: DataFacts, out_channels: Outputs) -> dict[str, Any]:
    size = facts.patch_size
    return {
        "in_channels": facts.in_channels,
        "out_channels": out_channels,
        "out_shape": (out_channels,) if isinstance(out_channels, int) else None,
        "spatial_dims": facts.spatial_dims,
        "image_size": size,
        "image_shape": None if size is None else (facts.in_channels, *size),
        "tabular_features": len(facts.tabular) or None,
    }


def _fill_width(name: str, parameter: inspect.Parameter, filled: dict[str, Any]) -> None:
    """Choose the channels of a net in the middle, unless it gives feature maps when not asked."""
    if name in filled or parameter.default is None:
        return
    widths = (filled.get(key) for key in _WIDTHS)
    width = next((value for value in widths if value), _MIDDLE)
    filled[name] = int(width if isinstance(width, int) else width[0])


def _is_list(parameter: inspect.Parameter) -> bool:
    words = ("Sequence", "list", "tuple", "List", "Tuple")
    return any(word in str(parameter.annotation) for word in words)


def _is_mapping(parameter: inspect.Parameter) -> bool:
    return any(word in str(parameter.annotation) for word in ("Mapping", "dict", "Dict"))


def _one_output(out_channels: Outputs, where: str) -> Problem:
    names = list(out_channels) if isinstance(out_channels, Mapping) else []
    message = (
        f"the task has the heads {listed(names)}, and this net has one output. Take "
        "{name: multi_head, params: {backbone: ..., heads: {...}}} with a head for each"
    )
    return Problem(message, where=where)


def _as_annotated(value: Any, parameter: inspect.Parameter) -> Any:
    """Return one number for a size where the net takes one; ``None`` where the sides differ."""
    if not isinstance(value, tuple) or str(parameter.annotation) not in ("int", "<class 'int'>"):
        return value
    return value[0] if len(set(value)) == 1 else None


def _equal(given: Any, known: Any) -> bool:
    if isinstance(known, tuple) and isinstance(given, int):
        return all(side == given for side in known)
    if isinstance(given, Sequence) and not isinstance(given, str):
        return tuple(given) == (known if isinstance(known, tuple) else (known,))
    return bool(given == known)


def _differs(name: str, given: Any, known: Any, fact: str, where: str, before: str) -> Problem:
    shown = list(known) if isinstance(known, tuple) else known
    seen = _SEEN_IN[fact].format(shown, before=before)
    remedy = "in from the data; or change the data to match"
    remedy = remedy if before == "the images have" else "in"
    return Problem(
        f"{name} is {given}, but {seen}. Leave it out, and it is filled {remedy}",
        where=f"{where}.params.{name}",
    )
