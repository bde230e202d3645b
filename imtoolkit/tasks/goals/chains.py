"""The chain of post-processing of a goal, built from its steps in the config and checked."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from imtoolkit.config.sections import Component
from imtoolkit.core import registry
from imtoolkit.core.chains import Makes, unfit_result
from imtoolkit.core.errors import ComponentError, ConfigError, Problem
from imtoolkit.inference.postprocess.base import Chain, PostprocessStep

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
            made.append(build_step(step, goal))
        except ComponentError as error:
            problems.append(Problem(str(error), where=f"{where}.{number}"))
    if problems:
        raise ConfigError(problems)
    chain = Chain(made, [step.name for step in steps])
    problems = list(_unfit(chain, goal, where))
    if problems:
        raise ConfigError(problems)
    return chain


def build_step(step: Component, goal: Goal) -> PostprocessStep:
    """Build one step, see `build_chain`.

    Raises:
        ComponentError: If it cannot be found or refuses its parameters.
    """
    wanted = inspect.signature(registry.resolve("postprocess", step.name)).parameters
    filled = {"classes": goal.map_names} if "classes" in wanted else {}
    made: PostprocessStep = registry.build("postprocess", step.name, step.params, **filled)
    return made


def _unfit(chain: Chain, goal: Goal, where: str) -> Iterator[Problem]:
    """Yield what does not fit the images, the steps before, or the truth."""
    facts = goal.facts
    for number, (step, name) in enumerate(zip(chain.steps, chain.names, strict=True)):
        reason = step.refuses(facts.spatial_dims)
        if reason is None and step.needs_spacing and facts.samples and facts.spacing is None:
            reason = "is given in physical units, and the files tell no pixel size: unit: pixels"
        if reason is not None:
            yield Problem(f"'{name}': {reason}", where=f"{where}.{number}")
    wrong = list(chain.misfits(goal.known_maps))
    for number, parameter, message in wrong:
        yield Problem(message, where=f"{where}.{number}.params.{parameter}")
    if goal.dense and not wrong:
        message = unfit_result(goal.makes_of(chain), goal.truth_makes, len(goal.classes))
        message = message or _unknown_classes(chain, goal)
        if message:
            yield Problem(message, where=where)


def _unknown_classes(chain: Chain, goal: Goal) -> str:
    """Return which numbers of the result are no classes of the goal; empty where all are."""
    if goal.truth_makes is not Makes.CLASSES:
        return ""
    odd = sorted({number for number in chain.class_numbers if not 0 <= number < len(goal.classes)})
    if not odd:
        return ""
    return (
        f"the steps make the class number {', '.join(map(str, odd))}, and the classes are 0 to "
        f"{len(goal.classes) - 1} ({', '.join(goal.classes)})"
    )
