"""What steps of post-processing read and make, followed from one to the next without running them.

The check of a config (without torch) and a built chain share it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from imtoolkit.core.errors import did_you_mean, listed

RESULT: Final = "result"
"""Name of what the step before has made; at the end, of what the chain makes."""


class Makes(StrEnum):
    """What a step makes of what it reads."""

    MAP = "map"
    """Real numbers ``([Z,] Y, X)``."""
    MASK = "mask"
    """True and false ``([Z,] Y, X)``."""
    CLASSES = "classes"
    """Class numbers ``([Z,] Y, X)``."""
    INSTANCES = "instances"
    """Object numbers ``([Z,] Y, X)``, 0 for background."""
    SAME = "same"
    """What it has read, with other values."""


IN_WORDS: Final = {
    Makes.MAP: "a map of real numbers",
    Makes.MASK: "a mask",
    Makes.CLASSES: "class numbers",
    Makes.INSTANCES: "objects",
}
"""What a map is, for messages."""

_REMEDIES: Final = {
    (Makes.MAP, Makes.MASK): "threshold makes a mask of a map",
    (Makes.MAP, Makes.CLASSES): "threshold makes a mask of a map, class_map classes of several",
    (Makes.MAP, Makes.INSTANCES): "seeds makes objects of a map",
    (Makes.MASK, Makes.INSTANCES): "connected_components makes objects of a mask",
    (Makes.CLASSES, Makes.INSTANCES): "connected_components makes objects of classes",
    (Makes.MASK, Makes.MAP): "distance or smooth makes a map of a mask",
    (Makes.CLASSES, Makes.MAP): "read the probability of a class by its name, or use distance",
    (Makes.CLASSES, Makes.MASK): "threshold makes a mask of the probability of a class",
    (Makes.INSTANCES, Makes.MAP): "distance makes a map of objects",
    (Makes.INSTANCES, Makes.CLASSES): "merge_instances brings objects of several maps together",
}


@dataclass(frozen=True)
class StepShape:
    """What is known of a step.

    Attributes:
        name: Its name in the config.
        reads: Parameter that names a map -> the name.
        takes: Such a parameter -> what the map may be; empty, anything.
        to: Name under which its result stands.
        makes: What comes out; ``None`` where it is not known.
        same_as: Parameter whose map tells what comes out, where that is ``SAME``.
    """

    name: str
    reads: Mapping[str, str] = field(default_factory=dict)
    takes: Mapping[str, tuple[Makes, ...]] = field(default_factory=dict)
    to: str = RESULT
    makes: Makes | None = None
    same_as: str = "of"


Known = dict[str, Makes | None]


def follow(steps: Sequence[StepShape], known: Mapping[str, Makes | None]) -> Known:
    """Return what stands under each name after the last step.

    Example:
        >>> smooth = StepShape("smooth", {"of": "nucleus"}, to="soft", makes=Makes.MAP)
        >>> follow([smooth], {"result": Makes.CLASSES, "nucleus": Makes.MAP})["soft"].value
        'map'
    """
    kinds: Known = dict(known)
    for step in steps:
        _take(step, kinds)
    return kinds


def misfits(
    steps: Sequence[StepShape], known: Mapping[str, Makes | None]
) -> Iterator[tuple[int, str, str]]:
    """Yield number of the step, parameter and message of each step that cannot read what it names.

    Args:
        steps: The steps in their order.
        known: What stands under each name at the beginning; ``None`` where it is not known.
    """
    kinds: Known = dict(known)
    for number, step in enumerate(steps):
        for parameter, name in step.reads.items():
            if name not in kinds:
                yield number, parameter, _no_map(step, name, kinds, steps[number:])
                continue
            kind, wanted = kinds[name], step.takes.get(parameter, ())
            if kind is not None and wanted and kind not in wanted:
                yield number, parameter, _wrong_kind(step, parameter, name, kind, wanted)
        _take(step, kinds)


def unfit_result(made: Makes | None, truth: Makes, classes: int) -> str:
    """Return why a result cannot be compared with the truth; empty where it can.

    Images of real numbers are measured before steps turn them into something else.

    Args:
        made: What the chain makes; ``None`` where it is not known.
        truth: ``CLASSES``, ``INSTANCES`` or ``MAP``.
        classes: Number of classes, where the truth is classes.

    Example:
        >>> unfit_result(Makes.MASK, Makes.INSTANCES, 2)
        'the steps end with a mask, and the truth is objects: end with connected_components'
    """
    if made is None or truth is Makes.MAP or made is truth:
        return ""
    if truth is Makes.INSTANCES:
        end = "connected_components" if made in (Makes.MASK, Makes.CLASSES) else "watershed"
        return f"the steps end with {IN_WORDS[made]}, and the truth is objects: end with {end}"
    if made is Makes.INSTANCES:
        return (
            "the steps end with objects, and the truth is class numbers, so that they could not be "
            "measured: set task.instances, with targets that number the objects "
            "(connected_components in data.preprocess numbers the parts of a mask)"
        )
    if made is Makes.MASK and classes <= 2:
        return ""
    end = "class_map" if made is Makes.MAP else "merge_classes, which says which class it is"
    end = "threshold or class_map" if made is Makes.MAP and classes <= 2 else end
    return f"the steps end with {IN_WORDS[made]}, and the truth is class numbers: end with {end}"


def _take(step: StepShape, kinds: Known) -> None:
    made = step.makes
    if made is Makes.SAME:
        made = kinds.get(step.reads.get(step.same_as, RESULT))
    kinds[step.to] = made


def _no_map(step: StepShape, name: str, kinds: Known, rest: Sequence[StepShape]) -> str:
    message = f"'{step.name}' reads '{name}', and there is no such map."
    later = [item.name for item in rest[1:] if item.to == name]
    if later:
        return f"{message} '{later[0]}' makes it, but later: change the order"
    return f"{message}{did_you_mean(name, kinds)} There is {listed(list(kinds), 20)}"


def _wrong_kind(
    step: StepShape, parameter: str, name: str, kind: Makes, wanted: Sequence[Makes]
) -> str:
    able = " or ".join(IN_WORDS[item] for item in wanted)
    remedy = next((_REMEDIES[kind, item] for item in wanted if (kind, item) in _REMEDIES), "")
    key = "" if parameter == "of" else f" as '{parameter}'"
    return (
        f"'{step.name}' needs {able}{key}, and '{name}' is {IN_WORDS[kind]} there"
        f"{f': {remedy}' if remedy else ''}"
    )
