"""NIfTI, MGZ and DICOM through MONAI's readers, turned from ``(X, Y, Z)`` to ``(Z, Y, X)``.

A fourth axis of a NIfTI holds channels, as the Medical Segmentation Decathlon and nnU-Net mean it;
say ``axes="TZYX"`` where it is time.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imtoolkit.core.errors import MissingPackageError

from .opened import Index, OpenImage, PickScene, broken, seconds

_UNITS = {"micron": ("micrometer", 1.0), "meter": ("millimeter", 1000.0)}


def open_nifti(path: Path, pick: PickScene) -> OpenImage:
    """Open a NIfTI, MGH/MGZ or another volume that nibabel reads; see `OpenImage`."""
    from monai.data.image_reader import NibabelReader
    from nibabel.affines import voxel_sizes

    pick(("0",))
    # not memory-mapped: pixels that were read do not change or vanish with their file
    volume: Any = NibabelReader(mmap=False).read(str(path))
    stored = tuple(int(size) for size in volume.shape)
    colours = volume.get_data_dtype().names  # RGB and RGBA NIfTI
    if not 2 <= len(stored) <= 5:
        raise broken(str(path), f"expected a volume of 2 to 5 axes, got shape {stored}")
    axes = ("XYZC" if len(stored) < 5 else "XYZTC")[: len(stored)][::-1]
    unit, factor = _nifti_unit(volume.header)
    sizes = voxel_sizes(volume.affine) * factor
    return OpenImage(
        path=str(path),
        axes=axes + ("S" if colours else ""),
        shape=stored[::-1] + ((len(colours),) if colours else ()),
        dtype=np.dtype(np.uint8) if colours else _dtype(volume),
        load=lambda index: _load_nifti(volume, colours, index),
        spacing={
            letter: float(size) for letter, size in zip("XYZ", sizes, strict=True) if size > 0
        },
        unit=unit,
        affine=np.asarray(volume.affine, dtype=np.float64),
        alpha=bool(colours) and len(colours) == 4,
        interval=_nifti_interval(path) if len(stored) > 3 else None,
    )


def _nifti_unit(header: Any) -> tuple[str, float]:
    """Return our unit and the factor from the file's; without a unit, as in MGH, millimetres."""
    stated = header.get_xyzt_units()[0] if hasattr(header, "get_xyzt_units") else "mm"
    return _UNITS.get(stated, ("millimeter", 1.0))


def _nifti_interval(path: Path) -> float | None:
    """Return the seconds of a step along the fourth axis, where the header says that it is time."""
    import nibabel

    header: Any = nibabel.load(path).header  # MONAI's reader puts 1 where this is
    if not hasattr(header, "get_xyzt_units"):
        return None
    unit = header.get_xyzt_units()[1]
    return None if unit == "unknown" else seconds(header.get_zooms()[3], unit)


def _dtype(volume: Any) -> np.dtype[np.generic]:
    """Return the type that reading gives: the stored one, or a float where values are scaled."""
    proxy = volume.dataobj
    slope, inter = getattr(proxy, "slope", 1.0), getattr(proxy, "inter", 0.0)
    if (slope, inter) == (1.0, 0.0):
        dtype: np.dtype[np.generic] = np.dtype(volume.get_data_dtype())
        return dtype
    scaled: np.dtype[np.generic] = np.asanyarray(proxy[(slice(0, 1),) * len(volume.shape)]).dtype
    return scaled


def _load_nifti(volume: Any, colours: tuple[str, ...] | None, index: Index) -> NDArray[np.generic]:
    if colours:
        voxels = np.asanyarray(volume.dataobj[index[-2::-1]])
        return np.stack([voxels[name].T for name in colours], axis=-1)[..., index[-1]]
    # the proxy reads only the slices that are asked for
    part: NDArray[np.generic] = np.asanyarray(volume.dataobj[index[::-1]]).T
    return part


# --- DICOM ----------------------------------------------------------------------------------------


def open_dicom(path: Path, pick: PickScene) -> OpenImage:
    """Open a DICOM file or a folder, whose series are its scenes; see `OpenImage`.

    Raises:
        MissingPackageError: If pydicom is not installed.
        DataError: If it is no DICOM or its slices do not fit together.
    """
    try:
        import pydicom
    except ImportError as error:
        package, extra, purpose = "pydicom", "formats", f"{path}: reading DICOM"
        raise MissingPackageError(package, extra, purpose) from error
    from monai.data.image_reader import PydicomReader

    # None lets pydicom tell which files of the folder are slices
    reader = PydicomReader(fname_regex=None)
    if path.is_dir() and not any(
        pydicom.misc.is_dicom(file) for file in path.iterdir() if file.is_file()
    ):
        raise broken(
            str(path), "is a folder without DICOM files. Name one with the slices of a series"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters is checked below
            data = reader.read(str(path))
            scenes, data = _choose_series(reader, data, pick)
            if isinstance(data, list):
                _check_slices(str(path), data)
            if int(getattr(data, "NumberOfFrames", 1) or 1) > 1 and "SegmentSequence" not in data:
                return _open_frames(str(path), data)
            pixels, meta = reader.get_data(data)
    except pydicom.errors.InvalidDicomError as error:
        message = f"is not DICOM, whatever its suffix says ({error}). Export it again"
        raise broken(str(path), message) from error
    first = data[0] if isinstance(data, list) else data
    return _describe(str(path), scenes, first, pixels, meta)


def _choose_series(reader: Any, data: Any, pick: PickScene) -> tuple[tuple[str, ...], Any]:
    """Keep the slices of one series; MONAI would stack all of a folder."""
    if not isinstance(data, list):
        pick(("0",))
        return ("0",), data
    uids = [str(getattr(item, "SeriesInstanceUID", "0")) for item in data]
    scenes = tuple(dict.fromkeys(uids))
    wanted = scenes[pick(scenes)]
    kept = [n for n, uid in enumerate(uids) if uid == wanted]
    files = reader.filenames[0]
    if len(kept) == 1:
        reader.has_series, reader.filenames = False, [files[kept[0]]]
        return scenes, data[kept[0]]
    reader.filenames[0] = [files[n] for n in kept]
    return scenes, [data[n] for n in kept]


def _check_slices(path: str, slices: list[Any]) -> None:
    sizes = {(int(item.Rows), int(item.Columns)) for item in slices}
    if len(sizes) > 1:
        raise broken(path, f"the slices of a series must be of one size, got {sorted(sizes)}")
    if any("InstanceNumber" not in item for item in slices):
        raise broken(
            path, "slices without InstanceNumber cannot be ordered; name single files instead"
        )


def _describe(
    path: str, scenes: tuple[str, ...], first: Any, pixels: NDArray[Any], meta: dict[str, Any]
) -> OpenImage:
    stored = np.asarray(pixels).transpose()  # MONAI gives (X, Y, [Z,] [C])
    dims = len(meta["spatial_shape"])
    colours = int(getattr(first, "SamplesPerPixel", 1)) > 1
    if colours:  # (Y, X, S): MONAI counts the colours as space
        stored, axes = np.asarray(pixels).swapaxes(0, 1), "YXS"
    else:
        axes = ("C" if stored.ndim > dims else "") + "ZYX"[-dims:]
    if stored.dtype == np.float64:  # rescaled 16-bit values; float32 holds them exactly
        stored = stored.astype(np.float32)
    placed = "ImageOrientationPatient" in first and "ImagePositionPatient" in first
    placed = placed or "SegmentSequence" in first
    if placed:
        sizes = np.linalg.norm(np.asarray(meta["affine"])[:3, :3], axis=0)
        spacing = {letter: float(sizes["XYZ".index(letter)]) for letter in axes if letter in "XYZ"}
    else:
        spacing = _pixel_spacing(first)
    return OpenImage(
        path=path,
        axes=axes,
        shape=stored.shape,
        dtype=stored.dtype,
        load=lambda index: stored[index],
        scenes=scenes,
        spacing=spacing,
        unit="millimeter",
        affine=np.asarray(meta["affine"], dtype=np.float64) if placed else None,
    )


def _pixel_spacing(item: Any) -> dict[str, float]:
    sizes = getattr(item, "PixelSpacing", None)
    if not sizes:
        return {}
    spacing = {"Y": float(sizes[0]), "X": float(sizes[1])}
    depth = getattr(item, "SpacingBetweenSlices", None) or getattr(item, "SliceThickness", None)
    return {**spacing, "Z": float(depth)} if depth else spacing


def _open_frames(path: str, item: Any) -> OpenImage:
    """Open a file of several frames, whose axes MONAI's reader would mix up."""
    colours = int(getattr(item, "SamplesPerPixel", 1)) > 1
    pixels = item.pixel_array
    slope, offset = getattr(item, "RescaleSlope", None), getattr(item, "RescaleIntercept", None)
    if slope is not None or offset is not None:
        pixels = pixels.astype(np.float32) * float(slope or 1) + float(offset or 0)
    film = "FrameTime" in item or "FrameTimeVector" in item or "CineRate" in item
    return OpenImage(
        path=path,
        axes=("T" if film else "Z") + ("YXS" if colours else "YX"),
        shape=pixels.shape,
        dtype=pixels.dtype,
        load=lambda index: pixels[index],
        spacing=_pixel_spacing(item),
        unit="millimeter",
        interval=seconds(getattr(item, "FrameTime", None), "ms"),
    )
