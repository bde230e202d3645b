"""Ctrl-C and SIGTERM: save at the next safe moment, then stop."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from imtoolkit.callbacks.checkpoints import Checkpoints, is_safe, keeps_nothing
from imtoolkit.core.errors import RunInterruptedError

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def signals_given_back() -> Iterator[None]:
    """Put the signal handlers back as they were before the block.

    Lightning, when it ends with an error, puts back those that it found, which are `Interrupt`'s.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


class Interrupt(Checkpoint):
    """Turn a signal into a saved state and a `RunInterruptedError`.

    It is a ``Checkpoint`` so that Lightning calls it last, when averages and schedules are up to
    date. A second signal stops at once; what was saved before is kept.

    Args:
        checkpoints: Writes the state.
        resume: Command that continues the run; part of the message.
    """

    def __init__(self, checkpoints: Checkpoints, resume: str) -> None:
        self.checkpoints = checkpoints
        self.resume = resume
        self.received: int | None = None
        self._pid = os.getpid()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen before the workers start: as their heirs they must not die of a Ctrl-C."""
        self._pid = os.getpid()
        self._listen()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen again: Lightning has put its own handler for SIGTERM in between."""
        self._listen()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save and stop in mid-epoch, where that continues exactly."""
        if is_safe(trainer) and self._asked(trainer):
            self._leave(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save and stop at the end of an epoch."""
        if self._asked(trainer):
            self._leave(trainer)

    def _listen(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may set handlers; the caller's stay
        for number in SIGNALS:
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # a forked worker: it lives and dies with its parent
            if number == signal.SIGTERM:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        if self.received is not None:
            msg = f"stopped at once. Continue from the last saved state with: {self.resume}"
            raise RunInterruptedError(msg, number)
        self.received = number

    def _asked(self, trainer: pl.Trainer) -> bool:
        asked = self.received is not None
        if trainer.world_size > 1:  # ranks hear a signal at different batches
            return trainer.strategy.reduce_boolean_decision(asked, all=False)
        return asked

    def _leave(self, trainer: pl.Trainer) -> None:
        if not keeps_nothing(trainer):
            self.checkpoints.save_last(trainer)
        number = self.received or signal.SIGTERM
        msg = (
            f"stopped in epoch {trainer.current_epoch} after step {trainer.global_step}; the state "
            f"is saved. Continue with: {self.resume}"
        )
        raise RunInterruptedError(msg, int(number))
