"""The contract of a step of post-processing, and the chain that runs them.

A chain starts from named maps: the probability of each class, each channel of an image, the maps of
an embedding. A step reads one of them, by default the result of the step before it, and its result
goes under a name as well, so that a watershed can read a mask, seeds and a landscape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from imtoolkit.core.errors import ComponentError, did_you_mean, listed

Array = NDArray[Any]
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


class PostprocessStep(ABC):
    """One step of a chain; subclasses write `apply`.

    Args:
        of: Name of the map that it reads.
        to: Name under which its result stands.

    Attributes:
        makes: What comes out.
        tunable: Values of its parameters that ``--tune postprocess`` tries, by name.
    """

    makes: ClassVar[Makes]
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


class Chain:
    """Steps in their order.

    Args:
        steps: The steps; none leaves the first result as it is.
    """

    def __init__(self, steps: Sequence[PostprocessStep] = ()) -> None:
        self.steps = tuple(steps)

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
        known = dict(values)
        for step in self.steps:
            known[step.to] = step.apply(known, spacing)
        return np.asarray(known[RESULT])

    def makes(self, first: Makes) -> Makes:
        """Return what stands under ``result`` at the end.

        Args:
            first: What stands there at the beginning.
        """
        kinds = {RESULT: first}
        for step in self.steps:
            kinds[step.to] = kinds.get(step.of, first) if step.makes is Makes.SAME else step.makes
        return kinds[RESULT]
