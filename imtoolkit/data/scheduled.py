"""Parameters of random transforms that change with the epochs.

A transform is built anew for each epoch with the number that it then has, in whichever process it
works: the number is a function of the epoch, which each visit of a sample carries.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from imtoolkit.config.sections import Component
from imtoolkit.core.errors import ConfigError, Problem, did_you_mean, listed
from imtoolkit.core.schedules import NumberSchedule


def components_at(
    components: Sequence[Component],
    schedules: Mapping[str, NumberSchedule],
    epoch: int,
    where: str = "data.augment",
) -> tuple[Component, ...]:
    """Return components with the numbers that they have in an epoch.

    Args:
        components: Of one list of the config.
        schedules: Key, such as ``data.augment.2.params.prob``, -> its schedule; those of other
            lists are left alone.
        epoch: Counted from 0.
        where: Key of the list.

    Raises:
        ConfigError: If a key leads to no parameter.

    Example:
        >>> from imtoolkit.core.schedules import Linear
        >>> flips = Component("RandFlipd", {"keys": "image"})
        >>> chance = {"data.augment.0.params.prob": Linear(0.0, 1.0, epochs=4)}
        >>> components_at([flips], chance, epoch=1)[0].params
        {'keys': 'image', 'prob': 0.25}
    """
    found = list(components)
    for key, schedule in schedules.items():
        if not key.startswith(f"{where}."):
            continue
        number, *path = key.removeprefix(f"{where}.").split(".")
        right = number.isdecimal() and int(number) < len(found)
        if not right or len(path) < 2 or path[0] != "params":
            message = (
                f"leads to no parameter: there are {len(found)} transforms, counted from 0. Write "
                f"{where}.N.params.X"
            )
            raise ConfigError(Problem(message, where=f"trainer.schedules.{key}"))
        old = found[int(number)]
        params = copy.deepcopy(old.params)
        _put(params, path[1:], schedule(epoch), key)
        found[int(number)] = Component(old.name, params)
    return tuple(found)


def belongs(schedules: Mapping[str, NumberSchedule], where: str) -> bool:
    """Tell whether one of the schedules changes a list of transforms."""
    return any(key.startswith(f"{where}.") for key in schedules)


def _put(params: Any, path: Sequence[str], number: float, key: str) -> None:
    *parents, last = path
    for name in parents:
        params = _entry(params, name, key)
    old = _entry(params, last, key) if isinstance(params, list) or last in params else None
    value = round(number) if isinstance(old, int) and not isinstance(old, bool) else number
    params[int(last) if isinstance(params, list) else last] = value


def _entry(holder: Any, name: str, key: str) -> Any:
    if isinstance(holder, list) and name.isdecimal() and int(name) < len(holder):
        return holder[int(name)]
    if isinstance(holder, dict) and name in holder:
        return holder[name]
    known = list(holder) if isinstance(holder, dict) else list(map(str, range(len(holder or ()))))
    message = f"there is no '{name}'.{did_you_mean(name, known)} There is {listed(known)}"
    raise ConfigError(Problem(message, where=f"trainer.schedules.{key}"))
