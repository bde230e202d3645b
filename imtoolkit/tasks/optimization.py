"""Optimizers and schedules of a task by role, and when the training of a trainer ends."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Timer
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from imtoolkit.config.sections import Component, OptimizerConfig, SchedulerConfig
from imtoolkit.core import registry
from imtoolkit.core.closures import ATTRIBUTE, conflicts, limits_of
from imtoolkit.core.errors import ComponentError, ConfigError, Problem, did_you_mean, listed
from imtoolkit.core.registry import paths_of
from imtoolkit.optim.building import (
    Horizon,
    build_optimizer,
    build_scheduler,
    lightning_config,
    option_of,
)
from imtoolkit.optim.closures import ClosureOptimizer
from imtoolkit.optim.groups import Rule, parameter_groups

from .moments import put_states

if TYPE_CHECKING:
    from .base import Task

SHARED: Final = "net"
"""Entry that ``optimizer:`` or ``scheduler:`` alone stands for; it serves all of several roles."""


def configure(task: Task) -> list[dict[str, Any]]:
    """Return what Lightning wants from ``configure_optimizers``: one entry for each optimizer.

    Raises:
        ConfigError: If an optimizer or schedule belongs to no net of the task.
    """
    optimizers = build_optimizers(task)
    put_states(optimizers.values(), task.start_states)
    schedules = _by_role(task, list(optimizers))
    horizon = horizon_of(task.trainer)
    entries = []
    for role, optimizer in optimizers.items():
        entry: dict[str, Any] = {"optimizer": optimizer}
        if role in schedules:
            made = _schedule(task, role, schedules[role], optimizer, horizon)
            task.monitors[made["name"]] = str(made.get("monitor"))
            if not task.automatic_optimization:  # Lightning warns of keys that it does not read
                made = {key: made[key] for key in ("scheduler", "interval", "frequency", "name")}
            entry["lr_scheduler"] = made
        entries.append(entry)
    return entries


def try_schedules(
    task: Task,
    optimizers: Mapping[str, Optimizer],
    steps: float,
    epochs: float,
    seconds: float | None = None,
) -> None:
    """Build the schedules for a training that is not begun, so that mistakes show before.

    Args:
        task: The task.
        optimizers: Optimizer of each role; their learning rates are changed.
        steps: Steps of the training; infinity where time ends it.
        epochs: Epochs of the training.
        seconds: Its time limit, where it has one.

    Raises:
        ConfigError: If a schedule belongs to no optimizer, or needs an end that is not known.
        ComponentError: If one refuses its parameters.
    """
    horizon = Horizon(steps, epochs, seconds, None if seconds is None else lambda: 0.0)
    for role, schedule in _by_role(task, list(optimizers)).items():
        made = _schedule(task, role, schedule, optimizers[role], horizon)["scheduler"]
        if isinstance(made, ReduceLROnPlateau):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch wants a step of the optimizer before
                made.step()
        except (ArithmeticError, ValueError, TypeError) as error:
            message = f"scheduler '{schedule.name}' cannot take a step: {error}"
            raise ConfigError(Problem(message, where=f"task.schedulers.{role}")) from error


def build_optimizers(task: Task) -> dict[str, Optimizer]:
    """Return an optimizer for each role; it needs no trainer, so mistakes show before training.

    Raises:
        ConfigError: If an optimizer belongs to no net of the task, or refuses its parameters.
    """
    wanted = wanted_optimizers(task)
    alone = len(wanted) == 1
    found = {}
    for role, component in wanted.items():
        module = _trained_by(task, role, alone=alone)
        where = "task.optimizer" if alone or not task.config.optimizers else _place(task, role)
        try:
            groups = _groups(task, module, component, where)
            optimizer = build_optimizer(component.name, component.params, groups)
        except ComponentError as error:
            raise ConfigError(Problem(str(error), where=where)) from error
        _check_options(optimizer, component, where)
        if isinstance(optimizer, ClosureOptimizer):
            optimizer.watch(module)
        found[role] = optimizer
    return found


def wanted_optimizers(task: Task) -> dict[str, OptimizerConfig]:
    """Return what the config says of each optimizer, or what stands for it where it says nothing.

    Where a task steps several optimizers by itself, ``optimizer:`` alone serves all that have no
    entry of their own in ``optimizers:``.

    Raises:
        ConfigError: If an optimizer belongs to no role of such a task.
    """
    given = dict(task.config.optimizers)
    if task.automatic_optimization:
        return given or {next(iter(task.nets)): task.default_optimizer}
    roles = list(task.optimizer_nets())
    _check_roles(given, roles, "task.optimizers")
    shared = given.get(SHARED, task.default_optimizer)
    return {role: given.get(role, shared) for role in roles}


def _check_roles(given: Iterable[str], roles: list[str], where: str) -> None:
    unknown = [role for role in given if role not in (*roles, SHARED)]
    if unknown:
        message = f"there is no optimizer {listed(unknown)}; there are {listed(roles)}"
        raise ConfigError(Problem(message, where=where))


def _place(task: Task, role: str) -> str:
    own = role in task.config.optimizers
    return f"task.optimizers.{role if own else SHARED}"


def horizon_of(trainer: pl.Trainer) -> Horizon:
    """Return when the training of a trainer ends, by steps and by its timer."""
    epochs = trainer.max_epochs if (trainer.max_epochs or -1) > 0 else float("inf")
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    timers = [item for item in callbacks if isinstance(item, Timer)]
    limits = [(timer, timer.time_remaining("train")) for timer in timers]
    timer, left = next(((t, left) for t, left in limits if left is not None), (None, None))
    if timer is None or left is None:
        return Horizon(float(trainer.estimated_stepping_batches), float(epochs or 0))
    return Horizon(
        float(trainer.estimated_stepping_batches),
        float(epochs or 0),
        seconds=left + timer.time_elapsed("train"),
        elapsed=lambda: _same_everywhere(trainer, timer.time_elapsed("train")),
    )


def step_plateaus(task: Task, trained: Mapping[str, float], validated: Mapping[str, float]) -> None:
    """Step each ``ReduceLROnPlateau``; called at the end of an epoch, before it is saved.

    Args:
        task: The task.
        trained: Means of the epoch.
        validated: Means of the last validation in this epoch; where there was none, a schedule that
            watches validation waits.

    Raises:
        ConfigError: If the metric that it watches does not exist.
    """
    for entry in task.trainer.lr_scheduler_configs:
        if not isinstance(entry.scheduler, ReduceLROnPlateau):
            continue
        name = str(entry.monitor or task.monitors[str(entry.name)])
        if name.startswith("val/") and not validated:
            continue
        known: dict[str, Any] = {**task.trainer.callback_metrics, **trained, **validated}
        if name not in known:
            message = f"there is no metric '{name}'; there are {listed(list(known), 20)}"
            raise ConfigError(Problem(message, where="task.scheduler.monitor"))
        entry.scheduler.step(float(known[name]))


def check_closures(task: Task, trainer: pl.Trainer) -> None:
    """Refuse what optimizers that evaluate a batch several times cannot do.

    The same is asked of a config before anything is built; here it is asked of what the machine
    chose, and of optimizers from everywhere.

    Raises:
        ConfigError: With accumulation, since the closure covers one micro-batch, with 16-mixed,
            since the loss scale would be applied once for several evaluations, and with whatever
            else `imtoolkit.core.closures` says.
    """
    del task
    algorithm = trainer.gradient_clip_algorithm  # Lightning makes an enum of it
    require_closures(
        trainer.optimizers,
        accumulate=trainer.accumulate_grad_batches,
        precision=trainer.precision,
        clip_value=trainer.gradient_clip_val,
        clip_algorithm=getattr(algorithm, "value", algorithm),
        strategy=type(trainer.strategy).__name__,
    )


def require_closures(optimizers: Iterable[Optimizer], **settings: Any) -> None:
    """Refuse settings with which optimizers that evaluate a batch several times cannot work.

    Args:
        optimizers: Of any kind.
        settings: What `imtoolkit.core.closures.conflicts` takes.

    Raises:
        ConfigError: With all that cannot work.
    """
    problems = []
    for kind in map(type, optimizers):
        limits = limits_of(paths_of(kind), needs_closure=bool(getattr(kind, ATTRIBUTE, False)))
        if limits is not None:
            found = conflicts(kind.__name__, limits, **settings)
            problems += [Problem(message, where=f"trainer.{key}") for key, message in found]
    if problems:
        raise ConfigError(problems)


def _groups(
    task: Task, module: nn.Module, component: Component, where: str
) -> list[dict[str, Any]]:
    """Return the groups of one optimizer, its weights named as in the checkpoint."""
    config = (
        component if isinstance(component, OptimizerConfig) else OptimizerConfig(component.name)
    )
    rules = [Rule(item.weights, item.lr, item.weight_decay, item.params) for item in config.groups]
    rate = option_of(component.name, component.params, "lr")
    if config.layer_decay is not None and rate is None:
        message = f"optimizer '{component.name}' has no learning rate that could be scaled"
        raise ConfigError(Problem(message, where=f"{where}.layer_decay"))
    inside = dict(module.named_modules())
    return parameter_groups(
        module,
        lr=rate,
        weight_decay=option_of(component.name, component.params, "weight_decay"),
        rules=rules,
        layer_decay=config.layer_decay,
        decay_all=config.decay_all or component.params.get("decay_norms_and_biases") is True,
        nets={f"nets.{name}.": net for name, net in task.nets.items() if f"nets.{name}" in inside},
        where=where,
    )


def _check_options(optimizer: Optimizer, component: Component, where: str) -> None:
    """Refuse options of groups that the optimizer would never read."""
    groups = component.groups if isinstance(component, OptimizerConfig) else []
    problems = []
    for number, group in enumerate(groups):
        given = [*group.params, *(["weight_decay"] if group.weight_decay is not None else [])]
        for key in given:
            if key not in optimizer.defaults or key == "params":
                known = list(optimizer.defaults)
                message = (
                    f"optimizer '{component.name}' has no option '{key}' for a group of weights."
                    f"{did_you_mean(key, known)} It has {listed(known, 20)}"
                )
                problems.append(Problem(message, where=f"{where}.groups.{number}"))
    if problems:
        raise ConfigError(problems)


def _by_role(task: Task, roles: list[str]) -> Mapping[str, SchedulerConfig]:
    given = task.config.schedulers
    if len(roles) == 1 and len(given) == 1:
        return {roles[0]: next(iter(given.values()))}
    if not task.automatic_optimization and SHARED in given:
        _check_roles(given, roles, "task.schedulers")
        return {role: given.get(role, given[SHARED]) for role in roles}
    unknown = [role for role in given if role not in roles]
    if unknown:
        message = f"there is no optimizer {listed(unknown)}; there are {listed(roles)}"
        raise ConfigError(Problem(message, where="task.schedulers"))
    return given


def _trained_by(task: Task, role: str, *, alone: bool) -> nn.Module:
    """Return what an optimizer trains, its weights named as in the checkpoint.

    The losses, where they have weights, learn with the first role.
    """
    if alone:
        return task
    roles = task.optimizer_nets()
    if role not in roles:
        message = f"there is no net '{role}' to train; there are {listed(list(roles))}"
        raise ConfigError(Problem(message, where=f"task.optimizers.{role}"))
    part = nn.ModuleDict({"nets": nn.ModuleDict({name: task.nets[name] for name in roles[role]})})
    if role == next(iter(roles)):
        part["losses"] = task.losses
    return part


def _schedule(
    task: Task,
    role: str,
    config: SchedulerConfig,
    optimizer: torch.optim.Optimizer,
    horizon: Horizon,
) -> dict[str, Any]:
    where = f"task.schedulers.{role}"
    params = dict(config.params)
    monitor = config.monitor or task.main_metric
    factory = registry.resolve("scheduler", config.name)
    if inspect.isclass(factory) and issubclass(factory, ReduceLROnPlateau):
        params.setdefault("mode", task.better(monitor, f"{where}.monitor"))
    scheduler, interval = build_scheduler(
        config.name, params, optimizer, horizon, interval=config.interval, where=where
    )
    return lightning_config(scheduler, interval, monitor, role)


def _same_everywhere(trainer: pl.Trainer, seconds: float) -> float:
    """Return the clock of rank 0: replicas whose learning rates differ would drift apart."""
    return trainer.strategy.broadcast(seconds) if trainer.world_size > 1 else seconds
