"""Which process this is, and how many share the work."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch.distributed

if TYPE_CHECKING:
    import pytorch_lightning as pl


def world(module: pl.LightningDataModule | None = None) -> tuple[int, int]:
    """Return rank and number of ranks: the trainer's, process group's or environment's.

    Args:
        module: A data module, which knows its trainer once that has started.
    """
    trainer = module.trainer if module is not None else None
    if trainer is not None:
        return int(trainer.global_rank), int(trainer.world_size)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    ranks = int(os.environ.get("WORLD_SIZE", 1))
    rank = int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", 0)))
    return (rank, ranks) if rank < ranks else (0, 1)
