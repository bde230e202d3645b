"""What the fields of each category of tasks, and of the heads of a net, must be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from imtoolkit.core.batch import DRAW, MAIN_KEYS, PREDICTION, TABULAR
from imtoolkit.core.errors import Problem, did_you_mean, listed

from .values import Values

KINDS: Final = ("segmentation", "classification", "regression", "enhancement")
"""What a head can learn."""
_RESERVED: Final = (*MAIN_KEYS, TABULAR, DRAW, PREDICTION, "loss", "output")
_ONLY_FOR: Final = {
    "classes": ("segmentation", "classification"),
    "class_weights": ("segmentation", "classification"),
    "multilabel": ("classification",),
    "columns": ("classification", "regression"),
    "channels": ("segmentation", "enhancement"),
}
"""Field of a head -> the kinds that have it."""
_OTHERS: Final = ("noise2void", "multitask")
_OF_IMAGES: Final = ("classification", "regression")
_CLASS_LISTS: Final = {
    "segmentation": "segmentation",
    "classification": "classification",
    "probabilistic_unet": "segmentation",
}
"""Category with classes -> the kind of head that is like it."""


def _classes(values: Values) -> Iterator[Problem]:
    category = values.get("task.category")
    by_objects = category == "segmentation" and values.get("task.instances") is not None
    if by_objects:
        yield from _classes_of_objects(values)
    if category in _CLASS_LISTS and not (by_objects and not values.get("task.classes")):
        yield from _class_list(values, "task", _CLASS_LISTS[category])
    for name, head in (values.get("task.heads") or {}).items():
        if head.get("kind") in ("segmentation", "classification"):
            yield from _class_list(values, f"task.heads.{name}", head["kind"])


def _classes_of_objects(values: Values) -> Iterator[Problem]:
    """Check what a segmentation into objects is asked for."""
    width = values.get("task.instances.boundary", 1)
    if 0 < width < 1 or width < 0:
        message = f"is 1 pixel or more, or 0 for none; got {width}"
        yield values.place("task.instances.boundary").problem(message)
    usual = ["background", "inside", *(["boundary"] if width else [])]
    classes = values.get("task.classes") or usual
    if len(classes) != len(usual):
        message = (
            f"objects are learnt as {', '.join(usual)}: leave the names out, or give "
            f"{len(usual)} in this order; got {classes}"
        )
        yield values.place("task.classes").problem(message)
    weights = values.get("task.class_weights")
    if weights is not None and not values.get("task.classes") and len(weights) != len(usual):
        message = f"has {len(weights)} numbers for the classes {', '.join(usual)}"
        yield values.place("task.class_weights").problem(message)
    if values.get("task.surface_tolerance", 1.0) != 1.0:
        message = "belongs to the surfaces of classes, and objects are learnt: leave it out"
        yield values.place("task.surface_tolerance").problem(message)


def _distances(values: Values) -> Iterator[Problem]:
    """Check what an enhancement is asked for whose targets are objects."""
    if values.get("task.instances") is None:
        return
    if values.get("task.category") == "noise2void":
        message = "noise2void learns to denoise; objects are learnt by category: enhancement"
        yield values.place("task.instances").problem(message)
    if values.get("task.category") != "enhancement":
        return
    for key, usual in (("residual", False), ("complex_channels", False), ("data_range", None)):
        if values.get(f"task.{key}", usual) != usual:
            message = "belongs to images, and the distance to the edge of objects is learnt"
            yield values.place(f"task.{key}").problem(f"{message}: leave it out")
    if values.get("data.degrade"):
        message = "makes the input out of a clean image, and the targets are objects"
        yield values.place("data.degrade").problem(message)


def _class_list(values: Values, key: str, kind: str) -> Iterator[Problem]:
    """Check the names of classes, and their weights."""
    classes = values.get(f"{key}.classes") or []
    place = values.place(f"{key}.classes")
    several = bool(values.get(f"{key}.multilabel"))
    if len(classes) < (1 if several else 2):
        yield place.problem(f"{_wanted(kind, several)}; got {classes}")
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice:
        yield place.problem(f"the class {listed(twice)} stands twice")
    odd = [name for name in classes if not re.fullmatch(r"[^/\s](?:[^/]*[^/\s])?", name)]
    if odd:
        message = f"the class name {listed(odd)} becomes part of metric names and cannot hold '/'"
        yield place.problem(message)
    weights = values.get(f"{key}.class_weights")
    if weights is not None and len(weights) != len(classes):
        message = f"has {len(weights)} numbers for {len(classes)} classes"
        yield values.place(f"{key}.class_weights").problem(message)
    elif weights is not None and (min(weights) < 0 or sum(weights) == 0):
        message = f"must be positive, got {weights}"
        yield values.place(f"{key}.class_weights").problem(message)


def _wanted(kind: str, several: bool) -> str:
    if kind == "segmentation":
        return (
            "'classes' names at least two classes in the order of their labels, background first, "
            "such as [background, nucleus]"
        )
    if several:
        return "'classes' names the classes as the table has them, at least one"
    return (
        "'classes' names at least two classes as the table has them, such as [healthy, sick]; for "
        "any number of classes of an image set multilabel: true"
    )


def _classification(values: Values) -> Iterator[Problem]:
    if values.get("task.category") != "classification":
        return
    smoothing = values.get("task.label_smoothing")
    if smoothing and values.get("task.losses"):
        message = (
            "belongs to the default loss, and losses are given: set the parameter of the loss, "
            "such as {name: cross_entropy, params: {label_smoothing: 0.1}}"
        )
        yield values.place("task.label_smoothing").problem(message)
    if smoothing == 1:
        yield values.place("task.label_smoothing").problem("must be below 1: nothing would be left")


def _whole_images(values: Values) -> Iterator[Problem]:
    category = values.get("task.category")
    if category in _OF_IMAGES and values.get("inference.tile") is not None:
        message = f"a {category} takes whole images: leave the tile out"
        yield values.place("inference.tile").problem(message)


def _enhancement(values: Values) -> Iterator[Problem]:
    limits = values.get("task.data_range")
    if (
        values.get("task.category") not in ("enhancement", "noise2void", "pix2pix")
        or limits is None
    ):
        return
    if len(limits) != 2 or limits[0] >= limits[1]:
        message = f"expects two numbers, the smaller first, such as [0, 1]; got {limits}"
        yield values.place("task.data_range").problem(message)


def _noise2void(values: Values) -> Iterator[Problem]:
    masked = values.get("task.masked")
    if values.get("task.category") == "noise2void" and masked is not None and not 0 < masked < 1:
        message = f"is a fraction of the pixels, above 0 and below 1, such as 0.02; got {masked}"
        yield values.place("task.masked").problem(message)


def _probabilistic(values: Values) -> Iterator[Problem]:
    category = values.get("task.category")
    for role, net in (values.get("task.nets") or {}).items():
        if net.get("name") == "probabilistic_unet" and category in (*KINDS, *_OTHERS):
            message = (
                f"a {category} would never train its posterior: take category: probabilistic_unet, "
                "or the U-Net alone: UNet"
            )
            yield values.place(f"task.nets.{role}").problem(message)
    if category != "probabilistic_unet":
        return
    for name in ("reconstruction", "kl"):
        if name in (values.get("task.losses") or {}):
            message = (
                f"'{name}' is the name of a part of this category's loss: give the term another "
                "name. The factor of the divergence is task.beta"
            )
            yield values.place(f"task.losses.{name}").problem(message)


def _heads(values: Values) -> Iterator[Problem]:
    if values.get("task.category") != "multitask":
        return
    heads = values.get("task.heads") or {}
    if not heads:
        message = (
            "names the outputs of the net and what each learns, such as "
            "{mask: {kind: segmentation, classes: [background, cell]}}"
        )
        yield values.place("task.heads").problem(message)
    for name, head in heads.items():
        yield from _head_name(values, str(name))
        yield from _head_fields(values, str(name), head)
    if values.get("task.metrics") is not None:
        message = "give metrics to the heads: task.heads.NAME.metrics"
        yield values.place("task.metrics").problem(message)
    for name, term in (values.get("task.losses") or {}).items():
        if term.get("prediction") is None and heads:
            message = f"set 'prediction' to the head that the term reads: {listed(list(heads))}"
            yield values.place(f"task.losses.{name}").problem(message)


def _head_name(values: Values, name: str) -> Iterator[Problem]:
    place = values.place(f"task.heads.{name}")
    if not re.fullmatch(r"\w[\w-]*", name):
        message = f"'{name}' names columns and metrics: use letters, digits, '_' and '-'"
        yield place.problem(message)
    elif name in _RESERVED:
        yield place.problem(f"'{name}' has a meaning of its own: choose another name for the head")


def _head_fields(values: Values, name: str, head: dict[str, object]) -> Iterator[Problem]:
    kind, key = str(head.get("kind")), f"task.heads.{name}"
    if kind not in KINDS:
        message = f"'{kind}' is not known.{did_you_mean(kind, KINDS)} Known: {listed(KINDS)}"
        yield values.place(f"{key}.kind").problem(message)
        return
    for field, kinds in _ONLY_FOR.items():
        if head.get(field) and kind not in kinds:
            message = f"a {kind} has none; it belongs to a {' or '.join(kinds)}"
            yield values.place(f"{key}.{field}").problem(message)
    columns = values.get(f"{key}.columns") or []
    if kind == "classification" and len(columns) > 1 and not head.get("multilabel"):
        message = (
            f"a class stands in one column, got {columns}; several columns of 0 and 1 need "
            "multilabel: true"
        )
        yield values.place(f"{key}.columns").problem(message)
    yield from _columns_twice(values, key)
    channels = values.get(f"{key}.channels")
    if kind == "segmentation" and channels is not None and len(channels) != 1:
        message = f"labels stand in one channel of the target image, such as [0]; got {channels}"
        yield values.place(f"{key}.channels").problem(message)


def _regression(values: Values) -> Iterator[Problem]:
    if values.get("task.category") == "regression":
        yield from _columns_twice(values, "task")


def _columns_twice(values: Values, key: str) -> Iterator[Problem]:
    columns = values.get(f"{key}.columns") or []
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        yield values.place(f"{key}.columns").problem(f"the column {listed(twice)} stands twice")


def _outputs(values: Values) -> Iterator[Problem]:
    of_one_output = (*KINDS, "noise2void", "embedseg", "pix2pix", "probabilistic_unet")
    if values.get("task.category") not in of_one_output:
        return
    for name, term in (values.get("task.losses") or {}).items():
        if term.get("prediction") is not None:
            message = (
                "this category learns the one output of its net: leave it out. Several outputs "
                "are learnt by category: multitask"
            )
            yield values.place(f"task.losses.{name}.prediction").problem(message)


CHECKS: Final = (
    *(_classes, _distances, _classification, _regression, _whole_images, _enhancement),
    *(_noise2void, _probabilistic, _heads, _outputs),
)
"""All of them, in the order in which they are made."""
