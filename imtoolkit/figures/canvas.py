"""A figure that needs no window and no ``pyplot``, and shows itself in a notebook."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from imtoolkit.core.files import replacing

DPI: Final = 100


class Picture(Figure):
    """A matplotlib figure on an Agg canvas; notebooks find ``_repr_png_``."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.savefig(stream, format="png", dpi=DPI)
        return stream.getvalue()


def new_picture(width: float, height: float) -> Picture:
    """Return an empty figure of a size in inches."""
    figure = Picture(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: str | Path, *, dpi: int = DPI) -> Path:
    """Write a figure by the suffix of ``path`` (``.png``, ``.pdf``, ``.svg``), whole or not at all.

    Returns:
        The path that was written.

    Raises:
        ValueError: If matplotlib does not know the suffix.
    """
    path = Path(path)
    suffix = path.suffix.removeprefix(".").lower() or "png"
    with replacing(path) as part:
        figure.savefig(part, format=suffix, dpi=dpi)
    return path


def frame(axes: Axes) -> None:
    """Draw a thin frame, without which a white image is not seen on a white page."""
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[])
    for side in axes.spines.values():
        side.set(color="0.75", linewidth=0.5)
