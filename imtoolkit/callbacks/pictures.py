"""Pictures of image, target and prediction, drawn as training goes."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch import Tensor

from imtoolkit.callbacks.checkpoints import keeps_nothing
from imtoolkit.callbacks.evaluated import Evaluated, EvaluatedHead, evaluated
from imtoolkit.callbacks.opinions import has_opinions, opinions_row
from imtoolkit.callbacks.translations import Translated, translated, translation_rows
from imtoolkit.core.batch import Stage
from imtoolkit.core.files import replacing
from imtoolkit.figures.grid import Panel, grid_figure

log = logging.getLogger(__name__)


class Pictures(pl.Callback):
    """Draw the first validation images with their targets and predictions.

    They are predicted by the averaged weights where the run averages. One process draws.

    Args:
        folder: Where ``epoch-0001.png`` goes.
        every_epochs: Draw after so many epochs, and after the last; 0 draws none.
        count: Images in a picture.
        classes: Names of the classes of pixels, background first.
    """

    def __init__(
        self, folder: Path, *, every_epochs: int = 5, count: int = 4, classes: tuple[str, ...] = ()
    ) -> None:
        self.folder = folder
        self.every_epochs = every_epochs
        self.count = count
        self.classes = classes
        self._shown = Shown(count)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin a new picture."""
        self._shown = Shown(self.count)

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
        self._shown.add(outputs, batch, pl_module, Stage.VAL)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw and save the picture."""
        path = self.folder / f"epoch-{trainer.current_epoch + 1:04d}.png"
        self._shown.draw(path, self.classes)
        self._shown = Shown(self.count)

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
        classes: Names of the classes of pixels, background first.
    """

    __test__ = False  # pytest takes the name for a test

    def __init__(self, folder: Path, count: int = 4, classes: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.count = count
        self.classes = classes
        self._shown = Shown(count)

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
            self._shown.add(outputs, batch, pl_module, Stage.TEST)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw and save the picture."""
        self._shown.draw(self.folder / "examples.png", self.classes)
        self._shown = Shown(self.count)


class Shown:
    """The images that go into a picture: the first ones, of each domain where there are two.

    Args:
        count: Images in the picture; of two domains, of each.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._rows: list[dict[str, Any]] = []
        self._opinions: list[list[Panel]] = []
        self._domains: dict[str, list[Translated]] = {"A": [], "B": []}
        self._names = ("A", "B")

    def add(self, outputs: Any, batch: dict[str, Any], task: Any, stage: Stage) -> None:
        """Take the images of a batch for which there is room."""
        names = getattr(task, "domain_names", None)
        if names is None:
            most = self.count - len(self._rows) - len(self._opinions)
            for one in itertools.islice(evaluated(batch, outputs, task, stage), most):
                if has_opinions(one):
                    self._opinions.append(opinions_row(one))
                else:
                    self._rows.append(row_of(one))
            return
        self._names = names
        for one in evaluated(batch, outputs, task, stage):
            kept = self._domains[one.domain or "A"]
            if len(kept) < self.count:
                kept.append(translated(one))

    def draw(self, path: Path, classes: tuple[str, ...]) -> None:
        """Draw and save the picture, where there is something to show."""
        if any(self._domains.values()):
            rows = translation_rows(self._domains["A"], self._domains["B"], self._names)
            _save(grid_figure(rows), path)
        elif self._opinions:
            _save(grid_figure(self._opinions), path)
        elif self._rows:
            _draw(self._rows, classes, path)


def _draw(rows: list[dict[str, Any]], classes: tuple[str, ...], path: Path) -> None:
    from imtoolkit.figures.panels import sample_figure

    _save(sample_figure(rows, classes), path)


def _save(figure: Any, path: Path) -> None:
    try:
        with replacing(path) as part:
            figure.savefig(part, format="png")
    except OSError as error:  # a picture is not worth a run
        log.warning("the picture %s was not written: %s", path, error)


def row_of(one: Evaluated) -> dict[str, Any]:
    """Return what is drawn of an image: arrays of its pixels, and words for the whole image."""
    dims = one.image.ndim - 1
    row: dict[str, Any] = {"image": _pixels(one.image.float(), one), "id": one.id}
    heads: dict[str, dict[str, Any]] = {}
    scores, notes = {}, []
    for head in one.heads:
        if not head.dense:
            notes += notes_of(head, one.row)
            continue
        shown: dict[str, Any] = {"prediction": _flat(_pixels(head.prediction, one, head), dims)}
        if head.target is not None:
            shown["target"] = _flat(_pixels(head.target, one, head), dims)
        if head.ignored is not None:
            shown["ignored"] = head.ignored.cpu().numpy()
        heads[head.name] = {**shown, "classes": head.classes, "instances": head.instances}
        value = one.row.get(head.start + head.metric)
        if isinstance(value, float) and math.isfinite(value):
            scores[head.start + head.metric] = value
    if set(heads) == {""}:
        row |= {name: value for name, value in heads[""].items() if name != "classes"}
    elif heads:
        row["heads"] = heads
    return {**row, "scores": scores, "notes": notes}


def notes_of(head: EvaluatedHead, row: Mapping[str, Any]) -> list[tuple[str, bool | None]]:
    """Return in words what a head says of the whole image, and whether it is right.

    Example:
        >>> import torch
        >>> head = EvaluatedHead("", False, torch.tensor(1))
        >>> notes_of(head, {"target": "a", "predicted": "b", "probability/b": 0.75})
        [('target: a, prediction: b (0.75)', False)]
    """
    own = {
        name.removeprefix(head.start): value
        for name, value in row.items()
        if name.startswith(head.start)
    }
    if isinstance(own.get("predicted"), str):
        said, known = own["predicted"], own.get("target")
        chance = own.get(f"probability/{said}", math.nan)
        right = known == said if known else None
        return [(_said(head.name, known, f"{said} ({chance:.2f})"), right)]
    labels = [name.partition("/")[2] for name in own if name.startswith("probability/")]
    if labels:
        names = [name for name in labels if own.get(f"predicted/{name}")]
        true = [name for name in labels if own.get(f"target/{name}") == 1]
        known = all(own.get(f"target/{name}") in (0, 1) for name in labels)
        target = (", ".join(true) or "none") if known else None
        text = _said(head.name, target, ", ".join(names) or "none")
        return [(text, names == true if known else None)]
    return [_number_note(head.name, name, own) for name in own if name.split("/")[0] == "predicted"]


def _number_note(head: str, name: str, own: Mapping[str, Any]) -> tuple[str, bool | None]:
    column = name.removeprefix("predicted").removeprefix("/")
    true = own.get(name.replace("predicted", "target", 1), math.nan)
    target = None if math.isnan(true) else f"{true:.4g}"
    return _said(" ".join(filter(None, (head, column))), target, f"{own[name]:.4g}"), None


def _said(name: str, target: str | None, prediction: str) -> str:
    """Put target and prediction in words; short where several outputs share a title."""
    if name:
        return f"{name}: {f'{target}, ' if target else ''}predicted {prediction}"
    return f"{f'target: {target}, ' if target else ''}prediction: {prediction}"


def _pixels(
    values: Tensor, one: Evaluated, head: EvaluatedHead | None = None
) -> np.ndarray[Any, Any]:
    """Return an array; of pairs of real and imaginary part the magnitude."""
    array: np.ndarray[Any, Any] = values.cpu().numpy()
    of = [head] if head is not None else one.heads
    if any(item.is_complex for item in of) and len(array) % 2 == 0:
        array = np.hypot(array[0::2], array[1::2])
    return array


def _flat(array: np.ndarray[Any, Any], dims: int) -> np.ndarray[Any, Any]:
    """Drop the leading axes of size 1 that an array has beyond its spatial ones."""
    while array.ndim > dims and array.shape[0] == 1:
        array = array[0]
    return array
