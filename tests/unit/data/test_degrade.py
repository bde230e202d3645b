"""Pairs made of clean images: what is degraded, when, how often anew, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from imtoolkit.config.sections import (
    CacheConfig,
    CacheKind,
    Component,
    DataConfig,
    LoaderConfig,
    PatchConfig,
    SourceConfig,
    SplitConfig,
)
from imtoolkit.core.errors import ComponentError, ConfigError, DataError
from imtoolkit.core.facts import TargetKind, TargetSpec
from imtoolkit.data.datamodule import ImageDataModule
from imtoolkit.data.degrade import Degrade
from imtoolkit.data.patches import PatchDataset
from imtoolkit.data.samplers import Visit
from tests.helpers.images import write_images

NOISE = Component("RandGaussianNoised", {"keys": "image", "prob": 1.0, "std": 0.5})
IMAGES = TargetSpec(TargetKind.IMAGE)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_images(tmp_path / "data", 6)


def section(root: Path, **changes: Any) -> DataConfig:
    source = Component("folder", {"root": str(root), "image": "images/*.tif"})
    fields: dict[str, Any] = {
        "sources": {"data": SourceConfig(source)},
        "axes": "YX",
        "split": SplitConfig(val=0.34),
        "preprocess": [Component("normalize_range", {"low": 0, "high": 400})],
        "patch": PatchConfig([16, 16], per_image=2),
        "degrade": [NOISE],
        "loader": LoaderConfig(batch_size=4, workers=0),
        "cache": CacheConfig(root=str(root / "cache")),
        **changes,
    }
    return DataConfig(**fields)


def noise_of(batch: dict[str, Any]) -> torch.Tensor:
    found: torch.Tensor = batch["image"] - batch["target"]
    return found


def clean(root: Path, name: str) -> np.ndarray:
    pixels = tifffile.imread(root / "images" / f"{name}.tif")
    return np.asarray(pixels, np.float32) / np.float32(400)


def test_the_clean_image_becomes_the_target_and_the_input_is_noisy(root: Path) -> None:
    data = ImageDataModule(section(root), IMAGES)
    assert (data.facts.in_channels, data.facts.target_channels) == (1, 1)
    assert data.facts.missing == {}
    for batch in data.dataloader("val"):
        np.testing.assert_allclose(
            batch["target"][0, 0].numpy(), clean(root, batch["id"][0]), rtol=1e-6
        )
        assert 0.1 < float(noise_of(batch).std()) < 0.6
        # noise is not cut off at the edges of the range
        assert float(batch["image"].min()) < 0


def test_a_training_patch_is_degraded_anew_and_a_whole_image_always_alike(root: Path) -> None:
    data = ImageDataModule(section(root), IMAGES)
    first, second = ([noise_of(b) for b in data.dataloader("val")] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    again = ImageDataModule(section(root), IMAGES)
    assert torch.equal(noise_of(next(iter(again.dataloader("val")))), first[0])
    other = ImageDataModule(section(root), IMAGES, seed=1)
    names = {b["id"][0]: noise_of(b) for split in ("val", "train") for b in other.dataloader(split)}
    name = next(iter(data.dataloader("val")))["id"][0]
    assert not torch.equal(names[name], first[0])
    # the split has no part in it, nor the place in the table
    swapped = ImageDataModule(section(root, split=SplitConfig(val=0.34, seed=5)), IMAGES)
    found = {b["id"][0]: noise_of(b) for s in ("val", "train") for b in swapped.dataloader(s)}
    assert torch.equal(found[name], first[0])
    loader = data.train_dataloader()
    epochs = [[noise_of(b) for b in loader] for _ in range(2)]
    assert not torch.equal(epochs[0][0], epochs[1][0])


def test_each_patch_is_a_function_of_seed_epoch_sample_and_patch(root: Path) -> None:
    config = section(root, augment=[Component("flips"), Component("rotations_90")])
    data = ImageDataModule(config, IMAGES, seed=3)
    patches = data.train_dataloader().dataset.dataset  # type: ignore[attr-defined]
    assert isinstance(patches, PatchDataset)
    visit = Visit(2, 1, 1)
    first = patches[visit]
    patches[Visit(0, 0, 0)]
    copy = pickle.loads(pickle.dumps(patches))
    for other in (patches[visit], copy[visit]):
        assert torch.equal(torch.as_tensor(first["image"]), torch.as_tensor(other["image"]))
        assert first["draw"] == other["draw"]
    draws = {patches[Visit(e, s, p)]["draw"] for e in range(3) for s in range(4) for p in range(2)}
    assert len(draws) == 24
    batch = next(iter(data.train_dataloader()))
    assert batch["draw"].dtype == torch.int64
    assert batch["draw"].shape == (4,)
    assert "draw" not in next(iter(data.val_dataloader()))


def test_what_augments_the_image_augments_its_target_alike_and_comes_before_the_noise(
    root: Path,
) -> None:
    augment = [
        Component("flips", {"prob": 1.0}),
        Component("RandScaleIntensityd", {"keys": "image", "factors": [2.0, 2.0], "prob": 1.0}),
    ]
    shift = Component(
        "ScaleIntensityRanged", {"keys": "image", "a_min": 0, "a_max": 1, "b_min": 5, "b_max": 6}
    )
    config = section(root, augment=augment, degrade=[shift], patch=PatchConfig())
    data = ImageDataModule(config, IMAGES)
    for batch in data.train_dataloader():
        for name, image, target in zip(batch["id"], batch["image"], batch["target"], strict=True):
            expected = 3 * clean(root, name)[::-1, ::-1]  # scaled by 1 + 2
            np.testing.assert_allclose(target[0].numpy(), expected, rtol=1e-5)
            np.testing.assert_allclose(image[0].numpy(), expected + 5, rtol=1e-5)


def test_a_transform_in_place_does_not_reach_the_target(root: Path) -> None:
    class Spoil:
        def __call__(self, data: Any) -> Any:
            data["image"] += 100
            return data

    degrade = Degrade(["spoil"])
    degrade._built = [Spoil()], np.random.RandomState(0)  # type: ignore[list-item, assignment]
    for image in (torch.zeros(1, 4, 4), np.zeros((1, 4, 4), np.float32)):
        made = degrade.patch({"id": "a", "image": image}, 0)
        assert float(np.asarray(made["target"]).max()) == 0
        assert float(np.asarray(made["image"]).min()) == 100


def test_previews_and_samples_are_degraded_too(root: Path) -> None:
    data = ImageDataModule(section(root), IMAGES)
    for split in ("train", "val"):
        assert all(float(noise_of(batch).abs().max()) > 0 for batch in data.samples(split, 2))
    assert "target" in [axes.get_title() for axes in data.preview("val", 1).axes]


def test_the_cache_holds_the_clean_image_whatever_degrades_it(root: Path) -> None:
    first = ImageDataModule(section(root), IMAGES)
    first.prepare_data()
    cache = root / "cache"
    items = set(cache.rglob("*.item"))
    assert len(items) == 6
    second = ImageDataModule(
        section(root, degrade=[Component("RandGaussianSmoothd", {"keys": "image", "prob": 1.0})]),
        IMAGES,
    )
    second.prepare_data()
    assert set(cache.rglob("*.item")) == items


def test_workers_change_nothing(root: Path) -> None:
    alone = list(ImageDataModule(section(root), IMAGES).train_dataloader())
    shared = list(ImageDataModule(section(root), IMAGES, workers=2).train_dataloader())
    for one, other in zip(alone, shared, strict=True):
        assert one["id"] == other["id"]
        assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["target"], other["target"])


def test_targets_beside_degrade_are_refused(root: Path) -> None:
    params = {"root": str(root), "image": "images/*.tif", "target": "labels/*.tif"}
    config = section(root, sources={"data": SourceConfig(Component("folder", params))})
    with pytest.raises(ConfigError, match=r"data\.degrade: .*6 samples have a target.*'a0'"):
        ImageDataModule(config, IMAGES).prepare_data()


@pytest.mark.parametrize("kind", [TargetKind.LABELS, TargetKind.CLASS, TargetKind.NONE])
def test_a_task_that_learns_no_image_cannot_degrade(root: Path, kind: TargetKind) -> None:
    with pytest.raises(ConfigError, match=r"data\.degrade: makes pairs.*data\.augment"):
        ImageDataModule(section(root), TargetSpec(kind, ("a", "b"))).prepare_data()


def test_folders_of_classes_are_clean_images_as_well(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_images(tmp_path / name, 3)
    source = Component("class_folders", {"root": str(tmp_path), "image": "images/*.tif"})
    config = section(tmp_path, sources={"x": SourceConfig(source)})
    batch = next(iter(ImageDataModule(config, IMAGES).train_dataloader()))
    assert batch["target"].shape == batch["image"].shape == (4, 1, 16, 16)


@pytest.mark.parametrize(
    "component",
    [
        Component("flips"),
        Component("random_affine"),
        Component("RandFlipd", {"keys": "image"}),
        Component("RandSpatialCropd", {"keys": "image", "roi_size": 8}),
    ],
)
def test_what_moves_pixels_is_refused(root: Path, component: Component) -> None:
    with pytest.raises(ComponentError, match=r"data\.degrade\.1: .*moves the pixels"):
        ImageDataModule(section(root, degrade=[NOISE, component]), IMAGES).prepare_data()


def test_lower_resolution_of_monai_leaves_pixels_where_they_are(root: Path) -> None:
    modes = {"downsample_mode": "nearest", "upsample_mode": "bilinear"}
    low = Component("RandSimulateLowResolutiond", {"keys": "image", "prob": 1.0, **modes})
    batch = next(iter(ImageDataModule(section(root, degrade=[low]), IMAGES).train_dataloader()))
    assert batch["image"].shape == batch["target"].shape
    assert float(noise_of(batch).abs().max()) > 0


def test_a_failing_transform_names_the_sample_and_the_key(root: Path) -> None:
    scale = Component("RandHistogramShiftd", {"keys": "nothing", "prob": 1.0})
    data = ImageDataModule(section(root, degrade=[scale]), IMAGES)
    with pytest.raises(DataError, match=r"sample 'a\d': .* of data\.degrade failed"):
        next(iter(data.train_dataloader()))


def test_images_alone_serve_a_task_whose_target_is_optional(root: Path) -> None:
    spec = TargetSpec(TargetKind.IMAGE, optional=True)
    config = section(root, degrade=[], cache=CacheConfig(CacheKind.none))
    data = ImageDataModule(config, spec)
    for batch in (next(iter(data.train_dataloader())), next(iter(data.val_dataloader()))):
        assert "target" not in batch
        assert "weight" not in batch
    assert data.facts.missing == {"target": 4}
