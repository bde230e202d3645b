"""Values of the section ``task`` that make no sense, alone or together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from imtoolkit.config.limits import ACTIVATIONS, NETS, OPTIMIZERS
from imtoolkit.core.errors import Problem, did_you_mean, listed

from . import adversarial, categories, cyclegan
from .values import Values

SHARED: Final = "net"
"""Entry that ``net:``, ``optimizer:`` and ``scheduler:`` stand for."""


def _roles(values: Values) -> Iterator[Problem]:
    category = values.get("task.category")
    nets = set(values.get("task.nets") or {"net": None})
    if category in NETS:
        yield from _unknown(values, "nets", "net", {*NETS[category], SHARED})
    learning = {*OPTIMIZERS[category], SHARED} if category in OPTIMIZERS else nets
    optimizers = learning if category in OPTIMIZERS else values.get("task.optimizers") or nets
    yield from _unknown(
        values, "optimizers", "optimizer" if category in OPTIMIZERS else "net", learning
    )
    yield from _unknown(values, "schedulers", "optimizer", set(optimizers))


def _unknown(values: Values, key: str, what: str, known: set[str]) -> Iterator[Problem]:
    """Find entries by role that no role has; `SHARED` is how ``net:`` alone is written out."""
    for role in values.get(f"task.{key}") or {}:
        if role not in known:
            roles = sorted(known - {SHARED}) or sorted(known)
            hint = did_you_mean(str(role), roles)
            message = f"there is no {what} named '{role}'.{hint} There is {listed(roles)}"
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


CHECKS: Final = (*categories.CHECKS, *adversarial.CHECKS, *cyclegan.CHECKS, _roles, _losses)
"""All of them, in the order in which they are made."""
