"""Parts of a task made from its section of the config."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from imtoolkit.config.sections import Component, LossTerm, TaskConfig
from imtoolkit.core import registry
from imtoolkit.core.errors import ConfigError, Problem, listed
from imtoolkit.losses.adapting import build_loss
from imtoolkit.losses.weighted_sum import Term, WeightedSum


def net_of(config: TaskConfig, role: str, roles: Sequence[str]) -> Component:
    """Return the net of a role; a single net serves a task with a single role.

    Raises:
        ConfigError: If there is none, or one for a role that the task does not have.
    """
    if len(roles) == 1 and len(config.nets) == 1:
        return next(iter(config.nets.values()))
    unknown = [name for name in config.nets if name not in roles]
    if role in config.nets and not unknown:
        return config.nets[role]
    got = listed(list(config.nets)) or "no net"
    message = f"got {got}; a task of category '{config.category}' needs {listed(list(roles))}"
    raise ConfigError(Problem(message, where="task.nets"))


def build_terms(
    terms: Mapping[str, LossTerm],
    *,
    out_channels: int,
    spatial_dims: int,
    class_weights: Sequence[float] | None = None,
    labels: bool = True,
) -> WeightedSum:
    """Build the weighted sum of named terms.

    Args:
        terms: Terms by name.
        out_channels: Channels of the prediction.
        spatial_dims: 2 or 3.
        class_weights: Weight of each class, for the terms that take weights.
        labels: Whether targets are label images.

    Raises:
        ConfigError: If a name is taken, or class weights are given and no term takes them.
        ComponentError: If a loss cannot be built.
    """
    if len(terms) > 1 and "loss" in terms:
        message = "'loss' is the name of the sum: give the term another name"
        raise ConfigError(Problem(message, where="task.losses.loss"))
    built, weighted = [], []
    for name, term in terms.items():
        loss, took_weights = build_loss(
            term.name,
            term.params,
            out_channels=out_channels,
            spatial_dims=spatial_dims,
            class_weights=class_weights,
            labels=labels,
            where=f"task.losses.{name}",
        )
        built.append(Term(name, loss, term.weight, term.warmup_steps, term.prediction, term.target))
        weighted.append(took_weights)
    if class_weights is not None and not any(weighted):
        message = (
            f"none of the losses {listed(list(terms))} takes class weights: use dice_ce, for one"
        )
        raise ConfigError(Problem(message, where="task.class_weights"))
    return WeightedSum(built)


def build_metrics(components: Sequence[Component], **known: Any) -> list[Any]:
    """Build metrics; what they leave open and ``known`` holds is filled in.

    Raises:
        ComponentError: If one cannot be found or refuses its parameters.
    """
    made = []
    for component in components:
        wanted = inspect.signature(registry.resolve("metric", component.name)).parameters
        filled = {key: value for key, value in known.items() if key in wanted}
        made.append(registry.build("metric", component.name, component.params, **filled))
    return made
