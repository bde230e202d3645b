"""What the built-in steps of post-processing read and make, for checks that import none of them.

A test compares the table with the steps themselves (`imtoolkit.inference.postprocess`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from imtoolkit.core.chains import RESULT, Makes, StepShape

MAP: Final = (Makes.MAP,)
LABELS: Final = (Makes.MASK, Makes.CLASSES, Makes.INSTANCES)
OF: Final = {"of": RESULT}


@dataclass(frozen=True)
class Step:
    """A built-in step.

    Attributes:
        makes: What comes out.
        takes: Parameter that names a map -> what the map may be; empty, anything.
        default: The name where the parameter is left out; without it nothing is read then.
        several: A parameter that names any number of maps, in a list or as keys.
        kinds: What each of these may be.
    """

    makes: Makes
    takes: Mapping[str, tuple[Makes, ...]] = field(default_factory=dict)
    default: Mapping[str, str] = field(default_factory=lambda: OF)
    several: str | None = None
    kinds: tuple[Makes, ...] = ()


_SHAPED: Final = Step(Makes.SAME, {"of": LABELS})

STEPS: Final[dict[str, Step]] = {
    "threshold": Step(Makes.MASK, {"of": MAP}),
    "class_map": Step(Makes.CLASSES, default={}),
    "remove_small": _SHAPED,
    "remove_large": _SHAPED,
    "fill_holes": _SHAPED,
    "clear_border": _SHAPED,
    "thin": _SHAPED,
    "distance": Step(Makes.MAP, {"of": LABELS}),
    "smooth": Step(Makes.MAP, {"of": (Makes.MAP, Makes.MASK)}),
    "expand": Step(Makes.SAME, {"of": LABELS, "within": LABELS}),
    "seeds": Step(Makes.INSTANCES, {"of": MAP}),
    "watershed": Step(
        Makes.INSTANCES,
        {"landscape": MAP, "seeds": (Makes.INSTANCES,), "mask": LABELS},
        {"seeds": RESULT},
    ),
    "connected_components": Step(Makes.INSTANCES, {"of": LABELS}),
    "weighted_sum": Step(Makes.MAP, default={}, several="weights", kinds=(Makes.MAP, Makes.MASK)),
    "set_operation": Step(Makes.SAME, {"of": LABELS, "other": LABELS}),
    "merge_instances": Step(Makes.INSTANCES, default={}, several="maps", kinds=(Makes.INSTANCES,)),
    "merge_classes": Step(Makes.CLASSES, default={}, several="maps", kinds=LABELS),
    "cluster_embeddings": Step(
        Makes.INSTANCES,
        {"of": (), "offsets": (), "scales": ()},
        {"of": "seeds", "offsets": "offsets", "scales": "scales"},
    ),
}
"""Name in a config -> what is known of the step."""


def shape_of(name: str, params: Mapping[str, Any]) -> StepShape:
    """Return what a step reads and makes; nothing is known of one of somebody's own.

    Args:
        name: Its name in the config.
        params: Its parameters there.
    """
    to = params.get("to", RESULT)
    step = STEPS.get(name)
    if step is None:
        return StepShape(name, to=to if isinstance(to, str) else RESULT)
    reads = {key: params.get(key, step.default.get(key)) for key in step.takes}
    takes = dict(step.takes)
    if step.several is not None:
        named = params.get(step.several)
        names = list(named) if isinstance(named, (list, dict)) else []
        keys = [f"{step.several}.{number}" for number in range(len(names))]
        reads |= dict(zip(keys, names, strict=True))
        takes |= dict.fromkeys(keys, step.kinds)
    if name == "set_operation" and params.get("operation") in ("union", "xor"):
        # equal numbers of two images of objects would become one object
        takes = dict.fromkeys(takes, (Makes.MASK, Makes.CLASSES))
    kept = {key: value for key, value in reads.items() if isinstance(value, str)}
    return StepShape(name, kept, takes, to if isinstance(to, str) else RESULT, step.makes)
