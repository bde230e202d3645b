"""Values of the section ``data`` that make no sense, alone or together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from imtoolkit.config.limits import AXES
from imtoolkit.config.sections import PatchConfig
from imtoolkit.core.errors import Problem, listed

from .values import Values


def _axes(values: Values) -> Iterator[Problem]:
    for key in ("data.axes", "data.target_axes"):
        axes = values.get(key)
        if axes is None:
            continue
        unknown = sorted(set(axes) - set(AXES))
        if unknown:
            message = (
                f"unknown axis {listed(unknown)} in '{axes}'; the letters are {', '.join(AXES)}"
            )
            yield values.place(key).problem(message)
        elif len(set(axes)) != len(axes):
            yield values.place(key).problem(f"an axis stands twice in '{axes}'")
        elif not {"Y", "X"} <= set(axes):
            yield values.place(key).problem(f"'{axes}' lacks Y or X: an image has both")
    z_range = values.get("data.z_range")
    if z_range is not None and (len(z_range) != 2 or not 0 <= z_range[0] < z_range[1]):
        message = f"expects [first, past the last] such as [10, 20], got {z_range}"
        yield values.place("data.z_range").problem(message)


def _split(values: Values) -> Iterator[Problem]:
    parts = {name: values.get(f"data.split.{name}") for name in ("val", "test", "naive")}
    fractions = {name: value for name, value in parts.items() if isinstance(value, float)}
    for name, value in fractions.items():
        if value > 1 or (value == 1 and name != "test"):
            place = values.place(f"data.split.{name}")
            message = f"{value} is neither a fraction below 1 nor a whole number of images"
            yield place.problem(message)
    total = sum(value for name, value in fractions.items() if name != "naive")
    if total >= 1 and all(value < 1 for value in fractions.values()):
        message = (
            f"validation and test take {total:g} of the images, which leaves none for training"
        )
        yield values.place("data.split").problem(message)
    if parts["naive"] and not values.get("data.split.group_by"):
        message = "unseen groups need 'group_by': the column that tells the groups"
        yield values.place("data.split.naive").problem(message)
    yield from _folds(values)


def _folds(values: Values) -> Iterator[Problem]:
    folds, fold = values.get("data.split.folds"), values.get("data.split.fold")
    if folds is None:
        if fold:
            message = "needs 'folds', the number of folds"
            yield values.place("data.split.fold").problem(message)
        return
    if fold is not None and fold >= folds:
        message = f"counts from 0, so with {folds} folds it is at most {folds - 1}"
        yield values.place("data.split.fold").problem(message)
    if values.get("data.split.val") is not None:
        message = "with 'folds' validation is one fold, and 'val' is not used. Remove one of them"
        yield values.place("data.split.val").problem(message)


def _sizes(values: Values) -> Iterator[Problem]:
    axes = values.get("data.axes")
    dims = None if axes is None else 3 if "Z" in axes else 2
    for key in ("data.patch.size", "inference.tile"):
        size = values.get(key)
        if size is None:
            continue
        if len(size) not in (2, 3) or any(side < 1 for side in size):
            message = f"expects [Y, X] or [Z, Y, X] in pixels, got {size}"
            yield values.place(key).problem(message)
        elif dims is not None and len(size) != dims:
            message = (
                f"{size} has {len(size)} sides, and images with the axes {axes} have {dims}. Give "
                f"{'[Z, Y, X]' if dims == 3 else '[Y, X]'}, or mend data.axes"
            )
            yield values.place(key).problem(message)
    size, per_image = values.get("data.patch.size"), values.get("data.patch.per_image")
    if size is None and (per_image or PatchConfig.per_image) > 1:
        message = "several patches of an image need 'size'; without it the whole image is used"
        yield values.place("data.patch.per_image").problem(message)
    yield from _zoom(values, size)
    overlap = values.get("inference.overlap")
    if overlap is not None and not 0 <= overlap < 1:
        message = f"is a fraction of a tile, at least 0 and below 1, got {overlap}"
        yield values.place("inference.overlap").problem(message)


def _zoom(values: Values, size: Any) -> Iterator[Problem]:
    zoom = values.get("data.patch.zoom")
    if zoom is None:
        if values.get("data.patch.zoom_prob") not in (None, PatchConfig.zoom_prob):
            message = "says how often patches are zoomed, and needs data.patch.zoom"
            yield values.place("data.patch.zoom_prob").problem(message)
        return
    place = values.place("data.patch.zoom")
    if len(zoom) != 2 or not 0 < zoom[0] <= zoom[1]:
        message = (
            f"expects the smallest and the largest magnification, both above 0, got {zoom}. Such "
            "as [0.5, 2]"
        )
        yield place.problem(message)
    elif size is None:
        yield place.problem("changes how much a patch shows, and needs data.patch.size")
    elif values.get("task.category") == "noise2void":
        message = (
            "interpolates between pixels, which makes their noise alike, and noise2void would then "
            "learn the noise: leave it out"
        )
        yield place.problem(message)


def _sources(values: Values) -> Iterator[Problem]:
    sources = values.get("data.sources") or {}
    if not sources:
        message = "there is no source of images. Write data.source: {name: folder, params: {...}}"
        yield values.place("data.sources").problem(message)
        return
    roles = {name: source.get("role", "all") for name, source in sources.items()}
    if not {"all", "train"} & set(roles.values()):
        message = "no source is for training: give one the role 'all' or 'train'"
        yield values.place("data.sources").problem(message)
    for name, source in sources.items():
        if source.get("weight", 1.0) < 0:
            place = values.place(f"data.sources.{name}.weight")
            yield place.problem("must be at least 0")
        if not re.fullmatch(r"\w[\w.-]*", str(name)):
            message = (
                f"'{name}' names a data set in tables and files: begin with a letter or digit, and "
                "use letters, digits, '.', '_' and '-'"
            )
            yield values.place(f"data.sources.{name}").problem(message)


def _same_files(values: Values) -> Iterator[Problem]:
    """Refuse to learn an image from itself."""
    if values.get("data.target_channels"):
        return
    for name, source in (values.get("data.sources") or {}).items():
        params = (source.get("source") or {}).get("params") or {}
        image, target = params.get("image"), params.get("target")
        if isinstance(target, str) and isinstance(image, str) and target == image:
            message = (
                "is the same as 'image'. If the file holds both, say which of its channels are the "
                "input and which are to be predicted: data.channels and data.target_channels"
            )
            yield values.place(f"data.sources.{name}.source.params.target").problem(message)


def _tabular(values: Values) -> Iterator[Problem]:
    columns = values.get("data.tabular") or []
    names = [column.get("column") for column in columns]
    learnt = _learnt(values)
    for place, column in enumerate(columns):
        key, name = f"data.tabular.{place}", column.get("column")
        if name in names[:place]:
            yield values.place(key).problem(f"the column '{name}' stands twice")
        if name in learnt:
            message = (
                f"'{name}' is what the task learns: a net that is given the answer learns nothing "
                "else. Leave it out, or name another column"
            )
            yield values.place(key).problem(message)
        texts = column.get("values")
        if texts is None:
            continue
        if not texts or len(set(texts)) != len(texts):
            message = f"expects the texts of the column, each once, got {texts}"
            yield values.place(f"{key}.values").problem(message)
        if column.get("fill") is not None:
            message = (
                "is a number for the gaps of a column of numbers; with 'values' a gap is none of "
                "them. Leave it out, or name the text that stands for a gap in 'values'"
            )
            yield values.place(f"{key}.fill").problem(message)


def _learnt(values: Values) -> set[str]:
    """Return the columns of the table that hold what the task learns."""
    category = values.get("task.category")
    if category == "multitask":
        heads = (values.get("task.heads") or {}).items()
        of_table = [(name, head) for name, head in heads if head.get("kind") in _OF_TABLE]
        return {column for name, head in of_table for column in head.get("columns") or [name]}
    if category not in _OF_TABLE:
        return set()
    sources = (values.get("data.sources") or {}).values()
    params = [(source.get("source") or {}).get("params") or {} for source in sources]
    named = values.get("task.columns") or [item.get("target") for item in params]
    return {"target", *(name for name in named if isinstance(name, str))}


def _degrade(values: Values) -> Iterator[Problem]:
    if not values.get("data.degrade"):
        return
    category = values.get("task.category")
    heads = (values.get("task.heads") or {}).values()
    if category in _NO_IMAGES or (
        category == "multitask" and "enhancement" not in [head.get("kind") for head in heads]
    ):
        article = "an" if category.startswith("e") else "a"
        message = (
            f"makes pairs of images for a task that learns images, which {article} {category} does "
            "not. Move the transforms to data.augment"
        )
        yield values.place("data.degrade").problem(message)
    for name, source in (values.get("data.sources") or {}).items():
        params = (source.get("source") or {}).get("params") or {}
        if params.get("target") is not None:
            key = f"data.sources.{name}.source.params.target"
            message = (
                "with data.degrade the target is the image itself, before it is degraded. Leave "
                "'target' out, or leave out data.degrade"
            )
            yield values.place(key).problem(message)


_OF_TABLE: Final = ("classification", "regression")
_NO_IMAGES: Final = (
    *("segmentation", "embedseg", "classification", "regression", "probabilistic_unet"),
)

CHECKS: Final = (_axes, _split, _sizes, _sources, _same_files, _tabular, _degrade)
"""All of them, in the order in which they are made."""
