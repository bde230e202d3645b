"""Random transforms on batches: the same as on single samples, of the sample's number alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from scipy import stats

from imtoolkit.config.sections import AugmentOn, Component, DataConfig, SourceConfig
from imtoolkit.core.errors import ConfigError, DataError
from imtoolkit.core.facts import TargetKind, TargetSpec
from imtoolkit.core.schedules import Linear
from imtoolkit.core.seeding import mix
from imtoolkit.data.batched.module import BatchedAugment
from imtoolkit.data.batched.place import on_device
from imtoolkit.data.datamodule import ImageDataModule
from imtoolkit.data.transforms.build import build_augment, share_random_state
from tests.helpers.images import NUCLEI, section, write_images

MOVING = [
    Component("flips"),
    Component("rotations_90"),
    Component("random_affine", {"degrees": 30, "scale": 0.2, "shift": 0.1, "prob": 0.7}),
]
TILTED = Component("random_affine", {"tilt": 20, "padding": "zeros", "prob": 0.8})
BENT = Component("random_elastic", {"amplitude": 3, "spacing": 10, "prob": 0.6})
VALUES = [
    Component("gaussian_noise", {"prob": 0.5}),
    Component("white_noise", {"std": [0.05, 0.2]}),
    Component("correlated_noise", {"sigma": [0, 2], "prob": 0.5}),
    Component("poisson_noise", {"prob": 0.5}),
    Component("salt_and_pepper", {"fraction": [0, 0.1]}),
    Component("random_blur", {"prob": 0.6}),
    Component("reduce_resolution", {"prob": 0.5}),
    Component("brightness_contrast"),
    Component("gamma", {"prob": 0.6}),
    Component("normalize_zscore"),
]
SHAPES = [(2, 24, 24), (1, 6, 20, 24)]


def made(shape: tuple[int, ...], count: int = 6, seed: int = 0) -> dict[str, Any]:
    draw = torch.Generator().manual_seed(seed)
    plane = (count, 1, *shape[1:])
    return {
        "image": torch.rand((count, *shape), generator=draw),
        "target": torch.randint(0, 5, plane, generator=draw).to(torch.uint8),
        "weight": torch.randint(0, 2, plane, generator=draw).float(),
        "id": [f"a{number}" for number in range(count)],
        "draw": torch.arange(count) + 1000 * seed,
    }


def one_by_one(components: list[Component], batch: dict[str, Any]) -> dict[str, Any]:
    """Change each sample by the transforms for single samples, from the seed of its number."""
    steps, state = build_augment(components), np.random.RandomState(0)
    share_random_state(steps, state)
    rows = []
    for place, number in enumerate(batch["draw"].tolist()):
        row = {key: batch[key][place].clone() for key in ("image", "target", "weight")}
        state.seed(mix(number, 0))
        for step in steps:
            row = step(row)
        rows.append(row)
    return {key: torch.stack([row[key] for row in rows]) for key in rows[0]}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "components",
    [
        [Component("flips"), Component("rotations_90")],
        MOVING,
        [TILTED],
        [Component("flips"), BENT],
        VALUES,
        [MOVING[0], VALUES[0], MOVING[2], VALUES[5]],  # kept in their order
    ],
    ids=["turns", "moving", "tilted", "bent", "values", "mixed"],
)
def test_a_batch_is_changed_as_its_samples_would_be_one_by_one(
    shape: tuple[int, ...], components: list[Component]
) -> None:
    for seed in range(4):
        batch = made(shape, seed=seed)
        out, wanted = BatchedAugment(components)(batch), one_by_one(components, batch)
        torch.testing.assert_close(out["image"], wanted["image"], atol=2e-4, rtol=1e-4)
        for key in ("target", "weight"):
            assert out[key].dtype == batch[key].dtype
            assert float((out[key] != wanted[key]).float().mean()) < 2e-3
        assert out["id"] == batch["id"]


def test_flips_and_turns_are_exact_and_each_pixel_stays_one() -> None:
    batch = made((1, 16, 16), 32)
    out = BatchedAugment(MOVING[:2])(batch)
    assert torch.equal(
        out["image"].flatten(1).sort().values, batch["image"].flatten(1).sort().values
    )
    kinds = {
        next(
            (flip, turn)
            for flip in (False, True)
            for turn in range(4)
            if torch.equal(torch.rot90(a.flip(-1) if flip else a, turn, (-2, -1)), b)
        )
        for a, b in zip(batch["image"], out["image"], strict=True)
    }
    assert len(kinds) == 8  # all symmetries of a square


@pytest.mark.parametrize("shape", SHAPES)
def test_a_sample_depends_on_its_number_alone(shape: tuple[int, ...]) -> None:
    augment = BatchedAugment([*MOVING, BENT, *VALUES[:9]])
    batch = made(shape)
    before = {key: value.clone() for key, value in batch.items() if key != "id"}
    whole = augment(batch)
    assert all(torch.equal(batch[key], value) for key, value in before.items())
    torch.rand(3)  # the state of torch does not matter, and ...
    state = torch.get_rng_state()
    order = [4, 1, 5]
    part = augment(
        {key: [v[i] for i in order] if key == "id" else v[order] for key, v in batch.items()}
    )
    assert torch.equal(torch.get_rng_state(), state)  # ... stays as it is
    for key in ("image", "target", "weight"):
        torch.testing.assert_close(part[key], whole[key][order], atol=1e-6, rtol=0)
    other = augment({**batch, "draw": batch["draw"] + 1})
    assert not torch.equal(other["image"], whole["image"])


def test_image_labels_and_cost_map_move_alike() -> None:
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    image = (4 * (rows // 8) + columns // 8)[None, None].repeat(8, 1, 1, 1)
    batch = {"image": image, "target": image.to(torch.int32), "weight": image.clone()}
    batch["draw"] = torch.arange(8)
    out = BatchedAugment([*MOVING, BENT])(batch)
    assert torch.equal(out["target"].float(), out["weight"])
    assert set(out["weight"].unique().tolist()) <= set(image.unique().tolist())
    assert float((out["image"] - out["weight"]).abs().median()) < 0.01
    outside = BatchedAugment([Component("random_affine", {"shift": 0.5, "padding": "zeros"})])
    batch["weight"] = torch.ones_like(image)
    assert float(outside(batch)["weight"].min()) == 0  # what lies outside is not learned


def test_an_image_target_is_interpolated_and_numbers_are_left_alone() -> None:
    batch = made((1, 16, 16))
    batch["target"] = batch["image"].clone()
    out = BatchedAugment(MOVING)(batch)
    torch.testing.assert_close(out["target"], out["image"])
    batch["target"] = torch.rand(6, 2)
    assert BatchedAugment(MOVING)(batch)["target"] is batch["target"]


def statistics(name: str, params: dict[str, Any], measure: Any) -> tuple[Any, Any]:
    """Measure 400 samples changed in batches, and 400 others changed one by one."""
    components = [Component(name, params)]
    batch = made((1, 20, 20), 400)
    batch["image"] = torch.linspace(0, 1, 20).expand_as(batch["image"]).clone()
    batched = BatchedAugment(components)(batch)["image"]
    steps, state = build_augment(components), np.random.RandomState(12345)
    share_random_state(steps, state)
    alone = [steps[0]({"image": image.clone()})["image"] for image in batch["image"]]
    return [float(measure(i)) for i in batched], [float(measure(i)) for i in alone]


def _slope(image: torch.Tensor) -> torch.Tensor:
    return torch.atan2(image[0, 9, 10] - image[0, 10, 10], image[0, 10, 11] - image[0, 10, 10])


def _step(image: torch.Tensor) -> torch.Tensor:
    return (image[0, 10, 12] - image[0, 10, 8]).abs()


@pytest.mark.parametrize(
    ("name", "params", "measure"),
    [
        ("flips", {"axes": ["X"]}, _step),
        ("random_affine", {"degrees": 30, "scale": 0, "prob": 1.0}, _slope),
        ("random_affine", {"degrees": 0, "scale": 0.4, "prob": 1.0}, _step),
        ("random_affine", {"degrees": 0, "scale": 0, "shift": 0.2}, lambda i: i[0, 10, 10]),
        ("random_elastic", {"amplitude": 4, "spacing": 10}, lambda i: i[0, 10, 10]),
        ("gaussian_noise", {"std": 0.5, "prob": 0.7}, torch.std),
        ("white_noise", {"std": [0.1, 0.9]}, torch.std),
        ("correlated_noise", {"std": [0.1, 0.9], "sigma": [0, 2]}, lambda i: i.diff(dim=-1).std()),
        ("poisson_noise", {"photons": [5, 100]}, torch.std),
        ("salt_and_pepper", {"fraction": [0, 0.4]}, lambda i: (i == 1).sum()),
        ("random_blur", {"sigma": [0, 4], "prob": 0.8}, _step),
        ("reduce_resolution", {"factor": [1, 5], "prob": 0.8}, torch.std),
        ("gamma", {"gamma": [0.5, 2], "prob": 0.8}, torch.mean),
        ("brightness_contrast", {"prob": 0.8}, torch.mean),
        ("brightness_contrast", {"prob": 0.8}, torch.std),
    ],
)
def test_batches_and_single_samples_are_of_one_distribution(
    name: str, params: dict[str, Any], measure: Any
) -> None:
    batched, alone = statistics(name, params, measure)
    assert stats.ks_2samp(batched, alone).pvalue > 1e-3
    spread = np.std(alone)
    assert np.mean(batched) == pytest.approx(np.mean(alone), abs=0.2 * spread + 1e-6)
    if name != "flips":
        assert spread > 0


def test_flips_and_turns_come_as_often_as_they_should() -> None:
    batch = made((1, 4, 4), 2000)
    corner = torch.zeros(1, 4, 4)
    corner[0, 0, 1] = 1
    batch["image"] = corner.expand(2000, 1, 4, 4).clone()
    flat = BatchedAugment(MOVING[:2])(batch)["image"].flatten(1).argmax(1)
    counts = np.unique(flat.numpy(), return_counts=True)[1]
    assert len(counts) == 8
    assert stats.chisquare(counts).pvalue > 1e-3


def test_degraded_batches_keep_the_clean_image_as_target() -> None:
    batch = made((1, 24, 24))
    batch.pop("target")
    noise = Component("white_noise", {"std": 0.1})
    out = BatchedAugment(MOVING, [noise, Component("normalize_range")])(batch)
    clean = BatchedAugment(MOVING)(batch)["image"]
    assert torch.equal(out["target"], clean)
    out = BatchedAugment(MOVING, [noise])(batch)
    residual = out["image"] - out["target"]
    assert float(residual.std()) == pytest.approx(0.1, rel=0.05)
    assert stats.kstest(residual.flatten() / 0.1, "norm").pvalue > 1e-3
    alone = BatchedAugment([], [noise])(batch)  # the noise does not depend on what came before
    torch.testing.assert_close(alone["image"] - alone["target"], residual, atol=1e-6, rtol=0)


def test_numbers_change_with_the_epochs() -> None:
    growing = {"data.augment.0.params.std": Linear(0.0, 1.0, epochs=4)}
    augment = BatchedAugment([Component("white_noise", {"std": 0.0})], schedules=growing)
    batch = made((1, 32, 32))
    for epoch in (0, 2, 4, 1):
        noise = augment(batch, epoch=epoch)["image"] - batch["image"]
        assert float(noise.std()) == pytest.approx(epoch / 4, rel=0.05, abs=1e-6)


def test_images_that_do_not_suit_are_an_error_with_their_shape() -> None:
    with pytest.raises(DataError, match=r"data.augment.*\(6, 2, 24, 24\).*3 of RGB"):
        BatchedAugment([Component("stain_separation")])(made((2, 24, 24)))


# --- where it is done -----------------------------------------------------------------------------


def data(augment: list[Component], place: AugmentOn, **more: Any) -> DataConfig:
    return DataConfig(
        sources={"a": SourceConfig(Component("folder"))}, augment=augment, augment_on=place, **more
    )


MONAI = Component("RandGaussianNoised", {"keys": "image"})
AUTO = AugmentOn.auto


@pytest.mark.parametrize(
    ("augment", "gpu", "workers", "expected"),
    [
        (MOVING, True, 4, True),
        (MOVING[:2], True, 4, True),
        (MOVING, False, 0, True),
        (MOVING, False, 2, False),  # workers do it beside the training
        (MOVING[:2], False, 0, False),  # views cost nothing
        (VALUES, False, 0, False),
        ([*MOVING, MONAI], True, 0, False),
        ([], True, 0, False),
    ],
)
def test_auto_takes_the_device_where_it_can_and_pays(
    augment: list[Component], gpu: bool, workers: int, expected: bool
) -> None:
    assert on_device(data(augment, AUTO), gpu=gpu, workers=workers) is expected
    assert not on_device(data(augment, AugmentOn.worker), gpu=gpu, workers=workers)
    noise = [Component("white_noise")]
    assert not on_device(data(augment, AUTO, degrade=noise), gpu=gpu, workers=workers)


def test_the_device_is_refused_to_what_has_no_batched_form() -> None:
    with pytest.raises(ConfigError) as caught:
        on_device(data([MOVING[0], MONAI], AugmentOn.device), gpu=True, workers=0)
    (problem,) = caught.value.problems
    assert problem.where == "data.augment.1"
    assert "RandGaussianNoised" in problem.message
    assert "augment_on: worker" in problem.message
    degraded = data([], AugmentOn.device, degrade=[Component("white_noise"), MONAI])
    with pytest.raises(ConfigError, match=r"data.degrade.1"):
        on_device(degraded, gpu=True, workers=0)
    assert on_device(data(VALUES, AugmentOn.device), gpu=False, workers=2)


class Recorder(pl.LightningModule):
    """Notes what each step got."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(1, 1, 3)
        self.seen: dict[str, list[dict[str, Any]]] = {"train": [], "val": []}

    def training_step(self, batch: Any, _: int) -> Any:
        self.seen["train"].append(batch)
        return (self.layer(batch["image"]) ** 2).mean()

    def validation_step(self, batch: Any, _: int) -> None:
        self.seen["val"].append(batch)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


def fitted(config: DataConfig, folder: Path, target: TargetSpec = NUCLEI) -> tuple[Any, Any]:
    module, datamodule = Recorder(), ImageDataModule(config, target)
    pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
    ).fit(module, datamodule=datamodule)
    return module, datamodule


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_images(tmp_path / "data", 8)


@pytest.mark.parametrize("workers", [0, 1])
def test_training_batches_are_changed_and_whole_images_are_not(
    root: Path, tmp_path: Path, workers: int
) -> None:
    plain = section(root, augment=[])
    loader = replace(plain.loader, workers=workers)
    bright = Component("brightness_contrast", {"brightness": 0, "contrast": 0, "prob": 1.0})
    config = replace(plain, augment=[*MOVING, bright], augment_on=AugmentOn.device, loader=loader)
    module, datamodule = fitted(config, tmp_path)
    untouched, _ = fitted(plain, tmp_path)
    assert len(module.seen["train"]) == len(untouched.seen["train"]) == 8
    augment = BatchedAugment(config.augment)
    for got, given in zip(module.seen["train"], untouched.seen["train"], strict=True):
        assert got["id"] == given["id"]
        wanted = augment(given)
        torch.testing.assert_close(got["image"], wanted["image"])
        assert torch.equal(got["target"], wanted["target"])
        assert not torch.equal(got["image"], given["image"])
    for got, given in zip(module.seen["val"], untouched.seen["val"], strict=True):
        assert torch.equal(got["image"], given["image"])
        assert "draw" not in got
    shown = zip(datamodule.samples(), ImageDataModule(plain, NUCLEI).samples(), strict=True)
    for sample, given in shown:
        torch.testing.assert_close(sample["image"], augment(given)["image"])


def test_without_a_trainer_patches_are_changed_one_by_one(root: Path) -> None:
    config = section(root, augment=MOVING, augment_on=AugmentOn.device)
    alone = section(root, augment=MOVING, augment_on=AugmentOn.worker)
    pairs: list[Callable[[ImageDataModule], Any]] = [
        lambda data: [batch["image"] for batch in data.train_dataloader()],
        lambda data: [sample["image"] for sample in data.samples()],
    ]
    for images in pairs:
        ours = images(ImageDataModule(config, NUCLEI))
        wanted = images(ImageDataModule(alone, NUCLEI))
        assert all(torch.equal(a, b) for a, b in zip(ours, wanted, strict=True))
    plain = ImageDataModule(section(root, augment=[]), NUCLEI).samples()
    assert not torch.equal(plain[0]["image"], wanted[0])


def test_on_a_cpu_without_workers_auto_changes_batches(root: Path) -> None:
    for augment, expected in ((MOVING, True), (MOVING[:2], False)):
        datamodule = ImageDataModule(section(root, augment=augment), NUCLEI)
        strategy = SimpleNamespace(root_device=torch.device("cpu"))
        trainer = SimpleNamespace(
            strategy=strategy, overfit_batches=0, current_epoch=0, global_rank=0, world_size=1
        )
        datamodule.trainer = trainer  # type: ignore[assignment]
        datamodule.train_dataloader()
        changed = datamodule.on_after_batch_transfer(made((1, 16, 16)), 0)
        assert ("draw" in changed) and (
            not torch.equal(changed["image"], made((1, 16, 16))["image"])
        ) is expected


def test_a_denoiser_can_be_trained_on_the_device_from_clean_images(
    root: Path, tmp_path: Path
) -> None:
    source = Component("folder", {"root": str(root), "image": "images/*.tif"})
    config = section(
        root,
        sources={"data": SourceConfig(source)},
        preprocess=[Component("normalize_percentiles")],
        patch=replace(section(root).patch, foreground=0.0),
        augment=MOVING[:2],
        degrade=[Component("white_noise", {"std": 0.2})],
        augment_on=AugmentOn.device,
    )
    module, _ = fitted(config, tmp_path, TargetSpec(TargetKind.IMAGE))
    noise = torch.cat([batch["image"] - batch["target"] for batch in module.seen["train"]])
    assert float(noise.std()) == pytest.approx(0.2, rel=0.05)
    first, second = (
        [batch["image"] for batch in module.seen["val"][-2:]],
        [batch["image"] for batch in module.seen["val"][-4:-2]],
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))  # fixed noise


def test_a_wrong_place_is_found_before_any_image_is_read(root: Path) -> None:
    config = section(root, augment=[MONAI], augment_on=AugmentOn.device)
    with pytest.raises(ConfigError, match="RandGaussianNoised"):
        ImageDataModule(config, NUCLEI).prepare_data()
    assert not (root / "cache").exists()


@pytest.mark.gpu
@pytest.mark.parametrize("shape", SHAPES)
def test_a_gpu_moves_pixels_as_a_cpu_does(shape: tuple[int, ...]) -> None:
    augment, batch = BatchedAugment([*MOVING, BENT, Component("gamma"), VALUES[5]]), made(shape)
    there = {key: value.cuda() if key != "id" else value for key, value in batch.items()}
    here, moved = augment(batch), augment(there)
    torch.testing.assert_close(moved["image"].cpu(), here["image"], atol=1e-3, rtol=1e-3)
    assert float((moved["target"].cpu() != here["target"]).float().mean()) < 5e-3
    noise = BatchedAugment([VALUES[1], VALUES[3]])
    assert torch.equal(noise(there)["image"], noise(there)["image"])
