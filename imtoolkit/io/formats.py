"""Reading: from a path to a `Picture`; each family of formats has a module beside this one.

Whatever a library raises on a broken file comes out as a `DataError` that names the file and says
what to do. Nothing heavy is imported before a file needs it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from imtoolkit.core.errors import DataError, did_you_mean

from .frames import Frames, frames_of, joined_frames
from .names import (
    ARRAYS,
    DICOM,
    MRC,
    NIBABEL,
    NIFTI,
    PLAIN,
    SUFFIXES,
    TIFF,
    VENDOR,
    ZARR,
    split_reference,
    suffix_of,
)
from .opened import OpenImage, PickScene, broken, guarding, scene_picker
from .picture import Picture, PictureInfo, join_channels
from .select import Selection, describe, take

Pathlike = str | Path


def read(
    path: Pathlike | Sequence[Pathlike],
    *,
    axes: str | None = None,
    channels: Sequence[int | str] | None = None,
    scene: int | str | None = None,
    time: int | None = None,
    z_range: Sequence[int] | None = None,
    reader: Any = None,
) -> Picture:
    """Read one image, or the chosen part; where the format can, only that is read from disk.

    Args:
        path: File or folder; ``file.h5::key`` and ``file.npz::key::row`` name an array in a
            container. A list of files is read as the channels of one image.
        axes: Axes of the file in its own order, such as ``"YXC"`` or ``"ZYX"``; left out, as the
            file says. With a ``Z`` the result has one, even of size 1; without one, an image of a
            single slice is 2D.
        channels: Channels by number or name; left out, all.
        scene: Scene by number or name; left out, the only one.
        time: Time point; left out, the only one.
        z_range: First and past-the-last slice; left out, all.
        reader: A component (``name`` and ``params``), a name, or a MONAI ``ImageReader``; left out,
            by suffix.

    Returns:
        Pixels ``(C, [Z,] Y, X)`` in the file's dtype, pixel size, affine and names of channels.
        Complex channels become pairs of channels: real and imaginary part.

    Raises:
        DataError: If the file is missing, damaged, or does not hold what was asked for.
        MissingPackageError: If the format needs a package that is not installed.
    """
    request = _request(axes, channels, scene, time, z_range, reader)
    files = _files(path)
    if len(files) == 1:
        return _read_one(files[0], request)
    whole = _all_channels(request)
    return _joined(files, [_read_one(file, whole) for file in files], request.selection.channels)


def probe(
    path: Pathlike,
    *,
    axes: str | None = None,
    channels: Sequence[int | str] | None = None,
    scene: int | str | None = None,
    time: int | None = None,
    z_range: Sequence[int] | None = None,
    reader: Any = None,
) -> PictureInfo:
    """Tell what `read` would return, without reading pixels where the format allows.

    Several scenes or time points are counted, not refused: the first scene is described. Arguments
    are those of `read`.
    """
    request = _request(axes, channels, scene, time, z_range, reader)
    with opening(path, request, strict=False) as image:
        return describe(image, request.selection, str(path))


@contextlib.contextmanager
def open_frames(
    path: Pathlike | Sequence[Pathlike],
    *,
    axes: str | None = None,
    channels: Sequence[int | str] | None = None,
    scene: int | str | None = None,
    time: int | None = None,
    z_range: Sequence[int] | None = None,
    reader: Any = None,
) -> Iterator[Frames]:
    """Open an image to read its time points one by one; a still image is one `Picture`.

    Arguments are those of `read`, a list of files among them. Axes without a ``T``, as a model of
    single images has them, fit the frames of a file that names its time axis.

    Raises:
        DataError: If the file is missing, damaged, or does not hold what was asked for.
    """
    request = _request(axes, channels, scene, time, z_range, reader)
    files = _files(path)
    part = request if len(files) == 1 else _all_channels(request)
    with contextlib.ExitStack() as stack:
        # what the caller does with a frame may fail as well, which says nothing about the file
        parts = [stack.enter_context(_frames(file, part)) for file in files]
        if len(parts) == 1:
            yield parts[0]
        else:
            yield joined_frames(
                parts, lambda found: _joined(files, found, request.selection.channels)
            )


@contextlib.contextmanager
def _frames(path: Pathlike, request: Request) -> Iterator[Frames]:
    name = str(path)
    with guarding(name):
        pick = scene_picker(name, request.scene, strict=True)
        image = _open(path, request.selection.axes, pick, request.reader)
    try:
        yield frames_of(image, request.selection)
    finally:
        image.close()


@dataclass(frozen=True)
class Request:
    """What to read of a file, with which scene and reader."""

    selection: Selection
    scene: int | str | None
    reader: Any


def _request(
    axes: str | None,
    channels: Sequence[int | str] | None,
    scene: int | str | None,
    time: int | None,
    z_range: Sequence[int] | None,
    reader: Any,
) -> Request:
    asked = {"axes": axes, "channels": channels, "scene": scene, "time": time, "z_range": z_range}
    if reader is not None:
        from .foreign import resolve

        reader = resolve(reader)
        # what the reader was built with, where the caller says nothing
        own = getattr(reader, "selected", {})
        asked = {key: own.get(key) if value is None else value for key, value in asked.items()}
    return Request(_selection(asked), cast("int | str | None", asked["scene"]), reader)


def _selection(asked: dict[str, Any]) -> Selection:
    axes, channels, z_range = asked["axes"], asked["channels"], asked["z_range"]
    if z_range is not None and len(z_range) != 2:
        message = (
            f"got z_range {list(z_range)}, expected two numbers: first and past-the-last slice"
        )
        raise DataError(message)
    if isinstance(channels, int | str):
        channels = (channels,)
    return Selection(
        axes=axes.upper() if axes else None,
        channels=None if channels is None else tuple(channels),
        time=asked["time"],
        z_range=None if z_range is None else (int(z_range[0]), int(z_range[1])),
    )


def _read_one(path: Pathlike, request: Request) -> Picture:
    with opening(path, request, strict=True) as image:
        return take(image, request.selection)


def _files(path: Pathlike | Sequence[Pathlike]) -> list[Pathlike]:
    return [path] if isinstance(path, str | Path) else list(path)


def _all_channels(request: Request) -> Request:
    return replace(request, selection=replace(request.selection, channels=None))


def _joined(
    files: Sequence[Pathlike], parts: Sequence[Picture], channels: Sequence[int | str] | None
) -> Picture:
    """Make one image of files that hold its channels, and choose among these."""
    joined = join_channels(parts, [str(file) for file in files])
    if channels is None:
        return joined
    numbers = [_number(files, channel, len(joined.pixels)) for channel in channels]
    return replace(
        joined,
        pixels=joined.pixels[numbers],
        channel_names=tuple(joined.channel_names[number] for number in numbers),
    )


def _number(files: Sequence[Pathlike], channel: int | str, count: int) -> int:
    if isinstance(channel, str) or not 0 <= channel < count:
        message = (
            f"an image of {len(files)} files has its {count} channels by number, got {channel!r}"
        )
        raise broken(str(files[0]), message)
    return channel


@contextlib.contextmanager
def opening(path: Pathlike, request: Request, *, strict: bool) -> Iterator[OpenImage]:
    """Open an image, close it afterwards, and turn any failure on the way into a `DataError`."""
    name = str(path)
    pick = scene_picker(name, request.scene, strict=strict)
    with guarding(name):
        image = _open(path, request.selection.axes, pick, request.reader)
        try:
            yield image
        finally:
            image.close()


# --- choosing the format --------------------------------------------------------------------------


def _open(path: Pathlike, axes: str | None, pick: PickScene, reader: Any) -> OpenImage:
    file, inside = split_reference(path)
    check_there(file)
    if reader is not None:
        from .foreign import open_with

        return open_with(file, inside, axes, pick, reader)
    return open_by_suffix(file, inside, axes, pick)


def open_by_suffix(
    path: Path, inside: tuple[str, ...], axes: str | None, pick: PickScene
) -> OpenImage:
    """Open an image with the module for its suffix."""
    suffix = suffix_of(path)
    if inside and suffix not in ARRAYS:
        message = f"holds one image; '::{inside[0]}' chooses only in {', '.join(ARRAYS)}"
        raise broken(str(path), message)
    if suffix in PLAIN:
        from .plain import open_plain

        return open_plain(path, pick, axes)
    if suffix in ARRAYS:
        from .arrays import open_array

        return open_array(path, inside, pick, axes)
    return _opener(path, suffix)(path, pick)


def _opener(path: Path, suffix: str) -> Callable[[Path, PickScene], OpenImage]:
    if path.is_dir():
        return _folder_opener(path, suffix)
    if suffix in TIFF:
        from .tiff import open_tiff

        return open_tiff
    if suffix in (*NIFTI, *NIBABEL):
        from .medical import open_nifti

        return open_nifti
    if suffix in MRC:
        from .mrc import open_mrc

        return open_mrc
    if suffix in VENDOR:
        from .bio import open_bioio

        return open_bioio
    if suffix in DICOM or _is_dicom(path):
        from .medical import open_dicom

        return open_dicom
    message = (
        f"its suffix '{suffix}' is not one that imtoolkit reads.{did_you_mean(suffix, SUFFIXES)} "
        f"Known: {' '.join(sorted(SUFFIXES))}. Another format may be read by a bioio plugin: "
        "install it and set the reader "
        "'{name: BioImageReader, params: {image_class: bioio.BioImage}}'"
    )
    raise broken(str(path), message)


def _folder_opener(path: Path, suffix: str) -> Callable[[Path, PickScene], OpenImage]:
    if suffix in ZARR or (path / "zarr.json").is_file() or (path / ".zattrs").is_file():
        from .bio import open_zarr

        return open_zarr
    from .medical import open_dicom

    return open_dicom


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(128)
        return stream.read(4) == b"DICM"


def check_there(path: Path) -> None:
    """Refuse what is missing or empty, before a library gives its own account of it.

    Raises:
        DataError: With the name in the folder that is nearest.
    """
    if path.is_symlink() and not path.exists():
        raise broken(str(path), f"is a link to {path.readlink()}, which does not exist")
    if not path.exists():
        near = (
            did_you_mean(path.name, [p.name for p in path.parent.iterdir()])
            if path.parent.is_dir()
            else ""
        )
        where = "" if path.parent.is_dir() else f", nor does its folder {path.parent}"
        raise broken(str(path), f"does not exist{where}.{near}")
    if path.is_file() and path.stat().st_size == 0:
        raise broken(str(path), "is empty (0 bytes). Copy or export it again")
