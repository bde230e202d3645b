"""What makes no sense in a translation between two domains without pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from imtoolkit.core.errors import Problem, did_you_mean, listed

from .values import Values

GENERATORS: Final = ("generator_ab", "generator_ba")
_DOMAINS: Final = ("a", "b")


def _fields(values: Values) -> Iterator[Problem]:
    if not _applies(values):
        return
    names = values.get("task.domains")
    if names is not None and (len(names) != 2 or len(set(names)) != 2):
        message = f"expects two names, of domain A and of domain B; got {names}"
        yield values.place("task.domains").problem(message)
    limits = values.get("task.data_range")
    if limits is not None and (len(limits) != 2 or limits[0] >= limits[1]):
        message = f"expects two numbers, the smaller first, such as [0, 1]; got {limits}"
        yield values.place("task.data_range").problem(message)
    if values.get("task.feature_matching_weight"):
        message = (
            "matches the features of a made image with those of its true counterpart, and here "
            "there is none: leave it out, or take the category pix2pix for pairs"
        )
        yield values.place("task.feature_matching_weight").problem(message)
    for key, known in (("starts", GENERATORS), ("encoders", _DOMAINS)):
        for name in values.get(f"task.{key}") or {}:
            if name not in known:
                hint = did_you_mean(str(name), known)
                message = f"'{name}' is not known.{hint} Known: {listed(known)}"
                yield values.place(f"task.{key}.{name}").problem(message)


def _data(values: Values) -> Iterator[Problem]:
    if not _applies(values):
        if any(step.get("name") == "for_domain" for step in _steps(values)):
            message = (
                "'for_domain' is for the two domains of the category cyclegan; this task has none. "
                "Name the transform by itself"
            )
            yield values.place("data").problem(message)
        return
    if values.get("data.degrade"):
        message = (
            "makes pairs of a clean and a degraded image, and this task learns without pairs. Move "
            "the transforms to data.augment, or take the category enhancement or pix2pix"
        )
        yield values.place("data.degrade").problem(message)
    if values.get("data.patch.foreground"):
        message = "centres patches on labels, and two unpaired domains have none: leave it out"
        yield values.place("data.patch.foreground").problem(message)


def _steps(values: Values) -> list[dict[str, Any]]:
    lists = [values.get(f"data.{key}") or [] for key in ("preprocess", "augment", "degrade")]
    return [step for steps in lists for step in steps]


def _applies(values: Values) -> bool:
    return bool(values.get("task.category") == "cyclegan")


CHECKS: Final = (_fields, _data)
"""All of them, in the order in which they are made."""
