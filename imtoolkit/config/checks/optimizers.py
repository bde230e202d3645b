"""Optimizers that ask something of the rest of a config, and groups of weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from imtoolkit.config.index import Entry, open_index
from imtoolkit.config.limits import OPTIMIZERS
from imtoolkit.core.closures import ATTRIBUTE, conflicts, limits_of
from imtoolkit.core.errors import Problem
from imtoolkit.core.refused import PACKAGES

from .values import Values


def _closures(values: Values) -> Iterator[Problem]:
    """Refuse settings with which an optimizer that evaluates a batch several times cannot work."""
    settings = {
        "accumulate": values.get("trainer.accumulate_grad_batches", 1),
        "precision": values.get("trainer.precision"),
        "clip_value": values.get("trainer.gradient_clip_val"),
        "clip_algorithm": values.get("trainer.gradient_clip_algorithm"),
        "strategy": values.get("trainer.strategy"),
    }
    for role, optimizer, entry in _optimizers(values):
        limits = limits_of(entry.paths, needs_closure=_says(entry))
        if limits is None:
            continue
        if values.get("task.category") in OPTIMIZERS:
            message = (
                f"{optimizer['name']} evaluates a batch several times in a step, and here two nets "
                "step against each other: take adam or adamw"
            )
            yield values.place(f"task.optimizers.{role}.name").problem(message)
            continue
        for key, message in conflicts(str(optimizer["name"]), limits, **settings):
            yield values.place(f"trainer.{key}").problem(message)
        yield from _inside(values, role, optimizer)


def _inside(values: Values, role: str, optimizer: dict[str, Any]) -> Iterator[Problem]:
    """Refuse an optimizer that evaluates a batch several times inside another one."""
    base = (optimizer.get("params") or {}).get("base")
    name = base.get("name") if isinstance(base, dict) else None
    entry = open_index(values.get("plugins") or ()).get("optimizer", str(name))
    if entry is not None and limits_of(entry.paths, needs_closure=_says(entry)) is not None:
        message = f"'{name}' evaluates a batch several times itself: take sgd or adamw inside"
        yield values.place(f"task.optimizers.{role}.params.base.name").problem(message)


def _groups(values: Values) -> Iterator[Problem]:
    for role, optimizer in (values.get("task.optimizers") or {}).items():
        key = f"task.optimizers.{role}"
        decay = optimizer.get("layer_decay")
        if decay is not None and not 0 < decay <= 1:
            message = f"is a factor from block to block, above 0 and at most 1, got {decay}"
            yield values.place(f"{key}.layer_decay").problem(message)
        for number, group in enumerate(optimizer.get("groups") or ()):
            place = values.place(f"{key}.groups.{number}")
            if not group.get("weights"):
                yield place.problem("'weights' names no pattern, so the group holds nothing")
            if not {"lr", "weight_decay", "params"} & set(group):
                yield place.problem("sets nothing: give 'lr', 'weight_decay' or 'params'")
            for option in ("lr", "weight_decay"):
                if (group.get(option) or 0) < 0:
                    yield values.place(f"{key}.groups.{number}.{option}").problem(
                        f"must be at least 0, got {group[option]}"
                    )
        name = str(optimizer.get("name")).rpartition(".")[2].lower()
        if name == "lbfgs" and (optimizer.get("groups") or decay is not None):
            message = "LBFGS takes all weights alike: leave out 'groups' and 'layer_decay'"
            yield values.place(f"{key}.groups").problem(message)


def _optimizers(values: Values) -> Iterator[tuple[str, dict[str, Any], Entry]]:
    index = open_index(values.get("plugins") or ())
    for role, optimizer in (values.get("task.optimizers") or {}).items():
        entry = index.get("optimizer", str(optimizer.get("name")))
        if entry is not None:
            yield role, optimizer, entry


def _says(entry: Entry) -> bool:
    # those of the pinned packages stand in the table: only own code is read
    return not entry.path.startswith(PACKAGES) and entry.says(ATTRIBUTE)


CHECKS: Final = (_closures, _groups)
"""All of them, in the order in which they are made."""
