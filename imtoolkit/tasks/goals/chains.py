"""The chain of post-processing of a goal, built from its steps in the config."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING

from imtoolkit.config.sections import Component
from imtoolkit.core import registry
from imtoolkit.core.errors import ComponentError, ConfigError, Problem
from imtoolkit.inference.postprocess.base import Chain

if TYPE_CHECKING:
    from .base import Goal


def build_chain(steps: Sequence[Component], goal: Goal, where: str) -> Chain:
    """Build the steps of a goal; names of classes that a step wants are filled in.

    Args:
        steps: The steps.
        goal: Whose output they read.
        where: Key of the config that names them.

    Raises:
        ConfigError: With each step that cannot be built, and what does not fit.
    """
    if steps and not goal.dense:
        message = f"{goal.describe()} has no pixels to work on: leave the steps out"
        raise ConfigError(Problem(message, where=where))
    made, problems = [], []
    for number, step in enumerate(steps):
        try:
            wanted = inspect.signature(registry.resolve("postprocess", step.name)).parameters
            filled = {"classes": goal.map_names} if "classes" in wanted else {}
            made.append(registry.build("postprocess", step.name, step.params, **filled))
        except ComponentError as error:
            problems.append(Problem(str(error), where=f"{where}.{number}"))
    if problems:
        raise ConfigError(problems)
    return Chain(made)
