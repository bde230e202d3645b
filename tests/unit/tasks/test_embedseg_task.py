"""EmbedSeg as a task: what it learns, from which nets, in tiles, mirrored copies and blocks."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from imtoolkit.config.sections import Component, EmbedSegConfig, InferenceConfig, LossTerm
from imtoolkit.core.batch import CENTRE_OFFSETS, Stage, StepOutput
from imtoolkit.core.errors import ConfigError
from imtoolkit.core.facts import DataFacts, TargetKind
from imtoolkit.inference.predict import mirrored
from imtoolkit.labels.maps import centre_offsets
from imtoolkit.tasks import blocks as blocks_module
from imtoolkit.tasks import build_task, target_spec
from imtoolkit.tasks.blocks import blocks_for
from imtoolkit.tasks.embedseg import EmbedSegTask
from imtoolkit.tasks.goals.embedseg import EmbedSegGoal
from tests.helpers.discs import trainer_of

NET = Component(
    "branched_erfnet",
    {"channels": [8, 16, 16], "blocks": [1, 1], "decoder_blocks": 1, "dropout": 0.0},
)
UNET = Component("UNet", {"channels": [8, 16, 32], "strides": [2, 2], "num_res_units": 1})
FACTS = {
    2: DataFacts(spatial_dims=2, in_channels=1, patch_size=(48, 48)),
    3: DataFacts(spatial_dims=3, in_channels=1, patch_size=(16, 24, 24)),
}


def config_of(**fields: Any) -> EmbedSegConfig:
    given = {"nets": {"net": NET}, "object_radius": 6.0, **fields}
    return EmbedSegConfig(category="embedseg", **given)


def task_of(dims: int = 2, inference: InferenceConfig | None = None, **fields: Any) -> EmbedSegTask:
    task = build_task(config_of(**fields), inference or InferenceConfig(), FACTS[dims])
    assert isinstance(task, EmbedSegTask)
    return task


def objects(shape: tuple[int, ...], count: int, seed: int = 0, radius: float = 5.0) -> np.ndarray:
    """Draw discs or balls; later ones do not cover earlier ones."""
    generator = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    labels = np.zeros(shape, np.int32)
    for number in range(1, count + 1):
        centre = generator.uniform(0, shape)
        near = ((places - centre) ** 2).sum(-1) < radius**2
        labels[near & (labels == 0)] = number
    return labels


def batch_of(dims: int = 2, count: int = 2, **more: Any) -> dict[str, Any]:
    shape = FACTS[dims].patch_size
    assert shape is not None
    labels = np.stack([objects(shape, 4, seed) for seed in range(count)])
    noise = np.random.default_rng(0).normal(size=labels.shape)
    offsets = np.stack([centre_offsets(one, "medoid") for one in labels])
    return {
        "image": torch.from_numpy(((labels > 0) + 0.1 * noise)[:, None]).float(),
        "target": torch.from_numpy(labels[:, None]),
        CENTRE_OFFSETS: torch.from_numpy(offsets),
        "id": [f"{index}" for index in range(count)],
        "dataset": ["main"] * count,
        "spacing": torch.full((count, dims), torch.nan),
        **more,
    }


def trained(task: EmbedSegTask, batch: dict[str, Any], steps: int = 120) -> EmbedSegTask:
    optimizer = torch.optim.Adam(task.parameters(), lr=0.01)
    task.train()
    for _ in range(steps):
        optimizer.zero_grad()
        output = task.step(batch, Stage.TRAIN)
        assert output.loss is not None
        output.loss.backward()
        optimizer.step()
    return task.eval()


def row_of(task: EmbedSegTask, output: StepOutput, batch: dict[str, Any]) -> dict[str, Any]:
    return dict(task.measure(output, task.prediction_of(output), batch, Stage.VAL))


@pytest.mark.parametrize(("dims", "net"), [(2, NET), (2, UNET), (3, NET)])
@pytest.mark.slow
def test_it_learns_to_tell_objects_apart(dims: int, net: Component) -> None:
    task, batch = task_of(dims, nets={"net": net}), batch_of(dims, 1)
    trained(task, batch)
    with torch.no_grad():
        output = task.step(batch, Stage.VAL)
    assert output.loss is not None
    row = row_of(task, output, batch)
    assert row["ap/50"] == 1.0
    assert row["ap"] > 0.6
    assert task.main_metric == "val/ap/50"
    assert task.better("val/ap/50") == "max"


def test_its_loss_has_parts_by_name() -> None:
    output = task_of().step(batch_of(), Stage.TRAIN)
    parts = {f"embedding/{part}" for part in ("instances", "smoothness", "seeds")}
    assert set(output.terms) == {"embedding", *parts}
    assert output.loss is not None
    assert output.terms["embedding"].item() == pytest.approx(output.loss.item())
    assert isinstance(output.raw, Tensor)
    assert output.raw.shape == (2, 5, 48, 48)


def test_the_way_to_the_centres_of_the_batch_counts() -> None:
    task, batch = task_of(), batch_of()
    plain = {key: value for key, value in batch.items() if key != CENTRE_OFFSETS}
    moved = {**batch, CENTRE_OFFSETS: batch[CENTRE_OFFSETS] + 20 * (batch["target"] > 0)}
    losses = [task.step(one, Stage.TRAIN).loss for one in (batch, plain, moved)]
    values = [loss.item() for loss in losses if loss is not None]
    assert values[0] == pytest.approx(values[1], rel=0.05)  # medoids beside centroids
    assert values[2] != pytest.approx(values[0], rel=0.05)


def test_what_the_data_are_asked_for() -> None:
    spec = target_spec(config_of(centre="centroid", anisotropy=[4.0, 1.0, 1.0]))
    assert spec.kind is TargetKind.INSTANCES
    (wanted,) = spec.maps
    assert wanted.name == CENTRE_OFFSETS
    assert wanted.params == {"centre": "centroid", "spacing": [4.0, 1.0, 1.0]}


def test_weights_of_the_loss_are_its_parameters() -> None:
    batch = batch_of()
    alone = {"instance_weight": 0.0, "smoothness_weight": 0.0, "seed_weight": 2.0}
    task = task_of(losses={"mine": LossTerm("embedseg", alone)})
    output = task.step(batch, Stage.TRAIN)
    assert output.loss is not None
    assert output.loss.item() == pytest.approx(2 * output.terms["mine/seeds"].item())


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_precision_and_memory_format(precision: str, layout: torch.memory_format) -> None:
    task = task_of()
    if layout is torch.channels_last:
        task.use_channels_last()
    half = precision.startswith("bf16")
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        output = task.step(batch_of(), Stage.TRAIN)
    assert output.loss is not None and isinstance(output.raw, Tensor)
    assert output.loss.dtype == output.raw.dtype == torch.float32
    output.loss.backward()
    grads = [weight.grad for weight in task.parameters()]
    assert all(grad is not None and grad.isfinite().all() for grad in grads)


def test_a_batch_of_background_gives_each_weight_a_gradient() -> None:
    batch = batch_of()
    batch["target"] = torch.zeros_like(batch["target"])
    batch[CENTRE_OFFSETS] = torch.zeros_like(batch[CENTRE_OFFSETS])
    task = task_of()
    output = task.step(batch, Stage.TRAIN)
    assert output.loss is not None
    output.loss.backward()
    assert all(weight.grad is not None for weight in task.parameters())
    one = {key: value[:1] for key, value in batch.items()}
    row = row_of(task, task.step(one, Stage.VAL), one)
    assert set(row) >= {"ap/50", "object_count"}


class Slope(nn.Module):
    """Points uphill: what is mirrored with its image gives the same again."""

    def forward(self, image: Tensor) -> Tensor:
        wide = nn.functional.pad(image, (1, 1, 1, 1), mode="replicate")
        up = wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]
        right = wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]
        return torch.cat((up, right, image, image, image), dim=1)


def test_offsets_turn_with_mirrored_copies() -> None:
    image, net = torch.randn(1, 1, 12, 9), Slope()
    assert torch.allclose(mirrored(net, 2, vectors=2)(image), net(image), atol=1e-6)
    assert not torch.allclose(mirrored(net, 2)(image), net(image), atol=1e-2)
    task = task_of(inference=InferenceConfig(flips=True), grid=1e6, object_radius=1.0).eval()
    task.nets["net"] = net
    image = torch.rand(1, 1, 48, 48)
    once, several = (task.tiled(image, stage) for stage in (Stage.VAL, Stage.TEST))
    assert torch.allclose(once, several, atol=1e-3)


class Painted(nn.Module):
    """Reads offsets, scale and seed out of the channels of the image."""

    def forward(self, image: Tensor) -> Tensor:
        return image


def painted(shape: tuple[int, ...], count: int, **fields: Any) -> tuple[EmbedSegTask, Tensor, Any]:
    """Return a task whose net finds everything, an image for it, and the objects in it."""
    labels = objects(shape, count)
    dims = len(shape)
    facts = replace(FACTS[dims], in_channels=dims + 2, patch_size=None)
    inference = fields.pop("inference", InferenceConfig())
    task = build_task(config_of(n_sigma=1, object_radius=1.0, grid=1e6, **fields), inference, facts)
    assert isinstance(task, EmbedSegTask)
    task.nets["net"] = Painted()
    offsets = centre_offsets(labels)
    size = np.asarray(fields.get("anisotropy", [1.0] * dims)).reshape(-1, *[1] * dims)
    wide = np.full((1, *shape), np.log(3.0))
    distance = (offsets**2).sum(0, keepdims=True)
    seeds = np.where(labels > 0, 4 - 0.1 * distance, -9.0)
    image = np.concatenate((offsets * size, wide, seeds)).astype(np.float32)
    return task, torch.from_numpy(image)[None], labels


def same_objects(first: np.ndarray, second: np.ndarray) -> bool:
    pairs = np.unique(np.stack((first.ravel(), second.ravel())), axis=1)
    return len(np.unique(first)) == len(np.unique(second)) == pairs.shape[1]


@pytest.mark.parametrize(
    ("shape", "anisotropy"), [((70, 60), [1.0, 1.0]), ((20, 30, 40), [2.0, 1.0, 1.0])]
)
def test_what_a_perfect_net_says_gives_the_objects(
    shape: tuple[int, ...], anisotropy: list[float]
) -> None:
    task, image, labels = painted(shape, 6, anisotropy=anisotropy)
    found = task.postprocess(task.predict_image(image))
    assert same_objects(found.numpy(), labels)
    goal = task.goal
    assert isinstance(goal, EmbedSegGoal)
    scales = goal.maps(task.predict_image(image))["scales"]
    assert len(scales) == (1 if len(set(anisotropy)) == 1 else len(shape))


def test_pixels_that_are_longer_along_an_axis_come_from_the_files() -> None:
    facts = replace(FACTS[3], spacing=(2.0, 0.5, 0.5))
    assert EmbedSegGoal(facts).anisotropy == (4.0, 1.0, 1.0)
    assert EmbedSegGoal(facts, anisotropy=[3, 1, 1]).anisotropy == (3, 1, 1)
    assert EmbedSegGoal(FACTS[3]).anisotropy == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("shape", [(150, 110), (40, 64, 50)])
def test_block_by_block_finds_the_objects_of_the_whole(
    shape: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    dims = len(shape)
    inference = InferenceConfig(block=[32] * dims, block_overlap=[20] * dims, tile=[32] * dims)
    task, image, _ = painted(shape, 40, inference=inference)
    with caplog.at_level(logging.WARNING):
        found = task.predict_image(image)
    assert found.dtype == torch.int32
    assert torch.equal(task.postprocess(found), found)
    assert not caplog.records
    at_once = build_task(task.config, InferenceConfig(), task.facts)
    at_once.nets["net"] = Painted()
    whole = at_once.postprocess(at_once.predict_image(image)).numpy()
    assert same_objects(found.numpy(), whole)
    batch = {
        "image": image,
        "target": torch.from_numpy(whole)[None, None],
        "spacing": torch.full((1, dims), torch.nan),
    }
    output = task.step(batch, Stage.TEST)
    assert output.loss is None  # there are no maps to compare
    assert row_of(task, output, batch)["ap"] == 1.0


def test_objects_longer_than_the_overlap_are_told(caplog: pytest.LogCaptureFixture) -> None:
    inference = InferenceConfig(block=[32, 32], block_overlap=[4, 4], tile=[32, 32])
    task, image, _ = painted((88, 88), 25, inference=inference)
    with caplog.at_level(logging.WARNING):
        task.predict_image(image)
    assert "longer than the overlap of blocks, 4 x 4 pixels" in caplog.text


def test_large_images_go_by_blocks_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks_module, "LARGE", 1000)
    monkeypatch.setattr(blocks_module, "UNASKED", {2: 24, 3: 8})
    assert blocks_for((50, 50), InferenceConfig()) == ((24, 24), (6, 6))
    assert blocks_for((10, 12, 12), InferenceConfig()) == ((8, 8, 8), (2, 2, 2))
    assert blocks_for((20, 50), InferenceConfig()) is None


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"n_sigma": 3}, "expected 1, or 2"),
        ({"anisotropy": [1.0]}, "a positive number for each of Y, X"),
        ({"losses": {"x": LossTerm("dice")}}, "knows nothing of embeddings"),
        ({"nets": {"net": Component("UNet", {**UNET.params, "out_channels": 2})}}, "5 output"),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        task_of(**fields)


def test_numbers_that_float32_cannot_hold_are_told_apart() -> None:
    task, batch = task_of(), batch_of()
    small = task.goal.learnt(batch)
    large = task.goal.learnt({**batch, "target": batch["target"] + (batch["target"] > 0) * 2**25})
    assert small is not None and large is not None
    assert torch.equal(small > 0, large > 0)
    assert len(torch.unique(large[:, 0])) == len(torch.unique(small[:, 0]))


def test_only_objects_are_measured() -> None:
    with pytest.raises(ConfigError, match="measures no objects"):
        task_of(metrics=[Component("psnr")]).metrics(Stage.VAL)


def test_a_chain_that_ends_without_objects_is_refused() -> None:
    with pytest.raises(ConfigError, match="objects"):
        task_of(inference=InferenceConfig(postprocess=[]))


@pytest.mark.slow
def test_it_trains_validates_and_averages_in_lightning() -> None:
    task, batch = task_of(optimizers={}), batch_of(count=1)
    loader = DataLoader([batch], batch_size=None)
    trainer = trainer_of(max_epochs=2)
    trainer.fit(task, loader, loader)
    assert {"val/ap/50", "val/pooled_ap/50", "train/loss/embedding/seeds"} <= set(
        trainer.callback_metrics
    )
