"""A trained model, loaded once, that predicts images and arrays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from imtoolkit.config import plugins as plugin_modules
from imtoolkit.config.sections import Config, CycleGANConfig
from imtoolkit.config.settings import runs_root
from imtoolkit.core.batch import TABULAR
from imtoolkit.core.errors import DataError, did_you_mean
from imtoolkit.core.facts import DataFacts, TargetKind, TargetSpec
from imtoolkit.data.checks import check_sample
from imtoolkit.data.domains import of_domain
from imtoolkit.data.preprocess import Preprocessor, Undo
from imtoolkit.data.tabular import encode_tabular
from imtoolkit.io.picture import Picture
from imtoolkit.nets.inputs import inputs_of
from imtoolkit.runs import Run, find_run
from imtoolkit.tasks.cyclegan import DIRECTIONS, CycleGANTask
from imtoolkit.trainer import build, results
from imtoolkit.trainer.image_predictor import ImagePredictor, Row
from imtoolkit.trainer.machine import choose_machine
from imtoolkit.trainer.results import Result
from imtoolkit.trainer.state import load_state
from imtoolkit.trainer.tuned import config_of


class Predictor(ImagePredictor):
    """A trained model, loaded once.

    Args:
        run: The run, its path, a prefix of its id, or ``latest``.
        checkpoint: ``best``, ``last`` or ``best-<metric>``; left out, as the config says.
        accelerator: ``auto``, ``cpu``, ``gpu``, ...; left out, as the config says.
        axes: Axes of the images, such as ``"ZYX"``; left out, as in the config of the run.
        time: The only time point to predict; left out, as in the config of the run, or all.
        scene: Scene of the files, by number or name; left out, as in the config of the run.
        direction: ``a_to_b`` or ``b_to_a``, for a translation between domains; left out, as in the
            config of the run.
        tuned: Use the steps of post-processing that were tuned for the run, where there are some.

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
        direction: str | None = None,
        tuned: bool = True,
    ) -> None:
        self.run = find_run(run, runs_root())
        asked = {"axes": axes, "time": time, "scene": scene}
        config = config_of(self.run, tuned=tuned)
        self.direction = direction_of(config, direction)
        self.config = _for_prediction(config, accelerator, asked, self.domain)
        plugin_modules.load(self.config)
        machine = choose_machine(self.config)
        self.task = build.build_model(self.config, self.run.facts)
        if self.direction is not None and isinstance(self.task, CycleGANTask):
            self.task.turn_to(self.direction)
        self.checkpoint = load_state(
            self.task, self.run, checkpoint or self.config.inference.checkpoint
        )
        self.device = torch.device(machine.accelerator)
        self.autocast = machine.precision.startswith("bf16") and self.device.type == "cuda"
        self.task.to(self.device).eval()
        self.preprocessor = Preprocessor(self.config.data, tuple(self.config.plugins))

    @property
    def domain(self) -> str | None:
        """Domain of the images that are given to a translation: ``A`` or ``B``."""
        return None if self.direction is None else DIRECTIONS[self.direction].upper()

    @property
    def facts(self) -> DataFacts:
        """See `ImagePredictor`."""
        return self.run.facts.turned() if self.domain == "B" else self.run.facts

    @property
    def columns(self) -> tuple[str, ...]:
        """See `ImagePredictor`."""
        if not any(TABULAR in inputs_of(net) for net in self.task.nets.values()):
            return ()
        return tuple(column.column for column in self.config.data.tabular)

    def results(self, picture: Picture, row: Row | None = None) -> list[Result]:
        """See `ImagePredictor`."""
        raw, undo = self.raw(picture, row)
        kept = self.config.inference.probabilities
        return results.results_of(self.task, raw, undo, probabilities=kept)

    def raw(self, picture: Picture, row: Row | None = None) -> tuple[Any, Undo]:
        """Return the outputs of the net for an image, and the way back to the grid of its file.

        Args:
            picture: The image.
            row: Tabular values by column.

        Raises:
            DataError: If the image or the row does not fit the model.
        """
        image, more, undo = self.prepared(picture, row)
        with self.half():
            found = self.task.predict_image(image, spacing=undo.prepared_spacing, **more)
            return found, undo

    def half(self) -> torch.autocast:
        """Return the context in which the nets run: in half precision where the run does so."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast)

    def prepared(
        self, picture: Picture, row: Row | None = None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], Undo]:
        """Return what the task is given of an image, and the way back to the grid of its file.

        Args:
            picture: The image.
            row: Tabular values by column.

        Returns:
            The preprocessed image ``(C, [Z,] Y, X)``, further inputs by key, and the way back.

        Raises:
            DataError: If the image or the row does not fit the model.
        """
        problems, _ = check_sample(picture, None, None, TargetSpec(TargetKind.NONE), where="")
        if problems:
            raise DataError(problems)  # a net makes something of NaN as well, and it means nothing
        image, undo = self.preprocessor.image(picture, self.domain)  # (C, [Z,] Y, X)
        facts = self.facts
        if image.shape[0] != facts.in_channels or image.ndim - 1 != facts.spatial_dims:
            raise DataError(_other_shape(image, facts) + self._turned_round(image))
        more = {}
        if self.columns:
            more[TABULAR] = encode_tabular(dict(row or {}), self.config.data, facts)
        return image, more, undo

    def _turned_round(self, image: torch.Tensor) -> str:
        """Tell where an image would fit the other direction of a translation."""
        if self.direction is None or image.shape[0] != self.facts.target_channels:
            return ""
        other = next(name for name in DIRECTIONS if name != self.direction)
        return (
            f". An image of domain {'A' if self.domain == 'B' else 'B'}? Translate it with "
            f"--direction {other} (in Python direction='{other}')"
        )


def direction_of(config: Config, asked: str | None) -> str | None:
    """Return the direction of a translation: as asked for, else as its config says.

    Raises:
        DataError: If the run has no directions, or not this one.
    """
    own = config.task
    if not isinstance(own, CycleGANConfig):
        if asked is not None:
            message = (
                f"got the direction '{asked}', and a run of category '{own.category}' has one "
                "only: leave it out. A cyclegan has a_to_b and b_to_a"
            )
            raise DataError(message)
        return None
    if asked is not None and asked not in DIRECTIONS:
        hint = did_you_mean(asked, DIRECTIONS)
        message = f"got the direction '{asked}'.{hint} Expected {' or '.join(DIRECTIONS)}"
        raise DataError(message)
    return asked or own.direction


def _other_shape(image: torch.Tensor, facts: DataFacts) -> str:
    return (
        f"got {image.shape[0]} channels in {image.ndim - 1}D after preprocessing; the "
        f"model was trained on {facts.in_channels} channels in {facts.spatial_dims}D. "
        "Choose channels and axes with the section data of a config, say the axes of a "
        "time-lapse with a T (--axes TCYX), or convert the image"
    )


def _for_prediction(
    config: Config,
    accelerator: str | None,
    asked: dict[str, int | str | None],
    domain: str | None,
) -> Config:
    settings = replace(
        config.trainer, devices=1, num_nodes=1, accelerator=accelerator or "auto", strategy="auto"
    )
    chosen: dict[str, Any] = {key: value for key, value in asked.items() if value is not None}
    data = replace(of_domain(config.data, domain), **chosen)
    return replace(config, trainer=settings, data=data)
