"""Numbers that change with the epochs, set before the first batch of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl

from imtoolkit.core.schedules import NumberSchedule

Setter = Callable[[float], None]


class Schedules(pl.Callback):
    """Set each number for the epoch, and log it as ``schedule/<key>``.

    The number is a function of the epoch, so a resumed run sets what the interrupted one had, in
    the middle of an epoch as well.

    Args:
        numbers: Key of the config -> its schedule, and what sets the number; ``None`` where it is
            set elsewhere, as in the processes that load the images.
    """

    def __init__(self, numbers: Mapping[str, tuple[NumberSchedule, Setter | None]]) -> None:
        self.numbers = dict(numbers)
        self._epoch: int | None = None
        self._values: dict[str, float] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the numbers of the epoch that training begins or goes on with."""
        self._set(trainer.current_epoch)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set the numbers where a new epoch has begun."""
        if trainer.current_epoch != self._epoch:
            self._set(trainer.current_epoch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the numbers of the epoch."""
        for key, value in self._values.items():
            pl_module.log(f"schedule/{key}", value, batch_size=1, sync_dist=False)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the numbers, so that whoever predicts with this state has them as well."""
        checkpoint[KEY] = dict(self._values)

    def _set(self, epoch: int) -> None:
        self._epoch = epoch
        for key, (schedule, setter) in self.numbers.items():
            value = float(schedule(epoch))
            self._values[key] = value
            if setter is not None:
                setter(value)


KEY = "schedules"
"""Key of a checkpoint -> key of the config -> the number that it had."""
