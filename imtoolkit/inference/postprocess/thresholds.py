"""From maps to masks and classes: thresholds, fixed or found, and the most probable class."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np

from imtoolkit.core.errors import ComponentError, DataError, did_you_mean, listed

from .base import RESULT, Array, Makes, PostprocessStep

_PREFIX: Final = "threshold_"
_MOST_CLASSES: Final = 5
"""Of 'multiotsu', whose time grows with the number of bins to this power."""
_NOT_OURS: Final = ("image", "hist", "return_all", "iter_callback", "param")


def threshold(
    image: Array,
    value: float | None = None,
    *,
    method: str | None = None,
    options: Mapping[str, Any] | None = None,
    level: int = 0,
    below: bool = False,
) -> Array:
    """Return where a map is above a threshold.

    Args:
        image: Map ``([Z,] Y, X)``.
        value: The threshold. Left out, it is found by the method.
        method: Name of a function ``skimage.filters.threshold_<method>``: ``otsu``, ``li``,
            ``yen``, ``triangle``, ``isodata``, ``mean``, ``minimum``, ``multiotsu``, or of one for
            each pixel, ``local``, ``niblack``, ``sauvola``.
        options: Further arguments of that function, such as ``{"block_size": 51}``.
        level: Which of several thresholds (``multiotsu``), from the lowest.
        below: Return where the map is at the threshold or below it instead.

    Returns:
        Mask of the shape of the map. In a constant map nothing stands out: a method that has to
        find a threshold there gives an empty mask.

    Raises:
        ValueError: If neither or both of value and method are given, or the method is unknown.
        DataError: If the method finds no threshold in this map.

    Example:
        >>> image = np.array([0.1, 0.2, 0.8, 0.9])
        >>> threshold(image, 0.5).tolist(), threshold(image, method="otsu").tolist()
        ([False, False, True, True], [False, False, True, True])
    """
    check_threshold(value, method, options, level)
    image = np.asarray(image)
    if method is None:
        assert value is not None
        return np.asarray(image <= value if below else image > value)
    known = image[np.isfinite(image)] if image.dtype.kind == "f" else image
    if not known.size or known.min() == known.max():
        return np.zeros(image.shape, bool)
    found = _found(image, method, dict(options or {}), level)
    return np.asarray(image <= found if below else image > found)


def methods() -> tuple[str, ...]:
    """Return the names of the methods that find a threshold, as skimage has them.

    Example:
        >>> "otsu" in methods(), "sauvola" in methods()
        (True, True)
    """
    names = dir(_filters())
    return tuple(sorted(name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX)))


def check_threshold(
    value: float | None, method: str | None, options: Mapping[str, Any] | None, level: int = 0
) -> None:
    """Refuse what tells no threshold, see `threshold`.

    Raises:
        ValueError: With what is known.
    """
    if (value is None) == (method is None):
        got = "neither" if value is None else "both"
        message = (
            f"got {got} of 'value' and 'method': give value: 0.5, or method: otsu to have it found"
        )
        raise ValueError(message)
    if method is None:
        if options:
            message = "'options' are those of a method, and a fixed value is given"
            raise ValueError(message)
    elif method not in methods():
        hint = did_you_mean(method, methods())
        message = f"unknown method '{method}'.{hint} skimage has {listed(methods(), 20)}"
        raise ValueError(message)
    else:
        _check_options(method, options or {})
        if method == "multiotsu":
            _check_classes((options or {}).get("classes", 3))
    if level and method != "multiotsu":
        message = "'level' chooses among several thresholds, which only 'multiotsu' finds"
        raise ValueError(message)


def class_map(
    probabilities: Array,
    thresholds: Sequence[float | None] | None = None,
    mapping: Sequence[int] | None = None,
) -> Array:
    """Return the class of each pixel.

    Without thresholds it is the most probable one. A class with a threshold takes part where its
    probability is above it, and one without where it is the most probable of all; of those that
    take part the most probable wins, and the first class (background) where none does.

    Args:
        probabilities: ``(K, [Z,] Y, X)``, background first.
        thresholds: For each class a probability, or ``None``.
        mapping: For each class the number that stands for it in the result; left out, its own.

    Raises:
        ValueError: If there are not as many thresholds or numbers as classes.

    Example:
        >>> chances = np.array([[0.5, 0.9], [0.3, 0.1], [0.2, 0.0]])
        >>> class_map(chances).tolist(), class_map(chances, [None, 0.25, None]).tolist()
        ([0, 0], [1, 0])
        >>> class_map(chances, [None, 0.25, None], mapping=[0, 2, 2]).tolist()
        [2, 0]
    """
    chances = np.asarray(probabilities)
    for name, given in (("thresholds", thresholds), ("numbers", mapping)):
        if given is not None and len(given) != len(chances):
            message = f"got {len(given)} {name} for {len(chances)} classes"
            raise ValueError(message)
    best: Array = chances.argmax(0)
    if thresholds is not None and any(item is not None for item in thresholds):
        best = _above(chances, best, thresholds)
    if mapping is None:
        return best
    return np.asarray(mapping)[best]


def _above(chances: Array, best: Array, thresholds: Sequence[float | None]) -> Array:
    """Return the most probable of the classes that take part, see `class_map`."""
    found = np.zeros(best.shape, best.dtype)
    height = np.full(best.shape, -np.inf)
    for number, level in enumerate(thresholds):
        if number == 0 and level is None:
            continue
        own = chances[number]
        takes = (best == number if level is None else own > level) & (own > height)
        found[takes] = number
        height[takes] = own[takes]
    return found


class Threshold(PostprocessStep):
    """Where a map is above a threshold, fixed or found.

    Args:
        value: The threshold. Left out, it is found by the method.
        method: Name of a function ``skimage.filters.threshold_<method>``, such as ``otsu``.
        options: Further arguments of that function, such as ``{"block_size": 51}``.
        level: Which of several thresholds (``multiotsu``), from the lowest.
        below: Keep what is at the threshold or below it instead.
        of: Map that it reads.
        to: Name of the result.
    """

    makes = Makes.MASK
    takes: ClassVar[Mapping[str, tuple[Makes, ...]]] = {"of": (Makes.MAP,)}
    tunable: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "value": tuple(round(0.1 * step, 1) for step in range(1, 10))
    }

    def __init__(
        self,
        value: float | None = None,
        method: str | None = None,
        options: dict[str, Any] | None = None,
        level: int = 0,
        below: bool = False,
        of: str = RESULT,
        to: str = RESULT,
    ) -> None:
        super().__init__(of, to)
        check_threshold(value, method, options, level)
        if method is not None and options:
            _try_options(method, options)
        self.value = value
        self.method = method
        self.options = options
        self.level = level
        self.below = below

    def apply(self, values: Mapping[str, Array], spacing: Sequence[float] | None) -> Array:
        """See `PostprocessStep`."""
        del spacing
        return threshold(
            self.read(values),
            self.value,
            method=self.method,
            options=self.options,
            level=self.level,
            below=self.below,
        )


class ClassMap(PostprocessStep):
    """The class of each pixel from the probabilities of the classes.

    Args:
        classes: Names of the maps of the classes, background first; filled in.
        thresholds: Class -> probability above which it is taken, see `class_map`; others are taken
            where they are the most probable.
        mapping: Class -> class (or number) that stands for it, such as ``{edge: nucleus}``.
        to: Name of the result.
    """

    makes = Makes.CLASSES
    takes: ClassVar[Mapping[str, tuple[Makes, ...]]] = {}

    def __init__(
        self,
        classes: Sequence[str],
        thresholds: dict[str, float] | None = None,
        mapping: dict[str, str | int] | None = None,
        to: str = RESULT,
    ) -> None:
        super().__init__(to=to)
        self.classes = tuple(classes)
        names = [*(thresholds or {}), *(mapping or {})]
        names += [item for item in (mapping or {}).values() if isinstance(item, str)]
        for name in names:
            if name not in self.classes:
                known = f"{did_you_mean(name, self.classes)} There are {listed(self.classes, 20)}"
                message = f"there is no class '{name}'.{known}"
                raise ComponentError(message)
        self.thresholds = [(thresholds or {}).get(name) for name in self.classes]
        self.mapping = [self._number((mapping or {}).get(name, name)) for name in self.classes]

    @property
    def class_numbers(self) -> tuple[int, ...]:
        """See `PostprocessStep`."""
        return tuple(self.mapping)

    def apply(self, values: Mapping[str, Array], spacing: Sequence[float] | None) -> Array:
        """See `PostprocessStep`."""
        del spacing
        chances = np.stack([self.read(values, name) for name in self.classes])
        return class_map(chances, self.thresholds, self.mapping)

    def _number(self, named: str | int) -> int:
        return self.classes.index(named) if isinstance(named, str) else named


def _found(image: Array, method: str, options: dict[str, Any], level: int) -> Any:
    function = _function(method)
    try:
        # a threshold for each pixel needs the pixels in place
        whole = "block_size" in _parameters(method) or "window_size" in _parameters(method)
        known = image if whole else image[np.isfinite(image)]
        found = np.asarray(function(known, **options))
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        message = (
            f"the threshold '{method}' finds nothing in this map: {error}. Take otsu, or a value"
        )
        raise DataError(message) from error
    if method != "multiotsu":
        return np.asarray(found)
    if not -len(found) <= level < len(found):
        message = f"got level {level}, and 'multiotsu' found {len(found)} thresholds"
        raise DataError(message)
    return found[level]


def _check_options(method: str, options: Mapping[str, Any]) -> None:
    parameters = _parameters(method)
    for name in options:
        if name not in parameters:
            known = f"{did_you_mean(name, parameters)} It takes {listed(list(parameters))}"
            message = f"the method '{method}' takes no option '{name}'.{known}"
            raise ValueError(message)
    missing = [
        name
        for name, item in parameters.items()
        if item.default is item.empty and name not in options
    ]
    if missing:
        message = f"the method '{method}' needs options: {{{missing[0]}: ...}}"
        raise ValueError(message)


def _check_classes(classes: Any) -> None:
    """Refuse numbers of classes by which 'multiotsu' ends the process, or would take hours."""
    if not isinstance(classes, int) or not 2 <= classes <= _MOST_CLASSES:
        message = (
            f"the method 'multiotsu' got classes={classes!r}; expected a whole number from 2 to "
            f"{_MOST_CLASSES}"
        )
        raise ValueError(message)


def _try_options(method: str, options: Mapping[str, Any]) -> None:
    """Try options on a small map, so that wrong ones are told before anything is trained."""
    dims = max([2, *(len(item) for item in options.values() if isinstance(item, (list, tuple)))])
    small = np.linspace(0, 1, 16**dims).reshape((16,) * dims)
    try:
        _function(method)(small, **options)
    except (TypeError, ValueError, MemoryError) as error:
        reason = str(error) or type(error).__name__
        message = f"the method '{method}' takes no such options, {dict(options)}: {reason}"
        raise ValueError(message) from error
    except (RuntimeError, IndexError):  # not of the options, but of this map
        return


def _parameters(method: str) -> dict[str, inspect.Parameter]:
    known = inspect.signature(_function(method)).parameters
    return {name: item for name, item in known.items() if name not in _NOT_OURS}


def _function(method: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(_filters(), f"{_PREFIX}{method}")
    return found


@functools.cache
def _filters() -> Any:
    return importlib.import_module("skimage.filters")  # takes a while, and few need it
