"""What the data tell a net: channels, dimensions, image size, under the name that the net uses.

A value that the user writes is kept and compared with the data; where the two differ the message
shows both.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from imtoolkit.core.errors import ConfigError, Problem
from imtoolkit.core.facts import DataFacts
from imtoolkit.core.filled import FILLED

_SEEN_IN: Final = {
    "in_channels": "the images have {} channel(s)",
    "out_channels": "the task needs {} output channel(s)",
    "spatial_dims": "the images have {} spatial dimensions",
    "image_size": "the net is given patches of {}",
    "image_shape": "the net is given patches of {} (channels first)",
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
    makers: list[Any] = (
        [vars(cls).get("__init__") for cls in factory.__mro__]
        if inspect.isclass(factory)
        else [factory]
    )
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


def fill_net(
    factory: Callable[..., Any],
    params: Mapping[str, Any],
    facts: DataFacts,
    out_channels: int,
    *,
    where: str = "task.net",
) -> dict[str, Any]:
    """Return the parameters of a net, completed from the data.

    Args:
        factory: Class (or function) that makes the net.
        params: What the user wrote.
        facts: Facts of the data.
        out_channels: Channels that the task needs, such as the number of classes.
        where: Key of the config, for messages.

    Raises:
        ConfigError: If a value that the user wrote does not fit the data.
    """
    parameters = signature_of(factory)
    known = _facts_by_name(facts, out_channels)
    filled = dict(params)
    problems: list[Problem] = []
    for name, parameter in parameters.items():
        fact = FILLED["net"].get(name)
        if fact is None or known.get(fact) is None:
            continue
        value = _as_annotated(known[fact], parameter)
        if name not in params:
            filled.update({} if value is None else {name: value})
        elif value is not None and not _equal(params[name], value):
            problems.append(_differs(name, params[name], value, fact, where))
    if "pretrained" in parameters and "pretrained" not in params:
        filled["pretrained"] = False  # weights come from the network only when asked for
    if problems:
        raise ConfigError(problems)
    return filled


def _facts_by_name(facts: DataFacts, out_channels: int) -> dict[str, Any]:
    size = facts.patch_size
    return {
        "in_channels": facts.in_channels,
        "out_channels": out_channels,
        "spatial_dims": facts.spatial_dims,
        "image_size": size,
        "image_shape": None if size is None else (facts.in_channels, *size),
    }


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


def _differs(name: str, given: Any, known: Any, fact: str, where: str) -> Problem:
    seen = _SEEN_IN[fact].format(list(known) if isinstance(known, tuple) else known)
    return Problem(
        f"{name} is {given}, but {seen}. Leave it out, and it is filled in from the data; "
        "or change the data to match",
        where=f"{where}.params.{name}",
    )
