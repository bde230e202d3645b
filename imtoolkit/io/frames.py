"""Time-lapses, one time point at a time: `Frames` reads them, `FrameWriter` writes them.

Both need the memory of one frame, whatever the length of the film.

    from imtoolkit.io import FrameWriter, open_frames
    with open_frames("film.ome.tif") as frames, FrameWriter("out.ome.tif", axes="YX") as writer:
        for picture in frames:
            writer.add(picture.pixels[0] > 100)
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .opened import OpenImage, broken, guarding
from .picture import Picture
from .select import Selection, add_time, count_times, take
from .writer import check_protected, check_suffix, disk_message, refused, smallest, write

Join = Callable[[Sequence[Picture]], Picture]
"""Makes one image of the pictures of its channels."""


@dataclass(frozen=True, eq=False)
class Frames:
    """The time points of an open image; iterating reads them one after the other.

    Attributes:
        image: The open file.
        selection: What to read of each time point.
        times: Number of time points; ``None`` for a still image, or where one was chosen.
    """

    image: OpenImage
    selection: Selection
    times: int | None

    @property
    def interval(self) -> float | None:
        """Seconds from one time point to the next, where the file tells them."""
        return None if self.times is None else self.image.interval

    def __len__(self) -> int:
        return self.times or 1

    def __iter__(self) -> Iterator[Picture]:
        return (self.read(number) for number in range(len(self)))

    def read(self, number: int) -> Picture:
        """Read one time point, counted from 0; a still image has number 0."""
        chosen = self.selection
        if self.times is not None:
            chosen = replace(chosen, time=number)
        with guarding(self.image.path):
            return take(self.image, chosen)


def frames_of(image: OpenImage, selection: Selection) -> Frames:
    """Return the time points of an open image."""
    selection = replace(selection, axes=add_time(image, selection.axes))
    return Frames(image, selection, count_times(image, selection))


@dataclass(frozen=True, eq=False)
class _JoinedFrames(Frames):
    """The time points of an image with a file for each channel; the first tells axes and times."""

    parts: Sequence[Frames]
    join: Join

    def read(self, number: int) -> Picture:
        return self.join([part.read(number) for part in self.parts])


def joined_frames(parts: Sequence[Frames], join: Join) -> Frames:
    """Return the time points of an image whose channels lie in several files.

    Raises:
        DataError: If the files differ in their number of time points.
    """
    first = parts[0]
    for part in parts[1:]:
        if part.times != first.times:
            message = (
                f"the channels of an image must have the same time points: got {len(part)}, and "
                f"{len(first)} in {first.image.path}"
            )
            raise broken(part.image.path, message)
    return _JoinedFrames(first.image, first.selection, first.times, parts, join)


class FrameWriter:
    """Write a time-lapse frame by frame; leaving the ``with`` without an error makes the file.

    Frames wait in a nameless file on the disk of ``path``: most formats begin with what is known at
    the end only, such as the number of frames and the type that holds the labels of all of them.

    Args:
        path: File to write, in a format of `imtoolkit.io.writer.FORMATS` other than PNG.
        axes: Axes of a frame: ``"YX"``, ``"ZYX"``, ``"CYX"`` or ``"CZYX"``.
        interval: Seconds from one frame to the next.
        spacing: For this and the following see `imtoolkit.io.write`.
        unit: Unit of ``spacing``.
        affine: Of NIfTI.
        channel_names: One for each channel.
        protect: Files that are inputs.

    Raises:
        DataError: If the format holds no time points, or the file is an input.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        axes: str,
        interval: float | None = None,
        spacing: Sequence[float] | None = None,
        unit: str | None = None,
        affine: ArrayLike | None = None,
        channel_names: Sequence[str] | None = None,
        protect: Collection[str | Path] = (),
    ) -> None:
        self.path = Path(path)
        self.axes = axes
        self.options: dict[str, Any] = {
            "interval": interval,
            "spacing": spacing,
            "unit": unit,
            "affine": affine,
            "channel_names": channel_names,
            "protect": tuple(protect),
        }
        check_suffix(self.path, movie=True)
        check_protected(self.path, protect)
        self._waiting: Any = None  # the nameless file
        self._shape: tuple[int, ...] = ()
        self._dtype: np.dtype[Any] = np.dtype(np.uint8)
        self._count = 0

    def __enter__(self) -> FrameWriter:
        self._waiting = self._nameless()
        return self

    def add(self, frame: ArrayLike) -> None:
        """Add the next frame.

        Raises:
            DataError: If it differs in shape from the first, or the disk is full.
        """
        pixels = np.asarray(frame)
        if self._count and pixels.shape != self._shape:
            message = f"frame {self._count} has the shape {pixels.shape}, the first {self._shape}"
            raise refused(self.path, message)
        pixels = self._compact(pixels)
        if not self._count:
            self._shape, self._dtype = pixels.shape, pixels.dtype
        wide = np.promote_types(self._dtype, pixels.dtype)
        try:
            if wide != self._dtype:
                self._widen(wide)
            self._waiting.write(np.ascontiguousarray(pixels, dtype=wide).data)
        except OSError as error:
            raise refused(self.path, disk_message(error, pixels.nbytes)) from error
        self._count += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._waiting.close()

    def _finish(self) -> None:
        if not self._count:
            raise refused(self.path, "no frame was given, and a film has one at least")
        try:
            self._waiting.flush()
        except OSError as error:
            raise refused(self.path, disk_message(error, 0)) from error
        shape = (self._count, *self._shape)
        # mapped, not loaded: writing goes through it plane by plane
        film: NDArray[Any] = np.memmap(self._waiting, self._dtype, "r", shape=shape)
        write(self.path, film, axes=f"T{self.axes}", **self.options)

    def _compact(self, pixels: NDArray[Any]) -> NDArray[Any]:
        labels = "C" not in self.axes or (pixels.ndim == len(self.axes) and len(pixels) == 1)
        if labels and pixels.dtype.kind in "bui":
            return smallest(self.path, pixels)
        return pixels.astype(np.float32) if pixels.dtype == np.float16 else pixels

    def _widen(self, dtype: np.dtype[Any]) -> None:
        """Copy what waits into a file of a wider type, frame by frame; labels outgrew theirs."""
        narrow, wide = self._waiting, self._nameless()
        size = self._dtype.itemsize * int(np.prod(self._shape))
        narrow.seek(0)
        for _ in range(self._count):
            wide.write(np.frombuffer(narrow.read(size), self._dtype).astype(dtype).data)
        narrow.close()
        self._waiting, self._dtype = wide, dtype

    def _nameless(self) -> Any:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # beside the file, because the folder for temporary files may lie in memory
            return tempfile.TemporaryFile(dir=self.path.parent, prefix=f".{self.path.name}.")
        except OSError as error:
            raise refused(self.path, disk_message(error, 0)) from error
