"""Components as they stand in the parameters of a net: name and parameters, and their mistakes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from imtoolkit.core import registry
from imtoolkit.core.errors import ComponentError, ConfigError, Problem, did_you_mean, listed
from imtoolkit.core.filled import is_filled


def component_of(given: Any, where: str) -> tuple[str, dict[str, Any]]:
    """Return name and parameters of a component as it may stand in a config.

    Raises:
        ConfigError: If it is none.
    """
    if isinstance(given, str):
        return given, {}
    if isinstance(given, Mapping) and isinstance(given.get("name"), str):
        params = given.get("params") or {}
        if set(given) <= {"name", "params"} and isinstance(params, Mapping):
            return given["name"], dict(params)
    message = f"expects a net, {{name: ..., params: {{...}}}}, or a module; got {given!r:.80}"
    raise ConfigError(Problem(message, where=where))


def name_of(given: Any) -> str:
    """Return the name of a component, or the class of a module."""
    return type(given).__name__ if isinstance(given, nn.Module) else component_of(given, "")[0]


def resolved(name: str, where: str) -> Callable[..., Any]:
    """Return the class or function of a net; an unknown name is told with its place."""
    try:
        return registry.resolve("net", name)
    except ComponentError as error:
        raise ComponentError(Problem(str(error), where=where)) from error


def check_parameters(
    name: str, factory: Callable[..., Any], params: Mapping[str, Any], where: str
) -> None:
    """Refuse parameters that a composed net does not take, and tell those that it lacks.

    Raises:
        ComponentError: With all of them.
    """
    known = inspect.signature(factory).parameters
    problems = [
        Problem(
            f"net '{name}' takes no parameter '{key}'."
            + (did_you_mean(key, known) or f" It takes {listed(list(known), 30)}"),
            where=where,
        )
        for key in params
        if key not in known
    ]
    missing = [
        key
        for key, item in known.items()
        if item.default is item.empty and params.get(key) is None and not is_filled("net", key)
    ]
    if missing:
        problems.append(Problem(f"net '{name}' needs {listed(missing)}", where=where))
    if problems:
        raise ComponentError(problems)


def check_names(here: list[str], wanted: list[str], where: str) -> None:
    """Compare the heads of a net with those of the task.

    Raises:
        ConfigError: With each that the other lacks.
    """
    problems = [
        Problem(
            f"the task has a head '{name}', and the net has none of that name."
            + (did_you_mean(name, here) or f" It has {listed(here) or 'no heads'}"),
            where=where,
        )
        for name in wanted
        if name not in here
    ]
    problems += [
        Problem(
            f"the net has a head '{name}', and 'task.heads' has none of that name."
            + (did_you_mean(name, wanted) or f" It has {listed(wanted)}"),
            where=where,
        )
        for name in here
        if name not in wanted
    ]
    if problems:
        raise ConfigError(problems)
