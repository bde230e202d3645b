"""Predictions of evaluated images, written as files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from imtoolkit import io
from imtoolkit.core.batch import ID, IMAGE, SPACING


class SavePredictions(pl.Callback):
    """Write the prediction of each evaluated image as ``<id>.ome.tif``, on the preprocessed grid.

    Each process writes those of its own images.

    Args:
        folder: Where they go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @torch.no_grad()
    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Predict and write the images of a batch."""
        task: Any = pl_module
        for index in range(len(batch[IMAGE])):
            image = batch[IMAGE][index]
            labels = task.postprocess(task.predict_image(image)).cpu().numpy()
            size = batch[SPACING][index].tolist() if SPACING in batch else []
            known = len(size) > 0 and all(value == value for value in size)  # NaN: not told
            name = re.sub(r"[^\w.-]+", "_", str(batch[ID][index])).strip(".") or "image"
            axes = "ZYX"[-(image.ndim - 1) :]
            axes = axes if labels.ndim == len(axes) else f"C{axes}"
            spacing = size if known else None
            io.write(self.folder / f"{name}.ome.tif", labels, spacing=spacing, axes=axes)
