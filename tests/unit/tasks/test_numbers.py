"""Numbers of losses and nets that change with the epochs, as a key of the config names them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from imtoolkit.callbacks.metrics_csv import MetricsCsv
from imtoolkit.callbacks.schedules import KEY, Schedules
from imtoolkit.config.sections import Component, LossTerm
from imtoolkit.core.batch import Stage
from imtoolkit.core.errors import ConfigError
from imtoolkit.core.schedules import Linear, NumberSchedule, Steps
from imtoolkit.tasks.base import Task
from imtoolkit.tasks.numbers import setter_of
from tests.helpers.discs import Discs, batch_of, loader, task_of, trainer_of

TERMS = {
    "overlap": LossTerm("dice"),
    "edge": LossTerm("TverskyLoss", {"alpha": 0.5, "beta": 0.5}, weight=0.5),
}
DROPOUT = Component("UNet", {"channels": [4, 8], "strides": [2], "dropout": 0.5})


def _probabilities(task: Task) -> set[float]:
    return {part.p for part in task.modules() if isinstance(part, nn.Dropout)}


@pytest.mark.parametrize("key", ["task.losses.edge.weight"])
def test_the_weight_of_a_term_scales_it(key: str) -> None:
    task, batch = task_of(losses=TERMS), batch_of()
    before = task.step(batch, Stage.TRAIN)
    setter_of(task, key)(2.0)
    after = task.step(batch, Stage.TRAIN)
    assert before.loss is not None
    assert after.loss is not None
    difference = (after.loss - before.loss).item()
    assert difference == pytest.approx(1.5 * float(after.terms["edge"]), rel=1e-5)


def test_a_parameter_of_a_loss_changes_what_it_computes() -> None:
    changed, made = task_of(losses=TERMS), dict(TERMS)
    made["edge"] = LossTerm("TverskyLoss", {"alpha": 0.1, "beta": 0.9}, weight=0.5)
    setter_of(changed, "task.losses.edge.params.alpha")(0.1)
    setter_of(changed, "task.losses.edge.params.beta")(0.9)
    batch = batch_of()
    losses = [task.step(batch, Stage.TRAIN).loss for task in (changed, task_of(losses=made))]
    assert torch.equal(losses[0], losses[1])


def test_dropout_is_that_of_all_layers() -> None:
    task = task_of(nets={"net": DROPOUT})
    assert _probabilities(task) == {0.5}
    setter_of(task, "task.net.params.dropout")(0.125)
    assert _probabilities(task) == {0.125}


class _Own(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1)
        self.depth, self.span = 3, (0.5, 1.0)
        self.register_buffer("heat", torch.tensor(1.0))
        self._hidden = 1.0


def test_attributes_keep_their_kind() -> None:
    task = task_of()
    own = _Own(1, 2)
    task.nets["net"] = own
    for name, number in (("depth", 4.6), ("span.1", 0.75), ("heat", 0.5)):
        setter_of(task, f"task.net.params.{name}")(number)
    assert (own.depth, own.span, float(own.heat)) == (5, (0.5, 0.75), 0.5)
    assert isinstance(own.depth, int)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("task.losses.egde.weight", "no loss term 'egde'. Did you mean 'edge'"),
        ("task.losses.edge.warmup_steps", "'weight' and 'params.X' can change"),
        ("task.losses.edge.params.alhpa", "has no number 'alhpa'. Did you mean 'alpha'"),
        ("task.nets.generator.params.dropout", "there is no net 'generator'"),
        ("task.net.params.channels", "has no number 'channels'"),
        ("task.net.name", "leads to no number that can change"),
    ],
)
def test_a_key_that_leads_to_nothing_is_an_error(key: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        setter_of(task_of(losses=TERMS), key)
    assert caught.value.problems[0].where == f"trainer.schedules.{key}"


def test_a_net_without_dropout_says_how_to_get_it() -> None:
    task = task_of()
    task.nets["net"] = _Own(1, 2)
    with pytest.raises(ConfigError, match=r"no dropout layers.*give it a 'dropout' above 0"):
        setter_of(task, "task.net.params.dropout")


# --- while a net is trained -----------------------------------------------------------------------


class _Seen(pl.Callback):
    def __init__(self) -> None:
        self.values: list[tuple[int, int, float]] = []

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        place = (
            trainer.current_epoch,
            trainer.fit_loop.epoch_loop.batch_progress.current.ready - 1,
        )
        self.values.append((*place, next(iter(_probabilities(pl_module)))))


class _Stop(pl.Callback):
    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == (1, 0):
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True
            raise KeyboardInterrupt

    def __init__(self, path: Path) -> None:
        self.path = path


def _fit(
    schedule: NumberSchedule, *callbacks: pl.Callback, checkpoint: Path | None = None, **more: Any
) -> _Seen:
    task, seen = task_of(nets={"net": DROPOUT}), _Seen()
    numbers = {"task.net.params.dropout": (schedule, setter_of(task, "task.net.params.dropout"))}
    numbers["data.augment.0.params.prob"] = (Steps([0.25, 1.0], [1]), None)
    callbacks = (Schedules(numbers), seen, *callbacks)
    trainer = trainer_of(max_epochs=3, callbacks=list(callbacks), **more)
    try:
        trainer.fit(task, loader(Discs(4), 2), ckpt_path=checkpoint)
    except (KeyboardInterrupt, SystemExit):
        return seen
    return seen


def test_numbers_hold_for_an_epoch_and_are_logged(tmp_path: Path) -> None:
    logger = MetricsCsv(tmp_path / "metrics.csv")
    seen = _fit(Linear(0.5, 0.0, epochs=2), logger=logger)
    assert seen.values == [(e, b, 0.5 - 0.25 * e) for e in range(3) for b in range(2)]
    with (tmp_path / "metrics.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["schedule/task.net.params.dropout"]]
    assert [float(row["schedule/task.net.params.dropout"]) for row in rows] == [0.5, 0.25, 0.0]
    assert [float(row["schedule/data.augment.0.params.prob"]) for row in rows] == [0.25, 1.0, 1.0]


def test_a_run_that_is_resumed_in_an_epoch_has_its_number(tmp_path: Path) -> None:
    path = tmp_path / "cut.ckpt"
    _fit(Linear(0.5, 0.0, epochs=2), _Stop(path))
    kept = torch.load(path, weights_only=True)[KEY]
    assert kept == {"task.net.params.dropout": 0.25, "data.augment.0.params.prob": 1.0}
    rest = _fit(Linear(0.5, 0.0, epochs=2), checkpoint=path)
    assert [(epoch, value) for epoch, _, value in rest.values] == [(1, 0.25), (2, 0.0), (2, 0.0)]
