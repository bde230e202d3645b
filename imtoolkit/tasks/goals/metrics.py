"""The metrics of a goal, built from their names."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from imtoolkit.config.sections import Component
from imtoolkit.core import registry


def build_metrics(components: Sequence[Component], **known: Any) -> list[Any]:
    """Build metrics; what they leave open and ``known`` holds is filled in.

    Raises:
        ComponentError: If one cannot be found or refuses its parameters.
    """
    made = []
    for component in components:
        wanted = inspect.signature(registry.resolve("metric", component.name)).parameters
        filled = {key: value for key, value in known.items() if key in wanted}
        made.append(registry.build("metric", component.name, component.params, **filled))
    return made
