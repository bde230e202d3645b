"""From a row of the manifest to pixels: image, target and cost map, read as the config says."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from imtoolkit import io
from imtoolkit.config.sections import DataConfig
from imtoolkit.core.batch import IMAGE, TARGET, WEIGHT
from imtoolkit.core.errors import DataError, Problem
from imtoolkit.core.facts import TargetKind, TargetSpec
from imtoolkit.data.domains import domain_of, of_domain
from imtoolkit.data.references import parse, read_inside, split_channels
from imtoolkit.io.frames import Frames, frames_of
from imtoolkit.io.opened import OpenImage, guess_axes
from imtoolkit.io.picture import Picture
from imtoolkit.io.select import Selection, take

PIXEL_TARGETS = (TargetKind.LABELS, TargetKind.INSTANCES, TargetKind.IMAGE)
"""Kinds of target that are files of pixels."""
ARRAY: Final = "the array"
"""What a message calls pixels in memory, which have no file."""


@dataclass(frozen=True)
class Loaded:
    """The pixels of one sample.

    Attributes:
        image: The image.
        target: The target, where it is an image or labels and the row has one.
        weight: The cost map, where the row has one.
    """

    image: Picture
    target: Picture | None = None
    weight: Picture | None = None


def cells(row: Mapping[str, Any], target: TargetSpec) -> dict[str, str]:
    """Return the references of a row that are read as pixels, by key."""
    wanted = [IMAGE, *([TARGET] if target.kind in PIXEL_TARGETS else []), WEIGHT]
    return {key: row[key] for key in wanted if row.get(key)}


def load(
    row: Mapping[str, Any], config: DataConfig, target: TargetSpec, arrays: Sequence[Any] = ()
) -> Loaded:
    """Read the pixels of a row.

    Raises:
        DataError: With one problem for each file that cannot be read, each naming file and sample.
    """
    pictures: dict[str, Picture] = {}
    problems: list[Problem] = []
    own = of_domain(config, domain_of(row, target))
    for key, reference in cells(row, target).items():
        try:
            if key == TARGET and target.unpaired:  # the same scene in domain B
                pictures[key] = _read(reference, IMAGE, of_domain(config, "B"), arrays)
            else:
                pictures[key] = _read(reference, key, own, arrays)
        except DataError as error:
            problems += [
                Problem(
                    problem.message, str(row["id"]), problem.file or _place(reference), problem.line
                )
                for problem in error.problems
            ]
    if problems:
        raise DataError(problems)
    return Loaded(pictures[IMAGE], pictures.get(TARGET), pictures.get(WEIGHT))


@contextlib.contextmanager
def open_frames(files: Sequence[Path], config: DataConfig) -> Iterator[Frames]:
    """Open an image as the config says, to read its time points one by one.

    A file of several time points is a film where ``data.time`` chooses none of them.

    Args:
        files: The file, or one for each channel.
        config: Section ``data`` of the config.

    Raises:
        DataError: If it cannot be opened, or does not hold what the config asks for.
    """
    more: dict[str, Any] = {"scene": config.scene, "time": config.time, "reader": config.reader}
    with io.open_frames(files, **_selection(IMAGE, config), **more) as frames:
        yield frames


def array_frames(
    array: np.ndarray,
    config: DataConfig,
    *,
    spacing: Mapping[str, float] | None = None,
    unit: str | None = None,
) -> Frames:
    """Return the time points of an array, as `open_frames` those of a file.

    Args:
        array: Axes as in ``data.axes``, or as `guess_axes` takes them.
        config: Section ``data`` of the config.
        spacing: Pixel size of each axis, by letter.
        unit: Unit of ``spacing``.

    Raises:
        DataError: If the axes do not fit the array.
    """
    selection = _selection(IMAGE, config)
    opened = _opened(array, selection["axes"])
    opened.spacing, opened.unit = dict(spacing or {}), unit
    return frames_of(opened, Selection(**selection, time=config.time))


def _selection(key: str, config: DataConfig) -> dict[str, Any]:
    channels = {IMAGE: config.channels, TARGET: config.target_channels}.get(key)
    return {
        "axes": config.axes if key == IMAGE else _target_axes(config, key),
        "channels": tuple(channels) if channels else None,
        "z_range": tuple(config.z_range) if config.z_range else None,
    }


def _read(reference: str, key: str, config: DataConfig, arrays: Sequence[Any]) -> Picture:
    selection = _selection(key, config)
    if parse(reference).in_memory:
        array = np.asarray(read_inside(reference, arrays))
        return take(_opened(array, selection["axes"]), Selection(**selection))
    scene, time = config.scene, config.time
    if key != IMAGE and (scene is not None or time is not None):
        # labels of one scene or time point usually lie in a file of their own, which has no others
        info = io.probe(split_channels(reference)[0], axes=selection["axes"])
        scene = scene if len(info.scenes) > 1 else None
        time = time if info.times > 1 else None
    reader = config.reader if key == IMAGE else None
    files = split_channels(reference)  # one, or a file for each channel
    return io.read(files, **selection, scene=scene, time=time, reader=reader)


def _opened(array: np.ndarray, axes: str | None) -> OpenImage:
    axes = axes or guess_axes(ARRAY, array.shape)
    if len(axes) != array.ndim:
        message = (
            f"has the shape {array.shape}, which data.axes '{axes}' does not fit: "
            "give one letter for each axis, such as 'YX', or 'TYX' for a time-lapse"
        )
        raise DataError(Problem(message, file=ARRAY))
    return OpenImage(
        path=ARRAY,
        axes=axes,
        shape=array.shape,
        dtype=array.dtype,
        load=lambda index: array[index],
    )


def _place(reference: str) -> str:
    return ARRAY if parse(reference).in_memory else reference


def _target_axes(config: DataConfig, key: str) -> str | None:
    if config.target_axes is not None or config.axes is None:
        return config.target_axes
    if key == TARGET and config.target_channels:
        return config.axes
    return config.axes.replace("C", "").replace("S", "")


def meta_affine(picture: Picture) -> np.ndarray:
    """Return the affine ``(4, 4)`` from pixel index, ordered ``[Z,] Y, X``, to world.

    MONAI's transforms index a tensor by its axes; NIfTI's affine counts ``X, Y, Z``.
    """
    dims = picture.spatial_dims
    if picture.affine is not None:
        return reverse_columns(np.asarray(picture.affine, dtype=np.float64), dims)
    affine = np.eye(4)
    if picture.spacing is not None:
        affine[range(dims), range(dims)] = picture.spacing
    return affine


def reverse_columns(affine: np.ndarray, dims: int) -> np.ndarray:
    """Turn the order of an affine's first ``dims`` columns around; twice is nothing.

    Example:
        >>> reverse_columns(np.diag([1.0, 2.0, 3.0, 1.0]), 3)[0]
        array([0., 0., 1., 0.])
    """
    turned = affine.copy()
    turned[:, :dims] = affine[:, :dims][:, ::-1]
    return turned


def spacing_of(affine: np.ndarray, dims: int) -> tuple[float, ...]:
    """Return the pixel size along each axis: the lengths of the affine's columns."""
    return tuple(math.sqrt(float((affine[:3, axis] ** 2).sum())) for axis in range(dims))
