"""A validation of the state that training ends with, wherever in an epoch that is.

Lightning validates at the ends of epochs, or every few of them. A training that ends by
``max_steps`` or ``max_time`` stops elsewhere, and its last state, often the best of a schedule that
falls to zero, would never be compared with the earlier ones.
"""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint


class FinalValidation(Checkpoint):
    """Ask for a validation after the last batch of the training.

    Lightning calls subclasses of its ``Checkpoint`` after all other callbacks: the timer that ends
    a training by ``max_time`` has spoken by then.
    """

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Let the loop stop here, which it does after a validation."""
        if trainer.enable_validation and is_last_batch(trainer):
            trainer.should_stop = True
            trainer.check_val_every_n_epoch = 1


def is_last_batch(trainer: pl.Trainer) -> bool:
    """Tell whether training ends after this batch."""
    loop = trainer.fit_loop.epoch_loop
    if trainer.should_stop and trainer.fit_loop._can_stop_early:
        return True
    if trainer.max_steps not in (None, -1) and trainer.global_step >= trainer.max_steps:
        return True
    epochs = trainer.max_epochs
    in_last_epoch = epochs not in (None, -1) and trainer.current_epoch + 1 >= (epochs or 0)
    return in_last_epoch and loop._num_ready_batches_reached()
