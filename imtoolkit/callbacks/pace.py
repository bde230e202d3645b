"""Learning rate and time of each epoch, as columns of ``metrics.csv``."""

from __future__ import annotations

import time

import pytorch_lightning as pl


class Pace(pl.Callback):
    """Log ``lr`` and ``time/epoch`` (seconds, this process) at the end of each epoch."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock; a resumed epoch counts from here."""
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log and start the clock anew."""
        rates = {
            group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups
        }
        now = time.monotonic()
        pl_module.log_dict({"lr": float(max(rates)), "time/epoch": now - self._start}, batch_size=1)
        self._start = now
