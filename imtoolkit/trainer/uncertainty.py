"""Trained models that predict an image several times, and tell where the predictions differ.

Each prediction is brought to the grid of the file and added to running sums, so that their number
costs time and no memory.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from imtoolkit.config.sections import Component, UncertaintyConfig
from imtoolkit.core.batch import Stage
from imtoolkit.core.errors import ConfigError, DataError, Problem, did_you_mean, listed
from imtoolkit.core.facts import DataFacts
from imtoolkit.core.seeding import mix
from imtoolkit.data.perturb import Perturbation, usable
from imtoolkit.data.preprocess import Undo
from imtoolkit.io.picture import Picture
from imtoolkit.nets.dropout import active_dropout, dropout_layers
from imtoolkit.tasks.base import Task, evaluating
from imtoolkit.tasks.goals import ImageGoal, LabelsGoal
from imtoolkit.tasks.probabilistic_unet import ProbabilisticUNetTask
from imtoolkit.trainer import results
from imtoolkit.trainer.ensemble import check_members
from imtoolkit.trainer.image_predictor import ImagePredictor, Row, beside
from imtoolkit.trainer.predictor import Predictor
from imtoolkit.trainer.results import Result
from imtoolkit.trainer.uncertain_results import (
    HeadMoments,
    UncertainPrediction,
    map_names,
    maps_of,
    row_of,
)
from imtoolkit.trainer.uncertainty_settings import COUNTED, key_of

log = logging.getLogger(__name__)

METHODS: Final = ("auto", "posterior", "dropout", "perturb", "flips", "ensemble")
SAMPLES: Final = 16
"""Predictions of an image where nobody says how many."""
_USUAL: Final = (
    Component("gaussian_noise", {"std": 0.1, "prob": 1.0}),
    Component("brightness_contrast", {"prob": 1.0}),
)
Evidence = dict[str, Tensor]


class UncertainPredictor(ImagePredictor):
    """Predicts an image several times; the first model says how images are read.

    Args:
        members: One model, or several that were trained apart.
        config: How the predictions are made.

    Attributes:
        method: How they are made, never ``auto``.
        count: Their number.

    Raises:
        ConfigError: If the models cannot predict in that way, with what can be done.
        DataError: If they do not predict the same thing, or no pixels.
    """

    def __init__(self, members: Sequence[Predictor], config: UncertaintyConfig) -> None:
        self.members = list(members)
        first = self.members[0]
        self.run, self.config, self.task = first.run, first.config, first.task
        check_members(self.members)
        _check_apart(self.members)
        self._check_heads()
        self.settings = config
        self.method = self._chosen(config)
        self.seed = first.config.seed if config.seed is None else config.seed
        self._perturbation: Perturbation | None = None
        if self.method == "perturb":
            self._perturbation = Perturbation(config.perturb or self._own_transforms())
        self.count = self._number(config)
        log.info("uncertainty of %d predictions by %s", self.count, self._in_words())

    @property
    def facts(self) -> DataFacts:
        """See `ImagePredictor`."""
        return self.members[0].facts

    @property
    def columns(self) -> tuple[str, ...]:
        """See `ImagePredictor`."""
        return tuple(dict.fromkeys(name for one in self.members for name in one.columns))

    def results(self, picture: Picture, row: Row | None = None) -> list[Result]:
        """See `ImagePredictor`."""
        goals = results.goals_of(self.task)
        keep = self.settings.keep_samples
        heads = {head: HeadMoments(goal, keep=keep) for head, goal in goals.items()}
        place: Undo | None = None
        for evidence, undo in self._evidence(picture, row):
            place = place or undo
            for head, values in evidence.items():
                heads[head].add(values)
        assert place is not None
        kept = self.config.inference.probabilities
        return [one.result(head, place, probabilities=kept) for head, one in heads.items()]

    def value(self, frames: list[list[Result]], *, has_channels: bool, movie: bool) -> Any:
        """See `ImagePredictor`."""
        rows = [row_of(frame) for frame in frames]
        dims = self.facts.spatial_dims
        return UncertainPrediction(
            super().value(frames, has_channels=has_channels, movie=movie),
            maps_of(frames, dims, has_channels=has_channels, movie=movie),
            self.method,
            self.count,
            rows if movie else rows[0],
        )

    def targets(self, target: Path) -> list[Path]:
        """See `ImagePredictor`; the maps lie beside."""
        files, goals = super().targets(target), results.goals_of(self.task)
        names = [
            map_names(goals[head], keep=self.settings.keep_samples)
            for head in results.dense_heads(self.task)
        ]
        maps = [beside(file, name) for file, own in zip(files, names, strict=True) for name in own]
        return [*files, *maps]

    # --- single predictions -----------------------------------------------------------------------

    def _evidence(self, picture: Picture, row: Row | None) -> Iterator[tuple[Evidence, Undo]]:
        """Yield what each prediction says on the grid of the file, and the way to that grid."""
        if self.method == "ensemble":
            for member in self.members:
                raw, undo = member.raw(picture, row)
                yield results.evidence_of(member.task, raw, undo), undo
            return
        image, more, undo = self.members[0].prepared(picture, row)
        for evidence in self.said(image, more):
            yield results.on_file_grid(self.task, evidence, undo), undo

    def said(self, image: Tensor, more: dict[str, Tensor]) -> Iterator[Evidence]:
        """Yield what each prediction says of a preprocessed image, on its grid.

        Args:
            image: ``(C, [Z,] Y, X)``, preprocessed as by the first model, and by all of several.
            more: Further inputs of the nets by key.
        """
        ways = {
            "posterior": self._drawn,
            "dropout": self._dropped,
            "perturb": self._perturbed,
            "flips": self._mirrored,
            "ensemble": self._each,
        }
        made = ways[self.method](image, more)
        while True:
            # the modes hold for one prediction at a time, and for nothing that the caller does
            with torch.inference_mode(), self.members[0].half(), contextlib.ExitStack() as stack:
                for member in self.members:
                    stack.enter_context(evaluating(member.task))
                evidence = next(made, None)
            if evidence is None:
                return
            yield evidence

    def _each(self, image: Tensor, more: dict[str, Tensor]) -> Iterator[Evidence]:
        for member in self.members:
            raw = member.task.applied(image, Stage.PREDICT, **more)
            yield results.evidence_of(member.task, raw)

    def _drawn(self, image: Tensor, more: dict[str, Tensor]) -> Iterator[Evidence]:
        del more  # such a net takes the image alone
        task = self.task
        assert isinstance(task, ProbabilisticUNetTask)
        for raw in task.draws(task.as_batch(image), Stage.PREDICT, self.count, self.seed):
            yield results.evidence_of(task, raw[0])

    def _dropped(self, image: Tensor, more: dict[str, Tensor]) -> Iterator[Evidence]:
        device = self.members[0].device
        for number in range(self.count):
            with active_dropout(_nets(self.task)), _seeded(mix(self.seed, number), device):
                raw = self.task.applied(image, Stage.PREDICT, **more)
            yield results.evidence_of(self.task, raw)

    def _perturbed(self, image: Tensor, more: dict[str, Tensor]) -> Iterator[Evidence]:
        assert self._perturbation is not None
        goals = results.goals_of(self.task)
        for number in range(self.count):
            changed, back = self._perturbation(image, mix(self.seed, number))
            said = results.evidence_of(self.task, self.task.applied(changed, Stage.PREDICT, **more))
            yield {head: back(v) if goals[head].dense else v for head, v in said.items()}

    def _mirrored(self, image: Tensor, more: dict[str, Tensor]) -> Iterator[Evidence]:
        goals = results.goals_of(self.task)
        for axes in _subsets(self.task):
            # validation averages over no mirrored copies by itself
            raw = self.task.applied(image.flip(axes), Stage.VAL, **more)
            said = results.evidence_of(self.task, raw)
            yield {head: v.flip(axes) if goals[head].dense else v for head, v in said.items()}

    # --- what is possible -------------------------------------------------------------------------

    def _chosen(self, config: UncertaintyConfig) -> str:
        method, several = config.method, len(self.members) > 1
        if method not in METHODS:
            message = f"'{method}' is not known.{did_you_mean(method, METHODS)}"
            raise ConfigError(
                Problem(f"{message} Known: {listed(METHODS, 9)}", where=key_of("method"))
            )
        if method == "auto":
            return self._automatic()
        message = ""
        if several and method != "ensemble":
            message = f"is for one run, and {len(self.members)} are given: take ensemble"
        elif method == "ensemble" and not several:
            message = "needs several runs, trained apart: name the others (--with RUN2)"
        elif method == "posterior" and not isinstance(self.task, ProbabilisticUNetTask):
            message = (
                "needs samples of a probabilistic U-Net, and this run is a "
                f"{self.config.task.category}: take dropout, perturb or flips, or train the "
                "category probabilistic_unet"
            )
        elif method == "dropout" and not dropout_layers(_nets(self.task)):
            message = (
                "needs a net with dropout layers, and this one has none: take perturb or flips, or "
                "train it with dropout (such as task.net.params.dropout: 0.1)"
            )
        if message:
            raise ConfigError(Problem(f"'{method}' {message}", where=key_of("method")))
        return method

    def _automatic(self) -> str:
        if len(self.members) > 1:
            return "ensemble"
        if self.settings.perturb:
            return "perturb"
        if isinstance(self.task, ProbabilisticUNetTask):
            return "posterior"
        return "dropout" if dropout_layers(_nets(self.task)) else "perturb"

    def _number(self, config: UncertaintyConfig) -> int:
        own = {"ensemble": len(self.members), "flips": len(_subsets(self.task))}
        if self.method not in own:
            return SAMPLES if config.samples is None else config.samples
        if config.samples is not None:
            what = COUNTED[self.method]
            log.warning(
                "%s is not used: there are %d %s", key_of("samples"), own[self.method], what
            )
        return own[self.method]

    def _own_transforms(self) -> list[Component]:
        """Return the transforms of training that can be undone, else noise and brightness."""
        return usable(self.config.data.augment) or list(_USUAL)

    def _check_heads(self) -> None:
        """Refuse a model that predicts no pixels whose uncertainty has a meaning."""
        goals = results.goals_of(self.task)
        dense = [goal for goal in goals.values() if goal.dense]
        category = self.config.task.category
        if not dense:
            message = (
                f"maps of uncertainty are made of pixels, and a {category} says one thing of a "
                "whole image: its probabilities, in predictions.csv, tell how sure it is"
            )
            raise DataError(message)
        if not all(isinstance(goal, (LabelsGoal, ImageGoal)) for goal in dense):
            message = (
                "maps of uncertainty are made of classes of pixels or of images, and the category "
                f"'{category}' predicts neither"
            )
            raise DataError(message)

    def _in_words(self) -> str:
        if self.method != "perturb" or self.settings.perturb:
            return self.method
        names = [component.name for component in self._own_transforms()]
        return f"perturb ({listed(names, 9)})"


def _check_apart(members: Sequence[Predictor]) -> None:
    """Refuse one state that stands for several: it never differs from itself.

    Raises:
        DataError: With the run that is given twice.
    """
    states = [(one.run.path.resolve(), one.checkpoint) for one in members]
    for one, state in zip(members, states, strict=True):
        if states.count(state) > 1:
            message = (
                f"run {one.run.id} is given twice, and agrees with itself in everything: name runs "
                "that were trained apart, with another seed or fold"
            )
            raise DataError(message)


def _nets(task: Task) -> nn.ModuleList:
    """Return the nets that predict, without discriminators."""
    return nn.ModuleList(task.nets[role] for role in task.image_roles or task.nets)


def _subsets(task: Task) -> list[tuple[int, ...]]:
    """Return the sets of axes to mirror, counted from the end, the empty one first."""
    axes = range(-task.facts.spatial_dims, 0)
    return [s for n in range(len(axes) + 1) for s in itertools.combinations(axes, n)]


@contextlib.contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch, and leave its generators as they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
