"""Optimizers of a task: groups by pattern and depth, several evaluations, state of another run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.optim import Optimizer

from imtoolkit.callbacks.ema import Ema
from imtoolkit.callbacks.nan_guard import NanGuard
from imtoolkit.config.sections import Component, OptimizerConfig, SchedulerConfig, WeightGroup
from imtoolkit.core.batch import Stage
from imtoolkit.core.errors import ConfigError, RunFailedError
from imtoolkit.tasks.optimization import build_optimizers
from tests.helpers.discs import Discs, batch_of, loader, task_of, trainer_of, weights_of

SMALL = Component("UNet", {"channels": [4, 8], "strides": [2], "norm": "batch"})
SAM = OptimizerConfig("sam", {"base": {"name": "adamw", "params": {"lr": 1e-2}}})
SOPHIA = OptimizerConfig("sophia", {"lr": 1e-2, "interval": 2})
LBFGS = OptimizerConfig("lbfgs", {"lr": 0.5, "max_iter": 3})
CLOSURES = {"sam": SAM, "sophia": SOPHIA, "lbfgs": LBFGS}


def _optimizer(config: OptimizerConfig, **more: Any) -> Optimizer:
    return build_optimizers(task_of(nets={"net": SMALL}, optimizers={"net": config}, **more))["net"]


def _rates(optimizer: Optimizer) -> dict[str, float]:
    return {name: group["lr"] for group in optimizer.param_groups for name in group["param_names"]}


def test_a_group_has_its_own_rate_and_names_are_those_of_the_checkpoint() -> None:
    group = WeightGroup(["nets.net.model.0.*"], lr=1e-4, params={"betas": [0.8, 0.9]})
    optimizer = _optimizer(OptimizerConfig("NAdam", {"lr": 1e-3}, [group]))
    rates = _rates(optimizer)
    assert {name for name, rate in rates.items() if rate == 1e-4} == {
        name for name in rates if name.startswith("nets.net.model.0.")
    }
    assert set(rates) == {name for name, _ in task_of(nets={"net": SMALL}).named_parameters()}
    assert optimizer.param_groups[0]["betas"] == [0.8, 0.9]


def test_layer_decay_counts_from_the_end_of_the_net() -> None:
    rates = _rates(_optimizer(OptimizerConfig("AdamW", {"lr": 1.0}, layer_decay=0.5)))
    assert rates["nets.net.model.2.conv.weight"] == 1.0
    assert rates["nets.net.model.1.submodule.conv.weight"] == 0.5
    assert rates["nets.net.model.0.conv.weight"] == 0.25


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            OptimizerConfig("AdamW", {}, [WeightGroup(["nets.net.modell.0.*"], lr=1e-4)]),
            r"groups\.0\.weights: the pattern .* Did you mean 'nets\.net\.model\.0\.\*'",
        ),
        (
            OptimizerConfig("AdamW", {}, [WeightGroup(["*"], params={"momentun": 1})]),
            r"groups\.0: optimizer 'AdamW' has no option 'momentun'",
        ),
        (
            OptimizerConfig("Rprop", {}, [WeightGroup(["*"], weight_decay=0.1)]),
            "optimizer 'Rprop' has no option 'weight_decay'",
        ),
        (
            OptimizerConfig("LBFGS", {}, [WeightGroup(["*.bias"], lr=0.1)]),
            "doesn't support per-parameter options",
        ),
    ],
)
def test_wrong_groups_are_told(config: OptimizerConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _optimizer(config)


def _fit(task: pl.LightningModule, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    checkpoint = options.pop("checkpoint", None)
    trainer = trainer_of(callbacks=list(callbacks), **{"max_epochs": 2, **options})
    trainer.fit(task, loader(Discs(4), 2), ckpt_path=checkpoint)
    return trainer


def _task(config: OptimizerConfig, **more: Any) -> Any:
    return task_of(nets={"net": SMALL}, optimizers={"net": config}, **more)


@pytest.mark.parametrize("name", CLOSURES)
def test_training_lowers_the_loss_and_counts_steps_once(name: str) -> None:
    task = _task(CLOSURES[name])
    before = task.step(batch_of(4), Stage.TRAIN).loss.item()
    trainer = _fit(task, Ema(0.5), max_epochs=4)
    assert task.step(batch_of(4), Stage.TRAIN).loss.item() < before
    assert trainer.global_step == 8


@pytest.mark.parametrize("name", CLOSURES)
def test_a_run_that_is_cut_goes_on_exactly(tmp_path: Path, name: str) -> None:
    schedule = {"schedulers": {"net": SchedulerConfig("cosine")}}
    whole, first, second = (_task(CLOSURES[name], **schedule) for _ in range(3))
    _fit(whole, max_epochs=3)
    _fit(first, _Save(tmp_path / "cut.ckpt"), max_epochs=3)
    _fit(second, max_epochs=3, checkpoint=tmp_path / "cut.ckpt")
    assert all(map(torch.equal, weights_of(whole), weights_of(second)))


class _Save(pl.Callback):
    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 0:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


def test_a_bad_loss_stops_sam_and_leaves_the_weights(tmp_path: Path) -> None:
    task = _task(SAM)
    before = list(weights_of(task))
    plain = task.step

    def spoilt(batch: Any, stage: Stage) -> Any:
        output = plain(batch, stage)
        moved = not torch.equal(next(iter(task.parameters())), before[0])
        if moved:  # only the second evaluation is bad
            output.loss.data.fill_(float("nan"))
        return output

    task.step = spoilt
    with pytest.raises(RunFailedError, match="NaN or infinite"):
        _fit(task, NanGuard(tmp_path))
    assert all(map(torch.equal, weights_of(task), before))


def test_sam_trains_in_bf16_with_clipping_by_norm() -> None:
    task = _task(SAM)
    before = task.step(batch_of(4), Stage.TRAIN).loss.item()
    _fit(task, precision="bf16-mixed", gradient_clip_val=1.0, max_epochs=4)
    assert task.step(batch_of(4), Stage.TRAIN).loss.item() < before


class OwnClosure(torch.optim.SGD):
    needs_closure = True


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sam", {"accumulate_grad_batches": 2}, "trainer.accumulate_grad_batches: got 2; SAM"),
        (
            "sam",
            {"gradient_clip_val": 1.0, "gradient_clip_algorithm": "value"},
            "gradients of SAM cannot be clipped by value",
        ),
        ("sophia", {"gradient_clip_val": 1.0}, "gradients of Sophia cannot be clipped by norm"),
        ("sophia", {"precision": "bf16-mixed"}, "Sophia needs 32-true"),
        ("lbfgs", {"accumulate_grad_batches": 3}, "got 3; LBFGS needs 1"),
    ],
)
def test_a_trainer_that_cannot_work_is_refused(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        _fit(_task(CLOSURES[name]), **options)


def test_own_optimizers_with_closures_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.optim, "OwnClosure", OwnClosure, raising=False)
    task = _task(OptimizerConfig("OwnClosure", {"lr": 0.1}))
    with pytest.raises(ConfigError, match="got 2; OwnClosure needs 1"):
        _fit(task, accumulate_grad_batches=2)


# --- starting from another run --------------------------------------------------------------------


def _trained(path: Path, config: OptimizerConfig) -> tuple[Any, dict[str, Any]]:
    task = _task(config)
    trainer = _fit(task)
    trainer.save_checkpoint(path)
    return trainer.optimizers[0], torch.load(path, weights_only=True)


class _Look(pl.Callback):
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        optimizer = trainer.optimizers[0]
        names = [name for group in optimizer.param_groups for name in group["param_names"]]
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        self.states = {
            name: {
                key: value.clone() if isinstance(value, torch.Tensor) else value
                for key, value in optimizer.state.get(weight, {}).items()
            }
            for name, weight in zip(names, weights, strict=True)
        }


def test_moments_come_along_by_name_with_what_was_loaded(tmp_path: Path) -> None:
    # the order of the groups differs, the names tell
    there = OptimizerConfig("adamw", {"lr": 1e-2}, [WeightGroup(["nets.net.model.2.*"], lr=1e-3)])
    optimizer, checkpoint = _trained(tmp_path / "a.ckpt", there)
    task = _task(OptimizerConfig("AdamW", {"lr": 1e-2}))
    report = task.start_from(
        checkpoint["state_dict"], exclude=["nets.net.model.2.*"], checkpoint=checkpoint
    )
    assert "nets.net.model.0.conv.weight" in report.moments
    assert not any(name.startswith("nets.net.model.2.") for name in report.moments)
    assert f"with the optimizer's state of {len(report.moments)} weights" in str(report)
    look = _Look()
    _fit(task, look)
    names = [name for group in optimizer.param_groups for name in group["param_names"]]
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for name, weight in zip(names, weights, strict=True):
        assert bool(look.states[name]) == (name in report.moments)
        for key, value in look.states[name].items():
            assert torch.equal(value, optimizer.state[weight][key])


def test_moments_come_along_under_another_name_and_through_sam(tmp_path: Path) -> None:
    _, checkpoint = _trained(tmp_path / "a.ckpt", SAM)
    state = {name.replace("nets.net.", "old."): v for name, v in checkpoint["state_dict"].items()}
    for group in checkpoint["optimizer_states"][0]["param_groups"]:
        group["param_names"] = [n.replace("nets.net.", "old.") for n in group["param_names"]]
    task = _task(OptimizerConfig("AdamW", {"lr": 1e-2}))
    report = task.start_from(state, rename={"old.": "nets.net."}, checkpoint=checkpoint)
    assert len(report.moments) == len(list(task.parameters()))
    assert report.notes == ()


@pytest.mark.parametrize(
    ("here", "spoil", "note"),
    [
        ("SGD", False, "the optimizer of 'net' begins anew: it is SGD here and AdamW there"),
        ("AdamW", True, "begins anew: what was loaded holds no optimizer state by name"),
    ],
)
def test_a_state_that_cannot_be_used_is_told(
    tmp_path: Path, here: str, spoil: bool, note: str
) -> None:
    _, checkpoint = _trained(tmp_path / "a.ckpt", OptimizerConfig("adamw", {"lr": 1e-2}))
    if spoil:
        del checkpoint["optimizer_states"]
    task = _task(OptimizerConfig(here, {"lr": 1e-2}))
    report = task.start_from(checkpoint["state_dict"], checkpoint=checkpoint)
    assert report.moments == ()
    assert any(note in item for item in report.notes)
    assert note in str(report)


def test_frozen_weights_need_no_state_and_the_report_says_so(tmp_path: Path) -> None:
    _, checkpoint = _trained(tmp_path / "a.ckpt", OptimizerConfig("adamw", {"lr": 1e-2}))
    task = _task(OptimizerConfig("adamw", {"lr": 1e-2}), freeze=["nets.net.model.0.*"])
    report = task.start_from(
        checkpoint["state_dict"], include=["nets.net.model.0.*"], checkpoint=checkpoint
    )
    assert report.moments == ()
    (note,) = report.notes
    assert "it trains none of the loaded weights, as where they are frozen" in note
