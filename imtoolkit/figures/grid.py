"""A figure of named pictures side by side, a row for each sample."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .canvas import Picture, frame, new_picture
from .colours import to_rgb

WIDTH: Final = 2.2
"""Width of a panel in inches."""
_ROOM: Final = 0.2
"""Height of a line of text in inches."""
_LETTERS: Final = 34
"""Letters of a heading that fit above a panel."""


@dataclass(frozen=True)
class Panel:
    """One picture of a row.

    Attributes:
        heading: What it shows; panels of one heading stand below each other.
        pixels: ``(C, [Z,] Y, X)``; of a volume the middle slice is drawn.
        caption: A line below the heading, such as the id of the image and a score.
        like: Image whose brightness scale is used, so that two can be compared; left out, its own.
    """

    heading: str
    pixels: NDArray[Any]
    caption: str = ""
    like: NDArray[Any] | None = None


def grid_figure(rows: Sequence[Sequence[Panel]]) -> Picture:
    """Draw panels; where a row lacks a heading of the others, its place stays empty.

    Args:
        rows: The panels of each row.

    Raises:
        ValueError: If there are none.
    """
    columns = list(dict.fromkeys(panel.heading for row in rows for panel in row))
    if not columns:
        message = "there is nothing to draw; give at least one panel"
        raise ValueError(message)
    heights = [max(_relative_height(panel.pixels) for panel in row) for row in rows if row]
    wrapped = max(len(textwrap.wrap(heading, _LETTERS)) for heading in columns)
    lines = _ROOM * (len(rows) + wrapped)
    figure = new_picture(WIDTH * max(len(columns), 2), WIDTH * sum(heights) + lines)
    axes = figure.subplots(len(heights), len(columns), squeeze=False, height_ratios=heights)
    for line, row in enumerate(row for row in rows if row):
        panels = {panel.heading: panel for panel in row}
        for place, heading in enumerate(columns):
            drawn = axes[line, place]
            drawn.set_axis_off()
            panel = panels.get(heading)
            titles = textwrap.wrap(heading, _LETTERS) if line == 0 else []
            if panel is not None:
                like = None if panel.like is None else _flat(panel.like)
                drawn.imshow(to_rgb(_flat(panel.pixels), like=like), interpolation="nearest")
                frame(drawn)
                titles += [_shortened(panel.caption)] if panel.caption else []
            drawn.set_title("\n".join(titles), fontsize=7)
    return figure


def _flat(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return ``(C, Y, X)``: of a volume the slice in the middle."""
    return pixels[:, pixels.shape[1] // 2] if pixels.ndim == 4 else pixels


def _relative_height(pixels: NDArray[Any]) -> float:
    height, width = pixels.shape[-2:]
    return float(np.clip(height / width, 0.3, 2.0))


def _shortened(text: str, most: int = 36) -> str:
    return text if len(text) <= most else f"{text[:16]}…{text[-19:]}"
