"""From the components of a config to transforms, checked for where they stand.

``preprocess`` is computed once and cached, so nothing random may stand there. ``augment`` draws all
its random numbers from one shared state, which is re-seeded for each patch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import monai.transforms
import numpy as np
from monai.transforms import (
    Compose,
    InvertibleTransform,
    MapTransform,
    Randomizable,
    Transform,
)
from monai.transforms.traits import RandomizableTrait

from imtoolkit.core import registry
from imtoolkit.core.errors import ComponentError, Problem
from imtoolkit.data.transforms.base import Sample
from imtoolkit.data.transforms.domain import ForDomain
from imtoolkit.data.transforms.enlarge import Enlarge

_MOVING = (
    "imtoolkit.data.transforms.random_grid",
    "monai.transforms.spatial",
    "monai.transforms.croppad",
)
ComponentLike = Any
"""Anything with ``name`` and ``params``: a `Component` of the config."""


class FunctionTransform(Transform):  # type: ignore[misc]
    """A plain function of a trusted plugin as a transform: MONAI stops caching at bare functions.

    Args:
        function: Takes a sample (a dict) and parameters, returns a sample.
        params: Its parameters.
    """

    def __init__(self, function: Callable[..., Any], params: Mapping[str, Any]) -> None:
        self.function, self.params = function, dict(params)

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        """Return what the function makes of a copy of the sample's dict."""
        out: Any = self.function(dict(data), **self.params)
        if not isinstance(out, dict):
            message = (
                f"transform '{self.function.__name__}' returned {type(out).__name__}; expected the "
                "sample as a dict"
            )
            raise ComponentError(message)
        return out


def build_preprocess(components: Sequence[ComponentLike]) -> list[Transform]:
    """Build the deterministic transforms.

    Raises:
        ComponentError: If one is unknown, refuses its parameters, is random, reads files, or
            stands before ``enlarge`` and changes the grid.
    """
    built = _build_all(components, "data.preprocess")
    problems = [
        Problem(
            f"transform '{component.name}' is random, and the result of preprocess is kept; "
            "move it to data.augment",
            f"data.preprocess.{place}",
        )
        for place, (component, transform) in enumerate(zip(components, built, strict=True))
        if is_random(transform)
    ]
    problems += [
        Problem(
            f"'{component.name}' changes the pixel grid and stands before 'enlarge', whose grid "
            "the prediction keeps: it could not be undone. Put 'enlarge' before it",
            f"data.preprocess.{place}",
        )
        for place, component in enumerate(components[: _last_enlarge(built)])
        if isinstance(built[place], InvertibleTransform)
    ]
    if problems:
        raise ComponentError(problems)
    return built


def _last_enlarge(built: Sequence[Transform]) -> int:
    return max((place for place, step in enumerate(built) if isinstance(step, Enlarge)), default=0)


def build_augment(components: Sequence[ComponentLike]) -> list[Transform]:
    """Build the transforms of training; deterministic ones are welcome too.

    Raises:
        ComponentError: If one is unknown, refuses its parameters, or reads files.
    """
    return _build_all(components, "data.augment")


def build_degrade(components: Sequence[ComponentLike]) -> list[Transform]:
    """Build the transforms that make the input out of a clean image.

    Raises:
        ComponentError: If one is unknown, refuses its parameters, reads files, or moves pixels: the
            image would no longer fit the clean one.
    """
    built = _build_all(components, "data.degrade")
    problems = [
        Problem(
            f"transform '{component.name}' moves the pixels of the image, which then does not fit "
            "the clean one; move it to data.augment, which comes before",
            f"data.degrade.{place}",
        )
        for place, (component, transform) in enumerate(zip(components, built, strict=True))
        if moves_pixels(transform)
    ]
    if problems:
        raise ComponentError(problems)
    return built


def moves_pixels(transform: Any) -> bool:
    """Tell whether a transform, or one inside it, changes the pixel grid.

    We keep such transforms in one module and MONAI in two; of MONAI's, the one that lowers the
    resolution and enlarges the image again leaves each pixel where it is.
    """
    for part in _parts(transform, set()):
        module, name = type(part).__module__, type(part).__name__
        if module.startswith(_MOVING) and "LowResolution" not in name:
            return True
    return False


def pads(transform: Any) -> bool:
    """Tell whether a transform, or one inside it, makes an image larger, by mirroring perhaps."""
    return any("Pad" in type(part).__name__ for part in _parts(transform, set()))


def is_random(transform: Any) -> bool:
    """Tell whether a transform, or one inside it, draws random numbers."""
    if type(transform) is Compose:  # is Randomizable itself, but only as random as what it holds
        return any(is_random(inner) for inner in transform.transforms)
    if isinstance(transform, ForDomain):
        return is_random(transform.transform)
    return isinstance(transform, (Randomizable, RandomizableTrait))


def share_random_state(transforms: Sequence[Transform], state: np.random.RandomState) -> None:
    """Make all random transforms draw from one state, those inside others included.

    Making a state for each costs 68 µs a patch, re-seeding one 1.3 µs.
    """
    for transform in transforms:
        for part in _parts(transform, set()):
            if isinstance(part, Randomizable):
                part.R = state


def allow_missing_keys(transforms: Sequence[Transform]) -> None:
    """Let transforms skip keys that a sample lacks: at prediction there is no target."""
    for transform in transforms:
        for part in _parts(transform, set()):
            if isinstance(part, MapTransform):
                part.allow_missing_keys = True


def _parts(value: Any, seen: set[int]) -> Iterator[Any]:
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _parts(item, seen)
    elif isinstance(value, dict):
        yield from _parts(list(value.values()), seen)
    elif isinstance(value, (Transform, Randomizable)):
        yield value
        yield from _parts(list(vars(value).values()), seen)


def _build_all(components: Sequence[ComponentLike], where: str) -> list[Transform]:
    built: list[Transform] = []
    problems: list[Problem] = []
    for place, component in enumerate(components):
        try:
            built.append(_build_one(component))
        except ComponentError as error:
            problems += [
                Problem(problem.message, f"{where}.{place}", problem.file, problem.line)
                for problem in error.problems
            ]
    if problems:
        raise ComponentError(problems)
    return built


def _build_one(component: ComponentLike) -> Transform:
    found = registry.resolve("transform", component.name)
    if inspect.isfunction(found):
        return FunctionTransform(found, component.params)
    _refuse_array_form(component.name, found)
    built = registry.build("transform", component.name, component.params)
    if not isinstance(built, Transform):
        message = f"'{component.name}' made a {type(built).__name__}; expected a MONAI transform"
        raise ComponentError(message)
    if isinstance(built, ForDomain):
        inner = type(built.transform)
        _refuse_array_form(inner.__name__, inner)
    return built


def _refuse_array_form(name: str, found: Any) -> None:
    # MONAI has each transform twice; only the form for dicts knows image from target
    bare = found.__name__
    dict_form = getattr(monai.transforms, f"{bare}d", None)
    if found.__module__.startswith("monai.") and not issubclass(found, MapTransform) and dict_form:
        message = (
            f"transform '{name}' works on single arrays; use its form for samples: '{bare}d' with "
            "the parameter keys, such as keys: image or keys: [image, target]"
        )
        raise ComponentError(message)
