"""The time of each epoch, as a column of ``metrics.csv``."""

from __future__ import annotations

import time

import pytorch_lightning as pl


class Pace(pl.Callback):
    """Log ``time/epoch``, in seconds and with validation, at the end of each epoch."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock; a resumed epoch counts from here."""
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log and start the clock anew."""
        now = time.monotonic()
        pl_module.log("time/epoch", now - self._start, batch_size=1, sync_dist=False)
        self._start = now
