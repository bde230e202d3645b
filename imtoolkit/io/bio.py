"""OME-Zarr and the formats of microscope makers through bioio; any format by image class.

The plugin's reader is taken by suffix: letting bioio try its plugins in turn costs up to a tenth of
a second a file.
"""

from __future__ import annotations

import contextlib
import importlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from imtoolkit.core.errors import ComponentError, MissingPackageError, listed

from .names import TIFF, VENDOR, suffix_of
from .opened import Index, OpenImage, PickScene, broken, micrometers
from .vendor import mended_czi, mended_lif

IMAGE_CLASSES: Final = ("bioio.BioImage", "aicsimageio.AICSImage")
"""What a config may name as ``image_class``."""

_ALONE: Final = ("bioio_sldy",)
"""Plugins that are not in the extra: this one wants NumPy below 2 on Python below 3.13."""


def open_bioio(path: Path, pick: PickScene) -> OpenImage:
    """Open CZI, ND2, LIF, ... with the plugin for its suffix; see `OpenImage`.

    Raises:
        MissingPackageError: If the plugin is not installed.
    """
    suffix = suffix_of(path)
    reader = _plugin(VENDOR[suffix], f"{path}: reading {suffix}")(path)
    image = _describe(path, reader, pick)
    if suffix == ".czi":
        return mended_czi(image, reader)
    return mended_lif(image, path, reader.current_scene_index) if suffix == ".lif" else image


def _plugin(module: str, purpose: str) -> Any:
    try:
        return importlib.import_module(module).Reader
    except ImportError as error:
        package = module.replace("_", "-")
        extra = None if module in _ALONE else "formats"
        raise MissingPackageError(package, extra, purpose) from error


def check_class(image_class: str) -> None:
    """Refuse a class that is not one of `IMAGE_CLASSES`: a config may not run arbitrary code.

    Raises:
        ComponentError: With those that are allowed.
    """
    if image_class not in IMAGE_CLASSES:
        message = (
            f"image_class '{image_class}' is not allowed; choose one of {listed(IMAGE_CLASSES)}, "
            "or leave it out"
        )
        raise ComponentError(message)


def open_class(path: Path, image_class: str, pick: PickScene) -> OpenImage:
    """Open any file with a class of `IMAGE_CLASSES`; see `OpenImage`.

    Raises:
        ComponentError: If the class is not one of them, or its package is not installed.
    """
    check_class(image_class)
    module, _, attribute = image_class.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        message = (
            f"image_class '{image_class}' needs the package '{module}', which is not installed or "
            f"does not fit the others ({error}). Install it with: pip install {module}"
        )
        raise ComponentError(message) from error
    image = _describe(path, found(path).reader, pick)
    if suffix_of(path) in TIFF and "S" in image.axes:
        from .tiff import has_alpha

        image.alpha = has_alpha(path)
    elif "S" in image.axes:
        image.alpha = image.shape[image.axes.index("S")] in (2, 4)
    return image


def _describe(path: Path, reader: Any, pick: PickScene) -> OpenImage:
    scenes = tuple(str(name) for name in reader.scenes)
    reader.set_scene(pick(scenes))
    pixels = reader.xarray_dask_data
    if "M" in pixels.dims:  # tiles of a mosaic, stitched where the reader knows how
        with contextlib.suppress(NotImplementedError, AttributeError, ValueError):
            pixels = reader.mosaic_xarray_dask_data
    axes = "".join(str(dim) for dim in pixels.dims)
    names = pixels.coords["C"].values if "C" in pixels.coords else ()
    return OpenImage(
        path=str(path),
        axes=axes,
        shape=tuple(int(size) for size in pixels.shape),
        dtype=np.dtype(pixels.dtype),
        load=lambda index: _compute(pixels.data, index),
        scenes=scenes,
        spacing=_spacing(reader),
        unit="micrometer",
        channel_names=tuple(str(name) for name in names),
        interval=_interval(reader),
    )


def _interval(reader: Any) -> float | None:
    interval = getattr(reader, "time_interval", None)
    # a bare number comes without its unit
    return interval.total_seconds() or None if isinstance(interval, timedelta) else None


def _compute(array: Any, index: Index) -> NDArray[np.generic]:
    # the synchronous scheduler: workers are processes already
    part: NDArray[np.generic] = np.asarray(array[index].compute(scheduler="synchronous"))
    return part


def _spacing(reader: Any) -> dict[str, float]:
    sizes = reader.physical_pixel_sizes
    properties = getattr(reader, "dimension_properties", None)
    spacing: dict[str, float] = {}
    told = False
    for letter in "ZYX":
        unit = getattr(getattr(properties, letter, None), "unit", None)
        size = micrometers(getattr(sizes, letter, None), str(unit) if unit else "µm")
        if size is not None:
            spacing[letter] = size
            told = told or unit is not None or size != 1
    # a scale of 1 without a unit is what writers put where they know nothing
    return spacing if told else {}


# --- OME-Zarr -------------------------------------------------------------------------------------


def open_zarr(path: Path, pick: PickScene) -> OpenImage:
    """Open an OME-Zarr of version 0.1 to 0.5 at full resolution; see `OpenImage`.

    Raises:
        DataError: If the folder is no OME-Zarr.
    """
    reader = _plugin("bioio_ome_zarr", f"{path}: reading OME-Zarr")
    attributes = _zarr_attributes(path)
    if "bioformats2raw.layout" not in attributes:
        if "multiscales" not in attributes:
            message = (
                "is not OME-Zarr: it has no 'multiscales' in its .zattrs (version 0.4) or "
                "zarr.json (0.5). If images lie deeper inside, name their folder"
            )
            raise broken(str(path), message)
        return _describe(path, reader(path), pick)
    # bioformats2raw writes each image of a file into a group 0, 1, ... which bioio refuses
    groups = sorted(
        (p for p in path.iterdir() if p.is_dir() and p.name.isdecimal()), key=lambda p: int(p.name)
    )
    if not groups:
        raise broken(str(path), "is a converted OME-Zarr without images; convert it again")
    scenes = tuple(group.name for group in groups)
    number = pick(scenes)
    image = _describe(groups[number], reader(groups[number]), lambda _names: 0)
    image.path, image.scenes = str(path), scenes
    return image


def _zarr_attributes(path: Path) -> dict[str, Any]:
    """Return the OME attributes of a group, of Zarr version 2 or 3."""
    for name in ("zarr.json", ".zattrs"):
        file = path / name
        if not file.is_file():
            continue
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise broken(str(path), f"its {name} is damaged ({error}); copy it again") from error
        attributes = content.get("attributes", {}) if name == "zarr.json" else content
        return {**attributes, **attributes.get("ome", {})}
    raise broken(str(path), "is a folder without zarr.json or .zattrs, so no OME-Zarr")
