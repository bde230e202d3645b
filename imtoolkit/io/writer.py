"""Writing images with pixel size and affine: OME-TIFF, TIFF for ImageJ, NIfTI, npy, PNG.

A file is complete or not there: it is written beside its place and renamed. An input is never
overwritten.
"""

from __future__ import annotations

import errno
import gzip
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imtoolkit.core.errors import DataError, Problem
from imtoolkit.core.files import replacing

from .names import suffix_of

FORMATS: Final = (".ome.tif", ".ome.tiff", ".tif", ".tiff", ".nii.gz", ".nii", ".npy", ".png")
"""Suffixes that can be written."""

_UNITS: Final = {"micrometer": "µm", "millimeter": "mm"}
_PER_MICROMETER: Final = {"micrometer": 1.0, "millimeter": 1000.0}


def write(
    path: str | Path,
    pixels: ArrayLike,
    *,
    spacing: Sequence[float] | None = None,
    unit: str | None = None,
    affine: ArrayLike | None = None,
    channel_names: Sequence[str] | None = None,
    axes: str | None = None,
    interval: float | None = None,
    protect: Collection[str | Path] = (),
) -> Path:
    """Write an image in the format that the suffix names; see `FORMATS`.

    Labels, that is integers with no channel axis or a single channel, are stored in the smallest
    unsigned type that holds them, if they come in 32 or 64 bits, and compressed. Booleans become 0
    and 1.

    Args:
        path: File to write; its folder is made.
        pixels: ``(C, [Z,] Y, X)``, or ``([Z,] Y, X)``; with ``axes`` also ``(T, ...)``, for which
            `imtoolkit.io.FrameWriter` needs the memory of one frame only.
        spacing: Pixel size in ``[Z,] Y, X``.
        unit: ``"micrometer"`` or ``"millimeter"``; left out, millimetres in NIfTI and micrometres
            elsewhere.
        affine: ``(4, 4)`` from ``(X, Y, Z, 1)`` to world, stored in NIfTI; left out, made of the
            pixel size.
        channel_names: One for each channel, stored in OME-TIFF.
        axes: ``"YX"``, ``"ZYX"``, ``"CYX"`` or ``"CZYX"``; needed only for three axes of which
            nothing else (``spacing``, ``channel_names``, a PNG) tells whether the first is ``C`` or
            ``Z``. A time-lapse has a ``T`` in front; in NIfTI that is the fourth axis.
        interval: Seconds from one time point to the next.
        protect: Files that are inputs: to write over one is refused.

    Returns:
        The path that was written.

    Raises:
        DataError: If the format cannot hold such pixels, the file is an input, or the disk is full.
    """
    path = Path(path)
    suffix = check_suffix(path, movie=(axes or "").startswith("T"))
    check_protected(path, protect)
    if unit is not None and unit not in _UNITS:
        raise refused(path, f"got unit '{unit}', expected 'micrometer' or 'millimeter'")
    image, order = _ordered(path, np.asarray(pixels), spacing, channel_names, axes)
    page = _Page(path, image, order, spacing, unit, affine, channel_names, interval)
    try:
        with replacing(path) as part:
            _WRITERS[suffix](page, part)
    except OSError as error:
        raise refused(path, disk_message(error, image.nbytes)) from error
    return path


def check_suffix(path: Path, *, movie: bool = False) -> str:
    """Return the suffix, if such a file can be written.

    Raises:
        DataError: If it names no format of `FORMATS`, or for a movie one of single images.
    """
    suffix = suffix_of(path)
    if suffix not in FORMATS:
        raise refused(path, f"cannot write '{suffix}' files; choose one of {' '.join(FORMATS)}")
    if movie and suffix == ".png":
        message = (
            "PNG holds a single image and no time points; choose .ome.tif ('--format .ome.tif' in "
            "prediction), or one time point ('--time 0')"
        )
        raise refused(path, message)
    return suffix


def check_protected(path: Path, protect: Collection[str | Path]) -> None:
    """Refuse to write over an input, also by another name of the same file.

    Raises:
        DataError: If ``path`` is one of ``protect``.
    """
    for other in map(Path, protect):
        same = path.resolve() == other.resolve()
        if same or (path.exists() and other.exists() and path.samefile(other)):
            raise refused(path, "is an input and is never overwritten; write into another folder")


class _Page:
    """What is to be written: ``image`` is ``(T, C, Z, Y, X)``, ``order`` the axes it came with."""

    def __init__(
        self,
        path: Path,
        image: NDArray[Any],
        order: str,
        spacing: Sequence[float] | None,
        unit: str | None,
        affine: ArrayLike | None,
        channel_names: Sequence[str] | None,
        interval: float | None,
    ) -> None:
        dims = 3 if "Z" in order else 2
        if spacing is not None and (len(spacing) != dims or not all(size > 0 for size in spacing)):
            message = (
                f"got spacing {tuple(spacing)}, expected {dims} positive sizes for axes {order}"
            )
            raise refused(path, message)
        channels = image.shape[1]
        if channel_names is not None and len(channel_names) != channels:
            message = f"got {len(channel_names)} channel names for {channels} channels"
            raise refused(path, message)
        self.path = path
        self.movie = "T" in order
        self.volume = "Z" in order
        self.labels = image.dtype.kind in "bui" and channels == 1
        self.image = smallest(path, image) if self.labels else image
        self.spacing = None if spacing is None else tuple(float(size) for size in spacing)
        self.unit = unit
        self.affine = None if affine is None else np.asarray(affine, dtype=np.float64)
        if self.affine is not None and self.affine.shape != (4, 4):
            raise refused(path, f"got an affine of shape {self.affine.shape}, expected (4, 4)")
        self.channel_names = channel_names
        self.interval = interval if self.movie else None

    def squeezed(self) -> NDArray[Any]:
        """Return the image without axes that it did not come with or that hold one channel."""
        image = self.image if self.volume else self.image[:, :, 0]
        image = image[:, 0] if image.shape[1] == 1 else image
        return image if self.movie else image[0]


def _ordered(
    path: Path,
    pixels: NDArray[Any],
    spacing: Sequence[float] | None,
    channel_names: Sequence[str] | None,
    axes: str | None,
) -> tuple[NDArray[Any], str]:
    """Return ``(T, C, Z, Y, X)`` and the axes that the pixels came with."""
    if pixels.dtype.kind not in "buif" or pixels.size == 0:
        raise refused(
            path, f"cannot write {pixels.dtype} of shape {pixels.shape}, expected real numbers"
        )
    order = axes or _infer_axes(path, pixels, spacing, channel_names)
    known = order.removeprefix("T") in ("YX", "ZYX", "CYX", "CZYX")
    if not known or len(order) != pixels.ndim:
        message = (
            f"got axes '{order}' for shape {pixels.shape}, expected YX, ZYX, CYX or CZYX, with T "
            "in front for time points"
        )
        raise refused(path, message)
    for place, letter in enumerate("TCZ"):
        if letter not in order:
            pixels = np.expand_dims(pixels, place)
    return pixels, order


def _infer_axes(
    path: Path,
    pixels: NDArray[Any],
    spacing: Sequence[float] | None,
    channel_names: Sequence[str] | None,
) -> str:
    if pixels.ndim != 3:
        return {2: "YX", 4: "CZYX"}.get(pixels.ndim, "?")
    if spacing is not None:
        return "CYX" if len(spacing) == 2 else "ZYX"
    if channel_names is not None or suffix_of(path) == ".png" or len(pixels) == 1:
        return "CYX"
    message = (
        f"shape {pixels.shape} may be channels or slices: say axes='CYX' or axes='ZYX', or give "
        "the spacing"
    )
    raise refused(path, message)


def smallest(path: Path, labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels in the smallest type that holds them; types of 8 and 16 bits stay.

    Raises:
        DataError: If they do not fit 32 bits.
    """
    if labels.dtype == np.bool_:
        return labels.astype(np.uint8)
    if labels.dtype.itemsize <= 2:
        return labels
    low, high = int(labels.min()), int(labels.max())
    kinds = (np.uint8, np.uint16, np.uint32) if low >= 0 else (np.int8, np.int16, np.int32)
    for kind in kinds:
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return labels.astype(kind, copy=False)
    message = (
        f"labels from {low} to {high} do not fit 32 bits; relabel them (imtoolkit.labels.relabel)"
    )
    raise refused(path, message)


# --- formats --------------------------------------------------------------------------------------


def _write_ome(page: _Page, part: Path) -> None:
    import tifffile

    metadata: dict[str, Any] = {"axes": "TCZYX" if page.movie else "CZYX"}
    if page.spacing is not None:
        for letter, size in zip("XYZ", page.spacing[::-1], strict=False):
            metadata[f"PhysicalSize{letter}"] = size
            metadata[f"PhysicalSize{letter}Unit"] = _UNITS[page.unit or "micrometer"]
    if page.channel_names is not None:
        metadata["Channel"] = {"Name": list(page.channel_names)}
    if page.interval is not None:
        metadata.update(TimeIncrement=page.interval, TimeIncrementUnit="s")
    image = _storable(page.image if page.movie else page.image[0])
    tifffile.imwrite(part, image, ome=True, metadata=metadata, **_tiff_options(page))


def _write_tiff(page: _Page, part: Path) -> None:
    """Write with ImageJ's metadata, or with OME's where ImageJ lacks the type of the pixels."""
    import tifffile

    if page.image.dtype.name not in ("uint8", "uint16", "float16", "float32"):
        _write_ome(page, part)
        return
    metadata: dict[str, Any] = {"axes": "TZCYX" if page.movie else "ZCYX"}
    options = _tiff_options(page)
    if page.spacing is not None:
        sizes = [size * _PER_MICROMETER[page.unit or "micrometer"] for size in page.spacing[::-1]]
        metadata["unit"] = "um"
        options["resolution"] = (1 / sizes[0], 1 / sizes[1])
        if page.volume:
            metadata["spacing"] = sizes[2]
    if page.interval is not None:
        metadata.update(finterval=page.interval, tunit="sec")
    image = _storable(page.image).swapaxes(1, 2)
    if not page.movie:
        tifffile.imwrite(part, image[0], imagej=True, metadata=metadata, **options)
        return
    # one by one, because tifffile would copy a whole film to bring channels and slices into order
    planes = (plane for frame in image for level in frame for plane in level)
    options.update(shape=image.shape, dtype=image.dtype)
    tifffile.imwrite(part, planes, imagej=True, metadata=metadata, **options)


def _tiff_options(page: _Page) -> dict[str, Any]:
    big = page.image.nbytes > 2**32 - 2**25  # a classic TIFF addresses 4 GB
    options: dict[str, Any] = {"photometric": "minisblack"}
    if big:
        options["bigtiff"] = True
    if page.labels:
        options["compression"] = "zlib"
    return options


def _storable(image: NDArray[Any]) -> NDArray[Any]:
    return image.astype(np.float32) if image.dtype == np.float16 else image


def _write_nifti(page: _Page, part: Path) -> None:
    import nibabel

    image = _storable(page.image)
    if image.dtype.itemsize == 8 and image.dtype.kind in "ui":
        message = f"NIfTI viewers do not read {image.dtype}; convert to 32 bits or float"
        raise refused(page.path, message)
    voxels = image.transpose(4, 3, 2, 0, 1)  # (X, Y, Z, T, C)
    voxels = voxels[..., 0] if image.shape[1] == 1 else voxels
    voxels = voxels if page.movie else voxels[:, :, :, 0]
    if voxels.ndim == 3 and not page.volume:
        voxels = voxels[..., 0]
    kind = (
        nibabel.Nifti2Image if max(voxels.shape) > np.iinfo(np.int16).max else nibabel.Nifti1Image
    )
    affine = _affine(page)
    volume = kind(voxels, affine)
    volume.header.set_xyzt_units(
        "micron" if page.unit == "micrometer" else "mm", "sec" if page.interval else None
    )
    if page.interval:
        zooms = list(volume.header.get_zooms())
        volume.header.set_zooms((*zooms[:3], page.interval, *zooms[4:]))
    volume.set_sform(affine, code=1)
    volume.set_qform(affine, code=1, strip_shears=True)
    # the temporary file has no suffix that would tell nibabel to compress
    with part.open("wb") as raw:
        if suffix_of(page.path) == ".nii":
            volume.to_stream(raw)
            return
        # without a time in the header, equal images make equal files
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as packed:
            volume.to_stream(packed)


def _affine(page: _Page) -> NDArray[np.float64]:
    if page.affine is not None:
        return page.affine
    affine = np.eye(4)
    for axis, size in enumerate((page.spacing or ())[::-1]):
        affine[axis, axis] = size
    return affine


def _write_npy(page: _Page, part: Path) -> None:
    pixels = np.ascontiguousarray(page.squeezed())
    header = np.lib.format.header_data_from_array_1_0(pixels)
    with part.open("wb") as stream:
        # numpy.save would write the pixels past Python and not say that the disk is full
        np.lib.format.write_array_header_1_0(stream, header)
        stream.write(pixels.data)


def _write_png(page: _Page, part: Path) -> None:
    from PIL import Image

    pixels = page.squeezed()
    fits = pixels.ndim == 2 and pixels.dtype in (np.uint8, np.uint16)
    colours = pixels.ndim == 3 and len(pixels) == 3 and pixels.dtype == np.uint8 and not page.volume
    if not fits and not colours:
        message = (
            "PNG holds grey images in 8 or 16 bits and colours in 8, "
            f"got {pixels.dtype} of shape {pixels.shape}; write .ome.tif instead"
        )
        raise refused(page.path, message)
    picture = Image.fromarray(
        np.ascontiguousarray(pixels.transpose(1, 2, 0) if colours else pixels)
    )
    picture.save(part, format="PNG")


_WRITERS: Final = {
    ".ome.tif": _write_ome,
    ".ome.tiff": _write_ome,
    ".tif": _write_tiff,
    ".tiff": _write_tiff,
    ".nii.gz": _write_nifti,
    ".nii": _write_nifti,
    ".npy": _write_npy,
    ".png": _write_png,
}


# --- errors ---------------------------------------------------------------------------------------


def refused(path: Path, message: str) -> DataError:
    """Return the error about a file that cannot be written."""
    return DataError(Problem(message, file=str(path)))


def disk_message(error: OSError, size: int) -> str:
    """Say why ``size`` bytes could not be written, and what to do."""
    need = math.ceil(size / 1e6)
    if error.errno == errno.ENOSPC:
        return (
            f"the disk is full: up to {need} MB are needed in this folder. Free some, or write to "
            "another disk"
        )
    if isinstance(error, PermissionError):
        return f"may not be written ({error.strerror}). Choose a folder that you may write to"
    return f"cannot be written ({error})"
