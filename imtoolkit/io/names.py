"""Names of image files: compound suffixes, what counts as an image, and references into containers.

A *reference* is a path, or a path and where to look inside: ``file.h5::raw``,
``file.npz::images::12`` (array ``images``, row 12), ``file.npz::12`` (row 12 of the only array).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

TIFF: Final = (".ome.tif", ".ome.tiff", ".tif", ".tiff", ".lsm", ".stk", ".svs", ".ndpi", ".scn")
PLAIN: Final = (".png", ".jpg", ".jpeg", ".bmp")
NIFTI: Final = (".nii.gz", ".nii")
NIBABEL: Final = (".mgz", ".mgh", ".mnc", ".img", ".hdr", ".img.gz", ".hdr.gz")
DICOM: Final = (".dcm", ".dicom", ".ima")
ARRAYS: Final = (".npy", ".npz", ".h5", ".hdf5", ".hdf")
MRC: Final = (".mrc", ".map", ".rec", ".st")
ZARR: Final = (".ome.zarr", ".zarr")
VENDOR: Final[dict[str, str]] = {
    ".czi": "bioio_czi",
    ".nd2": "bioio_nd2",
    ".lif": "bioio_lif",
    ".dv": "bioio_dv",
    ".r3d": "bioio_dv",
    ".sldy": "bioio_sldy",
}
"""Suffix and module of the bioio plugin that reads it."""

SUFFIXES: Final[tuple[str, ...]] = tuple(
    # compound suffixes first, so that ".ome.tif" is never taken for ".tif"
    sorted(
        {*TIFF, *PLAIN, *NIFTI, *NIBABEL, *DICOM, *ARRAYS, *MRC, *ZARR, *VENDOR},
        key=lambda suffix: (-suffix.count("."), suffix),
    )
)
"""Every suffix that `imtoolkit.io.read` knows, compound ones first."""


def split_reference(path: str | Path) -> tuple[Path, tuple[str, ...]]:
    """Split ``file::key::row`` into the file and what follows.

    Example:
        >>> split_reference("set.npz::images::12")[1]
        ('images', '12')
    """
    file, *inside = str(path).split("::")
    return Path(file), tuple(inside)


def strip_suffix(path: str | Path) -> tuple[str, str]:
    """Return the name without its suffix, and the suffix; compound suffixes stay whole.

    A suffix is found whatever its case, and returned as it is written. An unknown one is what
    follows the last dot.

    Example:
        >>> strip_suffix("scans/case.01.nii.gz"), strip_suffix("cell.OME.TIF")
        (('case.01', '.nii.gz'), ('cell', '.OME.TIF'))
    """
    name = split_reference(path)[0].name
    lower = name.lower()
    for suffix in SUFFIXES:
        if lower.endswith(suffix) and len(lower) > len(suffix):
            return name[: -len(suffix)], name[-len(suffix) :]
    plain = Path(name)
    return plain.stem, plain.suffix


def suffix_of(path: str | Path) -> str:
    """Return the suffix in lower case, compound ones whole."""
    return strip_suffix(path)[1].lower()


def is_image(path: str | Path) -> bool:
    """Tell by name, without opening it, whether a path is something that `imtoolkit.io.read` knows.

    Hidden files (``._cell.tif`` that macOS leaves behind) are none.

    Example:
        >>> is_image("cell.ome.zarr"), is_image("notes.txt"), is_image("._cell.tif")
        (True, False, False)
    """
    name = split_reference(path)[0].name
    return not name.startswith(".") and suffix_of(path) in SUFFIXES
