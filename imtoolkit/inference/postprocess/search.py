"""The best values of a few parameters, found one parameter at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Found:
    """What a search has found.

    Attributes:
        values: The best value of each parameter.
        score: What they are worth.
        before: What the values at the beginning are worth.
        tried: How many combinations were measured.
    """

    values: dict[Any, Any]
    score: float
    before: float
    tried: int


def coordinate_search(
    start: Mapping[Key, Any],
    choices: Mapping[Key, Sequence[Any]],
    score: Callable[[dict[Key, Any]], float],
    *,
    better: Literal["max", "min"] = "max",
    sweeps: int = 3,
) -> Found:
    """Choose the best value of one parameter after the other, until a sweep changes nothing.

    It is deterministic: parameters go in their order, and a value must be better than the present
    one, not as good, to replace it. A combination is measured once. One that has no score (NaN) is
    never taken.

    Args:
        start: Values at the beginning.
        choices: Values to try for each parameter that may change.
        score: Measures a combination.
        better: Whether larger or smaller scores are better.
        sweeps: How often all parameters are gone through at most.

    Example:
        >>> def score(at): return -3 * (at["x"] - 2) ** 2 - (at["y"] - at["x"]) ** 2
        >>> coordinate_search({"x": 0, "y": 0}, {"x": range(4), "y": range(4)}, score).values
        {'x': 2, 'y': 2}
    """
    sign = 1.0 if better == "max" else -1.0
    known: dict[tuple[str, ...], float] = {}

    def measured(values: dict[Key, Any]) -> float:
        place = tuple(repr(value) for value in values.values())
        if place not in known:
            known[place] = score(values)
        worth = sign * known[place]
        return -math.inf if math.isnan(worth) else worth

    best = dict(start)
    before = reached = measured(best)
    for _ in range(sweeps):
        at_first = reached
        for key, values in choices.items():
            for value in values:
                tried = {**best, key: value}
                worth = measured(tried)
                if worth > reached:
                    best, reached = tried, worth
        if reached == at_first:
            break
    return Found(best, _value(sign, reached), _value(sign, before), len(known))


def _value(sign: float, worth: float) -> float:
    return math.nan if math.isinf(worth) else sign * worth
