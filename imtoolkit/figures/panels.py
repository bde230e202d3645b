"""A figure with one row for each sample: image, target, prediction, and where they differ.

What is drawn of a sample tells `rows`; here pictures, titles and legend are put together. A single
name or number as a target stands in the title.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from numpy.typing import NDArray

from .canvas import Picture, frame, new_picture
from .colours import CONFUSED, FALSE, MISSED, colour_of
from .objects import VERDICT_COLOURS
from .rows import DrawnSample, Row, drawn_sample, has_objects

WIDTH: Final = 2.6
"""Width of a panel in inches."""
WIDTH_OF_OBJECTS: Final = 4.0
"""Width of a panel that shows objects, whose outlines are thin."""
_SIDE_BY_SIDE: Final = 4
_LINE: Final = 40
_LONG: Final = 60
"""Letters of a title that fit above a panel, and above one of objects."""
WRONG: Final = "#C00000"
"""Colour of a title that tells of a wrong class."""
MOST_CLASSES: Final = 12
"""A legend with more classes than that tells nobody anything."""


def sample_figure(
    rows: Sequence[Row], classes: Sequence[str] = (), *, title: str | None = None
) -> Picture:
    """Draw samples below each other; those without other pixels than their image side by side.

    Args:
        rows: For each sample a dict with ``image`` ``(C, [Z,] Y, X)`` and, as far as there are,
            ``target`` and ``prediction`` (labels or images, ``([1,] [Z,] Y, X)`` or ``(C, ...)``;
            or a single class), ``id``, and ``scores``, a dict of numbers for the title. Arrays or
            tensors on the CPU. Several outputs stand under ``heads``, by name, each a dict of
            ``target``, ``prediction`` and ``classes``. ``notes`` are lines of the title, each with
            whether it is right: a title with a wrong one is red. ``instances`` tells that labels
            are objects: what became of each is shown, and a part where there are many; ``ignored``
            ``([1,] [Z,] Y, X)`` tells which pixels did not count.
        classes: Names of the classes, background first.
        title: Title of the figure.

    Raises:
        ValueError: If there are no rows, or image and target differ in size.
    """
    if not rows:
        message = "there are no samples to draw; give at least one row"
        raise ValueError(message)
    drawn = [drawn_sample(row, classes) for row in rows]
    panels = [sample.panels for sample in drawn]
    columns = list(dict.fromkeys(name for row in panels for name in row))
    alone = columns == ["image"]
    across = min(len(rows), _SIDE_BY_SIDE) if alone else len(columns)
    down = -(-len(rows) // across) if alone else len(rows)
    of_objects = any(has_objects(row) for row in rows)
    titles = [
        # the first row also has the heading of its column
        _row_title(row, "" if place else "image", sample.lines, _LONG if of_objects else _LINE)
        for place, (row, sample) in enumerate(zip(rows, drawn, strict=True))
    ]
    width = WIDTH_OF_OBJECTS if of_objects else WIDTH
    heights = [0.0] * down
    for place, sample in enumerate(drawn):
        line = place // across if alone else place
        heights[line] = max(heights[line], _height(sample, titles[place], width))
    legends = _classes_of(rows, classes)
    margin = (0.35 if legends or of_objects else 0.0) + (0.3 if title else 0.0)
    figure = new_picture(width * max(across, 2), sum(heights) + margin)
    axes = figure.subplots(down, across, squeeze=False, height_ratios=heights)
    for line, (row, shown) in enumerate(zip(rows, panels, strict=True)):
        first = axes[line // across, line % across] if alone else axes[line, 0]
        for place, name in enumerate(columns):
            panel = first if alone else axes[line, place]
            _draw_panel(panel, shown.get(name), name if line == 0 else "", smooth=of_objects)
        wrong = any(right is False for _, right in row.get("notes") or ())
        first.set_title(titles[line], fontsize=8, color=WRONG if wrong else "black")
    for panel in axes.ravel()[len(rows) :] if alone else ():
        panel.set_axis_off()
    if title:
        figure.suptitle(title, fontsize=10)
    _add_legend(figure, legends, {name for row in panels for name in row}, of_objects)
    return figure


def _draw_panel(axes: Axes, pixels: NDArray[Any] | None, heading: str, *, smooth: bool) -> None:
    """Show a picture; ``smooth`` keeps thin lines where it has more pixels than the screen."""
    axes.set_axis_off()
    axes.set_anchor("S")  # what is left of the height goes to the title
    if pixels is not None:
        axes.imshow(pixels, interpolation="auto" if smooth else "nearest")
        frame(axes)
        axes.set_title(heading, fontsize=8)


def _height(sample: DrawnSample, title: str, width: float) -> float:
    """Return the height of a panel with its title in inches."""
    high, wide = next(iter(sample.panels.values())).shape[:2]
    lines = max(title.count("\n") - 1, 0)
    return width * float(np.clip(high / wide, 0.3, 2.0)) + 0.3 + 0.22 * lines


def _row_title(row: Row, heading: str, more: Sequence[str], most: int) -> str:
    parts = [str(row["id"]) if "id" in row else heading]
    for name in ("target", "prediction"):
        value = row.get(name)
        if isinstance(value, (str, int, float)):
            parts.append(f"{name}: {value}")
    scores = row.get("scores") or {}
    parts += [f"{name} {value:.3f}" for name, value in scores.items()]
    first, *rest = [part for part in parts if part] or [""]
    short = first if len(first) <= 34 else f"{first[:15]}…{first[-18:]}"
    lines = [", ".join(rest)] if rest else []
    lines += [*more, *(text for text, _ in row.get("notes") or ())]
    return "\n".join([short, *(part for line in lines for part in _wrapped(line, most))])


def _wrapped(line: str, most: int) -> list[str]:
    return textwrap.wrap(line, most, break_on_hyphens=False) if len(line) > most else [line]


def _classes_of(rows: Sequence[Row], classes: Sequence[str]) -> Sequence[str]:
    """Return the names for the legend: of heads those of the first with classes."""
    heads = [head for row in rows for head in (row.get("heads") or {}).values()]
    named = [tuple(head["classes"]) for head in heads if head.get("classes")]
    if named:
        return named[0]
    return () if all(has_objects(row) for row in rows) else classes


def _add_legend(figure: Picture, classes: Sequence[str], shown: set[str], of_objects: bool) -> None:
    patches = []
    last = {name.rpartition(" ")[2] for name in shown}
    if last & {"target", "prediction"} and len(classes) - 1 <= MOST_CLASSES:
        patches += [
            Patch(facecolor=colour_of(label), label=name)
            for label, name in enumerate(classes)
            if label > 0
        ]
    if "differences" in last:
        kinds = {"missed": MISSED, "false": FALSE, "wrong class": CONFUSED}
        if len(classes) <= 2:
            del kinds["wrong class"]
        if of_objects:
            kinds = {kind.name.lower(): colour for kind, colour in VERDICT_COLOURS.items()} | (
                kinds if len(classes) > 2 else {}
            )
        patches += [
            Patch(facecolor=colour, edgecolor="0.5", linewidth=0.5, label=f"difference: {name}")
            for name, colour in kinds.items()
        ]
    if patches:
        most = min(len(patches), 6)
        figure.legend(handles=patches, loc="outside lower center", ncols=most, fontsize=8)
