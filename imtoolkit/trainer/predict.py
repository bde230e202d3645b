"""Predict: apply a trained model to images, with neither its training data nor a trainer."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable, Sequence
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
from imtoolkit.data.loading import load
from imtoolkit.data.preprocess import Preprocessor, Undo
from imtoolkit.data.references import INSIDE, MEMORY
from imtoolkit.io.picture import Picture
from imtoolkit.runs import Run, find_run
from imtoolkit.trainer import build
from imtoolkit.trainer.evaluate import load_state
from imtoolkit.trainer.inputs import Input, check_output, check_targets, find_inputs
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
    ) -> None:
        self.run = find_run(run, runs_root())
        self.config = _for_prediction(load_run_config(self.run.path), accelerator, axes)
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

    def array(self, image: Any) -> Array:
        """Predict an array.

        Args:
            image: Axes as in ``data.axes`` of the run, or guessed from the shape: ``([C,] [Z,] Y,
                X)``.

        Returns:
            What the task makes of it, for a segmentation labels ``([Z,] Y, X)``.
        """
        array = (
            image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
        )
        row = {"id": "array", "image": f"{MEMORY}{INSIDE}0"}
        picture = load(row, self.config.data, TargetSpec(TargetKind.NONE), [array]).image
        raw, undo = self._raw(picture)
        return self._labels(raw, undo)

    def file(self, path: Path, target: Path, *, protect: Sequence[Path] = ()) -> list[Path]:
        """Predict a file and write the result, with pixel size and affine of the input.

        Returns:
            The files that were written: the prediction and, where the config asks for them, the
            probabilities beside it.
        """
        row = {"id": path.name, "image": str(path)}
        picture = load(row, self.config.data, TargetSpec(TargetKind.NONE)).image
        raw, undo = self._raw(picture)
        places: dict[str, Any] = {
            "spacing": picture.spacing,
            "unit": picture.unit,
            "affine": picture.affine,
            "protect": protect,
        }
        axes = picture.axes.removeprefix("C")
        labels = self._labels(raw, undo)
        written = [
            io.write(
                target, labels, axes=axes if labels.ndim == len(axes) else f"C{axes}", **places
            )
        ]
        probabilities = getattr(self.task, "probabilities", None)
        if self.config.inference.probabilities and probabilities is not None:
            stem, suffix = io.strip_suffix(target)
            suffix = ".ome.tif" if suffix == ".png" else suffix  # PNG holds no fractions
            beside = target.parent / f"{Path(stem).name}_probabilities{suffix}"
            values = undo.invert(probabilities(raw).float().cpu(), labels=False).numpy()
            names = getattr(self.config.task, "classes", None)
            written.append(io.write(beside, values, axes=f"C{axes}", channel_names=names, **places))
        return written

    def _raw(self, picture: Picture) -> tuple[torch.Tensor, Undo]:
        problems, _ = check_sample(picture, None, None, TargetSpec(TargetKind.NONE), where="")
        if problems:
            raise DataError(problems)  # a net makes something of NaN as well, and it means nothing
        image, undo = self.preprocessor.image(picture)  # (C, [Z,] Y, X)
        channels = self.run.facts.in_channels
        if image.shape[0] != channels or image.ndim - 1 != self.run.facts.spatial_dims:
            message = (
                f"got {image.shape[0]} channels in {image.ndim - 1}D after preprocessing; the "
                "model "
                f"was trained on {channels} channels in {self.run.facts.spatial_dims}D. Choose "
                "channels and axes with the section data of a config, or convert the image"
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
    suffix: str | None = None,
    track: Track = iter,
) -> Any:
    """Apply a trained model to images: array in, array out; paths in, files out.

    Args:
        run: The run, its path, a prefix of its id, or ``latest``.
        inputs: An array or tensor with the axes of the run's images; or files, folders, patterns,
            tables with a column ``image``, OME-Zarr, one or a list of them.
        output: Folder for the predictions of files; they keep their sub-folder and name.
        checkpoint: ``best``, ``last`` or ``best-<metric>``; left out, as the config says.
        accelerator: ``auto``, ``cpu``, ``gpu``, ...; left out, as the config says.
        axes: Axes of the images, such as ``"ZYX"``; left out, as in the config of the run.
        suffix: ``.ome.tif``, ``.nii.gz``, ``.npy`` or ``.png``; left out, as the input has it.
        track: Wraps the list of images, to show progress.

    Returns:
        The prediction ``([Z,] Y, X)``, or a list of arrays for a list of arrays, or the files
        written.

    Raises:
        DataError: With all images that could not be predicted; the others are written.
    """
    if _is_array(inputs) or (isinstance(inputs, (list, tuple)) and inputs and _is_array(inputs[0])):
        predictor = Predictor(run, checkpoint=checkpoint, accelerator=accelerator, axes=axes)
        if _is_array(inputs):
            return predictor.array(inputs)
        return [predictor.array(item) for item in inputs]
    if output is None:
        message = "files are predicted into a folder: give output='folder'"
        raise DataError(message)
    given = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    found = find_inputs(given)
    predictor = Predictor(run, checkpoint=checkpoint, accelerator=accelerator, axes=axes)
    suffix = suffix or predictor.config.inference.format
    check_output(Path(output), suffix)
    check_targets(found, Path(output), suffix)
    return _predict_files(predictor, found, Path(output), suffix, track)


def _predict_files(
    predictor: Predictor, found: list[Input], output: Path, suffix: str | None, track: Track
) -> list[Path]:
    protect = [one.path for one in found]
    written: list[Path] = []
    problems: list[Problem] = []
    for one in track(found):
        try:
            written += predictor.file(one.path, one.target(output, suffix), protect=protect)
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


def _for_prediction(config: Config, accelerator: str | None, axes: str | None) -> Config:
    settings = replace(
        config.trainer, devices=1, num_nodes=1, accelerator=accelerator or "auto", strategy="auto"
    )
    data = config.data if axes is None else replace(config.data, axes=axes)
    return replace(config, trainer=settings, data=data)
