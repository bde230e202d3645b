"""Options of training that every category must bear: half precision, warm-up of the only term."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

import imtoolkit as imt
from imtoolkit.config.sections import CATEGORIES, LossTerm, OptimizerConfig
from tests.helpers.categories import config_of, write_discs
from tests.helpers.discs import Discs, loader, task_of, trainer_of, weights_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("options"), train=4, val=2)


@pytest.mark.parametrize("category", CATEGORIES)
def test_half_precision_trains_every_category(
    category: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    raw = config_of(category, trainer={"precision": "bf16-mixed", "max_epochs": 2})
    run = imt.train(raw, path=folder / category, quiet=True)
    assert run.resolved["machine"]["precision"] == "bf16-mixed"
    losses = run.metrics[["train/loss", "val/loss"]].to_numpy()
    assert losses.shape[0] >= 2
    assert np.isfinite(losses[~np.isnan(losses)]).all()
    assert run.metrics[["train/loss", "val/loss"]].notna().sum().tolist() == [2, 2]
    weights = torch.load(run.checkpoint("last"), weights_only=True)["state_dict"].values()
    assert all(weight.isfinite().all() for weight in weights)


class Watch(pl.Callback):
    """Notes the weights and the loss after each batch."""

    def __init__(self) -> None:
        self.weights: dict[int, list[torch.Tensor]] = {}
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.weights[trainer.global_step] = list(weights_of(pl_module))
        self.losses.append(float(outputs["loss"]))


def test_the_only_term_warms_up_for_optimizer_steps_and_not_for_batches() -> None:
    task = task_of(
        losses={"dice": LossTerm("dice", warmup_steps=2)},
        optimizers={"net": OptimizerConfig("sgd", {"lr": 0.1, "weight_decay": 0.0})},
    )
    start, seen = list(weights_of(task)), Watch()
    trainer = trainer_of(max_epochs=1, accumulate_grad_batches=2, callbacks=[seen])
    trainer.fit(task, loader(Discs(6), 1))
    assert [loss == 0 for loss in seen.losses] == [True] * 4 + [False] * 2
    assert all(map(torch.equal, seen.weights[1], start))
    assert all(map(torch.equal, seen.weights[2], start))
    assert not all(map(torch.equal, seen.weights[3], start))
    logged = float(trainer.callback_metrics["train/loss"])
    # Lightning divides what it backpropagates by the batches of a step
    assert logged == pytest.approx(2 * sum(seen.losses) / 6)
