"""A progress bar with the current and the best value of each metric.

On a terminal or in a notebook a bar moves and a table grows; elsewhere, as in a log file, each
epoch is one line.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping, ProgressBar, Timer
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table

from imtoolkit.callbacks.checkpoints import Checkpoints


class Progress(ProgressBar, Checkpoint):
    """Show how far training is, and for each metric its value now and its best so far.

    It is a ``Checkpoint`` so that Lightning calls it after the task has logged its epoch.

    Args:
        modes: Which way each metric is better, ``"max"`` or ``"min"``; others show no best.
        checkpoints: Knows the best values of earlier processes of a resumed run.
        title: What is said first, such as where the run is and what it uses.
        console: Where to draw; the error stream when left out.
    """

    def __init__(
        self,
        modes: Mapping[str, str],
        checkpoints: Checkpoints | None = None,
        title: str = "",
        console: Console | None = None,
    ) -> None:
        super().__init__()
        self.modes = dict(modes)
        self.checkpoints = checkpoints
        self.title = title
        self.console = console or Console(stderr=True)
        self.best: dict[str, tuple[float, int]] = {}
        self._on = True
        self._live: Live | None = None
        self._bar: RichProgress | None = None
        self._started = time.monotonic()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_live": None, "_bar": None, "console": None}

    def disable(self) -> None:
        """Show nothing; Lightning calls this on all processes but the first."""
        self._on = False

    def enable(self) -> None:
        """Show again."""
        self._on = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the display; a resumed run starts with the best values it knows."""
        known = self.checkpoints.best if self.checkpoints is not None else {}
        for metric, entry in known.items():
            self.best.setdefault(metric, (entry["value"], int(entry["epoch"]) + 1))
        if self._on and self.title:
            self.console.print(self.title, highlight=False, soft_wrap=True)
        if not self._on or not (self.console.is_terminal or self.console.is_jupyter):
            return
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}"),
            console=self.console,
        )
        self._live = Live(self._bar, console=self.console, transient=True, refresh_per_second=4)
        self._live.start()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the bar of this epoch."""
        self._started = time.monotonic()
        self._begin(f"epoch {_of(trainer)}", _count(trainer.num_training_batches))

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move the bar; the loss is read only where it is shown, for a GPU would have to wait."""
        if self._bar is None or not self._bar.tasks:
            return
        task = self._bar.tasks[-1].id
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if loss is not None and batch_idx % 10 == 0:
            self._bar.update(task, loss=f"loss {float(loss):.4f}")
        self._bar.update(task, completed=batch_idx + 1)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the bar of a validation."""
        if not trainer.sanity_checking:
            self._begin("validation", _count(sum(trainer.num_val_batches)))

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Move the bar."""
        if self._bar is not None and self._bar.tasks:
            self._bar.update(self._bar.tasks[-1].id, completed=batch_idx + 1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare with the best values and show the epoch's."""
        values = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name in self.modes or name == "train/loss"
        }
        for name, value in values.items():
            self._compare(name, value, trainer.current_epoch + 1)
        if not self._on:
            return
        if self._live is not None and self._bar is not None:
            self._live.update(Group(self._table(values), self._bar))
        else:
            seconds = time.monotonic() - self._started
            line = self._line(trainer, values, seconds)
            self.console.print(line, highlight=False, soft_wrap=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the display and leave the last table."""
        self._close()
        if not self._on:
            return
        if self.console.is_terminal or self.console.is_jupyter:
            values = {
                name: float(value)
                for name, value in trainer.callback_metrics.items()
                if name in self.modes or name == "train/loss"
            }
            self.console.print(self._table(values))
        if reason := _stopped_early(trainer):
            self.console.print(reason, highlight=False, soft_wrap=True)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Close the display, so that the message stands on a line of its own."""
        self._close()

    def _begin(self, what: str, total: int | None) -> None:
        if self._bar is None:
            return
        for task in self._bar.tasks:
            self._bar.remove_task(task.id)
        self._bar.add_task(what, total=total, loss="")

    def _close(self) -> None:
        if self._live is not None:
            self._live.stop()
        self._live = self._bar = None

    def _compare(self, name: str, value: float, epoch: int) -> None:
        mode = self.modes.get(name)
        if mode is None or value != value:  # NaN is never best
            return
        best = self.best.get(name)
        if best is None or (value > best[0] if mode == "max" else value < best[0]):
            self.best[name] = (value, epoch)

    def _table(self, values: Mapping[str, float]) -> Table:
        table = Table("metric", "now", "best", "in epoch")
        for name in sorted(values):
            best = self.best.get(name)
            shown = (f"{best[0]:.4f}", str(best[1])) if best else ("", "")
            table.add_row(name, f"{values[name]:.4f}", *shown)
        return table

    def _line(self, trainer: pl.Trainer, values: Mapping[str, float], seconds: float) -> str:
        parts = [f"epoch {_of(trainer)}"]
        for name in sorted(values):
            best = self.best.get(name)
            parts.append(f"{name} {values[name]:.4f}" + (f" (best {best[0]:.4f})" if best else ""))
        return "  ".join([*parts, f"{seconds:.1f} s"])


class TestProgress(ProgressBar):
    """A bar over the evaluated images.

    Args:
        split: What is evaluated.
        console: Where to draw; the error stream when left out.
    """

    __test__ = False  # pytest takes the name for a test

    def __init__(self, split: str, console: Console | None = None) -> None:
        super().__init__()
        self.split = split
        self.console = console or Console(stderr=True)
        self._on = True
        self._bar: RichProgress | None = None

    def disable(self) -> None:
        """Show nothing; Lightning calls this on all processes but the first."""
        self._on = False

    def enable(self) -> None:
        """Show again."""
        self._on = True

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar, where somebody can see it."""
        if self._on and (self.console.is_terminal or self.console.is_jupyter):
            self._bar = RichProgress(console=self.console, transient=True)
            self._bar.add_task(
                f"evaluating {self.split}", total=_count(sum(trainer.num_test_batches))
            )
            self._bar.start()

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(self._bar.tasks[-1].id, completed=batch_idx + 1)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._bar = None


def _of(trainer: pl.Trainer) -> str:
    total = trainer.max_epochs
    known = total is not None and 0 < total < 1_000_000
    return f"{trainer.current_epoch + 1}/{total}" if known else str(trainer.current_epoch + 1)


def _stopped_early(trainer: pl.Trainer) -> str | None:
    """Say why training ends before the last epoch, where it does."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, EarlyStopping) and callback.stopped_epoch > 0:
            times = f"{callback.patience} validation{'' if callback.patience == 1 else 's'}"
            return (
                f"stopped early: {callback.monitor} was no better in {times} "
                "(trainer.early_stopping)"
            )
        if isinstance(callback, Timer):
            left = callback.time_remaining()
            if left is not None and left <= 0:
                return "stopped: the time is up (trainer.max_time)"
    return None


def _count(total: int | float) -> int | None:
    return int(total) if total != float("inf") else None
