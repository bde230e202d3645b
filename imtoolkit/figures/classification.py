"""Pictures of a classification: confusion matrix, ROC and precision-recall curves, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes

from .canvas import Picture, new_picture
from .colours import PALETTE

MOST_IN_CELLS: Final = 15
"""Classes beyond which a confusion matrix shows colours and no numbers."""
_ACROSS: Final = 4


def confusion_figure(
    tables: Mapping[str, Sequence[Sequence[int]]], classes: Sequence[str]
) -> Picture:
    """Draw confusion matrices: counts, coloured by their fraction of the true class.

    Args:
        tables: One under ``""`` with a row for each true and a column for each predicted class; for
            several labels one of two rows (without and with the label) for each.
        classes: Names of the classes.

    Raises:
        ValueError: If there is no table.
    """
    if not tables:
        message = "there is no confusion matrix to draw"
        raise ValueError(message)
    across = min(len(tables), _ACROSS)
    down = -(-len(tables) // across)
    side = 2.2 if len(tables) > 1 else float(np.clip(1.6 + 0.55 * len(classes), 3.0, 12.0))
    figure = new_picture((side + 0.7) * across, (side + 0.3) * down)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, (name, table) in zip(panels, tables.items(), strict=False):
        _draw_confusion(
            axes, np.asarray(table, dtype=float), ["no", "yes"] if name else list(classes)
        )
        axes.set_title(name, fontsize=10)
    for axes in panels[len(tables) :]:
        axes.set_axis_off()
    return figure


def curves_figure(
    roc: Mapping[str, Mapping[str, Sequence[float]]],
    precision_recall: Mapping[str, Mapping[str, Sequence[float]]],
) -> Picture:
    """Draw the ROC curve and the precision-recall curve of each class beside each other.

    Args:
        roc: ``fpr`` and ``tpr`` by class.
        precision_recall: ``recall`` and ``precision`` by class.
    """
    figure = new_picture(7.6, 3.7)
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="0.7", linewidth=0.8, linestyle="--")
    for index, (name, curve) in enumerate(roc.items()):
        colour = _colour(index)
        left.plot(curve["fpr"], curve["tpr"], color=colour, linewidth=1.5, label=name)
        other = precision_recall.get(name, {"recall": (), "precision": ()})
        right.step(
            *(other["recall"], other["precision"]),
            where="pre", color=colour, linewidth=1.5, label=name,
        )  # fmt: skip
    _frame(left, "false positive rate", "true positive rate", "ROC")
    _frame(right, "recall", "precision", "precision and recall")
    if len(roc) <= MOST_IN_CELLS:
        left.legend(fontsize=8, frameon=False, loc="lower right")
    return figure


def calibration_figure(reliability: Sequence[Mapping[str, Any]]) -> Picture:
    """Draw a reliability diagram: how often what was said with a probability is right.

    Points above the diagonal are right more often than they say, points below less. Below stands
    how many images each bin holds.

    Args:
        reliability: Bins with ``low``, ``high``, ``count``, ``probability`` and ``frequency``.

    Raises:
        ValueError: If there is no bin.
    """
    if not reliability:
        message = "there are no probabilities to draw"
        raise ValueError(message)
    figure = new_picture(3.9, 5.2)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    sure = [entry["probability"] for entry in reliability]
    right = [entry["frequency"] for entry in reliability]
    top.plot([0, 1], [0, 1], color="0.7", linewidth=0.8, linestyle="--", label="calibrated")
    top.vlines(sure, sure, right, color=PALETTE[6], linewidth=1.2, alpha=0.6)
    top.plot(sure, right, "o-", color=PALETTE[5], markersize=4, linewidth=1.2, label="model")
    _frame(top, "", "how often it holds", "calibration")
    top.set_aspect("auto")  # as wide as the bars below
    top.legend(fontsize=8, frameon=False, loc="upper left")
    middles = [(entry["low"] + entry["high"]) / 2 for entry in reliability]
    width = min(entry["high"] - entry["low"] for entry in reliability) * 0.9
    bottom.bar(middles, [entry["count"] for entry in reliability], width, color="0.7")
    bottom.set_xlabel("probability", fontsize=8)
    bottom.set_ylabel("images", fontsize=8)
    bottom.tick_params(labelsize=8)
    return figure


def _draw_confusion(axes: Axes, table: np.ndarray[Any, Any], names: Sequence[str]) -> None:
    rows = table.sum(1, keepdims=True)
    share = np.divide(table, rows, out=np.zeros_like(table), where=rows > 0)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if len(names) <= MOST_IN_CELLS:
        for (row, column), count in np.ndenumerate(table):
            colour = "white" if share[row, column] > 0.6 else "black"
            axes.text(column, row, f"{count:g}", ha="center", va="center", color=colour, fontsize=9)
    places = range(len(names))
    short = [name if len(name) <= 18 else f"{name[:17]}…" for name in names]
    longest = max(len(name) for name in short)
    axes.set_xticks(places, short, rotation=0 if longest * len(names) < 24 else 90, fontsize=8)
    axes.set_yticks(places, short, fontsize=8)
    axes.set_xlabel("predicted", fontsize=9)
    axes.set_ylabel("true", fontsize=9)


def _frame(axes: Axes, x: str, y: str, title: str) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.set_title(title, fontsize=10)
    axes.tick_params(labelsize=8)
    axes.grid(visible=True, color="0.92", linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _colour(index: int) -> str:
    return (PALETTE[5], PALETTE[6], *PALETTE[:5])[index % len(PALETTE)]
