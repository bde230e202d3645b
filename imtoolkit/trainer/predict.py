"""Predict: apply a trained model to images, with neither its training data nor a trainer.

A time-lapse is predicted one time point at a time; its prediction has the same time axis.
"""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from imtoolkit import io
from imtoolkit.config import load_run_config
from imtoolkit.config import plugins as plugin_modules
from imtoolkit.config.sections import Config
from imtoolkit.config.settings import runs_root
from imtoolkit.core.errors import DataError, Problem
from imtoolkit.core.facts import TargetKind, TargetSpec
from imtoolkit.data.checks import check_sample
from imtoolkit.data.loading import ARRAY, array_frames, open_frames
from imtoolkit.data.preprocess import Preprocessor, Undo
from imtoolkit.data.transforms.grid import SpacingUnknownError
from imtoolkit.io.frames import Frames
from imtoolkit.io.picture import Picture
from imtoolkit.io.writer import check_suffix
from imtoolkit.runs import Run, find_run
from imtoolkit.trainer import build
from imtoolkit.trainer.evaluate import load_state
from imtoolkit.trainer.inputs import (
    FileLayout,
    Input,
    check_output,
    check_targets,
    find_inputs,
)
from imtoolkit.trainer.machine import choose_machine

log = logging.getLogger(__name__)

Track = Callable[[Iterable[Input]], Iterable[Input]]
"""Wraps what is looped over in a progress bar."""
Array = NDArray[Any]


class Predictor:
    """A trained model, loaded once.

    Args:
        run: The run, its path, a prefix of its id, or ``latest``.
        checkpoint: ``best``, ``last`` or ``best-<metric>``; left out, as the config says.
        accelerator: ``auto``, ``cpu``, ``gpu``, ...; left out, as the config says.
        axes: Axes of the images, such as ``"ZYX"``; left out, as in the config of the run.
        time: The only time point to predict; left out, as in the config of the run, or all.
        scene: Scene of the files, by number or name; left out, as in the config of the run.

    Attributes:
        run: The run.
        task: The model, in evaluation mode on its device.
    """

    def __init__(
        self,
        run: Run | str | Path,
        *,
        checkpoint: str | None = None,
        accelerator: str | None = None,
        axes: str | None = None,
        time: int | None = None,
        scene: int | str | None = None,
    ) -> None:
        self.run = find_run(run, runs_root())
        asked = {"axes": axes, "time": time, "scene": scene}
        self.config = _for_prediction(load_run_config(self.run.path), accelerator, asked)
        plugin_modules.load(self.config)
        machine = choose_machine(self.config)
        self.task = build.build_model(self.config, self.run.facts)
        self.checkpoint = load_state(
            self.task, self.run, checkpoint or self.config.inference.checkpoint
        )
        self.device = torch.device(machine.accelerator)
        self.autocast = machine.precision.startswith("bf16") and self.device.type == "cuda"
        self.task.to(self.device).eval()
        self.preprocessor = Preprocessor(self.config.data, tuple(self.config.plugins))

    def array(self, image: Any, *, spacing: Sequence[float] | None = None) -> Array:
        """Predict an array.

        Args:
            image: Axes as in ``data.axes`` of the run, or ``([C,] [Z,] Y, X)`` as `imtoolkit.read`
                has them; a time-lapse with a ``T`` in the axes.
            spacing: Pixel size ``[Z,] Y, X`` in the unit of the run's images; needed where
                ``data.preprocess`` resamples by it.

        Returns:
            What the task makes of it, for a segmentation labels ``([Z,] Y, X)``; for a time-lapse
            ``(T, ...)``.

        Raises:
            DataError: If the array does not fit the model, or its pixel size is needed.
        """
        array = (
            image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
        )
        data = replace(self.config.data, axes=self._axes_of(array))
        sizes = None if spacing is None else self._sizes_of(spacing)
        frames = array_frames(array, data, spacing=sizes, unit=self.run.facts.spacing_unit)
        found = []
        try:
            for number in range(len(frames)):
                with _naming(frames, number):
                    found.append(self._labels(*self._raw(frames.read(number))))
        except SpacingUnknownError as error:
            raise DataError(Problem(self._spacing_remedy(), file=ARRAY)) from error
        return found[0] if frames.times is None else np.stack(found)

    def _sizes_of(self, spacing: Sequence[float]) -> dict[str, float]:
        axes = "ZYX"[-self.run.facts.spatial_dims :]
        sizes = np.asarray(spacing, dtype=float)
        if sizes.shape != (len(axes),) or not (np.isfinite(sizes) & (sizes > 0)).all():
            letters = ", ".join(axes)
            message = f"got spacing={spacing!r}; expected a positive size for each of {letters}"
            raise DataError(Problem(message, file=ARRAY))
        return dict(zip(axes, sizes.tolist(), strict=True))

    def _spacing_remedy(self) -> str:
        facts = self.run.facts
        usual = facts.spacing or (1.0,) * facts.spatial_dims
        sizes = ", ".join(f"{size:.4g}" for size in usual)
        return (
            "has no pixel size, which resample_spacing in data.preprocess of the run needs. Give "
            f"it for {', '.join('ZYX'[-facts.spatial_dims :])} in {facts.spacing_unit or 'the'}"
            f"{'s' if facts.spacing_unit else ' unit of the run'}, such as spacing=({sizes})"
        )

    def _axes_of(self, array: Array) -> str | None:
        """Return the axes of an array: those of the config, or channels first where these fit."""
        axes, facts = self.config.data.axes, self.run.facts
        if axes is not None and len(axes) == array.ndim:
            return axes
        spatial = "ZYX"[-facts.spatial_dims :]
        if array.ndim == len(spatial) and facts.in_channels == 1:
            return spatial
        if array.ndim == len(spatial) + 1 and array.shape[0] == facts.in_channels:
            return f"C{spatial}"
        return axes

    def file(
        self, path: Path | Sequence[Path], target: Path, *, protect: Sequence[Path] = ()
    ) -> list[Path]:
        """Predict a file and write the result, with pixel size and affine of the input.

        A time-lapse is read, predicted and kept frame by frame, and written with its time axis.

        Args:
            path: The file, or one for each channel of the image.
            target: The file to write.
            protect: Files that are never overwritten.

        Returns:
            The files that were written: the prediction and, where the config asks for them, the
            probabilities beside it.
        """
        files = [path] if isinstance(path, (str, Path)) else list(path)
        protect = [*files, *protect]
        with open_frames(files, self.config.data) as frames, contextlib.ExitStack() as stack:
            if frames.times is None:
                found = self._outputs(frames.read(0), target)
                return [
                    io.write(file, values, **places, protect=protect)
                    for file, values, places in found
                ]
            check_suffix(target, movie=True)
            writers: dict[Path, io.FrameWriter] = {}
            for number in range(len(frames)):
                with _naming(frames, number):
                    found = self._outputs(frames.read(number), target)
                for file, values, places in found:
                    if file not in writers:
                        places.update(interval=frames.interval, protect=protect)
                        writers[file] = stack.enter_context(io.FrameWriter(file, **places))
                    writers[file].add(values)
        return list(writers)

    def _outputs(self, picture: Picture, target: Path) -> list[tuple[Path, Array, dict[str, Any]]]:
        """Return each file to write, with its pixels and where they lie in space."""
        raw, undo = self._raw(picture)
        axes = picture.axes.removeprefix("C")
        places = {"spacing": picture.spacing, "unit": picture.unit, "affine": picture.affine}
        labels = self._labels(raw, undo)
        own = axes if labels.ndim == len(axes) else f"C{axes}"
        found = [(target, labels, {"axes": own, **places})]
        probabilities = getattr(self.task, "probabilities", None)
        if self.config.inference.probabilities and probabilities is not None:
            stem, suffix = io.strip_suffix(target)
            suffix = ".ome.tif" if suffix == ".png" else suffix  # PNG holds no fractions
            beside = target.parent / f"{Path(stem).name}_probabilities{suffix}"
            values = undo.invert(probabilities(raw).float().cpu(), labels=False).numpy()
            names = getattr(self.config.task, "classes", None)
            found.append((beside, values, {"axes": f"C{axes}", "channel_names": names, **places}))
        return found

    def _raw(self, picture: Picture) -> tuple[torch.Tensor, Undo]:
        problems, _ = check_sample(picture, None, None, TargetSpec(TargetKind.NONE), where="")
        if problems:
            raise DataError(problems)  # a net makes something of NaN as well, and it means nothing
        image, undo = self.preprocessor.image(picture)  # (C, [Z,] Y, X)
        channels = self.run.facts.in_channels
        if image.shape[0] != channels or image.ndim - 1 != self.run.facts.spatial_dims:
            message = (
                f"got {image.shape[0]} channels in {image.ndim - 1}D after preprocessing; the "
                f"model was trained on {channels} channels in {self.run.facts.spatial_dims}D. "
                "Choose channels and axes with the section data of a config, say the axes of a "
                "time-lapse with a T (--axes TCYX), or convert the image"
            )
            raise DataError(message)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            return self.task.predict_image(image), undo

    def _labels(self, raw: torch.Tensor, undo: Undo) -> Array:
        result = self.task.postprocess(raw).cpu()
        flat = result.ndim == self.run.facts.spatial_dims
        found = undo.invert(result[None] if flat else result).numpy()
        return found[0] if flat else found


def predict(
    run: Run | str | Path,
    inputs: Any,
    output: str | Path | None = None,
    *,
    checkpoint: str | None = None,
    accelerator: str | None = None,
    axes: str | None = None,
    time: int | None = None,
    scene: int | str | None = None,
    spacing: Sequence[float] | None = None,
    suffix: str | None = None,
    track: Track = iter,
) -> Any:
    """Apply a trained model to images: array in, array out; paths in, files out.

    A time-lapse is predicted frame by frame, and its prediction has the same time axis.

    Args:
        run: The run, its path, a prefix of its id, or ``latest``.
        inputs: An array or tensor with the axes of the run's images; or files, folders, patterns,
            tables with a column ``image``, OME-Zarr, one or a list of them. An image with a file
            for each channel is ``"a.tif|b.tif"``; files numbered as nnU-Net has them
            (``case_0000.nii.gz``) and the columns of the run's tables are joined to images.
        output: Folder for the predictions of files; they keep their sub-folder and name.
        checkpoint: ``best``, ``last`` or ``best-<metric>``; left out, as the config says.
        accelerator: ``auto``, ``cpu``, ``gpu``, ...; left out, as the config says.
        axes: Axes of the images, such as ``"ZYX"`` or ``"TYX"``; left out, as in the config of the
            run, with the time axis that a file names.
        time: The only time point to predict; left out, as in the config of the run, or all.
        scene: Scene of the files, by number or name; left out, as in the config of the run.
        spacing: Pixel size ``[Z,] Y, X`` of arrays, see `Predictor.array`; files tell theirs.
        suffix: ``.ome.tif``, ``.nii.gz``, ``.npy`` or ``.png``; left out, as the input has it.
        track: Wraps the list of images, to show progress.

    Returns:
        The prediction ``([T,] [Z,] Y, X)``, or a list of arrays for a list of arrays, or the files
        written.

    Raises:
        DataError: With all images that could not be predicted; the others are written.
    """
    options: dict[str, Any] = {
        "checkpoint": checkpoint,
        "accelerator": accelerator,
        "axes": axes,
        "time": time,
        "scene": scene,
    }
    if _is_array(inputs) or (isinstance(inputs, (list, tuple)) and inputs and _is_array(inputs[0])):
        predictor = Predictor(run, **options)
        if _is_array(inputs):
            return predictor.array(inputs, spacing=spacing)
        return [predictor.array(item, spacing=spacing) for item in inputs]
    if spacing is not None:
        message = "spacing= is the pixel size of arrays; files tell theirs: leave it out"
        raise DataError(message)
    if output is None:
        message = "files are predicted into a folder: give output='folder'"
        raise DataError(message)
    given = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    run = find_run(run, runs_root())
    found = find_inputs(given, FileLayout.of(load_run_config(run.path).data, run.facts))
    predictor = Predictor(run, **options)
    suffix = suffix or predictor.config.inference.format
    found = _limited(found, predictor.config.trainer.limit_predict_batches)
    check_output(Path(output), suffix)
    check_targets(found, Path(output), suffix)
    return _predict_files(predictor, found, Path(output), suffix, track)


def _limited(found: list[Input], limit: float | None) -> list[Input]:
    """Return the part of the images that ``trainer.limit_predict_batches`` of the run leaves."""
    if limit is None:
        return found
    count = limit if isinstance(limit, int) else int(limit * len(found))
    if count < len(found):
        log.warning(
            "%d of %d images are predicted: trainer.limit_predict_batches", count, len(found)
        )
    return found[:count]


def _predict_files(
    predictor: Predictor, found: list[Input], output: Path, suffix: str | None, track: Track
) -> list[Path]:
    protect = [path for one in found for path in one.paths]
    written: list[Path] = []
    problems: list[Problem] = []
    for one in track(found):
        try:
            written += predictor.file(one.paths, one.target(output, suffix), protect=protect)
        except DataError as error:
            problems += [
                replace(problem, file=problem.file or str(one.path), where="")
                for problem in error.problems
            ]
            log.debug("not predicted: %s", error)  # told in the end, with the others
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS):
                raise  # the next image would fail as well
            problems.append(Problem(str(error), file=str(one.path)))
    if problems and written:
        told = Problem(f"{len(written)} files were written to {output}; these were not predicted:")
        raise DataError([told, *problems])
    if problems:
        raise DataError(problems)
    return written


def _is_array(value: Any) -> bool:
    return hasattr(value, "__array__") and not isinstance(value, (str, Path))


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


def _for_prediction(
    config: Config, accelerator: str | None, asked: dict[str, int | str | None]
) -> Config:
    settings = replace(
        config.trainer, devices=1, num_nodes=1, accelerator=accelerator or "auto", strategy="auto"
    )
    chosen: dict[str, Any] = {key: value for key, value in asked.items() if value is not None}
    data = replace(config.data, **chosen)
    return replace(config, trainer=settings, data=data)
