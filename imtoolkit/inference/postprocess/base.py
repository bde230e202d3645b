"""The contract of a step of post-processing, and the chain that runs them.

A chain starts from named maps: the probability of each class, each channel of an image, the maps of
an embedding. A step reads one of them, by default the result of the step before it, and its result
goes under a name as well, so that a watershed can read a mask, seeds and a landscape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from imtoolkit.core.chains import RESULT, Makes, StepShape, follow, misfits
from imtoolkit.core.errors import ComponentError, did_you_mean, listed

__all__ = ["RESULT", "Array", "Chain", "Makes", "PostprocessStep", "StepShape", "shape_of_several"]

Array = NDArray[Any]


class PostprocessStep(ABC):
    """One step of a chain; subclasses write `apply`.

    Args:
        of: Name of the map that it reads.
        to: Name under which its result stands.

    Attributes:
        makes: What comes out.
        takes: Attributes (and parameters) that name the maps that it reads, with what these may be;
            empty, anything. Where the name is ``None`` there is nothing to read.
        same_as: The one of them that tells what comes out, where that is ``SAME``.
        tunable: Values of its parameters that ``--tune postprocess`` tries, by name.
    """

    makes: ClassVar[Makes]
    takes: ClassVar[Mapping[str, tuple[Makes, ...]]] = {"of": ()}
    same_as: ClassVar[str] = "of"
    tunable: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    def __init__(self, of: str = RESULT, to: str = RESULT) -> None:
        self.of = of
        self.to = to

    @abstractmethod
    def apply(self, values: Mapping[str, Array], spacing: Sequence[float] | None) -> Array:
        """Return the result ``([Z,] Y, X)``.

        Args:
            values: Maps by name; not to be changed.
            spacing: Pixel size ``[Z,] Y, X``; ``None`` where it is not known.
        """

    def read(self, values: Mapping[str, Array], name: str | None = None) -> Array:
        """Return a map by its name; left out, the one that the step reads.

        Raises:
            ComponentError: If there is none of that name, with the nearest.
        """
        name = self.of if name is None else name
        if name in values:
            return values[name]
        message = (
            f"postprocess step '{type(self).__name__}' reads '{name}', but there are "
            f"{listed(list(values), 20)}.{did_you_mean(name, values)}"
        )
        raise ComponentError(message)

    @property
    def class_numbers(self) -> tuple[int, ...]:
        """Numbers of the classes that the step makes, where it says so itself."""
        return ()

    def refuses(self, dims: int) -> str | None:
        """Return why the step cannot work on images of so many axes, where it cannot."""
        del dims
        return None

    @property
    def needs_spacing(self) -> bool:
        """Whether something is given in physical units."""
        return getattr(self, "unit", "pixels") == "physical"

    def shape(self, name: str = "") -> StepShape:
        """Return what the step reads and makes.

        Args:
            name: Its name in the config, for messages.
        """
        reads = {key: getattr(self, key) for key in self.takes}
        return StepShape(
            name or type(self).__name__,
            {key: value for key, value in reads.items() if value is not None},
            self.takes,
            self.to,
            self.makes,
            self.same_as,
        )


def shape_of_several(
    step: PostprocessStep,
    name: str,
    parameter: str,
    maps: Sequence[str],
    kinds: tuple[Makes, ...],
) -> StepShape:
    """Return the shape of a step that reads a list of maps.

    Args:
        step: The step.
        name: Its name in the config.
        parameter: Parameter that names the maps.
        maps: Their names.
        kinds: What each may be.
    """
    keys = [f"{parameter}.{number}" for number in range(len(maps))]
    reads = dict(zip(keys, maps, strict=True))
    name = name or type(step).__name__
    return StepShape(name, reads, dict.fromkeys(keys, kinds), step.to, step.makes)


class Chain:
    """Steps in their order.

    Args:
        steps: The steps; none leaves the first result as it is.
        names: The name of each step in the config, for messages.
    """

    def __init__(
        self, steps: Sequence[PostprocessStep] = (), names: Sequence[str] | None = None
    ) -> None:
        self.steps = tuple(steps)
        self.names = tuple(names or (type(step).__name__ for step in steps))

    def __call__(
        self, values: Mapping[str, Array], spacing: Sequence[float] | None = None
    ) -> Array:
        """Run the steps.

        Args:
            values: Maps ``([Z,] Y, X)`` (or ``(C, [Z,] Y, X)`` of an embedding) by name, with what
                the chain starts from under ``result``.
            spacing: Pixel size ``[Z,] Y, X``; ``None`` where it is not known.

        Returns:
            What stands under ``result`` after the last step.
        """
        return np.asarray(self.run(values, spacing)[RESULT])

    def run(
        self, values: Mapping[str, Array], spacing: Sequence[float] | None = None
    ) -> dict[str, Array]:
        """Run the steps and return all maps by name, see `__call__`."""
        known = dict(values)
        for step in self.steps:
            known[step.to] = step.apply(known, spacing)
        return known

    def makes(self, first: Makes, known: Mapping[str, Makes] | None = None) -> Makes:
        """Return what stands under ``result`` at the end.

        Args:
            first: What stands there at the beginning.
            known: What stands under other names then.
        """
        kinds = follow(self._shapes(), {**(known or {}), RESULT: first})
        return kinds[RESULT] or first

    @property
    def class_numbers(self) -> tuple[int, ...]:
        """Numbers of classes that the last step that chooses them puts into the result."""
        found: tuple[int, ...] = ()
        for step in self.steps:
            if step.to == RESULT and step.makes is not Makes.SAME:
                found = step.class_numbers
        return found

    def misfits(self, known: Mapping[str, Makes]) -> Iterator[tuple[int, str, str]]:
        """Yield number, parameter and message of each step that cannot read what it names.

        Args:
            known: What stands under each name at the beginning.
        """
        return misfits(self._shapes(), known)

    def _shapes(self) -> list[StepShape]:
        return [step.shape(name) for step, name in zip(self.steps, self.names, strict=True)]
