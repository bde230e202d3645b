"""The state that an optimizer keeps of each weight, taken over from another run by name.

Adam's running means, or the momentum of SGD, tell how a weight has been moving. A fine-tuned part
goes on at once where it has them; without them its first steps are as blind as those of a new net.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from imtoolkit.core.registry import paths_of

State = dict[str, Any]


def classes_of(optimizers: Iterable[Optimizer]) -> list[str]:
    """Return what a checkpoint says of its optimizers: their classes, with what works inside."""
    return [_class_of(optimizer) for optimizer in optimizers]


def states_by_name(
    checkpoint: Mapping[str, Any], classes: list[str]
) -> dict[str, dict[str, State]]:
    """Return class of an optimizer -> name of a weight -> its state, of a checkpoint.

    Args:
        checkpoint: Of a training; optimizers of older releases do not tell names and are left out.
        classes: What `classes_of` said when it was saved.
    """
    found: dict[str, dict[str, State]] = {}
    saved = checkpoint.get("optimizer_states") or []
    for kind, optimizer in zip(classes, saved, strict=False):
        for group in optimizer["param_groups"]:
            for number, name in zip(group["params"], group.get("param_names", ()), strict=False):
                if number in optimizer["state"]:
                    found.setdefault(kind, {})[name] = optimizer["state"][number]
    return found


def choose_states(
    optimizers: Mapping[str, Optimizer],
    states: Mapping[str, Mapping[str, State]],
    names: Mapping[str, str],
) -> tuple[dict[str, State], tuple[str, ...]]:
    """Choose the states that can be taken over, and tell why others cannot.

    Args:
        optimizers: Those here, by role.
        states: What `states_by_name` found there.
        names: Name here -> name there, of the weights that were loaded.

    Returns:
        Name here -> state, and notes for the report.
    """
    chosen: dict[str, State] = {}
    notes = []
    for role, optimizer in optimizers.items():
        kind = _class_of(optimizer)
        theirs = states.get(kind, {})
        trained = _named(optimizer)
        fitting = {
            name: theirs[names[name]]
            for name, weight in trained.items()
            if names.get(name) in theirs and _fits(theirs[names[name]], weight)
        }
        chosen |= fitting
        if not fitting:
            idle = bool(names) and not any(name in names for name in trained)
            notes.append(_why_not(role, kind, states, idle=idle))
    return chosen, tuple(notes)


def put_states(optimizers: Iterable[Optimizer], states: Mapping[str, State]) -> None:
    """Put states into optimizers, on the device of each weight."""
    for optimizer in optimizers:
        for name, weight in _named(optimizer).items():
            if name in states:
                optimizer.state[weight] = {
                    key: _placed(key, value, weight) for key, value in states[name].items()
                }


def _why_not(role: str, kind: str, states: Mapping[str, Any], *, idle: bool) -> str:
    if idle:
        return (
            f"the optimizer of '{role}' begins anew: it trains none of the loaded weights, as "
            "where they are frozen, so their state is not needed"
        )
    here = kind.rpartition(".")[2]
    if not states:
        return (
            f"the optimizer of '{role}' begins anew: what was loaded holds no optimizer state by "
            "name of weights"
        )
    there = ", ".join(sorted(other.rpartition(".")[2] for other in states))
    if kind in states:
        return f"the optimizer of '{role}' begins anew: it had no state of the loaded weights there"
    return f"the optimizer of '{role}' begins anew: it is {here} here and {there} there"


def _named(optimizer: Optimizer) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for group in optimizer.param_groups:
        found.update(zip(group.get("param_names", ()), group["params"], strict=False))
    return found


def _fits(state: State, weight: Tensor) -> bool:
    tensors = [value for value in state.values() if isinstance(value, Tensor) and value.ndim]
    return all(value.shape == weight.shape for value in tensors)


def _placed(key: str, value: Any, weight: Tensor) -> Any:
    if not isinstance(value, Tensor):
        return value
    # torch keeps the count of steps on the processor
    return value.clone() if key == "step" else value.detach().clone().to(weight.device)


def _class_of(optimizer: Optimizer) -> str:
    """Return the class as a text; that of SAM is the class of its base, whose state it keeps."""
    inner = getattr(optimizer, "base", optimizer)
    kind = paths_of(type(inner if isinstance(inner, Optimizer) else optimizer))
    # our variants of torch's optimizers keep the same state
    return next((path for path in kind if path.startswith("torch.optim.")), kind[0])
