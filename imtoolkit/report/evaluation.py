"""Pictures of an evaluation: confusion, curves and calibration of classes, scatter of numbers."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from imtoolkit.figures.canvas import Picture

log = logging.getLogger(__name__)


def draw_outputs(
    outputs: Mapping[str, Mapping[str, Any]], per_image: pd.DataFrame, folder: Path
) -> list[Path]:
    """Draw the outputs of an evaluation whose results are classes or numbers of whole images.

    Args:
        outputs: Entry ``outputs`` of a summary, see `imtoolkit.trainer.scores.Scores`.
        per_image: The table of the images.
        folder: Where ``confusion.png``, ``curves.png`` and ``calibration.png`` go, or
            ``numbers.png``; those of heads begin with their name.

    Returns:
        The pictures that were written.
    """
    from imtoolkit.figures.canvas import save

    written = []
    for head, output in outputs.items():
        start = "" if head == "output" else f"{head}-"
        for name, picture in _pictures(head, output, per_image):
            try:
                written.append(save(picture, folder / f"{start}{name}.png"))
            except OSError as error:  # a picture is not worth an evaluation
                log.warning("the picture %s was not written: %s", name, error)
    return written


def _pictures(
    head: str, output: Mapping[str, Any], per_image: pd.DataFrame
) -> Iterator[tuple[str, Picture]]:
    from imtoolkit.figures import classification, regression

    if output["kind"] == "numbers":
        start = "" if head == "output" else f"{head}/"
        columns = output["columns"]
        names = [f"/{column}" for column in columns] if len(columns) > 1 else [""]
        pairs = {
            (name.removeprefix("/") or (columns[0] if columns else "")): (
                per_image[f"{start}target{name}"].to_numpy(float),
                per_image[f"{start}predicted{name}"].to_numpy(float),
            )
            for name in names
            if f"{start}target{name}" in per_image
        }
        if pairs:
            yield "numbers", regression.numbers_figure(pairs)
        return
    tables = output["confusion"]
    if not isinstance(tables, dict):
        tables = {"": tables}
    yield "confusion", classification.confusion_figure(tables, output["classes"])
    if any(curve["fpr"] for curve in output["roc"].values()):
        yield "curves", classification.curves_figure(output["roc"], output["precision_recall"])
    if output["reliability"]:
        yield "calibration", classification.calibration_figure(output["reliability"])
