"""Optimizers and schedules of a task by role, and when the training of a trainer ends."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Timer
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from imtoolkit.config.sections import OptimizerConfig, SchedulerConfig, TaskConfig
from imtoolkit.core import registry
from imtoolkit.core.errors import ComponentError, ConfigError, Problem, listed
from imtoolkit.optim.building import (
    Horizon,
    build_optimizer,
    build_scheduler,
    lightning_config,
)

if TYPE_CHECKING:
    from .base import Task

DEFAULT_OPTIMIZER: Final = OptimizerConfig("adamw", {"lr": 1e-3})


def configure(task: Task) -> list[dict[str, Any]]:
    """Return what Lightning wants from ``configure_optimizers``: one entry for each optimizer.

    Raises:
        ConfigError: If an optimizer or schedule belongs to no net of the task.
    """
    optimizers = build_optimizers(task)
    schedules = _by_role(task.config, list(optimizers))
    horizon = horizon_of(task.trainer)
    entries = []
    for role, optimizer in optimizers.items():
        entry: dict[str, Any] = {"optimizer": optimizer}
        if role in schedules:
            entry["lr_scheduler"] = _schedule(task, role, schedules[role], optimizer, horizon)
        entries.append(entry)
    return entries


def build_optimizers(task: Task) -> dict[str, Optimizer]:
    """Return an optimizer for each role; it needs no trainer, so mistakes show before training.

    Raises:
        ConfigError: If an optimizer belongs to no net of the task, or refuses its parameters.
    """
    wanted = dict(task.config.optimizers) or {next(iter(task.nets)): DEFAULT_OPTIMIZER}
    found = {}
    for role, component in wanted.items():
        module = _trained_by(task, role, alone=len(wanted) == 1)
        trained = [weight for weight in module.parameters() if weight.requires_grad]
        try:
            found[role] = build_optimizer(component.name, component.params, trained)
        except ComponentError as error:
            key = "task.optimizer" if len(wanted) == 1 else f"task.optimizers.{role}"
            raise ConfigError(Problem(str(error), where=key)) from error
    return found


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
        name = str(entry.monitor)
        if name.startswith("val/") and not validated:
            continue
        known: dict[str, Any] = {**task.trainer.callback_metrics, **trained, **validated}
        if name not in known:
            message = f"there is no metric '{name}'; there are {listed(list(known), 20)}"
            raise ConfigError(Problem(message, where="task.scheduler.monitor"))
        entry.scheduler.step(float(known[name]))


def check_closures(task: Task, trainer: pl.Trainer) -> None:
    """Refuse what optimizers that evaluate a batch several times cannot do.

    Raises:
        ConfigError: With accumulation, since the closure covers one micro-batch, and with 16-mixed,
            since the loss scale would be applied once for several evaluations.
    """
    if not any(isinstance(item, torch.optim.LBFGS) for item in trainer.optimizers):
        return
    problems: list[tuple[str, Any, Any]] = []
    if trainer.accumulate_grad_batches != 1:
        problems.append(("accumulate_grad_batches", trainer.accumulate_grad_batches, 1))
    if str(trainer.precision).startswith("16"):
        problems.append(("precision", trainer.precision, "32-true or bf16-mixed"))
    if problems:
        raise ConfigError(
            Problem(f"got {got}; LBFGS needs {needs}", where=f"trainer.{key}")
            for key, got, needs in problems
        )


def _by_role(config: TaskConfig, roles: list[str]) -> Mapping[str, SchedulerConfig]:
    if len(roles) == 1 and len(config.schedulers) == 1:
        return {roles[0]: next(iter(config.schedulers.values()))}
    unknown = [role for role in config.schedulers if role not in roles]
    if unknown:
        message = f"there is no optimizer {listed(unknown)}; there are {listed(roles)}"
        raise ConfigError(Problem(message, where="task.schedulers"))
    return config.schedulers


def _trained_by(task: Task, role: str, *, alone: bool) -> nn.Module:
    if role in task.nets:
        return task if alone else task.nets[role]
    if alone:
        return task
    message = f"there is no net '{role}' to train; there are {listed(list(task.nets))}"
    raise ConfigError(Problem(message, where=f"task.optimizers.{role}"))


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
