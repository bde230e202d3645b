"""A figure with one row for each sample: image, target, prediction, and where they differ.

What a target is decides how it is shown: whole numbers are labels, floats are an image, and a
single name or number stands in the title. Volumes show their most labelled slice.
"""

from __future__ import annotations

import textwrap
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
_SIDE_BY_SIDE: Final = 4
_LINE: Final = 40
"""Letters of a title that fit above a panel."""
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
            whether it is right: a title with a wrong one is red.
        classes: Names of the classes, background first; left out, labels are taken for objects.
        title: Title of the figure.

    Raises:
        ValueError: If there are no rows, or image and target differ in size.
    """
    if not rows:
        message = "there are no samples to draw; give at least one row"
        raise ValueError(message)
    panels = [_panels(row, classes) for row in rows]
    columns = list(dict.fromkeys(name for row in panels for name in row))
    alone = columns == ["image"]
    across = min(len(rows), _SIDE_BY_SIDE) if alone else len(columns)
    down = -(-len(rows) // across) if alone else len(rows)
    height, width = next(iter(panels[0].values())).shape[:2]
    # the first row also has the heading of its column
    titles = [_row_title(row, "" if place else "image") for place, row in enumerate(rows)]
    lines = max(text.count("\n") for text in titles)
    panel_height = WIDTH * float(np.clip(height / width, 0.3, 2.0)) + 0.3 + 0.22 * max(lines - 1, 0)
    legends = _classes_of(rows, classes)
    margin = (0.35 if legends else 0.0) + (0.3 if title else 0.0)
    figure = new_picture(WIDTH * max(across, 2), panel_height * down + margin)
    axes = figure.subplots(down, across, squeeze=False)
    for line, (row, shown) in enumerate(zip(rows, panels, strict=True)):
        first = axes[line // across, line % across] if alone else axes[line, 0]
        for place, name in enumerate(columns):
            panel = first if alone else axes[line, place]
            _draw_panel(panel, shown.get(name), name if line == 0 else "")
        wrong = any(right is False for _, right in row.get("notes") or ())
        first.set_title(titles[line], fontsize=8, color=WRONG if wrong else "black")
    for panel in axes.ravel()[len(rows) :] if alone else ():
        panel.set_axis_off()
    if title:
        figure.suptitle(title, fontsize=10)
    _add_legend(figure, legends, {name for row in panels for name in row})
    return figure


def _draw_panel(axes: Axes, pixels: NDArray[Any] | None, heading: str) -> None:
    axes.set_axis_off()
    if pixels is not None:
        axes.imshow(pixels, interpolation="nearest")
        axes.set_title(heading, fontsize=8)


def _panels(row: Row, classes: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return the pictures of one sample by the heading of their column."""
    image = _spatial(_array(row["image"]))
    heads = row.get("heads") or {"": {**row, "classes": classes}}
    pixels = {
        name: (
            _array(head.get("target")),
            _array(head.get("prediction")),
            head.get("classes") or (),
        )
        for name, head in heads.items()
    }
    z = _slice_to_show(image, *(item for pair in pixels.values() for item in pair[:2]))
    flat = image if z is None else image[:, z]
    targets = [target for target, _, _ in pixels.values() if _comparable(flat, target, z)]
    shown = {"image": to_rgb(flat, like=_slice(targets[0], z) if targets else None)}
    for name, (target, prediction, names) in pixels.items():
        start = f"{name} " if name else ""
        found = _panels_of(flat, target, prediction, z, has_classes=bool(names))
        shown |= {f"{start}{heading}": picture for heading, picture in found.items()}
    return shown


def _panels_of(
    flat: NDArray[Any],
    target: NDArray[Any] | None,
    prediction: NDArray[Any] | None,
    z: int | None,
    *,
    has_classes: bool,
) -> dict[str, NDArray[Any]]:
    """Return target, prediction and how they differ, of one output."""
    shown = {}
    for name, item in (("target", target), ("prediction", prediction)):
        if _is_labels(item):
            shown[name] = overlay(flat, _slice(item, z)[0])
        elif item is not None and item.ndim >= 2:
            # on the scale of the target, so that an error of offset or gain is seen
            like = _slice(target, z) if _alike(target, item) else None
            shown[name] = to_rgb(_slice(item, z), like=like)
    if len(shown) < 2:
        return shown
    if has_classes and _is_labels(target) and _is_labels(prediction):
        shown["differences"] = differences(flat, _slice(target, z)[0], _slice(prediction, z)[0])
    elif not _is_labels(target):
        shown["absolute error"] = _error(_slice(target, z), _slice(prediction, z))
    return shown


def _comparable(flat: NDArray[Any], target: NDArray[Any] | None, z: int | None) -> bool:
    """Tell whether image and target share a scale, as the noisy and the clean one do."""
    if target is None or target.ndim < 2 or _is_labels(target):
        return False
    other = _slice(target, z)
    if other.shape != flat.shape:
        return False
    low, high = np.percentile(other, [1, 99])
    bottom, top = np.percentile(flat, [1, 99])
    shared = min(high, top) - max(low, bottom)
    # less than a quarter of the wider range, and the image would be black or white
    return bool(shared > 0 and shared >= 0.25 * max(high - low, top - bottom))


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
    lines = [", ".join(rest)] if rest else []
    lines += [text for text, _ in row.get("notes") or ()]
    return "\n".join([short, *(part for line in lines for part in _wrapped(line))])


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(line, _LINE, break_on_hyphens=False) if len(line) > _LINE else [line]


def _classes_of(rows: Sequence[Row], classes: Sequence[str]) -> Sequence[str]:
    """Return the names for the legend: of heads those of the first with classes."""
    heads = [head for row in rows for head in (row.get("heads") or {}).values()]
    named = [tuple(head["classes"]) for head in heads if head.get("classes")]
    return named[0] if named else classes


def _add_legend(figure: Picture, classes: Sequence[str], shown: set[str]) -> None:
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
        patches += [
            Patch(facecolor=colour, edgecolor="0.5", linewidth=0.5, label=f"difference: {name}")
            for name, colour in kinds.items()
        ]
    if patches:
        most = min(len(patches), 6)
        figure.legend(handles=patches, loc="outside lower center", ncols=most, fontsize=8)
