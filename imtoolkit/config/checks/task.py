"""Values of the section ``task`` that make no sense, alone or together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from imtoolkit.config.limits import ACTIVATIONS
from imtoolkit.core.errors import Problem, did_you_mean, listed

from . import categories
from .values import Values


def _roles(values: Values) -> Iterator[Problem]:
    nets = set(values.get("task.nets") or {"net": None})
    optimizers = set(values.get("task.optimizers") or nets)
    for key, known in (("optimizers", nets), ("schedulers", optimizers)):
        for role in values.get(f"task.{key}") or {}:
            if role not in known:
                what = "net" if key == "optimizers" else "optimizer"
                hint = did_you_mean(str(role), known)
                message = (
                    f"there is no {what} named '{role}'.{hint} There is {listed(sorted(known))}"
                )
                yield values.place(f"task.{key}.{role}").problem(message)


def _losses(values: Values) -> Iterator[Problem]:
    losses = values.get("task.losses") or {}
    for name, term in losses.items():
        if term.get("warmup_steps", 0) < 0:
            yield values.place(f"task.losses.{name}.warmup_steps").problem("must be at least 0")
        activation = term.get("activation")
        if activation is not None and activation not in ACTIVATIONS:
            hint = did_you_mean(activation, ACTIVATIONS)
            message = f"'{activation}' is not known.{hint} Known: {listed(ACTIVATIONS)}"
            yield values.place(f"task.losses.{name}.activation").problem(message)
        if "/" in str(name):
            message = f"the name '{name}' becomes part of metric names and cannot hold '/'"
            yield values.place(f"task.losses.{name}").problem(message)
    if losses and all(term.get("weight", 1.0) == 0 for term in losses.values()):
        yield values.place("task.losses").problem("every term has the weight 0: nothing is learnt")


CHECKS: Final = (*categories.CHECKS, _roles, _losses)
"""All of them, in the order in which they are made."""
