"""What every task inherits: seeds, exact means, rows over ranks, schedules, weights, precision."""

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn

from imtoolkit.config.sections import Component, LossTerm, SchedulerConfig
from imtoolkit.core.batch import Stage
from imtoolkit.core.errors import ConfigError, RunError
from imtoolkit.core.facts import DataFacts
from imtoolkit.tasks import rows as rows_module
from imtoolkit.tasks.means import EpochMeans
from imtoolkit.tasks.optimization import horizon_of, step_plateaus
from tests.helpers.discs import Discs, batch_of, loader, task_of, trainer_of, weights_of

DROPOUT = Component("UNet", {"channels": [4, 8], "strides": [2], "dropout": 0.5})


def _as_rank(
    monkeypatch: pytest.MonkeyPatch, others: list[list[dict[str, Any]]], rank: int = 0
) -> None:
    """Pretend that other ranks hold these items."""

    def gather(parts: list[Any], mine: list[dict[str, Any]]) -> None:
        held = [*others]
        held.insert(rank, mine)
        parts[:] = held

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: len(others) + 1)
    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)


def _row(name: str, dice: float) -> dict[str, Any]:
    return {"id": name, "dataset": "main", "dice": dice}


@pytest.mark.parametrize("rank", [0, 2])
def test_rows_of_all_ranks_count_once_in_one_order(
    monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    mine, theirs, empty = [_row("c", 0.1), _row("a", 0.2)], [_row("b", 0.6), _row("a", 0.2)], []
    _as_rank(monkeypatch, [theirs, empty], rank)
    rows = rows_module.unique_sorted(rows_module.gathered(mine))
    assert [row["id"] for row in rows] == ["a", "b", "c"]
    assert rows_module.summarised(rows) == {"dice": pytest.approx(0.3)}


def test_a_rank_without_samples_knows_all_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    _as_rank(monkeypatch, [[_row("a", 0.5)]])
    assert rows_module.summarised(rows_module.gathered([])) == {"dice": 0.5}


def test_equal_ids_of_two_data_sets_are_two_images() -> None:
    rows = [{**_row("a", 1.0), "dataset": name} for name in ("x", "y", "x")]
    assert len(rows_module.unique_sorted(rows)) == 2


def test_means_are_weighted_by_samples_over_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    other, mine = EpochMeans(), EpochMeans()
    other.add({"loss": torch.tensor(4.0)}, 1, (0, 0))
    theirs = other.state()
    mine.add({"loss": torch.tensor(1.0)}, 3, (0, 0))
    _as_rank(monkeypatch, [[theirs], [EpochMeans().state()]])
    assert mine.reduced() == {"loss": 1.75}
    assert EpochMeans().reduced() == {"loss": 4.0}


def test_a_value_of_fewer_samples_counts_by_these() -> None:
    whole, first, second = EpochMeans(), EpochMeans(), EpochMeans()
    batches = [(2.0, 1), (5.0, 3), (0.0, 0), (8.0, 4)]  # the mean of a term, and its images
    for number, (value, labelled) in enumerate(batches):
        values = {"loss": torch.tensor(1.0), "loss/kind": torch.tensor(value)}
        for means in (whole, first if number < 2 else second):
            if number == 2 and means is second:
                second.restore(first.state(), rank=0)
            means.add(values, 4, (0, number), {"loss/kind": labelled})
    assert whole.reduced() == {"loss": 1.0, "loss/kind": (2 + 15 + 32) / 8}
    assert second.reduced() == whole.reduced()


def test_a_value_of_no_sample_has_no_mean() -> None:
    means = EpochMeans()
    values = {"loss": torch.tensor(1.0), "loss/kind": torch.tensor(0.0)}
    means.add(values, 4, (0, 0), {"loss/kind": 0})
    assert means.reduced() == {"loss": 1.0}


def test_restored_means_go_on_exactly_and_count_on_one_rank_only() -> None:
    values = torch.rand(10, generator=torch.Generator().manual_seed(0))
    whole, first, second = EpochMeans(), EpochMeans(), EpochMeans()
    for batch, value in enumerate(values):
        whole.add({"loss": value, "loss/dice": value / 3}, 2, (4, batch))
    for batch, value in enumerate(values[:6]):
        first.add({"loss": value, "loss/dice": value / 3}, 2, (4, batch))
    second.restore(first.state(), rank=0)
    for batch, value in enumerate(values[6:], start=6):
        second.add({"loss": value, "loss/dice": value / 3}, 2, (4, batch))
    assert second.reduced() == whole.reduced()
    elsewhere = EpochMeans()
    elsewhere.restore(first.state(), rank=1)
    assert elsewhere.state()["count"] == 0


def test_a_batch_that_is_evaluated_twice_counts_once_and_an_epoch_begins_anew() -> None:
    means = EpochMeans()
    for place, value in (((0, 0), 9.0), ((1, 0), 1.0), ((1, 0), 5.0), ((1, 1), 3.0)):
        means.add({"loss": torch.tensor(value)}, 1, place)
    assert means.reduced() == {"loss": 2.0}


def test_the_mean_of_an_epoch_is_that_over_its_samples() -> None:
    task = task_of(optimizers={"net": Component("SGD", {"lr": 0.0})})
    trainer = trainer_of(max_epochs=1)
    trainer.fit(task, loader(Discs(7), 3))  # batches of 3, 3 and 1
    task.train()
    batches = list(loader(Discs(7), 3))
    losses = [task.step(batch, Stage.TRAIN).loss.item() * len(batch["id"]) for batch in batches]
    assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(sum(losses) / 7)


def test_dropout_depends_on_the_place_in_training_only() -> None:
    task = task_of(nets={"net": DROPOUT})
    task.train()
    batch = batch_of()
    first = task.training_step(batch, 3)
    torch.rand(100)
    assert torch.equal(task.training_step(batch, 3), first)
    assert not torch.equal(task.training_step(batch, 4), first)


def test_weights_depend_on_the_seed_only_and_leave_the_generator_alone() -> None:
    torch.manual_seed(5)
    first = task_of(seed=1)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), drawn)
    assert all(map(torch.equal, weights_of(first), weights_of(task_of(seed=1))))
    assert not all(map(torch.equal, weights_of(first), weights_of(task_of(seed=2))))


class _Losses(pl.Callback):
    def __init__(self) -> None:
        self.seen: list[tuple[float, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self.seen.append((rate, float(trainer.callback_metrics["val/loss"])))


PLATEAU = SchedulerConfig(
    "ReduceLROnPlateau", {"patience": 0, "factor": 0.1, "threshold": 10.0}, monitor="val/loss"
)


@pytest.mark.parametrize("schedule", [PLATEAU, SchedulerConfig("one_cycle")])
def test_a_run_resumed_at_an_epochs_end_goes_on_exactly(
    tmp_path: Path, schedule: SchedulerConfig
) -> None:
    def fit(epochs: int, checkpoint: Path | None = None) -> tuple[nn.Module, Any]:
        task = task_of(nets={"net": DROPOUT}, schedulers={"net": schedule})
        losses = _Losses()
        saver = ModelCheckpoint(
            tmp_path,
            "{epoch}",
            save_top_k=-1,
            save_on_train_epoch_end=True,
            save_weights_only=False,
        )
        trainer = trainer_of(max_epochs=4, enable_checkpointing=True, callbacks=[losses, saver])
        trainer.fit_loop.max_epochs = 4
        trainer.fit(
            task, loader(Discs(6), 2), loader(Discs(2)), ckpt_path=checkpoint, weights_only=True
        )
        return task, losses.seen

    whole, seen = fit(4)
    resumed, after = fit(4, tmp_path / "epoch=1.ckpt")
    assert after == seen[2:]
    assert all(map(torch.equal, weights_of(whole), weights_of(resumed)))
    if schedule is PLATEAU:
        assert seen[0][0] == 1e-3
        assert seen[-1][0] < 1e-5


def test_a_validation_before_the_cut_still_steps_the_plateau_after_it() -> None:
    schedules = {"net": SchedulerConfig("ReduceLROnPlateau", monitor="val/dice")}
    checkpoints: list[dict[str, Any]] = []

    class CutAfterValidation(pl.Callback):
        def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            checkpoint: dict[str, Any] = {}
            pl_module.on_save_checkpoint(checkpoint)
            checkpoints.append(checkpoint)

    task = task_of(schedulers=schedules)
    trainer = trainer_of(max_epochs=1, val_check_interval=1, callbacks=[CutAfterValidation()])
    trainer.fit(task, loader(Discs(4), 2), loader(Discs(2)))
    resumed = task_of(schedulers=schedules)
    resumed.on_load_checkpoint(checkpoints[0])
    resumed._trainer = trainer
    plateau = trainer.lr_scheduler_configs[0].scheduler
    before = plateau.last_epoch
    means = {"train/loss": 1.0}
    step_plateaus(resumed, means, resumed._validated)
    assert plateau.last_epoch == before + 1
    step_plateaus(resumed, means, {})
    assert plateau.last_epoch == before + 1


def test_a_plateau_watches_what_exists() -> None:
    schedule = SchedulerConfig("ReduceLROnPlateau", monitor="val/dise")
    task = task_of(schedulers={"net": schedule})
    with pytest.raises(ConfigError, match="'val/dise' is no metric"):
        trainer_of(max_epochs=1).fit(task, loader(Discs(2), 2), loader(Discs(1)))


@pytest.mark.parametrize("prefix", ["", "torch.optim.lr_scheduler."])
def test_a_plateau_follows_the_main_metric_upwards_and_waits_for_validation(prefix: str) -> None:
    task = task_of(schedulers={"net": SchedulerConfig(f"{prefix}ReduceLROnPlateau")})
    trainer = trainer_of(max_epochs=2, check_val_every_n_epoch=2)
    trainer.fit(task, loader(Discs(2), 2), loader(Discs(1)))
    plateau = trainer.lr_scheduler_configs[0].scheduler
    assert plateau.mode == "max"
    assert plateau.last_epoch == 1  # stepped once, at the end of the second epoch


def test_a_metric_of_the_test_alone_cannot_be_watched_in_validation() -> None:
    task = task_of()
    assert task.better("val/dice") == "max"
    with pytest.raises(ConfigError, match=r"^here: 'val/hd95' is no metric"):
        task.better("val/hd95", "here")
    assert task.better("test/hd95") == "min"


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_an_image_is_predicted_with_weights_of_any_type(dtype: torch.dtype) -> None:
    task = task_of()
    image = torch.rand(1, 16, 16)
    expected = task.predict_image(image)
    found = task.to(dtype).predict_image(image)
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected, atol=0.1)


def test_a_checkpoint_holds_plain_values(tmp_path: Path) -> None:
    task = task_of()
    trainer = trainer_of(max_epochs=1)
    trainer.fit(task, loader(Discs(2), 2), loader(Discs(1)))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)["imtoolkit"]
    assert kept["category"] == "segmentation"
    assert kept["means"] == {"sums": {}, "count": 0, "place": None}
    assert kept["validated"] == {}


def test_max_time_ends_the_horizon() -> None:
    task = task_of()
    trainer = trainer_of(max_epochs=-1, max_time="00:00:01:30")
    trainer.strategy.connect(task)
    trainer.fit_loop._data_source.instance = loader(Discs(4), 2)
    horizon = horizon_of(trainer)
    assert horizon.seconds == 90.0
    assert horizon.steps == float("inf")
    assert horizon.elapsed is not None
    assert horizon.elapsed() == 0


def test_a_schedule_by_the_clock_trains() -> None:
    task = task_of(schedulers={"net": SchedulerConfig("one_cycle")})
    trainer = trainer_of(max_epochs=-1, max_time="00:00:00:01")
    trainer.fit(task, loader(Discs(2), 2))
    rate = trainer.optimizers[0].param_groups[0]["lr"]
    assert rate < 1e-4  # near the end of the cycle, 1e-3 at its peak


def test_frozen_weights_stay_and_their_norms_too() -> None:
    net = Component("UNet", {"channels": [4, 8], "strides": [2], "norm": "batch"})
    task = task_of(nets={"net": net}, freeze=["nets.net.model.0.*"])
    before = copy.deepcopy(task.state_dict())
    trainer_of(max_epochs=1).fit(task, loader(Discs(4), 2))
    changed = {name for name, value in task.state_dict().items() if not value.equal(before[name])}
    assert changed
    assert not any(name.startswith("nets.net.model.0.") for name in changed)


def test_another_runs_weights_are_taken_where_they_fit() -> None:
    source = task_of(classes=["background", "a", "b"], seed=3)
    task = task_of()
    report = task.start_from(source.state_dict())
    assert task.load_report is report
    assert report.loaded
    assert [entry[1:] for entry in report.mismatched][-1] == ((2,), (3,))
    assert torch.equal(next(weights_of(task)), next(weights_of(source)))
    with pytest.raises(RunError, match="none of the weights fit"):
        task.start_from(source.state_dict(), exclude=["*"])


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("dims", [2, 3])
def test_precision_and_memory_format_change_little(precision: str, dims: int) -> None:
    facts = DataFacts(spatial_dims=dims, in_channels=1, patch_size=(16,) * dims)
    discs = Discs(2, (16,) * dims)
    plain, other = task_of(facts), task_of(facts)
    other.use_channels_last()
    assert other.in_memory_format(torch.rand(2, 3, *(4,) * dims)).stride(1) == 1
    results = []
    for task, chosen in ((plain, "32-true"), (other, precision)):
        trainer = trainer_of(max_epochs=1, precision=chosen)
        trainer.fit(task, loader(discs, 2), loader(discs))
        results.append(float(trainer.callback_metrics["train/loss"]))
        assert all(weight.dtype == torch.float32 for weight in task.parameters())
    assert results[0] == pytest.approx(results[1], rel=2e-2)


def test_compiled_nets_keep_the_names_of_their_weights() -> None:
    plain, compiled = task_of(), task_of(compile=True)
    compiled.setup("fit")
    assert compiled.nets["net"]._compiled_call_impl is not None
    assert list(plain.state_dict()) == list(compiled.state_dict())


@pytest.mark.parametrize("options", [{"accumulate_grad_batches": 2}])
def test_lbfgs_refuses_what_it_cannot_do(options: dict[str, Any]) -> None:
    task = task_of(optimizers={"net": Component("LBFGS", {"lr": 0.1})})
    with pytest.raises(
        ConfigError, match=r"trainer\.accumulate_grad_batches: got 2; LBFGS needs 1"
    ):
        trainer_of(max_epochs=1, **options).fit(task, loader(Discs(4), 2))


def test_an_optimizer_that_evaluates_a_batch_several_times_trains() -> None:
    task = task_of(optimizers={"net": Component("LBFGS", {"lr": 0.1, "max_iter": 3})})
    trainer = trainer_of(max_epochs=2)
    trainer.fit(task, loader(Discs(2), 2))
    first = task_of().step(batch_of(), Stage.TRAIN).loss.item()
    assert float(trainer.callback_metrics["train/loss"]) < first


def test_warm_up_counts_optimizer_steps_and_not_batches() -> None:
    losses = {"dice": LossTerm("dice"), "late": LossTerm("cross_entropy", warmup_steps=2)}
    task = task_of(losses=losses, optimizers={"net": Component("SGD", {"lr": 0.0})})
    seen: list[float] = []

    class Spy(pl.Callback):
        def on_train_batch_end(self, *args: Any) -> None:
            seen.append(float(args[2]["loss"]))

    trainer = trainer_of(max_epochs=6, accumulate_grad_batches=2, callbacks=[Spy()])
    trainer.fit(task, loader(Discs(2), 1))
    dice = [seen[0], seen[1]]
    assert seen[:4] == dice * 2  # two steps of two batches each
    assert all(late > early for late, early in zip(seen[4:6], dice, strict=True))


def _roles(optimizers: dict[str, Component], **more: Any) -> Callable[[], object]:
    task = task_of(optimizers=optimizers, **more)
    return lambda: trainer_of(max_epochs=1).fit(task, loader(Discs(2), 2))


def test_optimizers_and_schedules_must_belong_to_a_net() -> None:
    adam = Component("adamw")
    with pytest.raises(ConfigError, match=r"task\.optimizers\.other: there is no net 'other'"):
        _roles({"net": adam, "other": adam})()
    two = {"a": SchedulerConfig("constant"), "net": SchedulerConfig("constant")}
    with pytest.raises(ConfigError, match="there is no optimizer 'a'"):
        _roles({"net": adam}, schedulers=two)()


def test_the_table_of_tasks_is_light() -> None:
    import subprocess

    code = "import sys, imtoolkit.tasks; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
