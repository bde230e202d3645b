"""The metrics of a goal, built from their names."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from imtoolkit.config.sections import Component
from imtoolkit.core import registry
from imtoolkit.core.batch import Stage
from imtoolkit.core.errors import ComponentError, ConfigError, Problem
from imtoolkit.metrics.suite import MetricSuite

if TYPE_CHECKING:
    from .base import Goal

_OF_CLASSES: Final = ("classes", "num_classes")


def metrics_of(goal: Goal, stage: Stage, components: Sequence[Component] | None) -> MetricSuite:
    """Build the metrics of a goal.

    Raises:
        ConfigError: If one cannot be built or measures something else, with the key of the config.
    """
    try:
        return goal.build_metrics(stage, components)
    except ComponentError as error:
        message = f"{error} (this is {goal.describe()})"
        raise ConfigError(Problem(message, where=f"{goal.where}.metrics")) from error


def build_metrics(components: Sequence[Component], **known: Any) -> list[Any]:
    """Build metrics; what they leave open and ``known`` holds is filled in.

    Raises:
        ComponentError: If one cannot be found or refuses its parameters.
    """
    made = []
    for component in components:
        wanted = inspect.signature(registry.resolve("metric", component.name)).parameters
        filled = {key: value for key, value in known.items() if key in wanted}
        lacking = _needed(wanted.values()) - {*filled, *component.params}
        if lacking & set(_OF_CLASSES):
            message = f"metric '{component.name}' measures classes, and there are none here"
            raise ComponentError(message)
        made.append(registry.build("metric", component.name, component.params, **filled))
    return made


def _needed(parameters: Iterable[inspect.Parameter]) -> set[str]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {item.name for item in parameters if item.default is item.empty and item.kind in named}
