"""How a run shows itself in a notebook: state, metrics, evaluation, newest picture."""

from __future__ import annotations

import base64
import html
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pandas as pd

    from imtoolkit.runs.run import Run

_FEW: Final = 4
_OF_OTHERS: Final = ("annotators",)
"""What stands behind the name of a metric and is no part of it, but to compare it with."""


def told_apart(names: Iterable[str]) -> list[str]:
    """Return the names of metrics without those that repeat another.

    The mean over the classes is the value of the only class where there is but one: the class is
    shown, which says what was measured. Of many thresholds of average precision two are shown.

    Example:
        >>> told_apart(["loss", "dice", "dice/nucleus", "iou", "iou/cell", "iou/gap"])
        ['loss', 'dice/nucleus', 'iou', 'iou/cell', 'iou/gap']
        >>> told_apart(["ap", *(f"ap/{percent}" for percent in range(50, 100, 5))])
        ['ap', 'ap/50', 'ap/75']
        >>> told_apart(["sample_diversity", "sample_diversity/annotators"])
        ['sample_diversity', 'sample_diversity/annotators']
    """
    names = list(names)
    children = Counter(
        parent
        for parent, _, part in (name.rpartition("/") for name in names)
        if part not in _OF_OTHERS
    )
    return [name for name in names if children[name] != 1 and not _is_one_of_many(name, children)]


def _is_one_of_many(name: str, children: Mapping[str, int]) -> bool:
    metric, _, part = name.rpartition("/")
    kind = metric.rpartition("/")[2]
    return kind in ("ap", "pooled_ap") and part not in ("50", "75") and children[metric] > _FEW


def metric_table(run: Run) -> list[tuple[str, float, float, float]]:
    """Return ``(metric, last, lowest, highest)`` of every logged training and validation value."""
    frame: pd.DataFrame = run.metrics
    rows = []
    for column in told_apart(frame.columns):
        values = frame[column].dropna()
        if "/" in column and not column.startswith("time/") and len(values):
            low, high = float(values.min()), float(values.max())
            rows.append((column, float(values.iloc[-1]), low, high))
    return rows


def run_html(run: Run) -> str:
    """Return a run as HTML: a table of metrics, the evaluated splits, and its newest picture."""
    status = run.status
    state = html.escape(status.state.value + (f": {status.reason}" if status.reason else ""))
    parts = [
        f"<b>{html.escape(run.name)}</b> {html.escape(run.id)} ({state})<br>",
        f"<code>{html.escape(str(run.path))}</code>",
        _table(("metric", "last", "lowest", "highest"), metric_table(run)),
    ]
    for split, summary in run.evaluations.items():
        rows = [
            (name, entry["mean"], entry["low"], entry["high"])
            for name, entry in summary.get("metrics", {}).items()
            if name in told_apart(summary["metrics"])
        ]
        level = f"{summary.get('confidence', 0.95):.0%}"
        head = (f"{split}, {summary.get('images', '?')} images", "mean", f"{level} low", "high")
        parts.append(_table(head, rows))
    if run.pictures:
        data = base64.b64encode(run.pictures[-1].read_bytes()).decode()
        parts.append(f'<img style="max-width: 100%" src="data:image/png;base64,{data}">')
    return "\n".join(part for part in parts if part)


def _table(head: tuple[str, ...], rows: list[tuple[str, float, float, float]]) -> str:
    if not rows:
        return ""
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = "".join(
        f"<tr><td>{html.escape(name)}</td>{''.join(_cell(value) for value in values)}</tr>"
        for name, *values in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"


def _cell(value: float | None) -> str:
    return f"<td>{value:.4f}</td>" if value is not None else "<td></td>"
