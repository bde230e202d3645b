"""Patches: in place, on foreground where asked, the same whoever cuts them; and their batches."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from imtoolkit.config.sections import CacheConfig, CacheKind, Component, LoaderConfig, PatchConfig
from imtoolkit.core.errors import DataError
from imtoolkit.core.facts import TargetKind, TargetSpec
from imtoolkit.data.cache.dataset import Item
from imtoolkit.data.collate import collate, copy_into
from imtoolkit.data.datamodule import ImageDataModule
from imtoolkit.data.patches import choose_start, foreground_turn, pad_to
from imtoolkit.data.samplers import Visit
from tests.helpers.images import NUCLEI, section, write_images


def item(shape: tuple[int, ...], *pixels: list[int]) -> Item:
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(1, *shape)
    return Item({"image": image}, [np.array(part) for part in pixels], {})


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.33, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("per_image", [1, 4, 8])
def test_the_fraction_of_foreground_patches_is_met_over_visits(
    fraction: float, per_image: int
) -> None:
    turns = [
        foreground_turn(fraction, Visit(epoch, sample, patch), per_image)
        for sample in range(5)
        for epoch in range(40)
        for patch in range(per_image)
    ]
    met = sum(turn is not None for turn in turns)
    assert met == pytest.approx(fraction * len(turns), abs=5)


def test_foreground_takes_the_classes_in_turn() -> None:
    turns = [foreground_turn(1.0, Visit(0, 0, patch), 6) for patch in range(6)]
    assert [turn % 2 for turn in turns if turn is not None] == [0, 1, 0, 1, 0, 1]
    found = item((20, 20), [0], [399])
    starts = [
        choose_start(
            found, (4, 4), PatchConfig([4, 4], 6, 1.0), Visit(0, 0, patch), np.random.RandomState(0)
        )
        for patch in range(4)
    ]
    assert starts == [[0, 0], [16, 16], [0, 0], [16, 16]]


def test_a_foreground_patch_is_centred_on_its_pixel() -> None:
    place = 5 * 100 + 4 * 10 + 6  # z, y, x = 5, 4, 6 of 10x10x10
    patch = PatchConfig([4, 4, 4], 1, 1.0)
    start = choose_start(
        item((10, 10, 10), [place]), (4, 4, 4), patch, Visit(0, 0, 0), np.random.RandomState(0)
    )
    assert start == [3, 2, 4]


def test_uniform_patches_reach_every_corner_and_never_beyond() -> None:
    state = np.random.RandomState(0)
    patch = PatchConfig([3, 4], 1, 0.0)
    starts = np.array(
        [choose_start(item((5, 6), [0]), (3, 4), patch, Visit(0, 0, 0), state) for _ in range(300)]
    )
    assert starts.min(axis=0).tolist() == [0, 0]
    assert starts.max(axis=0).tolist() == [2, 2]


def test_padding_mirrors_what_is_smaller_than_the_patch() -> None:
    image = np.array([[[5.0, 7.0]]], np.float32)
    assert pad_to(image, (1, 4)).tolist() == [[[5, 5, 7, 7]]]
    assert pad_to(image, (1, 9)).shape == (1, 1, 9)  # more than once around


VIEWS: list[Any] = [
    lambda a: a,
    lambda a: a[..., ::-1],
    lambda a: a[..., ::-1, :],
    lambda a: a[:, ::-1, ::-1, ::-1],
    lambda a: np.rot90(a, 1, (-2, -1)),
    lambda a: np.rot90(a, 3, (-2, -1))[:, ::-1],
    lambda a: np.rot90(a[..., ::-1], 2, (-2, -1)),
]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int16])
def test_every_view_is_copied_as_numpy_would(view: Any, dtype: Any) -> None:
    whole = np.arange(2 * 6 * 9 * 11).astype(dtype).reshape(2, 6, 9, 11)
    whole.setflags(write=False)
    part = view(whole[:, 1:5, 2:8, 3:9])
    out = np.empty(part.shape, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        copy_into(out, part)
    np.testing.assert_array_equal(out, part)
    wide = np.empty(part.shape, np.float64)
    copy_into(wide, part)
    np.testing.assert_array_equal(wide, part)


def test_batches_hold_plain_tensors_in_the_widest_integer() -> None:
    samples = [
        {
            "image": MetaTensor(torch.ones(1, 2, 2)),
            "target": np.ones((1, 2, 2), np.uint8),
            "id": "a",
            "age": 3,
        },
        {
            "image": np.zeros((1, 2, 2), np.float32),
            "target": np.full((1, 2, 2), 300, np.int16),
            "weight": np.zeros((1, 2, 2), np.float32),
            "id": "b",
            "age": 4,
        },
    ]
    batch = collate(samples)
    assert type(batch["image"]) is torch.Tensor
    assert batch["target"].dtype == torch.int16
    assert batch["target"].amax((1, 2, 3)).tolist() == [1, 300]
    assert batch["weight"].amax((1, 2, 3)).tolist() == [1, 0]  # 1 where a sample has no cost map
    assert batch["id"] == ["a", "b"]
    assert batch["age"].tolist() == [3, 4]


def test_images_of_unequal_size_are_named_with_the_remedy() -> None:
    samples = [{"image": np.zeros((1, size, 2), np.float32), "id": f"s{size}"} for size in (2, 3)]
    with pytest.raises(DataError, match=r"'s2'.*'s3'.*patch\.size"):
        collate(samples)


AUGMENTS: dict[str, list[Component]] = {
    "views": [Component("flips"), Component("rotations_90")],
    "ours": [Component("flips"), Component("random_affine"), Component("gaussian_noise")],
    "monai": [
        Component("RandGaussianNoised", {"keys": "image", "prob": 0.5}),
        Component("RandAffined", {"keys": ["image", "target"], "prob": 0.5, "rotate_range": 0.3}),
        Component("rotations_90"),
        Component(
            "OneOf",
            {
                "transforms": [
                    {"name": "RandFlipd", "params": {"keys": ["image", "target"], "prob": 0.5}},
                    {"name": "gamma", "params": {"prob": 1.0}},
                ]
            },
        ),
    ],
}


@pytest.mark.parametrize("name", AUGMENTS)
def test_batches_are_the_same_bit_for_bit_with_0_1_and_2_workers(tmp_path: Path, name: str) -> None:
    root = write_images(tmp_path, 6)
    passes = []
    for workers in (0, 1, 2):
        config = section(root, augment=AUGMENTS[name], loader=LoaderConfig(4, workers=workers))
        loader = ImageDataModule(config, NUCLEI, seed=5).train_dataloader()
        passes.append([batch for _ in range(2) for batch in loader])  # two epochs
    for other in passes[1:]:
        assert len(other) == len(passes[0])
        for one, two in zip(passes[0], other, strict=True):
            assert one["id"] == two["id"]
            for key in ("image", "target"):
                assert type(two[key]) is torch.Tensor
                assert torch.equal(one[key], two[key])
    first, second = passes[0][: len(passes[0]) // 2], passes[0][len(passes[0]) // 2 :]
    assert not torch.equal(first[0]["image"], second[0]["image"])


def test_a_step_does_not_change_the_random_numbers_of_the_net(tmp_path: Path) -> None:
    root = write_images(tmp_path)
    loader = ImageDataModule(section(root, augment=AUGMENTS["monai"]), NUCLEI).train_dataloader()
    torch.manual_seed(0)
    np.random.seed(0)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(0)
    np.random.seed(0)
    list(loader)
    assert torch.equal(torch.rand(3), expected[0])
    np.testing.assert_array_equal(np.random.rand(3), expected[1])


@pytest.mark.parametrize("kind", list(CacheKind))
def test_patches_never_write_into_the_cache(tmp_path: Path, kind: CacheKind) -> None:
    root = write_images(tmp_path)
    config = section(
        root,
        augment=[Component("ScaleIntensityd", {"keys": "image"}), *AUGMENTS["monai"]],
        cache=CacheConfig(kind, str(tmp_path / "cache")),
    )
    data = ImageDataModule(config, NUCLEI)
    before = [data.images("train")[index].grids["image"].copy() for index in range(2)]
    list(data.train_dataloader())
    for index in range(2):
        np.testing.assert_array_equal(data.images("train")[index].grids["image"], before[index])


def test_a_smaller_image_is_padded_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_images(tmp_path, 5, (20, 40))
    config = section(root, patch=PatchConfig([32, 32], 2, 0.5))
    data = ImageDataModule(config, NUCLEI)
    with caplog.at_level("WARNING"):
        batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape[1:] == (1, 32, 32)
    told = [record for record in caplog.records if "smaller than patch.size" in record.message]
    assert len(told) == 1
    assert "3 training images" in told[0].getMessage()


def test_a_patch_of_other_dimensions_is_refused(tmp_path: Path) -> None:
    config = section(write_images(tmp_path), patch=PatchConfig([4, 16, 16]))
    with pytest.raises(DataError, match=r"patch\.size.*2 dimensions"):
        ImageDataModule(config, NUCLEI).prepare_data()


def test_stacks_give_patches_of_three_axes(tmp_path: Path) -> None:
    root = write_images(tmp_path, 5, (12, 30, 28))
    config = section(root, axes="ZYX", patch=PatchConfig([8, 16, 16], 2, 0.5))
    data = ImageDataModule(config, NUCLEI)
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (4, 1, 8, 16, 16)
    assert batch["spacing"].shape == (4, 3)
    assert data.facts.spatial_dims == 3


def test_foreground_patches_show_the_rare_label(tmp_path: Path) -> None:
    root = write_images(tmp_path, 5, (96, 96))
    target = TargetSpec(TargetKind.LABELS, ("background", "nucleus"))
    config = section(root, patch=PatchConfig([9, 9], 4, 1.0), augment=[])
    for batch in ImageDataModule(config, target).train_dataloader():
        assert bool((batch["target"].amax((1, 2, 3)) == 1).all())
