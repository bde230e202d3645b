"""What makes no sense in how a net is trained: schedules, watched metrics, trainer, evaluation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from imtoolkit.config.limits import STRATEGIES
from imtoolkit.core.errors import Problem, did_you_mean, listed

from .logged import metric_names
from .values import Values

_PLATEAUS: Final = ("plateau", "ReduceLROnPlateau")


def _schedulers(values: Values) -> Iterator[Problem]:
    for role, scheduler in (values.get("task.schedulers") or {}).items():
        key = f"task.schedulers.{role}"
        interval = scheduler.get("interval")
        if interval not in (None, "step", "epoch"):
            place = values.place(f"{key}.interval")
            yield place.problem(f"expects 'step' or 'epoch', got '{interval}'")
        plateau = str(scheduler.get("name")).rpartition(".")[2] in _PLATEAUS
        if scheduler.get("monitor") and not plateau:
            message = "only plateau (ReduceLROnPlateau) watches a metric"
            yield values.place(f"{key}.monitor").problem(message)
        if plateau and interval == "step":
            message = "ReduceLROnPlateau steps after a validation: 'interval' is 'epoch'"
            yield values.place(f"{key}.interval").problem(message)


def _monitors(values: Values) -> Iterator[Problem]:
    known = metric_names(values)
    keys = ["trainer.early_stopping.monitor"]
    keys += [f"task.schedulers.{role}.monitor" for role in values.get("task.schedulers") or {}]
    places = [(values.get(key), values.place(key)) for key in keys]
    listed_node = values.node("trainer.checkpoint.monitor")
    if listed_node is not None and isinstance(listed_node.value, list):
        places += [(item.value, item.place) for item in listed_node.value]
    for name, place in places:
        if name is None:
            continue
        if not re.match(r"^(val|train)/.", name):
            hint = f" Did you mean 'val/{name}'?" if f"val/{name}" in known else ""
            message = f"metrics are named like 'val/dice' or 'train/loss', got '{name}'.{hint}"
            yield place.problem(message)
        elif known and name not in known:
            message = f"there is no metric '{name}'.{did_you_mean(name, known)}"
            yield place.problem(f"{message} Known: {listed(sorted(known), 30)}")
    yield from _states(values, known)


def _states(values: Values, known: set[str]) -> Iterator[Problem]:
    """Check the names of kept states: ``best``, ``last``, ``best-val-dice``."""
    monitored = values.get("trainer.checkpoint.monitor")
    state = values.get("inference.checkpoint")
    if state is None or state in ("best", "last"):
        return
    names = monitored if monitored is not None else sorted(known)
    states = ["best", "last", *(f"best-{name.replace('/', '-')}" for name in names)]
    if state not in states:
        hint = did_you_mean(state, states)
        message = f"there is no state '{state}'.{hint} Known: {listed(states, 12)}"
        yield values.place("inference.checkpoint").problem(message)


def _trainer(values: Values) -> Iterator[Problem]:
    max_time = values.get("trainer.max_time")
    if max_time is not None and not re.fullmatch(r"\d+:\d{1,2}:\d{1,2}:\d{1,2}", max_time):
        message = f"expects DD:HH:MM:SS such as 00:02:30:00, got '{max_time}'"
        yield values.place("trainer.max_time").problem(message)
    strategy = values.get("trainer.strategy", "auto")
    if strategy not in STRATEGIES and not strategy.startswith(("ddp_", "fsdp_", "deepspeed_")):
        hint = did_you_mean(strategy, STRATEGIES)
        message = f"'{strategy}' is not known.{hint} Known: {listed(STRATEGIES, 20)}"
        yield values.place("trainer.strategy").problem(message)
    devices = values.get("trainer.devices")
    wrong = (
        (isinstance(devices, str) and not re.fullmatch(r"auto|-1|\d+(,\d+)*,?", devices))
        or (isinstance(devices, int) and (devices < -1 or devices == 0))
        or devices == []
    )
    if wrong:
        message = f"expects a number of devices, a list of their numbers, or auto; got {devices!r}"
        yield values.place("trainer.devices").problem(message)
    if values.get("trainer.max_epochs") == 0:
        yield values.place("trainer.max_epochs").problem("0 epochs train nothing")
    yield from _ends(values)


def _ends(values: Values) -> Iterator[Problem]:
    """Check that what begins also ends, and that lower limits lie below upper ones."""
    endless = values.get("trainer.max_epochs") == -1 and values.get("trainer.max_steps", -1) == -1
    stops = values.get("trainer.early_stopping") is not None or values.get("trainer.max_time")
    if endless and not stops:
        message = "training would never end: give max_steps, max_time or early_stopping"
        yield values.place("trainer.max_epochs").problem(message)
    for unit in ("epochs", "steps"):
        low, high = values.get(f"trainer.min_{unit}"), values.get(f"trainer.max_{unit}")
        if low is not None and high is not None and 0 <= high < low:
            message = f"is larger than max_{unit}, which is {high}"
            yield values.place(f"trainer.min_{unit}").problem(message)


def _fractions(values: Values) -> Iterator[Problem]:
    confidence = values.get("evaluation.confidence")
    if confidence is not None and not 0 < confidence < 1:
        message = f"is a level between 0 and 1 such as 0.95, got {confidence}"
        yield values.place("evaluation.confidence").problem(message)
    for name in ("train", "val", "test", "predict"):
        key = f"trainer.limit_{name}_batches"
        value = values.get(key)
        if value is not None and (value < 0 or (isinstance(value, float) and value > 1)):
            message = f"expects a fraction up to 1.0 or a whole number of batches, got {value}"
            yield values.place(key).problem(message)


CHECKS: Final = (_schedulers, _monitors, _trainer, _fractions)
"""All of them, in the order in which they are made."""
