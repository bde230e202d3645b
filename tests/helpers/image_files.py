"""One image in every format that can be written here, each by another library than ours.

The truth is ``(2 channels, 5 slices, 12 rows, 16 columns)``, all values different, so that any
mix-up of axes, channels or byte order shows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import imageio.v3 as iio
import nibabel
import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

TRUTH: NDArray[np.uint16] = (
    np.arange(2 * 5 * 12 * 16, dtype=np.uint16).reshape(2, 5, 12, 16) * 17 + 3
)
SPACING = (2.0, 0.5, 0.25)
AFFINE = np.array([[-0.25, 0, 0, 10], [0, 0.5, 0, -3.5], [0, 0, 2.0, 7], [0, 0, 0, 1.0]])


def ome_tiff(path: Path, compression: str | None = None) -> None:
    metadata = {
        "axes": "CZYX",
        "PhysicalSizeX": 250.0,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.5,
        "PhysicalSizeYUnit": "µm",
        "PhysicalSizeZ": 0.002,
        "PhysicalSizeZUnit": "mm",
        "Channel": {"Name": ["DAPI", "GFP"]},
    }
    tifffile.imwrite(
        path, TRUTH, ome=True, metadata=metadata, compression=compression, photometric="minisblack"
    )


def imagej_tiff(path: Path) -> None:
    metadata = {"axes": "ZCYX", "unit": "micron", "spacing": 2.0}
    tifffile.imwrite(
        path, TRUTH.swapaxes(0, 1), imagej=True, resolution=(4.0, 2.0), metadata=metadata
    )


def nifti(path: Path) -> None:
    volume = nibabel.Nifti1Image(TRUTH.transpose(3, 2, 1, 0), AFFINE)
    volume.header.set_xyzt_units("mm")
    nibabel.save(volume, path)


def mgz(path: Path) -> None:
    nibabel.save(nibabel.MGHImage(TRUTH.transpose(3, 2, 1, 0).astype(np.int32), AFFINE), path)


def npy(path: Path) -> None:
    np.save(path, TRUTH)


def npz(path: Path) -> None:
    np.savez_compressed(path, image=TRUTH)


def hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("volumes/raw", data=TRUTH, chunks=(1, 1, 12, 16))
        dataset.attrs["element_size_um"] = SPACING


def ome_zarr(path: Path, version: int) -> None:
    axes = [
        {"name": "c", "type": "channel"},
        *({"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"),
    ]
    transform = [{"type": "scale", "scale": [1.0, *SPACING]}]
    multiscales = [
        {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": transform}]}
    ]
    omero = {"channels": [{"label": "DAPI"}, {"label": "GFP"}]}
    group = zarr.open_group(path, mode="w", zarr_format=version)
    array = group.create_array("0", shape=TRUTH.shape, chunks=(1, 1, 12, 16), dtype=TRUTH.dtype)
    array[:] = TRUTH
    if version == 2:
        multiscales[0]["version"] = "0.4"  # type: ignore[assignment]
        group.attrs.update({"multiscales": multiscales, "omero": omero})
    else:
        ome = {"version": "0.5", "multiscales": multiscales, "omero": omero}
        group.attrs.update({"ome": ome})


Maker = Callable[[Path], None]

VOLUMES: dict[str, Maker] = {
    "image.ome.tif": ome_tiff,
    "packed.ome.tiff": lambda path: ome_tiff(path, "zlib"),
    "imagej.tif": imagej_tiff,
    "image.nii": nifti,
    "image.nii.gz": nifti,
    "image.mgz": mgz,
    "image.npy": npy,
    "image.npz": npz,
    "image.h5": hdf5,
    "v2.ome.zarr": lambda path: ome_zarr(path, 2),
    "v3.ome.zarr": lambda path: ome_zarr(path, 3),
}
"""Files that hold `TRUTH` as ``CZYX`` with two channels and five slices."""

WITHOUT_SPACING = {"image.npy", "image.npz"}
WITH_NAMES = {"image.ome.tif", "packed.ome.tiff", "v2.ome.zarr", "v3.ome.zarr"}
MILLIMETER = {"image.nii", "image.nii.gz", "image.mgz"}


def colours(dtype: type = np.uint8, samples: int = 3) -> NDArray[np.generic]:
    """Return ``(12, 16, samples)``, all values different; a fourth sample is half transparent."""
    pixels = np.arange(12 * 16 * samples, dtype=dtype).reshape(12, 16, samples)
    return pixels * (81 if dtype == np.uint16 else 1)


FLAT: dict[str, Maker] = {
    "grey.png": lambda path: iio.imwrite(path, TRUTH[0, 0].astype(np.uint8)),
    "grey.tif": lambda path: tifffile.imwrite(path, TRUTH[0, 0].astype(np.uint8)),
    "grey.bmp": lambda path: iio.imwrite(path, TRUTH[0, 0].astype(np.uint8)),
    "grey.npy": lambda path: np.save(path, TRUTH[0, 0].astype(np.uint8)),
    "grey.nii.gz": lambda path: nibabel.save(
        nibabel.Nifti1Image(TRUTH[0, 0].astype(np.uint8).T, np.eye(4)), path
    ),
}
"""Files that hold the first plane of `TRUTH` as bytes."""
