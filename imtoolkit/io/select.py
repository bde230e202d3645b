"""From an open image to ``(C, [Z,] Y, X)``: naming the axes, and reading only what was chosen."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imtoolkit.core.errors import DataError, did_you_mean, listed

from .opened import Index, OpenImage, broken
from .picture import Picture, PictureInfo

log = logging.getLogger(__name__)

_COLOURS = ("red", "green", "blue")
_GENERATED = re.compile(r"Channel:[^:]*:\d+(:\d+)?")


@dataclass(frozen=True)
class Selection:
    """What of an image shall be read; the fields are those of section ``data`` of a config."""

    axes: str | None = None
    channels: tuple[int | str, ...] | None = None  # as stored: a complex channel becomes two
    time: int | None = None
    z_range: tuple[int, int] | None = None


@dataclass(frozen=True)
class _Plan:
    """Where everything lies: ``axes`` names each stored axis, ``order`` those of the result."""

    axes: str
    order: str
    names: tuple[str, ...]
    chosen: tuple[int, ...]
    time: int
    z_range: tuple[int, int]

    def size(self, image: OpenImage, letter: str) -> int:
        return image.shape[self.axes.index(letter)] if letter in self.axes else 1


def take(image: OpenImage, selection: Selection) -> Picture:
    """Read the chosen part of an image."""
    plan = _plan(image, selection, strict=True)
    pixels = _arrange(image, plan)
    names = tuple(plan.names[number] for number in plan.chosen)
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8)
    elif pixels.dtype.kind == "c":
        pixels, names = _channel_pairs(pixels), _pair_names(names)
    pixels = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))
    if not pixels.flags.writeable:  # torch wants arrays of its own
        pixels = pixels.copy()
    spacing = _spacing(image, plan)
    return Picture(
        pixels=pixels,
        spacing=spacing,
        unit=image.unit if spacing else None,
        affine=_affine(image, plan),
        channel_names=names,
        axes=plan.order,
    )


def describe(image: OpenImage, selection: Selection, path: str) -> PictureInfo:
    """Tell what `take` would return; several time points are counted, not refused."""
    plan = _plan(image, selection, strict=False)
    names = tuple(plan.names[number] for number in plan.chosen)
    dtype = np.dtype(np.uint8) if image.dtype == np.bool_ else image.dtype.newbyteorder("=")
    if dtype.kind == "c":
        names, dtype = _pair_names(names), np.empty(0, dtype).real.dtype
    sizes = {"C": len(names), "Z": plan.z_range[1] - plan.z_range[0]}
    spacing = _spacing(image, plan)
    return PictureInfo(
        path=path,
        axes=plan.order,
        shape=tuple(sizes.get(letter) or plan.size(image, letter) for letter in plan.order),
        dtype=dtype,
        spacing=spacing,
        unit=image.unit if spacing else None,
        affine=_affine(image, plan),
        channel_names=names,
        scenes=image.scenes,
        times=plan.size(image, "T"),
        file_axes=image.axes,
        file_shape=image.shape,
    )


# --- naming the axes ------------------------------------------------------------------------------


def name_axes(image: OpenImage, wanted: str | None) -> str:
    """Return a letter for each stored axis, as the user says, or else as the file says.

    The user's letters name the stored axes in their order, all of them or all but those of size 1.
    Where neither fits, they may leave out axes of size 1 that the file names, and name a ``C`` or
    ``T`` that it lacks.

    Raises:
        DataError: If the letters do not fit the file.
    """
    if wanted is None:
        return image.axes
    _check_letters(image, wanted)
    long = [n for n, size in enumerate(image.shape) if size > 1 or image.axes[n] in "YX"]
    if len(wanted) == len(image.shape):
        named = wanted
    elif len(wanted) == len(long):
        spare = iter(wanted)
        # axes of size 1 keep a letter that stands for nothing, and are dropped
        named = "".join(next(spare) if n in long else "_" for n in range(len(image.shape)))
    else:
        named = _match_by_name(image, wanted)
    for letter, stored in zip(named, image.axes, strict=True):
        if stored == "S" and letter not in "SC_":
            raise _misfit(image, wanted, f"what you call {letter} holds the colours of a pixel")
    return "".join(
        "S" if stored == "S" else letter for letter, stored in zip(named, image.axes, strict=True)
    )


def _check_letters(image: OpenImage, wanted: str) -> None:
    if (
        not set(wanted) <= set("TCZYXS")
        or len(set(wanted)) != len(wanted)
        or not set("YX") <= set(wanted)
    ):
        message = (
            f"axes '{wanted}' are not understood: expected Y and X, and at most once Z, C, T (S "
            "for colours), in the order of the file, such as 'YX', 'YXC', 'ZYX' or 'CZYX'"
        )
        raise broken(image.path, message)


def _match_by_name(image: OpenImage, wanted: str) -> str:
    kept = "".join(
        letter
        for letter, size in zip(image.axes, image.shape, strict=True)
        if letter in wanted or size > 1 or letter in "YX"
    )
    if kept != "".join(letter for letter in wanted if letter in kept):
        raise _misfit(image, wanted)
    # a grey image is one with a single channel; but a slice is not a volume
    if not set(wanted) - set(kept) <= set("CT"):
        raise _misfit(image, wanted)
    return "".join(letter if letter in kept else "_" for letter in image.axes)


def _misfit(image: OpenImage, wanted: str, why: str = "") -> Exception:
    stored = f"axes {image.axes} and shape {image.shape}"
    remedy = (
        f"Say axes '{image.axes.replace('S', 'C')}' ('data.axes' in a config), leave them out, or "
        "choose other files"
    )
    return broken(
        image.path,
        f"got axes '{wanted}', but the file has {stored}{f': {why}' if why else ''}. {remedy}",
    )


def add_time(image: OpenImage, wanted: str | None) -> str | None:
    """Put the ``T`` of a file into axes that were meant for one of its frames.

    Axes that fit the file as they are stay: the user may know its ``T`` to be slices. So do those
    that do not fit its frames either, for the message to tell what the user said.
    """
    sizes = dict(zip(image.axes, image.shape, strict=True))
    if wanted is None or "T" in wanted or sizes.get("T", 1) == 1:
        return wanted
    long = [letter for letter, size in sizes.items() if size > 1 or letter in "YX"]
    if len(wanted) in (len(long), len(image.shape)):
        return wanted
    if len(wanted) == len(long) - 1:
        place = long.index("T")
    else:
        behind = image.axes[image.axes.index("T") :]
        place = next((n for n, letter in enumerate(wanted) if letter in behind), 0)
    timed = f"{wanted[:place]}T{wanted[place:]}"
    try:
        name_axes(image, timed)
    except DataError:
        return wanted
    return timed


def count_times(image: OpenImage, selection: Selection) -> int | None:
    """Return how many time points are to be read one by one, ``None`` for a single picture.

    With a ``T`` in the axes that were asked for there is an axis of time, even of size 1.
    """
    if selection.time is not None:
        return None
    axes = name_axes(image, selection.axes)
    times = image.shape[axes.index("T")] if "T" in axes else 1
    return times if times > 1 or "T" in (selection.axes or "") else None


# --- choosing -------------------------------------------------------------------------------------


def _plan(image: OpenImage, selection: Selection, *, strict: bool) -> _Plan:
    axes = name_axes(image, selection.axes)
    for letter, size in zip(axes, image.shape, strict=True):
        if letter not in "TCZYXS" and size > 1:
            message = (
                f"has an axis '{letter}' of size {size} that is neither time, channel nor space "
                f"(all: {image.axes}, {image.shape}). "
                "Name the axes with 'axes', or export the image as OME-TIFF"
            )
            raise broken(image.path, message)
    depth = image.shape[axes.index("Z")] if "Z" in axes else 1
    volume = depth > 1 or "Z" in (selection.axes or "")
    names = _channel_names(image, axes)
    return _Plan(
        axes=axes,
        order="CZYX" if volume else "CYX",
        names=names,
        chosen=_choose_channels(image, names, selection.channels),
        time=_choose_time(image, axes, selection.time, strict=strict),
        z_range=_choose_slices(image, depth, selection.z_range),
    )


def _channel_names(image: OpenImage, axes: str) -> tuple[str, ...]:
    size = dict(zip(axes, image.shape, strict=True))
    channels = size.get("C", 1)
    colours = size.get("S", 1) - (1 if image.alpha else 0)
    if channels == 1 and colours == len(_COLOURS):
        return _COLOURS
    names = [str(number) for number in range(channels * colours)]
    if colours == 1 and len(image.channel_names) == channels:
        given = image.channel_names
        names = [
            own if not name or _GENERATED.fullmatch(name) else name
            for own, name in zip(names, given, strict=True)
        ]
    # a name used twice chooses nothing
    return tuple(name if names.count(name) == 1 else f"{name}:{n}" for n, name in enumerate(names))


def _choose_channels(
    image: OpenImage, names: Sequence[str], wanted: Sequence[int | str] | None
) -> tuple[int, ...]:
    if wanted is None:
        return tuple(range(len(names)))
    if not wanted:
        raise broken(
            image.path, f"no channel was chosen; leave 'channels' out for all of {listed(names)}"
        )
    return tuple(_channel_number(image, names, channel) for channel in wanted)


def _channel_number(image: OpenImage, names: Sequence[str], wanted: int | str) -> int:
    if isinstance(wanted, str):
        if wanted in names:
            return list(names).index(wanted)
        same = [n for n, name in enumerate(names) if name.lower() == wanted.lower()]
        if len(same) == 1:
            return same[0]
    elif 0 <= wanted < len(names):
        return wanted
    message = f"has no channel {wanted!r}; it holds {len(names)}: {listed(names)}."
    raise broken(image.path, message + did_you_mean(str(wanted), names))


def _choose_time(image: OpenImage, axes: str, wanted: int | None, *, strict: bool) -> int:
    times = image.shape[axes.index("T")] if "T" in axes else 1
    if wanted is None:
        if times > 1 and strict:
            message = (
                f"holds {times} time points and none was chosen. Choose one, for example "
                "'data.time: 0' in a config or time=0 in Python; "
                "if they are slices or channels, name the axes: 'data.axes: ZYX'"
            )
            raise broken(image.path, message)
        return 0
    if not 0 <= wanted < times:
        raise broken(image.path, f"has no time point {wanted}; it holds {times}, counted from 0")
    return wanted


def _choose_slices(image: OpenImage, depth: int, wanted: tuple[int, int] | None) -> tuple[int, int]:
    if wanted is None:
        return 0, depth
    first, last = wanted
    if not 0 <= first < last <= depth:
        message = (
            f"got z_range {[first, last]}, expected first and past-the-last slice within [0, "
            f"{depth}]"
        )
        raise broken(image.path, message)
    return first, last


# --- reading --------------------------------------------------------------------------------------


def _channel_pairs(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    """Turn complex channels ``(C, ...)`` into ``(2 C, ...)``: real and imaginary part by turns.

    Example:
        >>> _channel_pairs(np.array([[1 + 2j], [3 + 4j]]))[:, 0].tolist()
        [1.0, 2.0, 3.0, 4.0]
    """
    pairs = np.stack([pixels.real, pixels.imag], axis=1)  # (C, 2, [Z,] Y, X)
    return pairs.reshape(-1, *pixels.shape[1:])


def _pair_names(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{name}.{part}" for name in names for part in ("real", "imag"))


def _arrange(image: OpenImage, plan: _Plan) -> NDArray[np.generic]:
    """Read and return ``(C, [Z,] Y, X)``."""
    outer = (
        "C" in plan.axes and plan.axes.index("C") < plan.axes.index("Y") and "S" not in plan.axes
    )
    every = plan.chosen == tuple(range(len(plan.names)))
    if outer and not every:
        # each channel lies by itself in the file: read only those that were chosen
        parts = [_load(image, plan, channel) for channel in plan.chosen]
        return np.concatenate(parts)
    pixels = _load(image, plan, None)  # (C * S, [Z,] Y, X), alpha still there
    if image.alpha:
        _warn_of_alpha(image, pixels)
    if every and len(pixels) == len(plan.chosen):
        return pixels
    return pixels[list(plan.chosen)]


def _load(image: OpenImage, plan: _Plan, channel: int | None) -> NDArray[np.generic]:
    index: list[int | slice] = []
    kept = ""
    for letter, size in zip(plan.axes, image.shape, strict=True):
        if letter == "T":
            index.append(plan.time)
        elif letter == "Z":
            index.append(slice(*plan.z_range))
            kept += letter
        elif letter == "C" and channel is not None:
            index.append(slice(channel, channel + 1))
            kept += letter
        elif letter in "CSYX":
            index.append(slice(0, size))
            kept += letter
        else:
            index.append(0)
    pixels = image.load(tuple(index))
    _check_shape(image, pixels, tuple(index))
    for letter in "ZSC":  # add what is missing in front, then bring into order
        if letter not in kept:
            pixels, kept = pixels[np.newaxis], letter + kept
    pixels = pixels.transpose([kept.index(letter) for letter in "CSZYX"])
    pixels = pixels.reshape(-1, *pixels.shape[2:])
    return pixels if plan.order == "CZYX" else pixels[:, 0]


def _check_shape(image: OpenImage, pixels: NDArray[np.generic], index: Index) -> None:
    expected = tuple(part.stop - part.start for part in index if isinstance(part, slice))
    if pixels.shape != expected:
        message = f"is damaged: it promises pixels of shape {expected} and holds {pixels.shape}"
        raise broken(image.path, message)


def _warn_of_alpha(image: OpenImage, pixels: NDArray[np.generic]) -> None:
    alpha = pixels[-1]
    if alpha.size and not bool((alpha == alpha.flat[0]).all()):
        log.warning(
            "%s: the transparency (alpha) of the image is not read, only its colours", image.path
        )


def _spacing(image: OpenImage, plan: _Plan) -> tuple[float, ...] | None:
    known = dict(image.spacing)
    if "X" in known and "Y" not in known:  # files that give one of them mean square pixels
        known["Y"] = known["X"]
    elif "Y" in known and "X" not in known:
        known["X"] = known["Y"]
    if not all(letter in known for letter in plan.order[1:]):
        return None
    return tuple(float(known[letter]) for letter in plan.order[1:])


def _affine(image: OpenImage, plan: _Plan) -> NDArray[np.float64] | None:
    if image.affine is None:
        return None
    shift = np.eye(4)
    shift[2, 3] = plan.z_range[0]  # the first slice that was read is slice 0 of the result
    affine: NDArray[np.float64] = np.asarray(image.affine, dtype=np.float64) @ shift
    return affine
