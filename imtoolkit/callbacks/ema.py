"""Exponential moving average of the weights.

The average validates, tests and predicts; the weights themselves train on. In a checkpoint
``state_dict`` holds the average, so that whoever loads the file predicts with it, and
``live_state_dict`` the weights that training continues from.
"""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

LIVE = "live_state_dict"


class Ema(pl.Callback):
    r"""Average the weights over the optimizer steps.

    After step n (counted from 1), ``average = d * average + (1 - d) * weights`` with
    ``d = min(decay, (1 + n) / (10 + n))``, or ``d = decay`` without warm-up. Buffers, such as the
    statistics of batch norm, are taken as they are.

    Args:
        decay: How much of the average is kept at each step.
        warmup: Let the decay grow from near 0.
    """

    def __init__(self, decay: float = 0.999, warmup: bool = True) -> None:
        self.decay = decay
        self.warmup = warmup
        self.average: dict[str, Tensor] = {}
        self._updates = 0
        self._seen_step = 0
        self._swapped = False

    @property
    def state_key(self) -> str:
        """Key in the checkpoint, free of settings."""
        return "Ema"

    def state_dict(self) -> dict[str, Any]:
        """Return the count; the average itself stands in ``state_dict`` of the checkpoint."""
        return {"updates": self._updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the count."""
        self._updates = int(state_dict["updates"])

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put the average where a reader looks, and the training weights beside it."""
        if not self.average:
            return
        live = checkpoint["state_dict"]
        average = {name: value.detach().clone() for name, value in self.average.items()}
        if self._swapped:  # the average is in the nets, the training weights are put aside
            live = {**live, **average}
            average = {name: checkpoint["state_dict"][name] for name in average}
        checkpoint[LIVE] = live
        checkpoint["state_dict"] = {**live, **average}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Continue training from the training weights, and averaging from the average."""
        if trainer.state.fn != TrainerFn.FITTING or LIVE not in checkpoint:
            return
        names = dict(_averaged(pl_module))
        self.average = {name: checkpoint["state_dict"][name].clone() for name in names}
        pl_module.load_state_dict(checkpoint[LIVE])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the average at the weights, unless a checkpoint brought one."""
        self._seen_step = trainer.global_step
        for name, weight in _averaged(pl_module):
            kept = self.average.get(name)
            self.average[name] = (
                weight.detach().clone() if kept is None else kept.to(weight.device, weight.dtype)
            )

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move the average where the optimizer has stepped."""
        if trainer.global_step == self._seen_step:
            return
        self._seen_step = trainer.global_step
        self._updates += 1
        decay = self.decay
        if self.warmup:
            decay = min(decay, (1 + self._updates) / (10 + self._updates))
        weights = [weight.detach() for _, weight in _averaged(pl_module)]
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), weights, 1 - decay)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validate the average."""
        self._swap(pl_module, average=True)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Train on with the weights."""
        self._swap(pl_module, average=False)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Leave the training weights in the nets."""
        self._swap(pl_module, average=False)

    @torch.no_grad()
    def _swap(self, pl_module: pl.LightningModule, *, average: bool) -> None:
        if self._swapped == average or not self.average:
            return
        self._swapped = average
        for name, weight in _averaged(pl_module):
            aside = weight.detach().clone()
            weight.copy_(self.average[name])
            self.average[name].copy_(aside)


def _averaged(pl_module: pl.LightningModule) -> list[tuple[str, torch.nn.Parameter]]:
    """Return the weights that predict: a task may leave out those of its discriminators."""
    chosen = getattr(pl_module, "averaged_weights", None)
    if chosen is not None:
        return list(chosen())
    return [(name, weight) for name, weight in pl_module.named_parameters() if weight.requires_grad]
