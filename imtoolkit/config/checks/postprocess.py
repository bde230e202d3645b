"""Steps of post-processing: whether each can read what it names, and what the last makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from imtoolkit.config.steps import shape_of
from imtoolkit.core.chains import RESULT, Makes, follow, misfits, unfit_result
from imtoolkit.core.errors import Problem

from .values import Values

_OF_CLASSES: Final = ("segmentation", "probabilistic_unet")
_OF_IMAGES: Final = ("enhancement", "noise2void", "pix2pix", "cyclegan")
_NO_PIXELS: Final = ("classification", "regression")
_EMBEDDED: Final = ("offsets", "scales", "seeds")
KEY: Final = "inference.postprocess"


def _chain(values: Values) -> Iterator[Problem]:
    category, steps = values.get("task.category"), values.get(KEY)
    if category == "multitask":
        if steps is not None:
            message = (
                "the steps of a net of several heads belong to a head: task.heads.NAME.postprocess"
            )
            yield values.place(KEY).problem(message)
        for name, head in (values.get("task.heads") or {}).items():
            key = f"task.heads.{name}.postprocess"
            if head.get("postprocess") is not None:
                yield from _steps(values, key, str(head.get("kind")), head)
    elif steps is not None:
        yield from _steps(values, KEY, str(category), values.get("task") or {})


def _steps(values: Values, key: str, kind: str, goal: Mapping[str, Any]) -> Iterator[Problem]:
    steps = values.get(key) or []
    if kind in _NO_PIXELS:
        if steps:
            message = f"a {kind} has no pixels to work on: leave the steps out"
            yield values.place(key).problem(message)
        return
    shapes = [shape_of(str(step.get("name")), step.get("params") or {}) for step in steps]
    names = {name for shape in shapes for name in shape.reads.values()}
    known = _known(kind, goal, names)
    if known is None:
        return
    found = False
    for number, parameter, message in misfits(shapes, known):
        found = True
        yield values.place(f"{key}.{number}.params.{parameter}").problem(message)
    if steps and not found and all(shape.to != RESULT for shape in shapes):
        message = (
            f"no step makes '{RESULT}', so that the steps change nothing: leave 'to' out of the "
            "last one"
        )
        yield values.place(f"{key}.{len(steps) - 1}.params.to").problem(message)
        found = True
    if not found:
        message = unfit_result(
            follow(shapes, known)[RESULT], truth_of(kind, goal), len(classes_of(kind, goal))
        )
        if message:
            yield values.place(f"{key}.{max(len(steps) - 1, 0)}").problem(message)


def classes_of(kind: str, goal: Mapping[str, Any]) -> list[str]:
    """Return the names of the classes of pixels, those that are filled in included."""
    if kind not in _OF_CLASSES:
        return []
    given = list(goal.get("classes") or [])
    instances = goal.get("instances")
    if given or instances is None:
        return given
    return ["background", "inside", *(["boundary"] if instances.get("boundary", 1) else [])]


def truth_of(kind: str, goal: Mapping[str, Any]) -> Makes:
    """Return what a result is measured against."""
    if kind == "embedseg" or goal.get("instances") is not None:
        return Makes.INSTANCES
    return Makes.CLASSES if kind in _OF_CLASSES else Makes.MAP


def _known(kind: str, goal: Mapping[str, Any], read: set[str]) -> dict[str, Makes | None] | None:
    """Return what stands under each name before the first step, or nothing where nobody knows."""
    if kind in _OF_CLASSES:
        maps: list[str] = classes_of(kind, goal)
        return {**dict.fromkeys(maps, Makes.MAP), RESULT: Makes.CLASSES}
    if kind in _OF_IMAGES:  # only the data tell how many channels there are
        maps = ["0", *(name for name in sorted(read) if name.isdecimal())]
        return {**dict.fromkeys(maps, Makes.MAP), RESULT: Makes.MAP}
    if kind == "embedseg":
        return {**dict.fromkeys(_EMBEDDED, Makes.MAP), RESULT: Makes.MAP}
    return None


CHECKS: Final = (_chain,)
"""All of them, in the order in which they are made."""
