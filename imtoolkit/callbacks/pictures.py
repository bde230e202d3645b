"""Pictures of image, target and prediction, drawn as training goes."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl

from imtoolkit.callbacks.checkpoints import keeps_nothing
from imtoolkit.callbacks.evaluated import evaluated
from imtoolkit.core.files import replacing

log = logging.getLogger(__name__)


class Pictures(pl.Callback):
    """Draw the first validation images with their targets and predictions.

    They are predicted by the averaged weights where the run averages. One process draws.

    Args:
        folder: Where ``epoch-0001.png`` goes.
        every_epochs: Draw after so many epochs, and after the last; 0 draws none.
        count: Images in a picture.
        classes: Names of the classes, background first.
    """

    def __init__(
        self, folder: Path, *, every_epochs: int = 5, count: int = 4, classes: tuple[str, ...] = ()
    ) -> None:
        self.folder = folder
        self.every_epochs = every_epochs
        self.count = count
        self.classes = classes
        self._rows: list[dict[str, Any]] = []

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin a new picture."""
        self._rows = []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the images of this batch that still fit into the picture."""
        if not trainer.is_global_zero or not self._is_due(trainer):
            return
        self._rows += _rows(outputs, batch, self.count - len(self._rows))

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw and save the picture."""
        if not self._rows:
            return
        _draw(self._rows, self.classes, self.folder / f"epoch-{trainer.current_epoch + 1:04d}.png")
        self._rows = []

    def _is_due(self, trainer: pl.Trainer) -> bool:
        if self.every_epochs == 0 or trainer.sanity_checking or keeps_nothing(trainer):
            return False
        epoch = trainer.current_epoch + 1
        is_last = epoch == trainer.max_epochs or trainer.should_stop
        return epoch % self.every_epochs == 0 or is_last


class TestPictures(pl.Callback):
    """Draw the first evaluated images with their targets and predictions into ``examples.png``.

    Args:
        folder: Where the picture goes.
        count: Images in the picture; 0 draws none.
        classes: Names of the classes, background first.
    """

    __test__ = False  # pytest takes the name for a test

    def __init__(self, folder: Path, count: int = 4, classes: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.count = count
        self.classes = classes
        self._rows: list[dict[str, Any]] = []

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the images of this batch that still fit into the picture."""
        if trainer.is_global_zero:
            self._rows += _rows(outputs, batch, self.count - len(self._rows))

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw and save the picture."""
        if self._rows:
            _draw(self._rows, self.classes, self.folder / "examples.png")
        self._rows = []


def _draw(rows: list[dict[str, Any]], classes: tuple[str, ...], path: Path) -> None:
    from imtoolkit.figures.panels import sample_figure

    figure = sample_figure(rows, classes)
    try:
        with replacing(path) as part:
            figure.savefig(part, format="png")
    except OSError as error:  # a picture is not worth a run
        log.warning("the picture %s was not written: %s", path, error)


def _rows(outputs: Any, batch: dict[str, Any], most: int) -> list[dict[str, Any]]:
    """Return image ``(C, [Z,] Y, X)``, target and prediction ``([Z,] Y, X)`` of some as arrays."""
    rows = []
    for one in itertools.islice(evaluated(batch, outputs), most):
        dims = one.image.ndim - 1
        row: dict[str, Any] = {"image": one.image.float().cpu().numpy(), "id": one.id}
        row["prediction"] = _flat(one.prediction.cpu().numpy(), dims)
        if one.target is not None:
            row["target"] = _flat(one.target.cpu().numpy(), dims)
        rows.append(row)
    return rows


def _flat(array: np.ndarray[Any, Any], dims: int) -> np.ndarray[Any, Any]:
    """Drop the leading axes of size 1 that an array has beyond its spatial ones."""
    while array.ndim > dims and array.shape[0] == 1:
        array = array[0]
    return array
