"""Evaluate several trained models that vote: each member, the average and the majority.

All members are given the same batches, so that their preprocessing must agree.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pandas as pd
import torch
from torch import Tensor

from imtoolkit.core.batch import SPACING, Batch, Stage, StepOutput
from imtoolkit.core.errors import DataError
from imtoolkit.core.files import write_text
from imtoolkit.inference.ensemble import VOTES
from imtoolkit.runs import Run
from imtoolkit.runs.layout import EVALUATION, SPLITS
from imtoolkit.runs.show import told_apart
from imtoolkit.tasks.base import Task
from imtoolkit.tasks.rows import Row, one_by_one, place_of, unique_sorted
from imtoolkit.trainer import results, scores
from imtoolkit.trainer.check import moved
from imtoolkit.trainer.ensemble import check_members, joined
from imtoolkit.trainer.evaluate import images_to_measure
from imtoolkit.trainer.predictor import Predictor
from imtoolkit.trainer.scores import Scores

log = logging.getLogger(__name__)

Evidence = dict[str, Tensor]
Track = Callable[[Iterable[Batch]], Iterable[Batch]]
ENSEMBLE: Final = "ensemble"
"""End of the name of the folder that keeps the evaluation of several runs."""


def evaluate_ensemble(
    runs: Sequence[Run | str | Path],
    split: str = "test",
    *,
    checkpoint: str | None = None,
    source: Mapping[str, Any] | None = None,
    track: Track = iter,
) -> EnsembleScores:
    """Measure several trained models, and what they say together.

    Args:
        runs: The runs; the first says which images a split holds, and keeps the result in
            ``evaluation/<split>-ensemble``.
        split: ``test``, ``val``, ``train`` or ``naive``. With ``source``, the name under which the
            result is kept.
        checkpoint: ``best``, ``last`` or ``best-<metric>``; left out, as the configs say.
        source: Other images than those of the run, see `evaluate`.
        track: Wraps the batches, to show progress.

    Raises:
        RunError: If there is no such run or state.
        DataError: If the runs do not predict the same thing of the same images, or there are none.
    """
    if len(runs) < 2:
        message = f"got {len(runs)} run(s); an ensemble has at least two"
        raise DataError(message)
    members = [Predictor(run, checkpoint=checkpoint) for run in runs]
    check_members(members, same_preprocess=True)
    names = _names(members)
    first = members[0]
    config, _, data, where = images_to_measure(first.run, split, source)
    if source is None:
        _warn_of_leaks(members, where)
    electorate = Electorate(
        dict(zip(names, (one.task for one in members), strict=True)),
        {"device_type": first.device.type, "dtype": torch.bfloat16, "enabled": first.autocast},
    )
    for number, batch in enumerate(track(data.dataloader(where))):
        electorate.see(moved(batch, first.device), number)
    suite = first.task.metrics(Stage.TEST)
    made = {
        name: scores.summarise(
            electorate.sorted_rows(name),
            config.evaluation,
            config.seed,
            suite,
            split=split,
            checkpoint=first.checkpoint,
            run=first.run.id if name in VOTES else name,
        )
        for name in (*names, *VOTES)
    }
    found = EnsembleScores(
        {name: made[name] for name in VOTES}, {name: made[name] for name in names}
    )
    first.run.require()
    return _save(found, first.run.path / EVALUATION / f"{split}-{ENSEMBLE}")


@dataclass(frozen=True)
class EnsembleScores:
    """The evaluation of an ensemble.

    Attributes:
        votes: The scores of ``average`` and ``majority``.
        members: The scores of each member by the id of its run.
        path: Folder with a sub-folder for each.
    """

    votes: dict[str, Scores]
    members: dict[str, Scores]
    path: Path | None = None

    @property
    def summary(self) -> dict[str, Any]:
        """That of the average, with the metrics of the majority and of each member."""
        others = {**self.votes, **self.members}
        return {
            **self.votes["average"].summary,
            ENSEMBLE: {name: scores.summary["metrics"] for name, scores in others.items()},
        }

    def table(self) -> pd.DataFrame:
        """Return a row for each metric and a column for each member and vote."""
        named = {**self.members, **self.votes}
        return pd.DataFrame(
            {
                name: {
                    metric: entry["mean"]
                    for metric, entry in scores.summary["metrics"].items()
                    if metric in told_apart(scores.summary["metrics"])
                }
                for name, scores in named.items()
            }
        )

    def _repr_html_(self) -> str:
        return str(self.table().to_html(float_format="{:.4f}".format, na_rep=""))


class Electorate:
    """Models that are applied to the same batches, image by image.

    Args:
        tasks: The models by the id of their run, in evaluation mode on one device.
        autocast: Context in which nets run, see `torch.autocast`.

    Attributes:
        rows: The rows of each member and of each vote.
    """

    def __init__(self, tasks: Mapping[str, Task], autocast: Mapping[str, Any]) -> None:
        self.tasks = dict(tasks)
        self.autocast = dict(autocast)
        self.rows: dict[str, list[Row]] = {name: [] for name in (*self.tasks, *VOTES)}

    @torch.no_grad()
    def see(self, batch: Batch, number: int) -> None:
        """Measure a batch; ``number`` tells images without an id apart."""
        for index, one in enumerate(one_by_one(batch)):
            place = place_of(one, fallback=f"{number:06d}-{index}")
            said: list[Evidence] = []
            for name, task in self.tasks.items():
                with torch.autocast(**self.autocast):
                    output = task.step(one, Stage.TEST)
                assert output.raw is not None
                made = task.prediction_of(output, one.get(SPACING))
                measured = task.measure(output, made, one, Stage.TEST)
                loss = {} if output.loss is None else {"loss": float(output.loss)}
                self.rows[name].append({**place, **loss, **measured})
                said.append(results.evidence_of(task, output.raw))
            for vote in VOTES:
                self.rows[vote].append({**place, **self._voted(said, one, vote)})

    def sorted_rows(self, name: str) -> list[Row]:
        """Return the rows of a member or a vote, each image once."""
        return unique_sorted(self.rows[name])

    def _voted(self, said: list[Evidence], batch: Batch, vote: str) -> Row:
        """Measure what the members say together."""
        task = next(iter(self.tasks.values()))
        raw: Evidence = {}
        result: Evidence = {}
        for head, goal in results.goals_of(task).items():
            evidence = joined(goal, [one[head] for one in said], vote, channel_axis=1)
            raw[head] = results.raw_of(goal, evidence)
            result[head] = results.after_vote(goal, raw[head], batch.get(SPACING))
        alone = set(raw) == {""}
        output = StepOutput(None, raw=raw[""] if alone else raw)
        return task.measure(output, result[""] if alone else result, batch, Stage.TEST)


def _save(found: EnsembleScores, folder: Path) -> EnsembleScores:
    """Write the average into the folder, the others into sub-folders, and the table of all."""
    average = found.votes["average"]
    average.summary[ENSEMBLE] = found.summary[ENSEMBLE]
    votes = {"average": scores.save(average, folder)}
    votes |= {
        name: scores.save(one, folder / name)
        for name, one in found.votes.items()
        if name not in votes
    }
    members = {name: scores.save(one, folder / name) for name, one in found.members.items()}
    write_text(folder / "members.csv", found.table().to_csv(index_label="metric"))
    return replace(found, votes=votes, members=members, path=folder)


def _names(members: Sequence[Predictor]) -> list[str]:
    """Return the ids of the runs, each of which may vote once.

    Raises:
        DataError: If a run is given twice.
    """
    ids = [one.run.id for one in members]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        message = f"run {twice[0]} is given twice: each member votes once"
        raise DataError(message)
    return ids


def _warn_of_leaks(members: Sequence[Predictor], split: str) -> None:
    """Tell where a member was trained on images of the split that the first run holds back."""
    if split == "train":
        return
    tables = [_splits_of(one.run) for one in members]
    held = {key for key, name in tables[0].items() if name == split}
    for member, table in zip(members[1:], tables[1:], strict=True):
        seen = sum(table.get(key) == "train" for key in held)
        if seen:
            log.warning(
                "run %s was trained on %d of the %d images of '%s': its scores, and those of the "
                "ensemble, are too good",
                *(member.run.id, seen, len(held), split),
            )


def _splits_of(run: Run) -> dict[tuple[str, str], str]:
    path = run.path / SPLITS
    if not path.is_file():
        return {}
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if not {"id", "dataset", "split"} <= set(table.columns):
        return {}
    keys = zip(table["dataset"], table["id"], strict=True)
    return dict(zip(keys, table["split"], strict=True))
