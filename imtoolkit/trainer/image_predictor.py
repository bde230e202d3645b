"""Arrays and files predicted, by a trained model or by several: what the two have in common."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from imtoolkit import io
from imtoolkit.config.sections import Config
from imtoolkit.core.errors import DataError, Problem, listed
from imtoolkit.core.facts import DataFacts
from imtoolkit.data.loading import ARRAY, array_frames, open_frames
from imtoolkit.data.transforms.grid import SpacingUnknownError
from imtoolkit.io.frames import Frames
from imtoolkit.io.picture import Picture
from imtoolkit.io.writer import check_suffix
from imtoolkit.runs import Run
from imtoolkit.tasks.base import Task
from imtoolkit.trainer import results
from imtoolkit.trainer.results import Array, Result

Row = Mapping[str, Any]
TIME: Final = "time"
"""Column of the table that counts the time points of a film."""


@dataclass(frozen=True)
class Predicted:
    """What came of a file.

    Attributes:
        files: The files that were written.
        rows: What was predicted for the whole image, one row for each time point.
    """

    files: list[Path]
    rows: list[dict[str, Any]] = field(default_factory=list)


class ImagePredictor(ABC):
    """Predicts arrays and files, whatever it is that predicts one image.

    Attributes:
        run: The run; of an ensemble the first, whose config says how images are read.
        config: Its config.
        task: Its model.
    """

    run: Run
    config: Config
    task: Task

    @abstractmethod
    def results(self, picture: Picture, row: Row | None = None) -> list[Result]:
        """Predict an image as it is in its file.

        Args:
            picture: The image.
            row: What a model that takes tabular columns needs beside it, by column.
        """

    @property
    def facts(self) -> DataFacts:
        """The facts of the images that are given to the model."""
        return self.run.facts

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Tabular columns that are needed beside an image."""

    def array(
        self, image: Any, *, spacing: Sequence[float] | None = None, tabular: Row | None = None
    ) -> Any:
        """Predict an array.

        Args:
            image: Axes as in ``data.axes`` of the run, or ``([C,] [Z,] Y, X)`` as `imtoolkit.read`
                has them; a time-lapse with a ``T`` in the axes.
            spacing: Pixel size ``[Z,] Y, X`` in the unit of the run's images; needed where
                ``data.preprocess`` resamples by it.
            tabular: Value of each column that the model takes beside the image, such as ``{"age":
                63}``.

        Returns:
            What the task makes of it. For a segmentation labels ``([Z,] Y, X)``, for an enhancement
            an image ``([C,] [Z,] Y, X)``, for a classification an `ImageClass` (or `ImageLabels`)
            with ``name`` and ``probabilities``, for a regression a number, or a dict of numbers by
            name; for a task of several heads a dict of these by head. For a time-lapse ``(T,
            ...)``, or a list of what has no pixels.

        Raises:
            DataError: If the array does not fit the model, or its pixel size is needed.
        """
        array = (
            image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
        )
        self.check_row(tabular, ARRAY)
        axes = self._axes_of(array)
        data = replace(self.config.data, axes=axes)
        sizes = None if spacing is None else self._sizes_of(spacing)
        frames = array_frames(array, data, spacing=sizes, unit=self.facts.spacing_unit)
        dims, movie = self.facts.spatial_dims, frames.times is not None
        has_channels = "C" in axes if axes is not None else array.ndim - movie > dims
        found = []
        try:
            for number in range(len(frames)):
                with _naming(frames, number):
                    found.append(self.results(frames.read(number), tabular))
        except SpacingUnknownError as error:
            raise DataError(Problem(self._spacing_remedy(), file=ARRAY)) from error
        return self.value(found, has_channels=has_channels, movie=movie)

    def value(self, frames: list[list[Result]], *, has_channels: bool, movie: bool) -> Any:
        """Return what an image gives in Python, see `imtoolkit.trainer.results.value_of`."""
        return results.value_of(frames, has_channels=has_channels, movie=movie)

    def targets(self, target: Path) -> list[Path]:
        """Return the files of pixels that are written for an image."""
        heads = results.dense_heads(self.task)
        return [target_of(target, head, heads) for head in heads]

    def file(
        self,
        path: Path | Sequence[Path],
        target: Path,
        *,
        protect: Sequence[Path] = (),
        tabular: Row | None = None,
    ) -> list[Path]:
        """Predict a file and write the pixels of the result, with pixel size and affine.

        A time-lapse is read, predicted and kept frame by frame, and written with its time axis.

        Args:
            path: The file, or one for each channel of the image.
            target: The file to write; of several heads with pixels each has a file of its own,
                ``<stem>_<head>.<ext>``.
            protect: Files that are never overwritten.
            tabular: Value of each column that the model takes beside the image.

        Returns:
            The files that were written: the prediction and, where the config asks for them, the
            probabilities beside it. Of a model without pixels nothing: see `predict_file`.
        """
        return self.predict_file(path, target, protect=protect, tabular=tabular).files

    def predict_file(
        self,
        path: Path | Sequence[Path],
        target: Path,
        *,
        protect: Sequence[Path] = (),
        tabular: Row | None = None,
    ) -> Predicted:
        """Predict a file as `file` does; return as well what was predicted for the whole image."""
        files = [path] if isinstance(path, (str, Path)) else list(path)
        protect = [*files, *protect]
        self.check_row(tabular, str(files[0]))
        with open_frames(files, self.config.data) as frames, contextlib.ExitStack() as stack:
            if frames.times is None:
                found, row = self._outputs(frames.read(0), target, tabular)
                written = [
                    io.write(file, values, **places, protect=protect)
                    for file, values, places in found
                ]
                return Predicted(written, [row] if row else [])
            heads = results.dense_heads(self.task)
            for head in heads:
                check_suffix(target_of(target, head, heads), movie=True)
            writers: dict[Path, io.FrameWriter] = {}
            rows = []
            for number in range(len(frames)):
                with _naming(frames, number):
                    found, row = self._outputs(frames.read(number), target, tabular)
                rows.append({TIME: number, **row})
                for file, values, places in found:
                    if file not in writers:
                        places.update(interval=frames.interval, protect=protect)
                        writers[file] = stack.enter_context(io.FrameWriter(file, **places))
                    writers[file].add(values)
        return Predicted(list(writers), rows if len(rows[0]) > 1 else [])

    def check_row(self, row: Row | None, file: str) -> None:
        """Refuse an image without the tabular columns that the model takes.

        Raises:
            DataError: With how to give them.
        """
        if self.columns and row is None:
            message = (
                f"the model takes {listed(self.columns, 20)} beside the image: give a table (CSV) "
                "with a column of the images and these, or tabular={'column': value} with an array"
            )
            raise DataError(Problem(message, file=file))

    def _outputs(
        self, picture: Picture, target: Path, row: Row | None
    ) -> tuple[list[tuple[Path, Array, dict[str, Any]]], dict[str, Any]]:
        """Return each file to write, its pixels and their place, and the row of the table."""
        found: list[tuple[Path, Array, dict[str, Any]]] = []
        record: dict[str, Any] = {}
        axes = picture.axes.removeprefix("C")
        heads = results.dense_heads(self.task)
        for one in self.results(picture, row):
            record |= {f"{one.start}{name}": value for name, value in one.record.items()}
            if one.pixels is None:
                continue
            file = target_of(target, one.head, heads)
            own = axes if one.pixels.ndim == len(axes) else f"C{axes}"
            found.append((file, one.pixels, {"axes": own, **one.place(picture)}))
            for name, values in one.beside.items():
                own = axes if values.ndim == len(axes) else f"C{axes}"
                found.append((beside(file, name), values, {"axes": own, **one.place(picture)}))
            if one.probabilities is not None:
                also = beside(file, "probabilities")
                names = list(one.classes) or None
                places = {"axes": f"C{axes}", "channel_names": names, **one.place(picture)}
                found.append((also, one.probabilities, places))
        return found, record

    def _sizes_of(self, spacing: Sequence[float]) -> dict[str, float]:
        axes = "ZYX"[-self.facts.spatial_dims :]
        sizes = np.asarray(spacing, dtype=float)
        if sizes.shape != (len(axes),) or not (np.isfinite(sizes) & (sizes > 0)).all():
            letters = ", ".join(axes)
            message = f"got spacing={spacing!r}; expected a positive size for each of {letters}"
            raise DataError(Problem(message, file=ARRAY))
        return dict(zip(axes, sizes.tolist(), strict=True))

    def _spacing_remedy(self) -> str:
        facts = self.facts
        usual = facts.spacing or (1.0,) * facts.spatial_dims
        sizes = ", ".join(f"{size:.4g}" for size in usual)
        return (
            "has no pixel size, which resample_spacing in data.preprocess of the run needs. Give "
            f"it for {', '.join('ZYX'[-facts.spatial_dims :])} in {facts.spacing_unit or 'the'}"
            f"{'s' if facts.spacing_unit else ' unit of the run'}, such as spacing=({sizes})"
        )

    def _axes_of(self, array: Array) -> str | None:
        """Return the axes of an array: those of the config, or channels first where these fit."""
        axes, facts = self.config.data.axes, self.facts
        if axes is not None and len(axes) == array.ndim:
            return axes
        channels = facts.in_channels // (2 if np.iscomplexobj(array) else 1)
        spatial = "ZYX"[-facts.spatial_dims :]
        if array.ndim == len(spatial) and channels == 1:
            return spatial
        if array.ndim == len(spatial) + 1 and array.shape[0] == channels:
            return f"C{spatial}"
        return axes


def target_of(target: Path, head: str, heads: Sequence[str]) -> Path:
    """Return the file of a head with pixels: that of the image, with the head's name if several.

    Example:
        >>> target_of(Path("out/a.ome.tif"), "mask", ("mask", "depth")).name
        'a_mask.ome.tif'
        >>> target_of(Path("out/a.ome.tif"), "", ("",)).name
        'a.ome.tif'
    """
    if not head or heads == ("",):
        return target
    stem, suffix = io.strip_suffix(target)
    return target.with_name(f"{stem}_{head}{suffix}")


def beside(file: Path, name: str) -> Path:
    """Return where a map that comes with a prediction goes.

    Example:
        >>> beside(Path("out/a.png"), "entropy").name
        'a_entropy.ome.tif'
    """
    stem, suffix = io.strip_suffix(file)
    suffix = ".ome.tif" if suffix == ".png" else suffix  # PNG holds no fractions
    return file.parent / f"{Path(stem).name}_{name}{suffix}"


@contextlib.contextmanager
def _naming(frames: Frames, number: int) -> Iterator[None]:
    """Say of a problem which time point has it."""
    try:
        yield
    except DataError as error:
        if frames.times is None:
            raise
        problems = error.problems
        raise DataError(
            replace(problem, message=f"time point {number}: {problem.message}")
            for problem in problems
        ) from error
