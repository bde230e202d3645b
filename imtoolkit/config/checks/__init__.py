"""Values of a config that have the right type and still make no sense, alone or together."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence

from imtoolkit.config.limits import CHOICES, RANGES
from imtoolkit.config.nodes import Node
from imtoolkit.core.errors import Problem, did_you_mean, listed

from . import (
    data,
    embedseg,
    numbers,
    optimizers,
    postprocess,
    task,
    training,
    uncertainty,
)
from .values import Values


def check_values(root: Node) -> list[Problem]:
    """Return what contradicts itself in a config whose shape is right."""
    values = Values(root)
    checks: Sequence[Callable[[Values], Iterator[Problem]]] = (
        *(_finite, _ranges, _choices, _name),
        *(*data.CHECKS, *task.CHECKS, *training.CHECKS),
        *(*optimizers.CHECKS, *numbers.CHECKS, *embedseg.CHECKS, *postprocess.CHECKS),
        *uncertainty.CHECKS,
    )
    return [problem for check in checks for problem in check(values)]


def _finite(values: Values) -> Iterator[Problem]:
    """Refuse numbers that are none; an infinite one may be what a parameter wants."""
    waiting = [values.root]
    while waiting:
        node = waiting.pop()
        if isinstance(node.value, (dict, list)):
            waiting += node.value.values() if isinstance(node.value, dict) else node.value
        elif isinstance(node.value, float):
            inside = ".params." in node.place.key
            if math.isnan(node.value) or (math.isinf(node.value) and not inside):
                yield node.place.problem(f"expects a finite number, got {node.value}")


def _ranges(values: Values) -> Iterator[Problem]:
    for key, (low, high) in RANGES.items():
        value = values.get(key)
        if value is None or isinstance(value, bool):
            continue
        if (low is not None and value < low) or (high is not None and value > high):
            limits = f"at least {low}" if high is None else f"between {low} and {high}"
            yield values.place(key).problem(f"must be {limits}, got {value}")


def _choices(values: Values) -> Iterator[Problem]:
    for key, allowed in CHOICES.items():
        node = values.node(key)
        for item in node.value if node is not None and isinstance(node.value, list) else [node]:
            if item is None or item.value is None or item.value in allowed:
                continue
            words = [str(word) for word in dict.fromkeys(map(str, allowed))]
            hint = did_you_mean(str(item.value), words)
            yield item.place.problem(
                f"'{item.value}' is not known.{hint} Known: {listed(words, 20)}"
            )


def _name(values: Values) -> Iterator[Problem]:
    name = values.get("name", "run")
    if not re.fullmatch(r"\w[\w.+-]*", name):
        message = (
            f"'{name}' becomes a folder name: begin with a letter or digit, and use letters, "
            "digits, '.', '_', '+' and '-'"
        )
        yield values.place("name").problem(message)
