"""Curves of a training: each metric in a panel of its own, training and validation together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from .canvas import Picture, new_picture
from .colours import PALETTE

if TYPE_CHECKING:
    import pandas as pd

STAGES: Final = ("train", "val", "test", "naive")
_STYLES: Final = {"train": "--", "val": "-", "test": ":", "naive": "-."}
_ACROSS: Final = 3


def metric_curves(table: pd.DataFrame, *, x: str | None = None, best: int | None = None) -> Picture:
    """Draw how metrics and learning rates went.

    Args:
        table: One row for each time something was logged, as in ``metrics.csv``: columns
            ``epoch``, ``step``, and ``{stage}/{metric}[/{class}]``; empty where nothing was logged.
        x: Column of the horizontal axis; left out, ``epoch``, or ``step`` where there is but one
            epoch.
        best: Value of ``x`` to mark as that of the best checkpoint.

    Raises:
        ValueError: If the table has no column to draw.
    """
    x = x or _axis_of(table)
    groups = _groups([str(name) for name in table.columns])
    groups = {name: kept for name, all_ in groups.items() if (kept := _logged(table, all_))}
    if not groups or x not in table:
        message = (
            f"a table of metrics has a column '{x}' and columns such as 'val/loss', "
            f"got {list(table.columns)}"
        )
        raise ValueError(message)
    across = min(len(groups), _ACROSS)
    down = -(-len(groups) // across)
    figure = new_picture(3.8 * across, 2.9 * down)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, (name, columns) in zip(panels, groups.items(), strict=False):
        _draw_curves(axes, table, x, name, columns)
        if best is not None:
            axes.axvline(best, color="0.6", linewidth=0.8, zorder=0)
    for axes in panels[len(groups) :]:
        axes.set_axis_off()
    return figure


def _axis_of(table: pd.DataFrame) -> str:
    if "epoch" not in table:
        return "step"
    return "step" if table["epoch"].nunique() <= 1 and "step" in table else "epoch"


def _groups(columns: Sequence[str]) -> dict[str, list[str]]:
    """Sort columns into panels by metric: losses first, learning rates last.

    Example:
        >>> _groups(["epoch", "train/loss", "val/loss", "val/dice", "val/dice/nucleus", "lr"])
        {'loss': ['train/loss', 'val/loss'], 'dice': ['val/dice', 'val/dice/nucleus'], 'lr': ['lr']}
    """
    groups: dict[str, list[str]] = {}
    for name in columns:
        stage, _, rest = name.partition("/")
        if stage in STAGES and rest:
            groups.setdefault(rest.partition("/")[0], []).append(name)
        elif stage == "lr" or stage.startswith("lr-"):
            groups.setdefault("lr", []).append(name)
    order = sorted(groups, key=lambda name: (name == "lr", name != "loss"))
    return {name: groups[name] for name in order}


def _logged(table: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    return [name for name in columns if table[name].notna().any()]


def _draw_curves(
    axes: Axes, table: pd.DataFrame, x: str, name: str, columns: Sequence[str]
) -> None:
    colours = _colours(columns)
    for column in columns:
        stage, _, rest = column.partition("/")
        kept = table[[x, column]].dropna()
        # a class is thinner than the mean over classes, which has no name after the metric
        width = 1.6 if "/" not in rest else 1.0
        marker = "o" if len(kept) < 3 else None
        style = _STYLES.get(stage, "-")
        values = np.asarray(kept[column], dtype=float)
        label = column if name == "lr" else f"{stage} {rest.partition('/')[2]}".strip()
        axes.plot(
            np.asarray(kept[x]), values, style, color=colours[column], linewidth=width,
            marker=marker, markersize=3, label=label,
        )  # fmt: skip
    axes.set_title(name, fontsize=10)
    axes.set_xlabel(x, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(visible=True, color="0.92", linewidth=0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if len(columns) <= 10:
        axes.legend(fontsize=7, frameon=False)


def _colours(columns: Sequence[str]) -> Mapping[str, str]:
    """Give each class a colour; the mean over classes is black, in every stage."""
    names = [column.partition("/")[2].partition("/")[2] for column in columns]
    known = list(dict.fromkeys(name for name in names if name))
    palette = {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(known)}
    plain = {"train": PALETTE[0], "val": PALETTE[5], "test": PALETTE[2], "naive": PALETTE[3]}
    return {
        column: palette.get(name, plain.get(column.partition("/")[0], "black"))
        for column, name in zip(columns, names, strict=True)
    }
