"""The contract between formats and the rest: an open image whose pixels are not yet read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from imtoolkit.core.errors import DataError, ImtoolkitError, Problem, did_you_mean, listed

Index = tuple[int | slice, ...]
PickScene = Callable[[Sequence[str]], int]
"""Gets the names of all scenes and returns the number of the one to open."""

_MICROMETERS: Final[dict[str, float]] = {
    "m": 1e6,
    "meter": 1e6,
    "cm": 1e4,
    "centimeter": 1e4,
    "mm": 1e3,
    "millimeter": 1e3,
    "um": 1.0,
    "µm": 1.0,
    "μm": 1.0,  # the Greek letter; the line above has the sign
    "\\u00b5m": 1.0,  # as ImageJ writes it
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "å": 1e-4,
    "angstrom": 1e-4,
    "pm": 1e-6,
    "picometer": 1e-6,
    "in": 25_400.0,
    "inch": 25_400.0,
}

_SECONDS: Final[dict[str, float]] = {
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "seconds": 1.0,
    "ms": 1e-3,
    "msec": 1e-3,
    "µs": 1e-6,
    "μs": 1e-6,  # the Greek letter; the line above has the sign
    "usec": 1e-6,
    "ns": 1e-9,
    "min": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
}


@dataclass
class OpenImage:
    """One scene of an open file.

    Attributes:
        path: For messages.
        axes: A letter for each axis as stored: ``T C Z Y X``, ``S`` for the colours of a pixel;
            others may be there with size 1.
        shape: As stored.
        dtype: Of the pixels.
        load: Reads a part: an int or a slice for each stored axis, ints drop their axis, as numpy
            does.
        scenes: Names of all scenes.
        spacing: Pixel size of the axes that the file tells.
        unit: Unit of ``spacing``.
        affine: See `imtoolkit.io.picture.Picture`.
        channel_names: Names of axis ``C``, empty where the file has none.
        alpha: Whether the last entry of ``S`` is transparency.
        interval: Seconds from one time point to the next, where the file tells them.
        close: Closes the file.
    """

    path: str
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    load: Callable[[Index], NDArray[np.generic]]
    scenes: tuple[str, ...] = ("0",)
    spacing: dict[str, float] = field(default_factory=dict)
    unit: str | None = None
    affine: NDArray[np.float64] | None = None
    channel_names: tuple[str, ...] = ()
    alpha: bool = False
    interval: float | None = None
    close: Callable[[], None] = lambda: None


def broken(path: str, message: str) -> DataError:
    """Return the error about one file."""
    return DataError(Problem(message, file=path))


@contextlib.contextmanager
def guarding(path: str) -> Iterator[None]:
    """Make a `DataError` that names the file of whatever a library raises while reading it."""
    try:
        yield
    except (ImtoolkitError, MemoryError):
        raise
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        message = (
            f"cannot be read: it is damaged, or not what its name says ({text}). Copy or export it "
            "again"
        )
        raise broken(path, message) from error


def micrometers(value: Any, unit: str | None) -> float | None:
    """Convert a length to micrometres; ``None`` where it is not positive or its unit is unknown.

    Example:
        >>> micrometers("0.5", "mm"), micrometers(1, "pixel"), micrometers(0, "nm")
        (500.0, None, None)
    """
    return _converted(value, _MICROMETERS.get((unit or "µm").strip().lower()))


def seconds(value: Any, unit: str | None) -> float | None:
    """Convert a duration to seconds; ``None`` where it is not positive or its unit is unknown.

    Example:
        >>> seconds("2", "min"), seconds(0.5, None), seconds(1, "frame")
        (120.0, 0.5, None)
    """
    return _converted(value, _SECONDS.get((unit or "s").strip().lower()))


def _converted(value: Any, factor: float | None) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if factor is None or not np.isfinite(number) or number <= 0:
        return None
    return number * factor


def guess_axes(path: str, shape: Sequence[int]) -> str:
    """Name the axes of an array that comes without names.

    2D is ``YX``. In 3D a short last axis (3 or 4) is colours, a short first axis (up to 4)
    channels, any other first axis ``Z``. 4D is ``CZYX``, or ``ZYXC`` with a short last axis. 5D is
    ``TCZYX``.

    Raises:
        DataError: If the array has other than 2 to 5 axes.
    """
    colours_last = len(shape) > 2 and shape[-1] in (3, 4) and min(shape[:-1]) > 4
    if len(shape) == 2:
        return "YX"
    if len(shape) == 3:
        return "YXC" if colours_last else "CYX" if shape[0] <= 4 else "ZYX"
    if len(shape) == 4:
        return "ZYXC" if colours_last else "CZYX"
    if len(shape) == 5:
        return "TCZYX"
    raise broken(path, f"expected an image of 2 to 5 axes, got shape {tuple(shape)}")


def scene_picker(path: str, wanted: int | str | None, *, strict: bool) -> PickScene:
    """Return the function that chooses a scene by number or name.

    Args:
        path: For messages.
        wanted: Number or name; ``None`` takes the only one.
        strict: Whether several scenes without a choice are an error; otherwise the first is taken.
    """

    def pick(names: Sequence[str]) -> int:
        if wanted is None:
            if len(names) > 1 and strict:
                message = (
                    f"holds {len(names)} scenes ({listed(names)}) and none was chosen. Choose one "
                    "by number or name, such as 'data.scene: 0' in a config or scene=0 in Python"
                )
                raise broken(path, message)
            return 0
        if isinstance(wanted, str) and wanted in names:
            return list(names).index(wanted)
        number = _scene_number(wanted)
        if number is not None and 0 <= number < len(names):
            return number
        message = f"has no scene {wanted!r}; it holds {len(names)}: {listed(names)}."
        raise broken(path, message + did_you_mean(str(wanted), names))

    return pick


def _scene_number(wanted: int | str) -> int | None:
    if isinstance(wanted, int):
        return wanted
    # "Image:3" is how OME numbers images that may have other names
    digits = wanted.removeprefix("Image:")
    return int(digits) if digits.isdecimal() else None
