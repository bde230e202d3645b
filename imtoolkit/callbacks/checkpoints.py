"""Which states of the training are kept: ``last.ckpt`` and the best for each monitored metric.

Every state that is saved here continues exactly: in the middle of an epoch it is taken only where
no gradient is half gathered and no validation is due, at the end of an epoch only after everything
that the epoch changes (averages, schedules, early stopping) has changed.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.trainer.states import TrainerFn

from imtoolkit.callbacks.metrics_csv import MetricsCsv
from imtoolkit.core.errors import ConfigError, Problem, did_you_mean, listed
from imtoolkit.core.files import replacing
from imtoolkit.runs.layout import BEST, LAST, best_name


class Checkpoints(Checkpoint):
    """Keep the last state and the best ones.

    Lightning calls subclasses of its ``Checkpoint`` after all other callbacks and, at the end of an
    epoch, after the task.

    Args:
        folder: Where the files go.
        monitor: Metrics of which the best state is kept, each with ``"max"`` or ``"min"``. The
            first decides ``best.ckpt``.
        every_epochs: Write ``last.ckpt`` after so many epochs.
        every_steps: Also after so many optimizer steps, in mid-epoch.
        every_minutes: Also after so many minutes, in mid-epoch.

    Attributes:
        best: For each metric ``{"value", "epoch", "step"}`` of its best state so far.
    """

    def __init__(
        self,
        folder: Path,
        monitor: Mapping[str, Literal["min", "max"]],
        *,
        every_epochs: int = 1,
        every_steps: int | None = None,
        every_minutes: float | None = None,
    ) -> None:
        self.folder = folder
        self.monitor = dict(monitor)
        self.every_epochs = every_epochs
        self.every_steps = every_steps
        self.every_minutes = every_minutes
        self.best: dict[str, dict[str, float]] = {}
        self._last_step = 0
        self._last_time = time.monotonic()
        self._metrics_step = -1
        self._validated = False

    @property
    def state_key(self) -> str:
        """Key in the checkpoint, free of settings, so that a resumed run may change them."""
        return "Checkpoints"

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run must know; it holds no path."""
        return {"best": self.best, "metrics_step": self._metrics_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what an earlier process knew."""
        kept = state_dict.get("best", {})
        self.best = {name: dict(entry) for name, entry in kept.items() if name in self.monitor}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Cut ``metrics.csv`` back to where the checkpoint stands."""
        state = checkpoint.get("callbacks", {}).get(self.state_key)
        if state is None or trainer.state.fn != TrainerFn.FITTING:
            return
        for table in _tables(trainer):
            table.cut(state["metrics_step"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start counting steps and minutes from here, and the loader where the training stands.

        To tell a schedule how long the training will be, Lightning iterates the loader before it
        has restored its counters: that iterator stands at the very beginning.
        """
        fetcher = trainer.fit_loop._data_fetcher
        if trainer.ckpt_path is not None and fetcher is not None:
            iter(fetcher)
        self._last_step = trainer.global_step
        self._last_time = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save in mid-epoch where it is due and safe; where it is not safe, at the next batch."""
        if is_safe(trainer) and self._is_due(trainer):
            self.save_last(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare the metrics of a validation in mid-epoch; the epoch's last is seen at its end."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        self._validated = True
        if not trainer.fit_loop.epoch_loop._num_ready_batches_reached():
            self._save_bests(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the best states, then the last, which remembers them."""
        self._check_names(trainer)
        self._save_bests(trainer)
        epoch = trainer.current_epoch + 1
        if epoch % self.every_epochs == 0 or _is_last_epoch(trainer):
            self.save_last(trainer)
        self._validated = False

    def save_last(self, trainer: pl.Trainer) -> None:
        """Write ``last.ckpt``; all ranks must call it."""
        self._save(trainer, self.folder / LAST)
        self._last_step = trainer.global_step
        self._last_time = time.monotonic()

    def _is_due(self, trainer: pl.Trainer) -> bool:
        steps = trainer.global_step - self._last_step
        if self.every_steps is not None and steps >= self.every_steps:
            return True
        if self.every_minutes is None or steps == 0:
            return False
        # clocks differ between ranks, and all must save together
        late = time.monotonic() - self._last_time >= 60 * self.every_minutes
        return trainer.strategy.reduce_boolean_decision(late, all=False)

    def _save_bests(self, trainer: pl.Trainer) -> None:
        for place, (metric, mode) in enumerate(self.monitor.items()):
            value = trainer.callback_metrics.get(metric)
            if value is None or not self._is_better(metric, mode, float(value)):
                continue
            self.best[metric] = {
                "value": float(value),
                "epoch": trainer.current_epoch,
                "step": trainer.global_step,
            }
            path = self.folder / best_name(metric)
            self._save(trainer, path)
            if place == 0 and trainer.is_global_zero and path.exists():
                _same_file(path, self.folder / BEST)

    def _is_better(self, metric: str, mode: str, value: float) -> bool:
        if math.isnan(value):
            return False
        if metric not in self.best:
            return True
        before = self.best[metric]["value"]
        return value > before if mode == "max" else value < before

    def _save(self, trainer: pl.Trainer, path: Path) -> None:
        if keeps_nothing(trainer):
            return
        step = _row_step(trainer)
        self._metrics_step = step
        _flush_metrics(trainer, step)  # a kill right after this must not lose the row
        trainer.save_checkpoint(path, weights_only=False)

    def _check_names(self, trainer: pl.Trainer) -> None:
        """Refuse a metric that nobody logs, once a validation has shown all names."""
        if not self._validated:
            return
        names = [name for name in trainer.callback_metrics if "/" in name]
        for metric in self.monitor:
            if metric not in trainer.callback_metrics:
                hint = did_you_mean(metric, names)
                text = f"nobody logs '{metric}'.{hint} There are {listed(names, 20)}"
                raise ConfigError(Problem(text, where="trainer.checkpoint.monitor"))


def keeps_nothing(trainer: pl.Trainer) -> bool:
    """Tell whether this is a trial of a few batches that shall leave no files."""
    return bool(getattr(trainer, "fast_dev_run"))  # noqa: B009


def is_safe(trainer: pl.Trainer) -> bool:
    """Tell whether a state that is saved after this batch continues exactly.

    It does not while gradients are being accumulated (they are not saved), nor where a validation
    or the end of the epoch comes next (a resumed run would leave it out).
    """
    loop = trainer.fit_loop.epoch_loop
    fetcher = trainer.fit_loop._data_fetcher
    if loop._should_accumulate() or loop._num_ready_batches_reached() or fetcher is None:
        return False
    return not loop._should_check_val_fx(fetcher)


def _is_last_epoch(trainer: pl.Trainer) -> bool:
    epochs_done = trainer.max_epochs not in (None, -1) and (
        trainer.current_epoch + 1 >= (trainer.max_epochs or 0)
    )
    steps_done = trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps
    return epochs_done or steps_done or trainer.should_stop


def _in_epoch_end(trainer: pl.Trainer) -> bool:
    # "processed" is counted before the hooks at the end of an epoch, "completed" after them
    processed: int = getattr(trainer.fit_loop.epoch_progress.current, "processed")  # noqa: B009
    return processed > trainer.current_epoch


def _tables(trainer: pl.Trainer) -> list[MetricsCsv]:
    return [logger for logger in trainer.loggers if isinstance(logger, MetricsCsv)]


def _row_step(trainer: pl.Trainer) -> int:
    """Return the step under which Lightning will log what belongs to this moment."""
    loop = trainer.fit_loop.epoch_loop
    return loop._batches_that_stepped - (1 if _in_epoch_end(trainer) else 0)


def _flush_metrics(trainer: pl.Trainer, step: int) -> None:
    connector = trainer._logger_connector
    if not trainer.training or (not _in_epoch_end(trainer) and not connector.should_update_logs):
        return
    # not trainer.logged_metrics, which keeps values of earlier steps and validations
    values = {key: float(value) for key, value in connector.metrics["log"].items()}
    if values:
        for table in _tables(trainer):
            table.log_metrics({"epoch": trainer.current_epoch, **values}, step)


def _same_file(source: Path, target: Path) -> None:
    """Make ``target`` a second name of ``source``, or a copy where the file system has no links."""
    with replacing(target) as part:
        part.unlink()
        try:
            os.link(source, part)
        except OSError:
            shutil.copyfile(source, part)
