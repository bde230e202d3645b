"""Parts of a task made from its section of the config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from imtoolkit.config.sections import Component, LossTerm, TaskConfig
from imtoolkit.core.batch import TARGET
from imtoolkit.core.errors import ConfigError, Problem, listed
from imtoolkit.losses.adapting import AdaptedLoss, build_loss
from imtoolkit.losses.weighted_sum import Term, WeightedSum

from .masking import LabelledOnly

if TYPE_CHECKING:
    from .goals import Goal


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


def build_terms(terms: Mapping[str, tuple[LossTerm, Goal | None]]) -> WeightedSum:
    """Build the weighted sum of named terms.

    Args:
        terms: Terms by name, each with the goal that it serves; a term that reads what the net
            computed beside its heads serves none.

    Raises:
        ConfigError: If a name is taken, or class weights are given and no term takes them.
        ComponentError: If a loss cannot be built.
    """
    if len(terms) > 1 and "loss" in terms:
        message = "'loss' is the name of the sum: give the term another name"
        raise ConfigError(Problem(message, where="task.losses.loss"))
    built, weighted = [], set()
    for name, (term, goal) in terms.items():
        made, took_weights = _build_term(name, term, goal)
        built.append(made)
        weighted.update([goal.name] if took_weights and goal is not None else [])
    _check_weights(terms, weighted)
    return WeightedSum(built)


def _build_term(name: str, term: LossTerm, goal: Goal | None) -> tuple[Term, bool]:
    params = dict(term.params) if goal is None else goal.loss_params(term)
    loss, took_weights = build_loss(
        term.name,
        params,
        out_channels=1 if goal is None else goal.out_channels,
        spatial_dims=2 if goal is None else goal.facts.spatial_dims,
        class_weights=None if goal is None else goal.class_weights,
        labels=goal is not None and goal.labels,
        activation=term.activation,
        where=f"task.losses.{name}",
    )
    if goal is not None:
        _check_kind(term, goal, loss, f"task.losses.{name}")
    masked = goal is not None and goal.masks_missing
    made = Term(
        name,
        LabelledOnly(loss, dense=goal.dense) if goal is not None and masked else loss,
        term.weight,
        term.warmup_steps,
        term.prediction,
        term.target,
        term.activation,
        None if term.channels is None else tuple(term.channels),
        term.resize_target,
    )
    return made, took_weights or params != term.params


def _check_kind(term: LossTerm, goal: Goal, loss: AdaptedLoss, where: str) -> None:
    """Refuse a loss of pixels for whole images, and one of images for classes."""
    takes, remedy = "", "cross_entropy, for one" if goal.labels else "smooth_l1, for one"
    if loss.of_pixels and not goal.dense:
        takes = "pixels"
    elif goal.labels and not loss.of_labels and term.target in (TARGET, goal.loss_key):
        takes, remedy = "images or numbers", "dice_ce, for one" if goal.dense else remedy
    if takes:
        message = f"loss '{term.name}' compares {takes}, and this is {goal.describe()}: take "
        raise ConfigError(Problem(message + remedy, where=where))


def _check_weights(terms: Mapping[str, tuple[LossTerm, Goal | None]], weighted: set[str]) -> None:
    """Refuse class weights that no term of their goal takes."""
    goals = {goal.name: goal for _, goal in terms.values() if goal is not None}
    for goal in goals.values():
        if goal.class_weights is None or goal.name in weighted:
            continue
        own = [name for name, (_, served) in terms.items() if served is goal]
        use = "dice_ce" if goal.dense else "cross_entropy"
        message = f"none of the losses {listed(own)} takes class weights: use {use}, for one"
        raise ConfigError(Problem(message, where=f"{goal.where}.class_weights"))
