"""Several maps brought together: sums of maps, sets of masks, classes and objects of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Final

import numpy as np

from imtoolkit.core.errors import did_you_mean
from imtoolkit.labels.numbering import smallest_type

from .base import RESULT, Array, Makes, PostprocessStep, StepShape, shape_of_several
from .sizes import LABELS

OPERATIONS: Final = ("union", "intersection", "difference", "xor")


def weighted_sum(maps: Sequence[Array], weights: Sequence[float]) -> Array:
    """Return the sum of maps, each times its weight, float32.

    Raises:
        ValueError: If there are not as many weights as maps, or none.

    Example:
        >>> inside, boundary = np.array([0.7, 0.3]), np.array([0.1, 0.6])
        >>> weighted_sum([inside, boundary], [1, -1]).round(1).tolist()
        [0.6000000238418579, -0.30000001192092896]
    """
    if not maps or len(maps) != len(weights):
        message = f"got {len(weights)} weights for {len(maps)} maps; expected as many, and some"
        raise ValueError(message)
    _check_shapes(maps)
    total = np.zeros(np.shape(maps[0]), np.float32)
    for one, weight in zip(maps, weights, strict=True):
        total += np.float32(weight) * np.asarray(one, np.float32)
    return total


def set_operation(first: Array, second: Array, operation: str) -> Array:
    """Return the union, intersection, difference or symmetric difference of two segmentations.

    Args:
        first: Mask or labels ``([Z,] Y, X)``; where both have a pixel its number counts.
        second: Same shape.
        operation: ``union``, ``intersection``, ``difference`` (what the first has and the second
            has not) or ``xor``.

    Returns:
        A mask for two masks; otherwise the numbers of the first, and beyond it of the second. Equal
        numbers of both become one label: objects are brought together by `merge_instances`.

    Raises:
        ValueError: If the operation is unknown or the shapes differ.

    Example:
        >>> first, second = np.array([1, 1, 0, 0]), np.array([0, 3, 3, 0])
        >>> [set_operation(first, second, name).tolist() for name in ("union", "xor")]
        [[1, 1, 3, 0], [1, 0, 3, 0]]
    """
    check_operation(operation)
    _check_shapes([first, second])
    first, second = np.asarray(first), np.asarray(second)
    ours, theirs = first > 0, second > 0
    if operation == "intersection":
        return np.asarray(np.where(theirs, first, first.dtype.type(0)))
    if operation == "difference":
        return np.asarray(np.where(theirs, first.dtype.type(0), first))
    both = np.where(ours, first, second)
    return (
        both
        if operation == "union"
        else np.asarray(np.where(ours & theirs, 0, both)).astype(both.dtype)
    )


def check_operation(operation: str) -> str:
    """Return an operation that is known.

    Raises:
        ValueError: With the known ones.
    """
    if operation not in OPERATIONS:
        hint = did_you_mean(operation, OPERATIONS)
        message = f"unknown operation '{operation}'.{hint} Known: {', '.join(OPERATIONS)}"
        raise ValueError(message)
    return operation


def merge_instances(maps: Sequence[Array]) -> Array:
    """Bring the objects of several label images into one; where they overlap the first counts.

    Args:
        maps: Object numbers ``([Z,] Y, X)``, 0 for background.

    Returns:
        Those of the first as they are, those of each other with numbers after them. An object that
        is covered whole is gone.

    Example:
        >>> merge_instances([np.array([2, 2, 0, 0]), np.array([0, 1, 1, 0])]).tolist()
        [2, 2, 3, 0]
    """
    if not maps:
        message = "got no maps; expected at least one"
        raise ValueError(message)
    _check_shapes(maps)
    found = np.asarray(maps[0]).astype(np.int64)
    for one in maps[1:]:
        own, shift = np.asarray(one), int(found.max(initial=0))
        free = (found == 0) & (own > 0)
        found[free] = own[free].astype(np.int64) + shift
    return found.astype(smallest_type(int(found.max(initial=0))))


def merge_classes(maps: Sequence[Array], numbers: Sequence[int] | None = None) -> Array:
    """Make one image of classes out of several masks; where they overlap the last counts.

    Args:
        maps: Masks (or labels) ``([Z,] Y, X)``.
        numbers: Number of the class of each; left out, ``1, 2, ...``.

    Example:
        >>> cell, nucleus = np.array([1, 1, 1, 0]), np.array([0, 1, 0, 0])
        >>> merge_classes([cell, nucleus]).tolist()
        [1, 2, 1, 0]
    """
    numbers = list(range(1, len(maps) + 1)) if numbers is None else list(numbers)
    if not maps or len(numbers) != len(maps):
        message = f"got {len(numbers)} class numbers for {len(maps)} maps; expected as many"
        raise ValueError(message)
    if min(numbers) < 0:
        message = f"got the class numbers {numbers}; expected 0 or more"
        raise ValueError(message)
    _check_shapes(maps)
    found = np.zeros(np.shape(maps[0]), smallest_type(max(numbers)))
    for one, number in zip(maps, numbers, strict=True):
        found[np.asarray(one) > 0] = number
    return found


class WeightedSum(PostprocessStep):
    """The sum of maps, each times its weight, such as that of inside minus that of boundary.

    Args:
        weights: Name of a map -> its weight, such as ``{inside: 1, boundary: -1}``.
        to: Name of the result.
    """

    makes = Makes.MAP

    def __init__(self, weights: dict[str, float], to: str = RESULT) -> None:
        super().__init__(to=to)
        if not weights:
            message = "got no weights; name at least one map: {inside: 1, boundary: -1}"
            raise ValueError(message)
        self.weights = dict(weights)

    def shape(self, name: str = "") -> StepShape:
        """See `PostprocessStep`."""
        return shape_of_several(self, name, "weights", list(self.weights), (Makes.MAP, Makes.MASK))

    def apply(self, values: Mapping[str, Array], spacing: Sequence[float] | None) -> Array:
        """See `PostprocessStep`."""
        del spacing
        maps = [self.read(values, name) for name in self.weights]
        return weighted_sum(maps, list(self.weights.values()))


class SetOperation(PostprocessStep):
    """Union, intersection, difference or symmetric difference of two segmentations.

    Args:
        operation: ``union``, ``intersection``, ``difference`` (what ``of`` has and ``other`` has
            not) or ``xor``; the first and the last are for masks and classes, see
            `merge_instances`.
        other: Name of the second segmentation.
        of: Mask, classes or objects that it reads; where both have a pixel its number counts.
        to: Name of the result.
    """

    makes = Makes.SAME
    takes: ClassVar[Mapping[str, tuple[Makes, ...]]] = {"of": LABELS, "other": LABELS}

    def __init__(self, operation: str, other: str, of: str = RESULT, to: str = RESULT) -> None:
        super().__init__(of, to)
        self.operation = check_operation(operation)
        self.other = other

    def shape(self, name: str = "") -> StepShape:
        """See `PostprocessStep`; equal numbers of two images of objects would become one object."""
        found = super().shape(name)
        if self.operation in ("intersection", "difference"):
            return found
        kinds = (Makes.MASK, Makes.CLASSES)
        return replace(found, takes={"of": kinds, "other": kinds})

    def apply(self, values: Mapping[str, Array], spacing: Sequence[float] | None) -> Array:
        """See `PostprocessStep`."""
        del spacing
        return set_operation(self.read(values), self.read(values, self.other), self.operation)


class MergeInstances(PostprocessStep):
    """The objects of several maps in one; where they overlap those of the first count.

    Args:
        maps: Names of the maps.
        to: Name of the result.
    """

    makes = Makes.INSTANCES

    def __init__(self, maps: Sequence[str], to: str = RESULT) -> None:
        super().__init__(to=to)
        self.maps = _named(maps)

    def shape(self, name: str = "") -> StepShape:
        """See `PostprocessStep`."""
        return shape_of_several(self, name, "maps", self.maps, (Makes.INSTANCES,))

    def apply(self, values: Mapping[str, Array], spacing: Sequence[float] | None) -> Array:
        """See `PostprocessStep`."""
        del spacing
        return merge_instances([self.read(values, name) for name in self.maps])


class MergeClasses(PostprocessStep):
    """One image of classes out of several masks; where they overlap the last counts.

    Args:
        maps: Names of the masks.
        numbers: Number of the class of each; left out, ``1, 2, ...``.
        to: Name of the result.
    """

    makes = Makes.CLASSES

    def __init__(
        self, maps: Sequence[str], numbers: Sequence[int] | None = None, to: str = RESULT
    ) -> None:
        super().__init__(to=to)
        self.maps = _named(maps)
        if numbers is not None and len(numbers) != len(self.maps):
            message = (
                f"got {len(numbers)} class numbers for {len(self.maps)} maps; expected as many"
            )
            raise ValueError(message)
        self.numbers = numbers

    @property
    def class_numbers(self) -> tuple[int, ...]:
        """See `PostprocessStep`."""
        return tuple(range(1, len(self.maps) + 1) if self.numbers is None else self.numbers)

    def shape(self, name: str = "") -> StepShape:
        """See `PostprocessStep`."""
        return shape_of_several(self, name, "maps", self.maps, LABELS)

    def apply(self, values: Mapping[str, Array], spacing: Sequence[float] | None) -> Array:
        """See `PostprocessStep`."""
        del spacing
        return merge_classes([self.read(values, name) for name in self.maps], self.numbers)


def _check_shapes(maps: Sequence[Array]) -> None:
    shapes = [np.shape(one) for one in maps]
    if len(set(shapes)) > 1:
        message = f"got maps of the shapes {', '.join(map(str, shapes))}; expected equal"
        raise ValueError(message)


def _named(maps: Sequence[str]) -> tuple[str, ...]:
    if not maps or isinstance(maps, str):
        message = f"got maps={maps!r}; name a list of them, such as [cells, nuclei]"
        raise ValueError(message)
    return tuple(maps)
