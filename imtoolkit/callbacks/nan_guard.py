"""Stop a run whose loss became NaN or infinite, and say on which images."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from imtoolkit.core.batch import ID
from imtoolkit.core.errors import RunFailedError, listed
from imtoolkit.core.files import write_json

FILE = "bad_batch.json"


class NanGuard(pl.Callback):
    """Raise where a training loss is not finite, before the weights are touched.

    On a GPU the loss is looked at one step late, so that the device never waits for the processor;
    nothing is saved in between without a look.

    Args:
        folder: Run folder, where ``bad_batch.json`` goes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ids: list[str] = []
        self._waiting: _Seen | None = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Remember which samples are in the batch."""
        ids = batch.get(ID, []) if isinstance(batch, dict) else []
        self._ids = [str(name) for name in ids]

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        """Look at the loss: at once on a CPU, at the one before on a GPU."""
        self._look(trainer)
        finite = torch.isfinite(loss.detach()).all()
        self._waiting = _Seen(finite, self._ids, trainer.global_step, terms_of(pl_module))
        if not finite.is_cuda:
            self._look(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Never save weights that a bad loss has touched."""
        self._look(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the last loss of the epoch."""
        self._look(trainer)

    def _look(self, trainer: pl.Trainer) -> None:
        if self._waiting is None:
            return
        finite, ids, step, terms = self._waiting
        self._waiting = None
        bad = not bool(finite)
        stop, which = bad, ""
        if trainer.world_size > 1:  # all ranks must stop together, or one waits for ever
            stop = trainer.strategy.reduce_boolean_decision(bad, all=False)
        if not stop:
            return
        path = self.folder / (
            FILE if trainer.global_rank == 0 else f"rank{trainer.global_rank}_{FILE}"
        )
        if bad:
            names = bad_terms(terms)
            found = {"epoch": trainer.current_epoch, "step": step, "ids": ids, "terms": names}
            write_json(path, found)
            # a single term is the loss itself
            which = f" (term {listed(names)})" if names and len(terms) > 1 else ""
        where = f"of {', '.join(sorted(set(ids))[:4])}" if bad and ids else "of another process"
        msg = (
            f"the loss{which} is NaN or infinite in epoch {trainer.current_epoch}, step {step}, on "
            f"the images {where}. All their ids are in {self.folder.name}/{FILE}. Look at these "
            "images, lower the learning rate, set trainer.gradient_clip_val, or train with "
            "--trainer.precision 32-true; the last good state is kept"
        )
        raise RunFailedError(msg)


class _Seen(NamedTuple):
    """A loss that was not looked at yet."""

    finite: Tensor
    ids: list[str]
    step: int
    terms: dict[str, Tensor]


def terms_of(task: pl.LightningModule) -> dict[str, Tensor]:
    """Return the named terms of which the loss was made, where the task keeps them."""
    own = getattr(task, "last_terms", None)  # of tasks whose roles have losses beside `losses`
    if isinstance(own, dict) and own:
        return own
    losses = getattr(task, "losses", None)
    for module in losses.modules() if isinstance(losses, nn.Module) else ():
        terms = getattr(module, "last_terms", None)
        if isinstance(terms, dict) and terms:
            return terms
    return {}


def bad_terms(terms: dict[str, Tensor]) -> list[str]:
    """Return the names of the terms that are NaN or infinite."""
    return [name for name, value in terms.items() if not bool(torch.isfinite(value).all())]
