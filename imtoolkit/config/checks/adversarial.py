"""What makes no sense where nets learn against each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from imtoolkit.config.limits import OPTIMIZERS, TERMS
from imtoolkit.core.errors import Problem, did_you_mean, listed

from .values import Values

_WHOLE: Final = ("fsdp", "deepspeed", "model_parallel", "xla_fsdp")
_ROLES: Final = ("generator", "discriminator")


def _labels(values: Values) -> Iterator[Problem]:
    if not _applies(values):
        return
    smoothing = values.get("task.label_smoothing") or 0
    place = values.place("task.label_smoothing")
    if smoothing and values.get("task.adversarial") == "hinge":
        yield place.problem("hinge has no labels that could be smoothed: take mse or bce, or 0")
    elif smoothing == 1:
        yield place.problem("must be below 1: real images would count as made ones")
    if values.get("task.init_gain") is not None and values.get("task.init") is None:
        message = "belongs to 'init', which is not given: init: normal, for one"
        yield values.place("task.init_gain").problem(message)


def _clipping(values: Values) -> Iterator[Problem]:
    limits = values.get("task.gradient_clip")
    roles = OPTIMIZERS.get(str(values.get("task.category")), _ROLES)
    for role, limit in limits.items() if _applies(values) and limits else ():
        place = values.place(f"task.gradient_clip.{role}")
        if role not in roles:
            hint = did_you_mean(str(role), roles)
            message = f"there is no optimizer '{role}'.{hint} There are {listed(list(roles))}"
            yield place.problem(message)
        elif limit < 0:
            yield place.problem(f"must be at least 0, got {limit}")


def _terms(values: Values) -> Iterator[Problem]:
    taken = TERMS.get(str(values.get("task.category")), ())
    for name in values.get("task.losses") or {}:
        if name in taken:
            message = f"'{name}' is logged by the category itself: give the term another name"
            yield values.place(f"task.losses.{name}").problem(message)


def _strategy(values: Values) -> Iterator[Problem]:
    strategy = str(values.get("trainer.strategy", "auto"))
    if _applies(values) and strategy.startswith(_WHOLE):
        message = (
            f"got {strategy}; generator and discriminator need whole weights in each process: take "
            "ddp"
        )
        yield values.place("trainer.strategy").problem(message)


def _applies(values: Values) -> bool:
    return values.get("task.category") in OPTIMIZERS


CHECKS: Final = (_labels, _clipping, _terms, _strategy)
"""All of them, in the order in which they are made."""
