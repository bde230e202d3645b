"""Enhancement: images of images, residual, complex, clamped, of any number of channels."""

from typing import Any

import pytest
import torch

from imtoolkit.config.sections import Component, EnhancementConfig, InferenceConfig, LossTerm
from imtoolkit.core.batch import Stage
from imtoolkit.core.errors import ConfigError, DataError
from imtoolkit.core.facts import DataFacts, TargetKind
from imtoolkit.tasks import target_spec
from imtoolkit.tasks.goals.image import magnitude
from tests.helpers.discs import loader, trainer_of
from tests.helpers.tasks import DENOISER, Bars, alone, make

L1 = {"l1": LossTerm("L1Loss")}
MSE = {"mse": LossTerm("MSELoss")}


def batch_of(channels: int = 1, targets: int = 1, dims: int = 2) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    size = (16,) * dims
    return {
        "image": torch.rand(2, channels, *size, generator=generator),
        "target": torch.rand(2, targets, *size, generator=generator),
    }


def facts_of(channels: int = 1, targets: int = 1, dims: int = 2) -> DataFacts:
    return DataFacts(dims, channels, targets, patch_size=(16,) * dims)


@pytest.mark.parametrize(("channels", "targets", "dims"), [(1, 1, 2), (3, 2, 2), (1, 3, 3)])
def test_an_image_of_any_number_of_channels_is_learnt(
    channels: int, targets: int, dims: int
) -> None:
    task = make("enhancement", facts_of(channels, targets, dims), losses=L1)
    batch = batch_of(channels, targets, dims)
    output = task.step(batch, Stage.TRAIN)
    assert output.raw.shape == batch["target"].shape
    torch.testing.assert_close(output.loss, (output.raw - batch["target"]).abs().mean())
    whole = task.predict_image(torch.rand(channels, *(21,) * dims))
    assert whole.shape == (targets, *(21,) * dims)


def test_a_few_steps_denoise_bars_of_any_size() -> None:
    task = make("enhancement", optimizers={"net": Component("adamw", {"lr": 1e-2})}, losses=MSE)
    train, val = Bars(64, target="image"), Bars(4, [(48, 40)], target="image")
    noisy = torch.stack([sample["image"] - sample["target"] for sample in (val[0], val[1])])
    before = -10 * torch.log10((noisy**2).mean())
    trainer = trainer_of(max_epochs=10)
    trainer.fit(task, loader(train, 8), loader(val))
    assert trainer.callback_metrics["val/psnr"] > before + 3
    assert {"val/ssim", "val/mae", "val/pearson", "val/loss"} <= set(trainer.callback_metrics)
    assert task.main_metric == "val/psnr"


def test_a_residual_net_starts_at_the_image_itself() -> None:
    task = make("enhancement", residual=True, losses=L1)
    with torch.no_grad():
        for weight in task.parameters():
            weight.zero_()
    batch = batch_of()
    output = task.step(batch, Stage.TRAIN)
    torch.testing.assert_close(output.raw, batch["image"])
    torch.testing.assert_close(output.loss, (batch["image"] - batch["target"]).abs().mean())
    large = torch.rand(1, 50, 41)
    tiled = make("enhancement", inference=InferenceConfig(tile=[16, 16]), residual=True)
    for weight in tiled.parameters():
        weight.data.zero_()
    torch.testing.assert_close(tiled.predict_image(large), large)


def test_results_are_clamped_to_the_range_and_the_loss_is_not() -> None:
    task = make("enhancement", data_range=[0.0, 1.0], losses=L1)
    raw = torch.tensor([[[-0.5, 0.25], [1.0, 7.0]]])
    assert task.postprocess(raw).tolist() == [[[0.0, 0.25], [1.0, 1.0]]]
    with torch.no_grad():
        for name, weight in task.named_parameters():
            weight.fill_(5.0 if name.endswith("bias") else 0.0)
    output = task.step(batch_of(), Stage.TRAIN)
    assert float(output.raw.min()) > 1
    torch.testing.assert_close(output.loss, (output.raw - batch_of()["target"]).abs().mean())


def test_psnr_counts_from_the_range_that_the_config_gives() -> None:
    wide, narrow = (
        make("enhancement", data_range=[0.0, top], losses=L1, residual=True) for top in (10.0, 1.0)
    )
    sample = {**batch_of(), "id": ["a", "b"], "dataset": ["x", "x"]}
    values = []
    for task in (wide, narrow):
        with torch.no_grad():
            for weight in task.parameters():
                weight.zero_()
        trainer_of().validate(task, alone(sample), verbose=False)
        values.append(task.rows[Stage.VAL][0]["psnr"])
    error = float(((sample["image"][0] - sample["target"][0]) ** 2).mean())
    assert values[1] == pytest.approx(-10 * torch.tensor(error).log10().item(), rel=1e-4)
    assert values[0] == pytest.approx(values[1] + 20, rel=1e-4)


def test_complex_images_are_measured_by_their_magnitude() -> None:
    task = make("enhancement", facts_of(2, 2), complex_channels=True, residual=True, losses=L1)
    with torch.no_grad():
        for weight in task.parameters():
            weight.zero_()
    batch = {**batch_of(2, 2), "id": ["a", "b"], "dataset": ["x", "x"]}
    batch["target"] = -batch["image"]  # another phase, the same magnitude
    trainer_of().validate(task, alone(batch), verbose=False)
    row = task.rows[Stage.VAL][0]
    assert row["mae"] == pytest.approx(0, abs=1e-6)
    assert row["loss"] > 0.5
    assert magnitude(torch.tensor([[3.0, 4.0, 5.0, 12.0]])).tolist() == [[5.0, 13.0]]


def test_cost_maps_count_pixels() -> None:
    task = make("enhancement", losses=L1)
    batch = batch_of()
    batch["weight"] = torch.zeros(2, 1, 16, 16)
    batch["weight"][:, :, :4] = 2.0
    output = task.step(batch, Stage.TRAIN)
    expected = (output.raw - batch["target"])[:, :, :4].abs().mean()
    torch.testing.assert_close(output.loss, expected)


def test_of_several_resolutions_the_main_one_is_learnt() -> None:
    net = Component("SegResNetDS", {"init_filters": 4, "blocks_down": [1, 1, 1], "dsdepth": 2})
    task = make("enhancement", nets={"net": net}, losses=L1)
    batch = batch_of()
    task.train()
    output = task.step(batch, Stage.TRAIN)
    main = task.nets["net"](batch["image"])[0]
    torch.testing.assert_close(output.loss, (main - batch["target"]).abs().mean())


def test_a_noisy_target_is_noise2noise() -> None:
    """The mean of noisy targets is what a net of one weight ends at (Lehtinen et al., 2018)."""
    task = make("enhancement", losses=MSE)
    raw = torch.zeros(4, 1, 8, 8, requires_grad=True)
    targets = torch.tensor([1.0, 3.0, 1.0, 3.0]).reshape(4, 1, 1, 1).expand(4, 1, 8, 8)
    loss = task.judged([raw.mean(0, keepdim=True).expand(4, -1, -1, -1)], {
        "image": raw, "target": targets}, Stage.TRAIN).loss  # fmt: skip
    (slope,) = torch.autograd.grad(loss, raw)
    torch.testing.assert_close(slope.sum(), torch.tensor(-2.0 * targets.mean().item()))


@pytest.mark.parametrize(
    ("facts", "fields", "message"),
    [
        (facts_of(3, 1), {"residual": True}, r"task\.residual: the images have 3 .* targets 1;"),
        (facts_of(2, 3), {"complex_channels": True}, r"targets? .*3 channel.*an even number"),
        (facts_of(3, 2), {"complex_channels": True}, r"images have 3 channel.*an even number"),
        (facts_of(), {"data_range": [1.0, 0.0]}, r"got \[1\.0, 0\.0\]; expected two numbers"),
        (facts_of(), {"data_range": [1.0]}, "expected two numbers"),
        (
            facts_of(),
            {"nets": {"net": Component("DenseNet", {"init_features": 4, "block_config": [1]})}},
            r"'DenseNet' returns \[2, 1\] .* images \[2, 1, 16, 16\]; .*needs \[2, 1, 16, 16\]",
        ),
    ],
)
def test_what_does_not_fit_is_told_with_both_numbers(
    facts: DataFacts, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make("enhancement", facts, **fields)


def test_a_target_of_other_channels_cannot_be_measured() -> None:
    task = make("enhancement", losses=L1)
    output = task.step({"image": torch.rand(1, 1, 16, 16)}, Stage.VAL)
    batch = {"target": torch.rand(1, 2, 16, 16)}
    with pytest.raises(DataError, match=r"has 2 channel\(s\), and the result 1"):
        task.measure(output, task.prediction_of(output), batch, Stage.VAL)


def test_the_target_is_described_without_a_task() -> None:
    config = EnhancementConfig("enhancement", nets={"net": DENOISER})
    assert target_spec(config).kind is TargetKind.IMAGE
    assert not target_spec(config).optional
