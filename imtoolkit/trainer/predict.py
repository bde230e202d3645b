"""Predict: apply a trained model, or several, to images, without the training data or a trainer.

Pixels become files, beside each other as the images were; what is said of a whole image becomes a
row of ``predictions.csv``. A time-lapse is predicted one time point at a time; its prediction has
the same time axis.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pandas as pd

from imtoolkit.config import load_run_config
from imtoolkit.config import plugins as plugin_modules
from imtoolkit.config.settings import runs_root
from imtoolkit.core.errors import DataError, Problem
from imtoolkit.core.files import write_text
from imtoolkit.runs import Run, find_run
from imtoolkit.trainer.ensemble import Ensemble, check_vote
from imtoolkit.trainer.image_predictor import ImagePredictor, Row
from imtoolkit.trainer.inputs import (
    FileLayout,
    Input,
    check_output,
    check_targets,
    find_inputs,
)
from imtoolkit.trainer.predictor import Predictor
from imtoolkit.trainer.results import dense_heads, makes_fractions
from imtoolkit.trainer.uncertainty import UncertainPredictor
from imtoolkit.trainer.uncertainty_settings import settings_of

log = logging.getLogger(__name__)

TABLE: Final = "predictions.csv"
"""Table of what is said of whole images, in the folder of the predictions."""
Reference = Run | str | Path
Track = Callable[[Iterable[Input]], Iterable[Input]]
"""Wraps what is looped over in a progress bar."""


def predict(
    run: Reference | Sequence[Reference],
    inputs: Any,
    output: str | Path | None = None,
    *,
    vote: str = "average",
    checkpoint: str | None = None,
    accelerator: str | None = None,
    axes: str | None = None,
    time: int | None = None,
    scene: int | str | None = None,
    direction: str | None = None,
    tuned: bool = True,
    spacing: Sequence[float] | None = None,
    tabular: Row | Sequence[Row] | None = None,
    suffix: str | None = None,
    uncertainty: bool | str | Mapping[str, Any] = False,
    track: Track = iter,
) -> Any:
    """Apply a trained model to images: array in, result out; paths in, files out.

    A time-lapse is predicted frame by frame, and its prediction has the same time axis.

    Args:
        run: The run, its path, a prefix of its id, or ``latest``; several vote as an ensemble.
        inputs: An array or tensor with the axes of the run's images; or files, folders, patterns,
            tables with a column ``image``, OME-Zarr, one or a list of them. An image with a file
            for each channel is ``"a.tif|b.tif"``; files numbered as nnU-Net has them
            (``case_0000.nii.gz``) and the columns of the run's tables are joined to images.
        output: Folder for the predictions of files; they keep their sub-folder and name.
        vote: How several runs are brought together: ``average`` of probabilities or values, or
            ``majority`` of classes (of values the median).
        checkpoint: ``best``, ``last`` or ``best-<metric>``; left out, as the config says.
        accelerator: ``auto``, ``cpu``, ``gpu``, ...; left out, as the config says.
        axes: Axes of the images, such as ``"ZYX"`` or ``"TYX"``; left out, as in the config of the
            run, with the time axis that a file names.
        time: The only time point to predict; left out, as in the config of the run, or all.
        scene: Scene of the files, by number or name; left out, as in the config of the run.
        direction: ``a_to_b`` or ``b_to_a``: which way a CycleGAN translates; left out, as in the
            config of the run.
        tuned: Use the steps of post-processing that were tuned for the run, where there are some.
        spacing: Pixel size ``[Z,] Y, X`` of arrays, see `Predictor.array`; files tell theirs.
        tabular: Value of each tabular column that the model takes beside an array, or a list of
            these for a list of arrays; files have them in their table.
        suffix: ``.ome.tif``, ``.nii.gz``, ``.npy`` or ``.png``; left out, as the input has it.
        uncertainty: Predict each image several times and tell where the predictions differ:
            ``True`` for the way that suits the run, a method (``posterior``, ``dropout``,
            ``perturb``, ``flips``, ``ensemble``), or fields of ``inference.uncertainty``, such as
            ``{"samples": 32, "seed": 1}``. Several runs are an ensemble.
        track: Wraps the list of images, to show progress.

    Returns:
        The result, see `Predictor.array`, or a list of results for a list of arrays; with
        ``uncertainty`` an `UncertainPrediction`, which unpacks as ``prediction, maps``; or the
        files written, the maps among them. Classes and numbers of whole images, and how uncertain
        an image is on the whole, are written to ``predictions.csv``.

    Raises:
        DataError: With all images that could not be predicted; the others are written.
    """
    check_vote(vote)
    if uncertainty is not False and vote != "average":
        message = f"got the vote '{vote}'; with uncertainty the mean of all predictions is told"
        raise DataError(message)
    options: dict[str, Any] = {
        "checkpoint": checkpoint,
        "accelerator": accelerator,
        "axes": axes,
        "time": time,
        "scene": scene,
        "direction": direction,
        "tuned": tuned,
    }
    if _is_array(inputs) or (isinstance(inputs, (list, tuple)) and inputs and _is_array(inputs[0])):
        predictor = _predictor(run, vote, options, uncertainty)
        return _predict_arrays(predictor, inputs, spacing, tabular)
    _refuse_for_files(spacing, tabular)
    if output is None:
        message = "files are predicted into a folder: give output='folder'"
        raise DataError(message)
    given = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    made = partial(_predictor, run, vote, options, uncertainty)
    return _predict_files(run, given, Path(output), suffix, made, track)


def _predict_files(
    run: Reference | Sequence[Reference],
    given: Sequence[str | Path],
    output: Path,
    suffix: str | None,
    load: Callable[[], ImagePredictor],
    track: Track,
) -> list[Path]:
    """Find the images, then load the model: what is missing is told at once."""
    first = find_run(_listed(run)[0], runs_root())
    config = load_run_config(first.path)
    plugin_modules.load(config)  # a reader of the user's knows its own files
    found = find_inputs(given, FileLayout.of(config.data, first.facts))
    predictor = load()
    if suffix is not None and not dense_heads(predictor.task):
        message = (
            f"got the format '{suffix}', but this model predicts no images: what it says of an "
            f"image becomes a row of {TABLE}. Leave the format out"
        )
        raise DataError(message)
    files = _Files(predictor, output, suffix or predictor.config.inference.format)
    found = _limited(found, predictor.config.trainer.limit_predict_batches)
    files.check(found, given)
    return files.predict(found, track)


class _Files:
    """Predictions that are written to a folder.

    Args:
        predictor: What predicts an image.
        output: The folder.
        suffix: Format of the images; ``None`` for that of each input.
    """

    def __init__(self, predictor: ImagePredictor, output: Path, suffix: str | None) -> None:
        self.predictor = predictor
        self.output = output
        self.suffix = suffix
        self.heads = dense_heads(predictor.task)
        self.fractions = any(makes_fractions(predictor.task, head) for head in self.heads)

    def check(self, found: Sequence[Input], given: Sequence[str | Path]) -> None:
        """Refuse what could not be predicted or written, before anything is computed."""
        check_output(self.output, self.suffix, fractions=self.fractions)
        check_targets(found, [self.predictor.targets(self._target(one)) for one in found])
        if (self.output / TABLE).resolve() in {Path(item).resolve() for item in given}:
            message = f"the table of predictions, {TABLE}, would overwrite this input. Rename it"
            raise DataError(Problem(message, file=str(self.output / TABLE)))
        without = [one for one in found if one.row is None]
        if without:
            self.predictor.check_row(None, str(without[0].path))

    def predict(self, found: Sequence[Input], track: Track) -> list[Path]:
        """Predict the images that can be; return the files that were written."""
        protect = [path for one in found for path in one.paths]
        written: list[Path] = []
        rows: list[dict[str, Any]] = []
        problems: list[Problem] = []
        for one in track(found):
            try:
                made = self.predictor.predict_file(
                    one.paths, self._target(one), protect=protect, tabular=one.row
                )
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
            else:
                written += made.files
                name = "|".join(str(path) for path in one.paths)
                rows += [{"image": name, **row} for row in made.rows]
        if rows:
            table = self.output / TABLE
            write_text(table, pd.DataFrame(rows).to_csv(index=False))
            written.append(table)
        if problems and written:
            message = f"{len(written)} files were written to {self.output}; these were not"
            raise DataError([Problem(f"{message} predicted:"), *problems])
        if problems:
            raise DataError(problems)
        return written

    def _target(self, one: Input) -> Path:
        return one.target(self.output, self.suffix, fractions=self.fractions)


def _predictor(
    run: Reference | Sequence[Reference],
    vote: str,
    options: dict[str, Any],
    uncertainty: bool | str | Mapping[str, Any],
) -> ImagePredictor:
    members = [Predictor(one, **options) for one in _listed(run)]
    if uncertainty is not False:
        own = members[0].config.inference.uncertainty
        return UncertainPredictor(members, settings_of(own, uncertainty))
    return members[0] if len(members) == 1 else Ensemble(members, vote)


def _listed(run: Reference | Sequence[Reference]) -> list[Reference]:
    if isinstance(run, (list, tuple)):
        if not run:
            message = "got an empty list of runs; expected at least one"
            raise DataError(message)
        return list(run)
    assert isinstance(run, (Run, str, Path))
    return [run]


def _predict_arrays(
    predictor: ImagePredictor,
    inputs: Any,
    spacing: Sequence[float] | None,
    tabular: Row | Sequence[Row] | None,
) -> Any:
    if _is_array(inputs):
        row: Any = tabular
        return predictor.array(inputs, spacing=spacing, tabular=row)
    rows: list[Any] = [tabular] * len(inputs)
    if isinstance(tabular, (list, tuple)):
        rows = list(tabular)
        if len(rows) != len(inputs):
            message = f"got {len(rows)} rows in tabular= for {len(inputs)} arrays; expected equal"
            raise DataError(message)
    return [
        predictor.array(item, spacing=spacing, tabular=row)
        for item, row in zip(inputs, rows, strict=True)
    ]


def _refuse_for_files(spacing: Any, tabular: Any) -> None:
    if spacing is not None:
        message = "spacing= is the pixel size of arrays; files tell theirs: leave it out"
        raise DataError(message)
    if tabular is not None:
        message = "tabular= belongs to arrays; files have the columns in their table: give a CSV"
        raise DataError(message)


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


def _is_array(value: Any) -> bool:
    return hasattr(value, "__array__") and not isinstance(value, (str, Path))
