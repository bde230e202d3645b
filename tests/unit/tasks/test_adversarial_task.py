"""Generator and discriminator step as a hand-written loop steps them, and count as one step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F  # noqa: N812
from pytorch_lightning.plugins.precision import MixedPrecision
from torch import Tensor, nn

from imtoolkit.callbacks.ema import Ema
from imtoolkit.config.sections import (
    Component,
    InferenceConfig,
    LossTerm,
    OptimizerConfig,
    SchedulerConfig,
)
from imtoolkit.core.batch import Stage
from imtoolkit.core.errors import ConfigError, DataError
from imtoolkit.core.facts import DataFacts
from imtoolkit.tasks.base import evaluating
from imtoolkit.tasks.optimization import build_optimizers
from imtoolkit.tasks.pix2pix import Pix2PixTask
from tests.helpers.discs import loader, trainer_of
from tests.helpers.tasks import FACTS, Bars, make

# without norms, so that a batch is the mean of its images
GENERATOR = Component("dncnn", {"depth": 3, "width": 4, "norm": None, "residual": False})
JUDGE = Component("patch_discriminator", {"channels": 4, "depth": 1, "norm": None})
NETS = {"generator": GENERATOR, "discriminator": JUDGE}
SGD = {"net": OptimizerConfig("SGD", {"lr": 0.05})}
IMAGES = Bars(8, target="image")


def task_of(updates: dict[str, Any] | None = None, facts: DataFacts = FACTS, **fields: Any) -> Any:
    given: dict[str, Any] = {
        **{"nets": NETS, "optimizers": SGD, "init": "xavier", "reconstruction_weight": 1.0},
        **fields,
    }
    task = make("pix2pix", facts, **given)
    assert isinstance(task, Pix2PixTask)
    task.updates = replace(task.updates, **(updates or {}))
    return task


def fit(task: Any, batch_size: int = 2, images: Any = IMAGES, **options: Any) -> pl.Trainer:
    trainer = trainer_of(**{"max_epochs": 1, **options})
    trainer.fit(task, loader(images, batch_size), loader(Bars(2, target="image")))
    return trainer


def state(task: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in task.state_dict().items()}


def assert_close(ours: nn.Module, theirs: nn.Module, **how: float) -> None:
    torch.testing.assert_close(state(ours), state(theirs), **(how or {"atol": 1e-6, "rtol": 1e-5}))


# --- one step ---------------------------------------------------------------------------------


def test_a_step_is_that_of_a_hand_written_loop() -> None:
    """LSGAN with an L1 term: both gradients at the same weights, then both steps."""
    task = task_of(
        adversarial_weight=0.3, reconstruction_weight=7.0, losses={"l1": LossTerm("l1", weight=2.0)}
    )
    plain = task_of()
    plain.load_state_dict(task.state_dict())
    generator, judge = plain.nets["generator"], plain.nets["discriminator"]
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.05) for net in (generator, judge)]
    for batch in loader(IMAGES, 4):
        image, target = batch["image"], batch["target"]
        made = generator(image)
        real = judge(torch.cat([image, target], 1))[-1]
        fake = judge(torch.cat([image, made.detach()], 1))[-1]
        for_judge = 0.5 * (((real - 1) ** 2).mean() + (fake**2).mean())
        fooled = judge(torch.cat([image, made], 1))[-1]
        for_generator = 0.3 * ((fooled - 1) ** 2).mean() + 7 * 2 * (made - target).abs().mean()
        weights = (list(generator.parameters()), list(judge.parameters()))
        gradients = [
            torch.autograd.grad(loss, group, retain_graph=True)
            for loss, group in zip((for_generator, for_judge), weights, strict=True)
        ]
        for group, found in zip(weights, gradients, strict=True):
            for weight, gradient in zip(group, found, strict=True):
                weight.grad = gradient
        for optimizer in optimizers:
            optimizer.step()
    fit(task, 4)
    assert_close(task, plain)


def test_the_turn_of_one_net_leaves_no_gradient_in_the_other() -> None:
    task = task_of()
    before = state(task)
    fit(task, limit_train_batches=1, callbacks=[], max_epochs=1)
    only = task_of(optimizers={**SGD, "generator": OptimizerConfig("SGD", {"lr": 0.0})})
    fit(only, limit_train_batches=1)
    for name, value in state(only).items():
        if "generator" in name:
            assert torch.equal(value, before[name])
        else:  # the discriminator steps as it does beside a generator that learns
            assert torch.equal(value, state(task)[name])
            assert not torch.equal(value, before[name])


def test_terms_of_both_sides_are_logged_and_images_are_measured() -> None:
    task = task_of(feature_matching_weight=2.0, r1_weight=0.1)
    found = fit(task).callback_metrics
    terms = {f"train/loss/{name}" for name in ("l1", "adversarial", "feature_matching")}
    assert terms | {"train/loss/discriminator", "train/loss/r1", "train/loss"} <= set(found)
    assert {"val/psnr", "val/ssim", "val/mae", "val/pearson", "val/loss"} <= set(found)
    parts = [1.0 * found["train/loss/l1"], 1.0 * found["train/loss/adversarial"]]
    total = sum(parts) + 2.0 * found["train/loss/feature_matching"]
    assert float(found["train/loss"]) == pytest.approx(float(total), rel=1e-5)
    assert task.main_metric == "val/psnr"


def test_the_generator_moves_towards_the_target() -> None:
    adam = {"net": OptimizerConfig("adam", {"lr": 5e-3, "betas": [0.5, 0.999]})}
    task = task_of(optimizers=adam, reconstruction_weight=10.0)
    trainer = trainer_of(max_epochs=6)
    batches, held = loader(IMAGES, 2), loader(Bars(12, target="image"))
    before = trainer_of().validate(task, held, verbose=False)[0]
    trainer.fit(task, batches)
    after = trainer_of().validate(task, held, verbose=False)[0]
    assert after["val/psnr"] > before["val/psnr"] + 3


# --- what counts ------------------------------------------------------------------------------


@pytest.mark.parametrize(("accumulate", "steps"), [(1, 8), (2, 4), (3, 4)])
def test_a_pair_of_steps_counts_once(accumulate: int, steps: int) -> None:
    task = task_of({"accumulate": accumulate})
    average = Ema(decay=0.5, warmup=False)
    seen: list[int] = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            seen.append(trainer.global_step)

    trainer = fit(task, max_epochs=2, callbacks=[average, Watch()])
    assert trainer.global_step == steps
    assert trainer.fit_loop.epoch_loop._batches_that_stepped == steps
    assert average.state_dict() == {"updates": steps}
    per_epoch = steps // 2
    expected = [*(number // accumulate for number in (1, 2, 3)), per_epoch]
    assert seen == [*expected, *(per_epoch + number for number in expected)]
    assert trainer.accumulate_grad_batches == 1  # as it was


def test_max_steps_counts_pairs() -> None:
    trainer = fit(task_of(), max_epochs=-1, max_steps=3)
    assert trainer.global_step == 3


def test_the_average_is_that_of_the_generator_alone() -> None:
    task, average = task_of(), Ema(decay=0.5, warmup=False)
    kept: list[dict[str, Tensor]] = [state(task.nets["generator"])]

    class Keep(pl.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            kept.append(state(task.nets["generator"]))

    fit(task, callbacks=[average, Keep()])
    assert all(name.startswith("nets.generator.") for name in average.average)
    wanted = kept[0]
    for now in kept[1:]:
        wanted = {name: 0.5 * wanted[name] + 0.5 * now[name] for name in now}
    found = {name.removeprefix("nets.generator."): w for name, w in average.average.items()}
    torch.testing.assert_close(found, wanted)


def test_the_generator_steps_once_in_so_many_steps_of_the_discriminator() -> None:
    task = task_of(discriminator_steps=3)
    moved: list[tuple[bool, bool]] = []
    last: dict[str, Tensor] = state(task.nets)

    class Watch(pl.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            now = state(task.nets)
            changed = {name for name in now if not torch.equal(now[name], last[name])}
            last.update(now)
            moved.append(
                (any("gen" in name for name in changed), any("disc" in name for name in changed))
            )

    trainer = fit(task, max_epochs=2, callbacks=[Watch()])
    assert [generator for generator, _ in moved] == [True, False, False] * 2 + [True, False]
    assert all(judge for _, judge in moved)
    assert trainer.global_step == 8
    # of the four batches of the second epoch, one alone taught the generator
    assert float(trainer.callback_metrics["train/loss/l1"]) > 0


def test_the_first_steps_go_without_the_adversarial_loss() -> None:
    waiting = task_of(adversarial_warmup_steps=100, adversarial_weight=50.0)
    fit(waiting)
    none = task_of(adversarial_weight=0.0)
    fit(none)
    assert_close(waiting, none)
    assert not torch.equal(
        state(task_of())["nets.discriminator.layers.0.0.weight"],
        state(waiting)["nets.discriminator.layers.0.0.weight"],
    )


# --- accumulation, clipping, precision -----------------------------------------------------------


def test_gathered_batches_are_one_large_batch_also_where_an_epoch_ends_early() -> None:
    gathered, large = task_of({"accumulate": 3}), task_of()
    fit(gathered, 1, max_epochs=2)  # of 8 batches, 3, 3 and 2

    class Windows(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> dict[str, Any]:
            held = [IMAGES[number] for number in range(3 * index, min(3 * index + 3, 8))]
            return torch.utils.data.default_collate(held)  # type: ignore[no-any-return]

    trainer = trainer_of(max_epochs=2)
    trainer.fit(large, torch.utils.data.DataLoader(Windows(), batch_size=None))
    assert trainer.global_step == 6
    assert_close(gathered, large)


def test_each_optimizer_is_clipped_by_itself() -> None:
    before = state(task_of().nets)
    one = {"net": OptimizerConfig("SGD", {"lr": 1.0})}
    task = task_of({"clip_value": 0.05}, optimizers=one, gradient_clip={"discriminator": 0.01})
    fit(task, limit_train_batches=1)
    steps = {name: state(task.nets)[name] - before[name] for name in before}
    for role, limit in (("generator", 0.05), ("discriminator", 0.01)):
        own = [step.flatten() for name, step in steps.items() if name.startswith(role)]
        assert float(torch.cat(own).norm()) == pytest.approx(limit, rel=1e-3)


def test_values_are_clipped_where_it_is_asked_for() -> None:
    before = state(task_of().nets)
    one = {"net": OptimizerConfig("SGD", {"lr": 1.0})}
    task = task_of({"clip_value": 1e-3, "clip_algorithm": "value"}, optimizers=one)
    fit(task, limit_train_batches=1)
    largest = max(float((state(task.nets)[name] - before[name]).abs().max()) for name in before)
    assert largest == pytest.approx(1e-3, rel=1e-3)


class Scaled(MixedPrecision):
    """Gradients scaled as 16-mixed scales them, of computations in float32."""

    def __init__(self, scale: float) -> None:
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=1000)
        super().__init__("16-mixed", "cpu", scaler)

    @contextlib.contextmanager
    def forward_context(self) -> Iterator[None]:
        yield


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_loss_scale_of_half_precision_changes_no_step(accumulate: int) -> None:
    updates = {"accumulate": accumulate, "clip_value": 0.5}
    scaled, plain = task_of(updates), task_of(updates)
    trainer = fit(scaled, plugins=[Scaled(2.0**10)])
    fit(plain)
    assert trainer.global_step == 4 // accumulate
    assert_close(scaled, plain)


def test_a_scale_that_is_too_large_skips_the_steps_and_is_halved_once() -> None:
    task = task_of(reconstruction_weight=1e3, r1_weight=1e3)
    before = state(task)
    precision = Scaled(2.0**127)
    trainer = fit(task, limit_train_batches=1, plugins=[precision])
    assert precision.scaler is not None
    assert precision.scaler.get_scale() == 2.0**126  # not once for each optimizer
    assert trainer.global_step == 1
    assert all(torch.equal(value, before[name]) for name, value in state(task).items())


def test_half_precision_of_bfloat16_trains() -> None:
    task = task_of()
    before = state(task)
    found = fit(task, precision="bf16-mixed").callback_metrics
    assert all(torch.isfinite(torch.as_tensor(value)) for value in found.values())
    assert any(not torch.equal(value, before[name]) for name, value in state(task).items())


def test_the_order_of_channels_in_memory_changes_no_step() -> None:
    ordered, plain = task_of(), task_of()
    ordered.use_channels_last()
    fit(ordered)
    fit(plain)
    assert_close(ordered, plain)


# --- optimizers and schedules --------------------------------------------------------------------


def rates(trainer: pl.Trainer) -> list[float]:
    return [optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers]


def test_each_role_has_its_optimizer_and_trains_its_own_net() -> None:
    task = task_of(optimizers={"discriminator": OptimizerConfig("adamw", {"lr": 1e-4})})
    found = build_optimizers(task)
    assert not isinstance(found["generator"], torch.optim.AdamW)
    assert isinstance(found["generator"], torch.optim.Adam)
    assert isinstance(found["discriminator"], torch.optim.AdamW)
    for role, optimizer in found.items():
        held = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
        assert held == {id(weight) for weight in task.nets[role].parameters()}
        names = [name for group in optimizer.param_groups for name in group["param_names"]]
        assert all(name.startswith(f"nets.{role}.") for name in names)
    assert list(found["generator"].param_groups[0]["betas"]) == [
        0.5,
        0.999,
    ]  # as the papers have it


def test_one_optimizer_serves_both_roles_and_one_schedule_as_well() -> None:
    task = task_of(schedulers={"net": SchedulerConfig("StepLR", {"step_size": 1, "gamma": 0.1})})
    trainer = fit(task, max_epochs=2)
    assert rates(trainer) == pytest.approx([5e-4, 5e-4])
    assert [entry.name for entry in trainer.lr_scheduler_configs] == [
        "lr/generator",
        "lr/discriminator",
    ]


def test_schedules_of_steps_count_pairs_and_reach_their_end() -> None:
    schedules = {
        "generator": SchedulerConfig("one_cycle"),
        "discriminator": SchedulerConfig("StepLR", {"step_size": 1, "gamma": 0.5}, interval="step"),
    }
    trainer = fit(task_of({"accumulate": 2}, schedulers=schedules), max_epochs=3)
    ends, halved = rates(trainer)
    assert trainer.global_step == 6
    assert ends == pytest.approx(0.05 / 25 / 1e4, rel=1e-3)  # where one_cycle ends
    assert halved == pytest.approx(0.05 * 0.5**6)


def test_a_schedule_that_waits_for_a_plateau_watches_its_metric() -> None:
    plateau = SchedulerConfig(
        "plateau", {"patience": 0, "factor": 0.5, "threshold": 1e6}, monitor="val/mae"
    )
    trainer = fit(task_of(schedulers={"discriminator": plateau}), max_epochs=4)
    constant, halved = rates(trainer)
    assert constant == 0.05
    assert halved == pytest.approx(0.05 * 0.5**4)


@pytest.mark.parametrize("name", ["sam", "sophia", "LBFGS"])
def test_optimizers_that_evaluate_a_batch_several_times_are_refused(name: str) -> None:
    base = {"base": {"name": "sgd", "params": {"lr": 0.1}}} if name == "sam" else {"lr": 0.1}
    task = task_of(optimizers={**SGD, "discriminator": OptimizerConfig(name, base)})
    with pytest.raises(ConfigError, match="two nets step") as caught:
        fit(task)
    assert "task.optimizers.discriminator" in str(caught.value)


@pytest.mark.parametrize("key", ["optimizers", "schedulers"])
def test_a_role_that_is_not_there_is_told(key: str) -> None:
    kind = OptimizerConfig("SGD", {"lr": 0.1}) if key == "optimizers" else SchedulerConfig("poly")
    with pytest.raises(ConfigError, match="there is no optimizer 'critic'"):
        fit(task_of(**{key: {"critic": kind}}))


# --- nets ---------------------------------------------------------------------------------------


def test_patches_that_are_too_small_to_judge_are_refused_with_the_least_size() -> None:
    deep = {**NETS, "discriminator": Component("patch_discriminator", {"depth": 4, "channels": 2})}
    with pytest.raises(ConfigError, match=r"patches of \[32, 32\].*at least \[48, 48\]") as caught:
        task_of(nets=deep)
    assert "data.patch.size" in str(caught.value)


def test_the_least_size_of_volumes_is_told_for_each_axis() -> None:
    facts = replace(FACTS, spatial_dims=3, patch_size=(8, 32, 32))
    judge = Component("patch_discriminator", {"depth": 2, "channels": 2})
    with pytest.raises(ConfigError, match=r"\[8, 32, 32\].*at least \[1\d, 1\d, 1\d\]"):
        task_of(facts=facts, nets={**NETS, "discriminator": judge})


def test_whole_images_that_are_too_small_are_refused_when_they_come() -> None:
    deep = {**NETS, "discriminator": Component("patch_discriminator", {"depth": 4, "channels": 2})}
    task = task_of(facts=replace(FACTS, patch_size=None), nets=deep)
    with pytest.raises(DataError, match=r"an image of \[32, 32\] is too small"):
        fit(task)


def test_features_cannot_be_matched_where_the_discriminator_shows_none() -> None:
    plain = Component("SegResNet", {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]})
    task = task_of(nets={**NETS, "discriminator": plain}, feature_matching_weight=1.0)
    with pytest.raises(ConfigError, match="returns its logits alone"):
        fit(task, limit_train_batches=1)


@pytest.mark.parametrize(
    "judge",
    [
        Component("PatchDiscriminator", {"channels": 4, "num_layers_d": 2}),
        Component("multiscale_discriminator", {"channels": 2, "depth": 1, "scales": 2}),
        Component("patch_discriminator", {"channels": 2, "depth": 2, "spectral": True}),
    ],
)
def test_nets_of_monai_and_ours_judge(judge: Component) -> None:
    task = task_of(nets={"net": GENERATOR, "discriminator": judge}, feature_matching_weight=1.0)
    found = fit(task, 4).callback_metrics
    assert float(found["train/loss/feature_matching"]) > 0


def test_the_generator_where_none_is_named_leaves_neither_seams_nor_checkerboards() -> None:
    inference = InferenceConfig(tile=[64, 64])
    task = make("pix2pix", inference=inference, nets={"discriminator": JUDGE})
    net = task.nets["generator"]
    assert not [m for m in net.modules() if isinstance(m, nn.ConvTranspose2d)]
    image = 0.05 * torch.randn(1, 1, 128, 128, generator=torch.manual_seed(0))
    image[..., :50] += 1.0
    with evaluating(task), torch.inference_mode():
        by_tiles, whole = task.tiled(image, Stage.VAL), task.apply_net(image)
    inside = (by_tiles - whole)[..., 16:-16, 16:-16]
    assert float(inside.abs().mean()) < 0.05 * float(whole.std())


def test_the_first_weights_of_all_nets_are_drawn_as_asked() -> None:
    task = task_of(init="normal", init_gain=0.3)
    for net in task.nets.values():
        drawn = torch.cat([w.detach().flatten() for w in net.parameters() if w.ndim == 4])
        assert float(drawn.std()) == pytest.approx(0.3, rel=0.15)


def test_a_generator_starts_from_an_enhancement_and_the_other_way_round() -> None:
    enhancer = make("enhancement", seed=5, nets={"net": GENERATOR})
    task = task_of()
    report = task.start_from(enhancer.state_dict())
    ours, theirs = state(task.nets["generator"]), state(enhancer.nets["net"])
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert all(name.startswith("nets.generator.") for name in report.loaded)
    assert report.missing
    assert all(name.startswith("nets.discriminator.") for name in report.missing)
    back = make("enhancement", seed=6, nets={"net": GENERATOR})
    other = back.start_from(task_of(init="orthogonal").state_dict())
    assert not other.missing
    assert all(name.startswith("nets.discriminator.") for name in other.unused)


def test_a_cost_map_is_honoured_in_the_reconstruction() -> None:
    class Weighted(Bars):
        def __getitem__(self, index: int) -> dict[str, Any]:
            weight = torch.zeros(1, 32, 32)
            weight[:, :, :16] = 1.0
            return {**super().__getitem__(index), "weight": weight}

    task = task_of(adversarial_weight=0.0)
    batch = next(iter(loader(Weighted(2, target="image"), 2)))
    made = task.apply_net(batch["image"])
    half = F.l1_loss(made[..., :16], batch["target"][..., :16])
    (turn,) = task.turns(batch, frozenset({"generator"}))
    torch.testing.assert_close(turn.terms["l1"], half.detach())


def test_a_run_resumed_at_an_epochs_end_goes_on_exactly(tmp_path: Path) -> None:
    adam = {"net": OptimizerConfig("adam", {"lr": 1e-3})}
    schedules = {
        "generator": SchedulerConfig("one_cycle"),
        "discriminator": SchedulerConfig("StepLR", {"step_size": 1}),
    }

    def run(stop: bool, checkpoint: Path | None = None) -> Any:
        task = task_of({"accumulate": 2}, optimizers=adam, schedulers=schedules)

        class Save(pl.Callback):
            def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
                if stop and trainer.current_epoch == 0:
                    trainer.save_checkpoint(tmp_path / "first.ckpt")

        trainer = trainer_of(max_epochs=3, callbacks=[Save(), Ema(0.9)])
        trainer.fit(task, loader(IMAGES, 2), ckpt_path=checkpoint, weights_only=True)
        return task, trainer.optimizers

    whole, optimizers = run(stop=True)
    torch.rand(5)
    resumed, others = run(stop=False, checkpoint=tmp_path / "first.ckpt")
    assert all(torch.equal(value, state(whole)[name]) for name, value in state(resumed).items())
    assert str([o.state_dict() for o in optimizers]) == str([o.state_dict() for o in others])
