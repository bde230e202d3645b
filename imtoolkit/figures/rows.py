"""The pictures of one sample: image, target, prediction, and where they differ.

What a target is decides how it is shown: whole numbers are labels, floats are an image. Volumes
show their most labelled slice, and images of many objects a part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .colours import stretch, to_rgb
from .objects import ObjectPictures
from .overlay import differences, most_labelled_slice, overlay
from .view import View, view_of, whole_view

Row = Mapping[str, Any]


@dataclass(frozen=True)
class DrawnSample:
    """A sample as it is drawn.

    Attributes:
        panels: Pictures by the heading of their column.
        lines: What is told of its objects above them.
    """

    panels: dict[str, NDArray[Any]]
    lines: tuple[str, ...] = ()


def drawn_sample(row: Row, classes: Sequence[str]) -> DrawnSample:
    """Return the pictures of one sample."""
    image = _spatial(_array(row["image"]))
    heads = row.get("heads") or {"": {**row, "classes": classes}}
    pixels = {
        name: (_array(head.get("target")), _array(head.get("prediction")))
        for name, head in heads.items()
    }
    z = _slice_to_show(image, *(item for pair in pixels.values() for item in pair))
    whole = image if z is None else image[:, z]
    objects = {name: head for name, head in heads.items() if head.get("instances")}
    labels = next((item for name in objects for item in pixels[name] if _is_labels(item)), None)
    view = whole_view(whole.shape[1:]) if labels is None else view_of(_slice(labels, z)[0])
    flat = view.image(whole)
    panels: dict[str, NDArray[Any]] = {}
    lines: list[str] = []
    targets = []
    for name, pair in pixels.items():
        start = f"{name} " if name else ""
        if name in objects and all(item is None or _is_labels(item) for item in pair):
            found = _objects(whole, *pair, heads[name].get("ignored"), view, z)
            own = found.panels()
            counts = found.counts()
            lines += [f"{name}: {counts}" if name else counts] if counts else []
        else:
            target, prediction = (_seen(item, view, z) for item in pair)
            own = _panels_of(flat, target, prediction, has_classes=bool(heads[name].get("classes")))
            targets += [target] if _comparable(flat, target) else []
        panels |= {f"{start}{heading}": picture for heading, picture in own.items()}
    shown = to_rgb(flat, like=targets[0] if targets else None)
    if labels is not None:
        part = [view.told, "" if z is None else f"slice {z + 1} of {image.shape[1]}"]
        told = ", ".join(filter(None, part))
        lines += [f"shown: {told}"] if told else []
    return DrawnSample({"image": shown, **panels}, tuple(lines))


def _objects(
    image: NDArray[Any],
    target: NDArray[Any] | None,
    prediction: NDArray[Any] | None,
    ignored: Any,
    view: View,
    z: int | None,
) -> ObjectPictures:
    """Return the pictures of objects, without the axis of the channel."""
    dims = 2 if z is None else 3
    true, ours, left_out = (
        None if item is None else item.reshape(item.shape[-dims:])
        for item in (target, prediction, _array(ignored))
    )
    return ObjectPictures(image, true, ours, left_out, view, z)


def _seen(item: NDArray[Any] | None, view: View, z: int | None) -> NDArray[Any] | None:
    """Return what is shown ``(C, Y, X)`` of labels or an image; ``None`` of anything else."""
    if item is None or item.ndim < 2:
        return None
    flat = _slice(item, z)
    return view.labels(flat) if _is_labels(item) else view.image(flat)


def _panels_of(
    flat: NDArray[Any],
    target: NDArray[Any] | None,
    prediction: NDArray[Any] | None,
    *,
    has_classes: bool,
) -> dict[str, NDArray[Any]]:
    """Return target, prediction and how they differ, of one output; all are ``(C, Y, X)``."""
    shown = {}
    for name, item in (("target", target), ("prediction", prediction)):
        if item is None:
            continue
        if _is_labels(item):
            shown[name] = overlay(flat, item[0])
        else:
            # on the scale of the target, so that an error of offset or gain is seen
            shown[name] = to_rgb(item, like=target if _alike(target, item) else None)
    if target is None or prediction is None:
        return shown
    if has_classes and _is_labels(target) and _is_labels(prediction):
        shown["differences"] = differences(flat, target[0], prediction[0])
    elif not _is_labels(target) and not _is_labels(prediction):
        shown["absolute error"] = _error(target, prediction)
    return shown


def _comparable(flat: NDArray[Any], target: NDArray[Any] | None) -> bool:
    """Tell whether image and target share a scale, as the noisy and the clean one do."""
    if target is None or _is_labels(target) or target.shape != flat.shape:
        return False
    low, high = np.percentile(target, [1, 99])
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


def has_objects(row: Row) -> bool:
    """Tell whether labels of a row are objects."""
    heads = (row.get("heads") or {"": row}).values()
    return any(head.get("instances") for head in heads)
