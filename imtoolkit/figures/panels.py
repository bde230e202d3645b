"""A figure with one row for each sample: image, target, prediction, and where they differ.

What a target is decides how it is shown: whole numbers are labels, floats are an image, and a
single name or number stands in the title. Volumes show their most labelled slice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from numpy.typing import NDArray

from .canvas import Picture, new_picture
from .colours import CONFUSED, FALSE, MISSED, colour_of, stretch, to_rgb
from .overlay import differences, most_labelled_slice, overlay

Row = Mapping[str, Any]
WIDTH: Final = 2.6
"""Width of a panel in inches."""
MOST_CLASSES: Final = 12
"""A legend with more classes than that tells nobody anything."""


def sample_figure(
    rows: Sequence[Row], classes: Sequence[str] = (), *, title: str | None = None
) -> Picture:
    """Draw samples below each other.

    Args:
        rows: For each sample a dict with ``image`` ``(C, [Z,] Y, X)`` and, as far as there are,
            ``target`` and ``prediction`` (labels or images, ``([1,] [Z,] Y, X)`` or ``(C, ...)``;
            or a single class), ``id``, and ``scores``, a dict of numbers for the title. Arrays or
            tensors on the CPU.
        classes: Names of the classes, background first; left out, labels are taken for objects.
        title: Title of the figure.

    Raises:
        ValueError: If there are no rows, or image and target differ in size.
    """
    if not rows:
        message = "there are no samples to draw; give at least one row"
        raise ValueError(message)
    panels = [_panels(row, bool(classes)) for row in rows]
    columns = list(dict.fromkeys(name for row in panels for name in row))
    height, width = next(iter(panels[0].values())).shape[:2]
    panel_height = WIDTH * float(np.clip(height / width, 0.3, 2.0)) + 0.3
    margin = (0.35 if classes else 0.0) + (0.3 if title else 0.0)
    figure = new_picture(WIDTH * max(len(columns), 2), panel_height * len(rows) + margin)
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for line, (row, shown) in enumerate(zip(rows, panels, strict=True)):
        for place, name in enumerate(columns):
            _draw_panel(axes[line, place], shown.get(name), name if line == 0 else "")
        axes[line, 0].set_title(_row_title(row, "image" if line == 0 else ""), fontsize=8)
    if title:
        figure.suptitle(title, fontsize=10)
    _add_legend(figure, classes, {name for row in panels for name in row})
    return figure


def _draw_panel(axes: Axes, pixels: NDArray[Any] | None, heading: str) -> None:
    axes.set_axis_off()
    if pixels is not None:
        axes.imshow(pixels, interpolation="nearest")
        axes.set_title(heading, fontsize=8)


def _panels(row: Row, has_classes: bool) -> dict[str, NDArray[Any]]:
    """Return the pictures of one sample by the heading of their column."""
    image = _spatial(_array(row["image"]))
    target, prediction = _array(row.get("target")), _array(row.get("prediction"))
    z = _slice_to_show(image, target, prediction)
    flat = image if z is None else image[:, z]
    shown = {"image": to_rgb(flat)}
    for name, item in (("target", target), ("prediction", prediction)):
        if _is_labels(item):
            shown[name] = overlay(flat, _slice(item, z)[0])
        elif item is not None and item.ndim >= 2:
            # on the scale of the target, so that an error of offset or gain is seen
            like = _slice(target, z) if _alike(target, item) else None
            shown[name] = to_rgb(_slice(item, z), like=like)
    if target is None or prediction is None or len(shown) < 3:
        return shown
    if has_classes and _is_labels(target) and _is_labels(prediction):
        shown["differences"] = differences(flat, _slice(target, z)[0], _slice(prediction, z)[0])
    elif not _is_labels(target):
        shown["absolute error"] = _error(_slice(target, z), _slice(prediction, z))
    return shown


def _slice_to_show(image: NDArray[Any], *labels: NDArray[Any] | None) -> int | None:
    if image.ndim < 4:
        return None
    for item in labels:
        if item is not None and _is_labels(item):
            return most_labelled_slice(item.reshape(image.shape[1:]), image.shape[1])
    return most_labelled_slice(None, image.shape[1])


def _alike(target: NDArray[Any] | None, item: NDArray[Any]) -> bool:
    return target is not None and not _is_labels(target) and target.size == item.size


def _error(target: NDArray[Any], prediction: NDArray[Any]) -> NDArray[Any]:
    """Return the absolute error, white where it is the spread of the target or more."""
    error = np.abs(prediction.astype(np.float32) - target.astype(np.float32)).mean(axis=0)
    low, high = np.percentile(target.astype(np.float32), [0.5, 99.5])
    if high <= low:
        return to_rgb(stretch(error))
    grey = np.clip(error / (high - low), 0, 1)
    return np.stack([grey] * 3, axis=-1)


def _array(value: Any) -> NDArray[Any] | None:
    if value is None or isinstance(value, (str, int, float)):
        return None
    return np.asarray(value)


def _is_labels(item: NDArray[Any] | None) -> bool:
    return item is not None and item.ndim >= 2 and item.dtype.kind in "iub"


def _spatial(image: NDArray[Any] | None) -> NDArray[Any]:
    """Return an image as ``(C, [Z,] Y, X)``; two axes are one channel."""
    if image is None or image.ndim not in (2, 3, 4):
        shape = None if image is None else image.shape
        message = f"a row needs an 'image' with the axes CYX or CZYX, got the shape {shape}"
        raise ValueError(message)
    return image[None] if image.ndim == 2 else image


def _slice(item: NDArray[Any] | None, z: int | None) -> NDArray[Any]:
    """Return ``(C, Y, X)`` of labels or an image that may lack the channel axis."""
    assert item is not None
    dims = 2 if z is None else 3
    item = item[None] if item.ndim == dims else item
    return item if z is None else item[:, z]


def _row_title(row: Row, heading: str) -> str:
    parts = [str(row["id"]) if "id" in row else heading]
    for name in ("target", "prediction"):
        value = row.get(name)
        if isinstance(value, (str, int, float)):
            parts.append(f"{name}: {value}")
    scores = row.get("scores") or {}
    parts += [f"{name} {value:.3f}" for name, value in scores.items()]
    first, *rest = [part for part in parts if part] or [""]
    short = first if len(first) <= 34 else f"{first[:15]}…{first[-18:]}"
    return "\n".join([short, ", ".join(rest)]) if rest else short


def _add_legend(figure: Picture, classes: Sequence[str], shown: set[str]) -> None:
    patches = []
    if shown & {"target", "prediction"} and len(classes) - 1 <= MOST_CLASSES:
        patches += [
            Patch(facecolor=colour_of(label), label=name)
            for label, name in enumerate(classes)
            if label > 0
        ]
    if "differences" in shown:
        kinds = {"missed": MISSED, "false": FALSE, "wrong class": CONFUSED}
        if len(classes) <= 2:
            del kinds["wrong class"]
        patches += [
            Patch(facecolor=colour, edgecolor="0.5", linewidth=0.5, label=f"difference: {name}")
            for name, colour in kinds.items()
        ]
    if patches:
        most = min(len(patches), 6)
        figure.legend(handles=patches, loc="outside lower center", ncols=most, fontsize=8)
