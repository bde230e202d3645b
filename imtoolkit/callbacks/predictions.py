"""Predictions of evaluated images, written as files."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any, Final

import pytorch_lightning as pl

from imtoolkit import io
from imtoolkit.callbacks.evaluated import evaluated

_NOT_IN_NAMES: Final = r'[<>:"|?*\\%\x00-\x1f]'
"""What Windows has in no file name, and the sign that stands for it."""


class SavePredictions(pl.Callback):
    """Write the prediction of each evaluated image as ``<id>.ome.tif``, on the preprocessed grid.

    Each process writes those of its own images.

    Args:
        folder: Where they go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write what was predicted of the images of a batch."""
        for one in evaluated(batch, outputs):
            axes = "ZYX"[-(one.image.ndim - 1) :]
            axes = axes if one.prediction.ndim == len(axes) else f"C{axes}"
            file = self.folder / f"{place_of(one.id)}.ome.tif"
            io.write(file, one.prediction.cpu().numpy(), spacing=one.spacing, axes=axes)


def place_of(name: str) -> PurePosixPath:
    """Return where the prediction of an id goes: its folders are kept, and no two ids share a file.

    Example:
        >>> place_of("lab/cell 1").as_posix(), place_of("../a:b").as_posix()
        ('lab/cell 1', '%2E%2E/a%3Ab')
    """
    return PurePosixPath(*(_tame(part) for part in name.split("/")))


def _tame(part: str) -> str:
    if part in ("", ".", ".."):
        return part.replace(".", "%2E") or "%"
    return re.sub(_NOT_IN_NAMES, lambda found: f"%{ord(found[0]):02X}", part)
