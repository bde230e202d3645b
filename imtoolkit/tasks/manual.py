"""The steps of several optimizers in Lightning's manual optimization, counted as one.

Lightning leaves to the task when a step is due, the scale of half precision, what is synchronised
and the schedules. All that needs its inner parts is here, and their names are in `INNER`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytorch_lightning as pl
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop
from pytorch_lightning.plugins.precision.precision import Precision
from torch.optim.lr_scheduler import ReduceLROnPlateau

from .updates import Updates, average_gradients, divide_gradients, weights_of

INNER: Final[Mapping[type, tuple[str, ...]]] = {
    _TrainingEpochLoop: ("_should_accumulate", "_num_ready_batches_reached"),
    LightningOptimizer: ("_on_before_step", "_on_after_step"),
    Precision: ("_after_closure",),
}
"""What is not part of Lightning's public interface: a test tells when a version lacks it."""


def step_is_due(trainer: pl.Trainer) -> bool:
    """Tell whether the gradients of as many batches are gathered as make a step."""
    return not trainer.fit_loop.epoch_loop._should_accumulate()


def step_together(
    task: pl.LightningModule,
    optimizers: Mapping[str, LightningOptimizer],
    updates: Updates,
    batches: int,
) -> None:
    """Step several optimizers, and count it as one step.

    Args:
        task: The module that they train.
        optimizers: By role, in the order of their steps.
        updates: How gradients are clipped.
        batches: Batches whose gradients were gathered.
    """
    scaler = getattr(task.trainer.precision_plugin, "scaler", None)
    for number, (role, wrapped) in enumerate(optimizers.items(), 1):
        weights = weights_of(wrapped.optimizer)
        divide_gradients(weights, batches)
        average_gradients(weights)
        if scaler is not None:  # once for each optimizer, and with one scale for all of them
            scaler.unscale_(wrapped.optimizer)
        updates.clip(role, weights)
        _step(task, wrapped, scaler, counts=number == len(optimizers))
        wrapped.zero_grad(set_to_none=True)
    if scaler is not None:
        scaler.update()


def _step(
    task: pl.LightningModule, wrapped: LightningOptimizer, scaler: Any, *, counts: bool
) -> None:
    if counts:
        wrapped._on_before_step()
    if scaler is None:
        task.trainer.strategy.optimizer_step(wrapped.optimizer, _nothing)
    else:  # Lightning's own would change the scale between the two optimizers
        task.trainer.precision_plugin._after_closure(task, wrapped.optimizer)
        scaler.step(wrapped.optimizer)
    if counts:
        wrapped._on_after_step()


def step_schedules(task: pl.LightningModule) -> None:
    """Step the schedules of steps, and at the end of an epoch those of epochs."""
    last = task.trainer.fit_loop.epoch_loop._num_ready_batches_reached()
    for entry in task.trainer.lr_scheduler_configs:
        if isinstance(entry.scheduler, ReduceLROnPlateau):
            continue  # at the end of the epoch, when the metric is known
        if entry.interval == "step" or last:
            task.lr_scheduler_step(entry.scheduler, None)


@contextlib.contextmanager
def unsynchronised(trainer: pl.Trainer) -> Iterator[None]:
    """Keep the hooks of `DistributedDataParallel` still, see `average_gradients`."""
    block = getattr(trainer.strategy, "block_backward_sync", contextlib.nullcontext)
    with block():
        yield


def _nothing() -> None:
    """Compute nothing: the gradients are there already."""
