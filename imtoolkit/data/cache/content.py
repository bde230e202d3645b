"""What the cache keeps of a preprocessed sample: small dtypes, foreground pixels, facts."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from imtoolkit.core.batch import IMAGE, TARGET, WEIGHT
from imtoolkit.core.errors import DataError
from imtoolkit.core.facts import TargetKind, TargetSpec
from imtoolkit.data.cache.foreground import find_foreground
from imtoolkit.data.cache.store import Content
from imtoolkit.data.objects import count_objects
from imtoolkit.data.preprocess import Prepared

FOREGROUND: Final = "foreground"
OBJECTS: Final = "objects"
"""Key of the metadata for what `count_objects` found."""


def content_of(prepared: Prepared, spec: TargetSpec, original: tuple[int, ...]) -> Content:
    """Turn a preprocessed sample into arrays and metadata for the cache.

    Args:
        prepared: The sample.
        spec: What the task wants of the target.
        original: Shape ``(C, [Z,] Y, X)`` of the image as read.

    Raises:
        DataError: If the target's labels are fractions, or no longer fit the image.
    """
    arrays: dict[str, np.ndarray] = {IMAGE: prepared.image.numpy()}
    meta: dict[str, Any] = {
        "shape": list(prepared.image.shape),
        "original_shape": list(original),
        "spacing": list(prepared.spacing) if prepared.spacing else None,
        "unit": prepared.unit,
        "affine": prepared.affine.tolist() if prepared.affine is not None else None,
        "counts": {},
    }
    if prepared.target is not None:
        target = prepared.target.numpy()
        _check_shape(target, prepared)
        if spec.kind in (TargetKind.LABELS, TargetKind.INSTANCES):
            target = smallest(_whole(target))
        arrays[TARGET] = target
        meta["target_channels"] = len(target)
    if prepared.weight is not None:
        arrays[WEIGHT] = prepared.weight.numpy().astype(np.float32)
    if TARGET in arrays and spec.kind in (TargetKind.LABELS, TargetKind.INSTANCES):
        counts, foreground = find_foreground(arrays[TARGET], arrays.get(WEIGHT), spec.kind)
        meta["counts"] = {str(label): count for label, count in counts.items()}
        for label, pixels in foreground.items():
            arrays[f"{FOREGROUND}/{label}"] = pixels
    if TARGET in arrays and spec.kind is TargetKind.INSTANCES:
        meta[OBJECTS] = count_objects(arrays[TARGET][0])
    return Content(arrays, meta)


def smallest(labels: np.ndarray) -> np.ndarray:
    """Return labels in the smallest integer dtype that torch has as well.

    Example:
        >>> smallest(np.array([0, 255])).dtype, smallest(np.array([0, 256])).dtype
        (dtype('uint8'), dtype('int16'))
    """
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    for dtype in (np.uint8, np.int16, np.int32):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return labels.astype(dtype, copy=False)
    return labels.astype(np.int64, copy=False)


def _whole(target: np.ndarray) -> np.ndarray:
    if target.dtype.kind != "f":
        return target
    rounded = np.rint(target)
    if not np.array_equal(rounded, target):
        message = (
            "after data.preprocess the labels are fractions: a step interpolated them. Use mode: "
            "nearest for the target, or leave the target out of the step's keys"
        )
        raise DataError(message)
    whole: np.ndarray = rounded.astype(np.int64)
    return whole


def _check_shape(target: np.ndarray, prepared: Prepared) -> None:
    if target.shape[1:] != tuple(prepared.image.shape[1:]):
        message = (
            f"after data.preprocess the image has the shape {tuple(prepared.image.shape[1:])} and "
            f"the target {target.shape[1:]}: give the step that changes the size both keys, keys: "
            "[image, target]"
        )
        raise DataError(message)
