"""What a caller asks of uncertainty, put into the section ``inference.uncertainty``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, Final

from imtoolkit.config.fit import fits, got, in_words
from imtoolkit.config.limits import MOST_SAMPLES
from imtoolkit.config.sections import Component, UncertaintyConfig
from imtoolkit.core.errors import ConfigError, Problem, did_you_mean, listed

COUNTED: Final = {"flips": "mirrored copies", "ensemble": "runs"}
"""Methods whose predictions have a number of their own, and what they are."""

_KINDS: Final = {"method": str, "samples": int, "keep_samples": bool, "seed": int}
"""Field -> what it must be, where Python code gives it."""


def settings_of(config: UncertaintyConfig, asked: Any) -> UncertaintyConfig:
    """Return the section ``inference.uncertainty`` with what a caller asks for.

    Args:
        config: The section of the run.
        asked: ``True``, a method, or fields of the section by name.

    Raises:
        ConfigError: If there is no such field, or it makes no sense.
    """
    given: dict[str, Any] = {}
    if isinstance(asked, str):
        given = {"method": asked}
    elif isinstance(asked, Mapping):
        given = {str(key): value for key, value in asked.items() if value is not None}
    elif not isinstance(asked, bool):
        message = (
            f"got uncertainty={asked!r}; expected True, a method such as 'flips', or fields of the "
            "section by name, such as {'samples': 8}"
        )
        raise ConfigError(message)
    known = [item.name for item in fields(UncertaintyConfig)]
    unknown = [key for key in given if key not in known]
    if unknown:
        hint = did_you_mean(unknown[0], known)
        message = f"unknown key '{unknown[0]}'.{hint} Known: {listed(known, 9)}"
        raise ConfigError(Problem(message, where=key_of(unknown[0])))
    if "perturb" in given:
        given["perturb"] = _components(given["perturb"])
    for key, kind in _KINDS.items():
        if key in given and not fits(kind, given[key]):
            message = f"expects {in_words(kind)}, got {got(given[key])}"
            raise ConfigError(Problem(message, where=key_of(key)))
    made = replace(config, **given)
    if made.samples is not None and not 2 <= made.samples <= MOST_SAMPLES:
        message = (
            "must be at least 2, since one prediction differs from none, and at most "
            f"{MOST_SAMPLES}; got {made.samples}"
        )
        raise ConfigError(Problem(message, where=key_of("samples")))
    if "samples" in given and made.method in COUNTED:
        message = (
            f"'{made.method}' predicts as often as there are {COUNTED[made.method]}: "
            "leave the number of samples out"
        )
        raise ConfigError(Problem(message, where=key_of("samples")))
    return made


def _components(items: Any) -> list[Component]:
    """Return random transforms, each given by its name or with its parameters."""
    if isinstance(items, (str, Mapping, Component)) or not isinstance(items, Iterable):
        message = f"expects a list of transforms, such as ['flips'], got {got(items)}"
        raise ConfigError(Problem(message, where=key_of("perturb")))
    return [_component(item, number) for number, item in enumerate(items)]


def _component(item: Any, number: int) -> Component:
    if isinstance(item, Component):
        return item
    if isinstance(item, str):
        return Component(item)
    params = item.get("params") or {} if isinstance(item, Mapping) else None
    if params is None or not isinstance(params, Mapping) or "name" not in item:
        message = f"expects {in_words(Component)}, got {item!r}"
        raise ConfigError(Problem(message, where=key_of(f"perturb.{number}")))
    return Component(str(item["name"]), dict(params))


def key_of(name: str) -> str:
    """Return the key of a field of the section."""
    return f"inference.uncertainty.{name}"
