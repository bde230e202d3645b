"""Are these pixels fit to learn from: checks of one sample, as read and as preprocessed.

Problems stop the run, all of them at once; warnings are told. The functions work on arrays and cost
a pass or two over the pixels, so that they can run while the cache is filled and each image is read
once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from imtoolkit.core.errors import Problem
from imtoolkit.core.facts import TargetKind, TargetSpec
from imtoolkit.io.picture import Picture

Pixels = NDArray[Any]
Found = tuple[list[Problem], list[str]]

LABELLED: Final = (TargetKind.LABELS, TargetKind.INSTANCES)
_BLOCK: Final = 1 << 22
"""Pixels that are looked at in one go, so that a check of a large volume needs little memory."""


def check_sample(
    image: Picture,
    target: Picture | None,
    weight: Picture | None,
    spec: TargetSpec,
    *,
    where: str,
    target_changes: bool = False,
    size_changes: bool = False,
) -> Found:
    """Check the pixels of a sample as they were read.

    Args:
        image: The image.
        target: The target, where it is made of pixels.
        weight: The cost map.
        spec: What the task wants of the target.
        where: Id of the sample, for the messages.
        target_changes: Whether preprocessing changes the target, as `binarize_target` does; its
            labels are then left to `check_prepared`.
        size_changes: Whether preprocessing changes the size of the image but not of its target, as
            `enlarge` does; sizes are then compared by `check_prepared`.

    Returns:
        Problems that forbid training, and warnings.
    """
    maps = {
        "target": None if target is None else target.pixels,
        "weight": None if weight is None else weight.pixels,
    }
    problems, warnings = _check_arrays(image.pixels, maps, spec, where, sizes=not size_changes)
    if image.pixels.size and _is_constant(image.pixels):
        warnings.append(f"{where}: image is constant: every pixel is {image.pixels.flat[0]}")
    if target is not None and spec.kind in LABELLED and not target_changes:
        found = check_labels(target.pixels, spec, where=where)
        problems, warnings = problems + found[0], warnings + found[1]
    return problems, warnings


def check_prepared(
    image: Pixels,
    target: Pixels | None,
    weight: Pixels | None,
    spec: TargetSpec,
    *,
    where: str,
) -> Found:
    """Check the arrays ``(C, [Z,] Y, X)`` of a sample after preprocessing.

    Finds what a transform did wrong (NaN after dividing by a spread of zero, an image resampled
    without its target) and labels that are no classes.
    """
    problems, warnings = _check_arrays(image, {"target": target, "weight": weight}, spec, where)
    problems = [
        Problem(f"{problem.message} (after preprocessing)", problem.where) for problem in problems
    ]
    if target is not None and spec.kind in LABELLED:
        found = check_labels(target, spec, where=where)
        problems, warnings = problems + found[0], warnings + found[1]
    return problems, warnings


def check_labels(labels: Pixels, spec: TargetSpec, *, where: str) -> Found:
    """Check that labels are whole numbers and, where there are classes, that each is one of them.

    Labels stored as floats are accepted if they are whole.
    """
    if labels.shape[0] > 1 and not spec.annotations:
        return [Problem(_channels(labels, spec), where)], []
    if labels.dtype.kind not in "biuf":
        return [Problem(f"labels are of type {labels.dtype}, expected whole numbers", where)], []
    if labels.dtype.kind == "f":
        if not _all_finite(labels):
            return [], []  # told with the other maps
        if (broken := _first_fraction(labels)) is not None:
            remedy = (
                "save them as integers; for a map of probabilities, preprocess with binarize_target"
            )
            message = (
                f"labels must be whole numbers, but there are values such as {broken:g}: {remedy}"
            )
            return [Problem(message, where)], []
    lowest, highest = labels.min(initial=0), labels.max(initial=0)
    count = len(spec.classes)
    if lowest < 0 or (spec.kind is TargetKind.LABELS and count and highest >= count):
        return [Problem(_outside(labels, spec), where)], []
    if highest == 0 and spec.kind is not TargetKind.INSTANCES:  # those are counted for the set
        return [], [f"{where}: target is empty: every pixel is 0"]
    return [], []


def _channels(labels: Pixels, spec: TargetSpec) -> str:
    count = len(labels)
    message = f"target has {count} channels, expected one with a label for each pixel"
    if spec.kind is not TargetKind.INSTANCES or count not in (3, 4):
        return f"{message}. Choose one, or save labels instead of colours"
    return (
        f"{message}: objects are drawn in colours, it seems. Save the number of each object, not "
        "its colour: numpy.unique(colours.reshape(-1, "
        f"{count}), axis=0, return_inverse=True) numbers them. If the channels are equal, choose "
        "one with data.target_channels: [0]"
    )


def _check_arrays(
    image: Pixels,
    maps: dict[str, Pixels | None],
    spec: TargetSpec,
    where: str,
    *,
    sizes: bool = True,
) -> Found:
    problems: list[Problem] = []
    if image.size == 0:
        return [Problem(f"image is empty: its shape is {image.shape}", where)], []
    problems += _not_finite(image, "image", where)
    for name, pixels in maps.items():
        if pixels is None or (name == "target" and spec.kind in _NO_PIXELS):
            continue
        problems += _not_finite(pixels, name, where)
        if sizes and pixels.shape[1:] != image.shape[1:]:
            problems.append(Problem(_sizes(name, pixels, image, spec), where))
    weight = maps.get("weight")
    return problems + _check_weight(weight, where), _weight_warnings(weight, where)


_NO_PIXELS: Final = (
    TargetKind.CLASS,
    TargetKind.CLASSES,
    TargetKind.NUMBER,
    TargetKind.NONE,
)


def _sizes(name: str, pixels: Pixels, image: Pixels, spec: TargetSpec) -> str:
    text = f"image is {_size(image)}, its {name} {_size(pixels)}: they must be of one size"
    if pixels.ndim == image.ndim and pixels.shape[1:] == image.shape[1:][::-1]:
        return f"{text}. The {name} looks transposed: check its axes (data.target_axes)"
    if pixels.ndim != image.ndim:
        return f"{text}. Check data.axes and data.target_axes"
    if spec.kind is TargetKind.IMAGE and (factors := whole_factors(image, pixels)) is not None:
        factor = str(factors[0]) if len(set(factors)) == 1 else str(factors)
        return (
            f"{text}. For super-resolution enlarge the image: begin data.preprocess with {{name: "
            f"enlarge, params: {{factor: {factor}}}}}"
        )
    return f"{text}. Pair the right files, or crop and resample one of them"


def whole_factors(image: Pixels, target: Pixels) -> list[int] | None:
    """Return by which whole numbers a target is larger than its image; ``None`` if by none."""
    pairs = list(zip(image.shape[1:], target.shape[1:], strict=True))
    if all(side and large % side == 0 for side, large in pairs):
        return [large // side for side, large in pairs]
    return None


def _size(pixels: Pixels) -> str:
    return " x ".join(map(str, pixels.shape[1:]))


def _check_weight(weight: Pixels | None, where: str) -> list[Problem]:
    if weight is None or not weight.size:
        return []
    if weight.shape[0] > 1:
        return [Problem(f"weight has {weight.shape[0]} channels, expected one", where)]
    lowest = weight.min()
    if lowest < 0:
        message = f"weight is negative ({lowest:g}): expected 0 to ignore a pixel, or more"
        return [Problem(message, where)]
    return []


def _weight_warnings(weight: Pixels | None, where: str) -> list[str]:
    if weight is None or not weight.size or weight.max() != 0:
        return []
    return [f"{where}: weight is 0 everywhere: the image teaches nothing"]


def _not_finite(pixels: Pixels, name: str, where: str) -> list[Problem]:
    if _all_finite(pixels):
        return []
    bad = sum(int((~np.isfinite(block)).sum()) for block in _blocks(pixels))
    message = f"{name} has {bad} NaN or infinite pixels of {pixels.size}: replace them in the file"
    return [Problem(message, where)]


def _all_finite(pixels: Pixels) -> bool:
    if pixels.dtype.kind not in "fc":
        return True
    return all(np.isfinite(block).all() for block in _blocks(pixels))


def _is_constant(pixels: Pixels) -> bool:
    first = pixels.flat[0]
    # nearly every image differs within its first block
    return all((block == first).all() for block in _blocks(pixels))


def _first_fraction(pixels: Pixels) -> float | None:
    for block in _blocks(pixels):
        broken = block != np.rint(block)
        if broken.any():
            return float(block[broken][0])
    return None


def _blocks(pixels: Pixels) -> Iterable[Pixels]:
    flat = pixels.reshape(-1)
    return (flat[start : start + _BLOCK] for start in range(0, flat.size, _BLOCK))


def _outside(labels: Pixels, spec: TargetSpec) -> str:
    values = np.unique(labels)
    count = len(spec.classes)
    shown = ", ".join(f"{value:g}" for value in values[:8]) + (", ..." if len(values) > 8 else "")
    if spec.kind is TargetKind.INSTANCES or count == 0:
        return (
            f"labels are negative: got {shown}, expected 0 for background and 1, 2, ... for objects"
        )
    names = ", ".join(f"{at} {name}" for at, name in enumerate(spec.classes[:8]))
    text = f"labels {shown} are found, expected 0 to {count - 1} ({names})"
    if values[0] >= 0 and len(values) == 2 and values[0] == 0:
        return f"{text}. A mask of 0 and {values[1]:g}: add binarize_target to data.preprocess"
    if values[0] >= 0 and count == 2:
        return (
            f"{text}. If they number objects, add binarize_target to data.preprocess; if they are "
            "classes, name all of them in task.classes"
        )
    if values[0] >= 0 and len(values) <= count:
        return f"{text}. Give them the numbers of the classes with map_labels in data.preprocess"
    return (
        f"{text}. Name more classes in task.classes, or change labels with map_labels in "
        "data.preprocess"
    )
