"""Where Lightning's fit loop stands, read when a loader is iterated.

Lightning iterates the training loader while it sets up, before a resumed loop has put its counters
in order, and again at the start of each later epoch. The counters of both moments, and of a
checkpoint written in mid-epoch, at the end of an epoch or during validation, are read here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytorch_lightning as pl


def training_position(trainer: pl.Trainer, batches: int) -> tuple[int, int]:
    """Return the epoch that comes or goes on, and how many of its batches are done.

    Args:
        trainer: The trainer.
        batches: Batches of a whole epoch on this rank.
    """
    loop: Any = trainer.fit_loop  # the counters' types are narrower than what they hold
    epochs, done = loop.epoch_progress.current, loop.epoch_loop.batch_progress.current
    if getattr(trainer, "overfit_batches", 0) > 0:
        return 0, 0  # the same few batches, again and again
    if epochs.started <= epochs.processed:  # between two epochs
        return int(epochs.processed), 0
    if done.processed >= batches_of_epoch(trainer, batches):  # all done, the epoch not yet closed
        return int(epochs.processed) + 1, 0
    return int(epochs.processed), int(done.processed)


def batches_of_epoch(trainer: pl.Trainer, batches: int) -> int:
    """Return how many of an epoch's batches the trainer uses."""
    limit = trainer.limit_train_batches
    if isinstance(limit, float):
        return int(batches * limit)
    return min(batches, int(limit))
