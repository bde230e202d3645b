"""Predictions of evaluated images, written as files."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any, Final

import pandas as pd
import pytorch_lightning as pl

from imtoolkit import io
from imtoolkit.callbacks.evaluated import evaluated
from imtoolkit.core.batch import DATASET, ID, Stage
from imtoolkit.core.files import write_text

TABLE: Final = "predictions.csv"
PLACES: Final = (ID, DATASET)
"""Columns that say which image a row is of."""

_NOT_IN_NAMES: Final = r'[<>:"|?*\\%\x00-\x1f]'
"""What Windows has in no file name, and the sign that stands for it."""


class SavePredictions(pl.Callback):
    """Keep the predictions of evaluated images, on the preprocessed grid.

    Pixels are written as ``<id>.ome.tif``, or ``<id>_<head>.ome.tif`` where a net has several
    heads; each process writes those of its own images. Classes and numbers of whole images, with
    their targets, become the table ``predictions.csv``.

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
        """Write the pixels that were predicted for the images of a batch."""
        for one in evaluated(batch, outputs, pl_module, Stage.TEST):
            axes = "ZYX"[-(one.image.ndim - 1) :]
            for head in one.heads:
                if not head.dense:
                    continue
                own = axes if head.prediction.ndim == len(axes) else f"C{axes}"
                end = f"_{head.name}" if head.name else ""
                file = self.folder / f"{place_of(one.id)}{end}.ome.tif"
                io.write(file, head.prediction.cpu().numpy(), spacing=one.spacing, axes=own)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the table of what was said of whole images."""
        goals = getattr(pl_module, "goals", {}).values()
        if not trainer.is_global_zero or all(goal.dense for goal in goals):
            return
        suite = pl_module.metrics(Stage.TEST)  # type: ignore[operator]  # of a task
        of_images = {name: part for name, part in suite.parts.items() if part.records is not None}
        rows = [
            {
                name: value
                for name, value in row.items()
                if name in PLACES
                or any(part.is_record(name, head) for head, part in of_images.items())
            }
            for row in pl_module.rows[Stage.TEST]  # type: ignore[index]  # of a task
        ]
        write_text(self.folder / TABLE, pd.DataFrame(rows).to_csv(index=False))


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
