"""Two unpaired domains: facts of each, pairs that a seed fixes, and what is refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
import torch

from imtoolkit.config.sections import (
    CacheConfig,
    CacheKind,
    Component,
    LoaderConfig,
    PatchConfig,
    Role,
    SourceConfig,
    SplitConfig,
)
from imtoolkit.core.errors import ComponentError, ConfigError, DataError
from imtoolkit.core.facts import DataFacts, TargetKind, TargetSpec
from imtoolkit.data.batched.module import BatchedAugment
from imtoolkit.data.datamodule import ImageDataModule
from imtoolkit.data.domains import of_domain
from imtoolkit.data.unpaired import changed_apart
from imtoolkit.io import read
from tests.helpers.domains import SHAPE_A, SHAPE_B, UNPAIRED, section, write_domains

FLIPS = Component("flips", {"prob": 1.0})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_domains(tmp_path / "data")


def module(root: Path, seed: int = 0, **changes: Any) -> ImageDataModule:
    return ImageDataModule(section(root, **changes), UNPAIRED, seed=seed)


def epoch_of(data: ImageDataModule, *, ranks: int = 1, epoch: int = 0) -> list[list[Any]]:
    """Return (id of A, patch, id of B, patch) of each visit of an epoch, for each rank."""
    data.prepare_data()
    ids = data.images("train").data.column("id")
    samplers = [data._train_sampler(rank, ranks) for rank in range(ranks)]
    return [
        [
            (ids[visit.sample], visit.patch, ids[visit.partner.sample], visit.partner.patch)
            for visit in sampler.visits(epoch)
            if visit.partner is not None
        ]
        for sampler in samplers
    ]


# --- facts ----------------------------------------------------------------------------------------


def test_facts_are_those_of_each_domain(root: Path) -> None:
    facts = module(root, split=SplitConfig(val=0.3)).facts
    assert (facts.spatial_dims, facts.in_channels, facts.target_channels) == (2, 1, 3)
    assert facts.patch_size == facts.target_patch_size == (16, 16)
    assert facts.domain_samples == {"train": {"A": 4, "B": 2}, "val": {"A": 1, "B": 1}}
    assert facts.samples == {"train": 6, "val": 2}
    assert DataFacts.from_dict(facts.to_dict()) == facts


def test_whole_images_may_differ_in_size_between_the_domains(root: Path) -> None:
    data = module(root, patch=PatchConfig(), loader=LoaderConfig(2, workers=0))
    assert (data.facts.patch_size, data.facts.target_patch_size) == (SHAPE_A, SHAPE_B)
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (2, 1, *SHAPE_A)
    assert batch["target"].shape == (2, 3, *SHAPE_B)


def test_channels_may_differ_between_the_domains_but_not_within_one(root: Path) -> None:
    iio.imwrite(root / "trainB" / "grey.png", np.zeros(SHAPE_B, np.uint8))
    with pytest.raises(DataError, match=r"channels of domain B varies.*data\.target_channels"):
        module(root).prepare_data()
    one = module(root, target_channels=[0])
    assert (one.facts.in_channels, one.facts.target_channels) == (1, 1)


def test_domains_of_other_dimensions_are_refused(tmp_path: Path) -> None:
    root = write_domains(tmp_path, 2, 0)
    for number in range(2):
        tifffile.imwrite(root / "trainB" / f"{number}.tif", np.zeros((5, 20, 20), np.uint8))
    config = section(root, axes="YX", target_axes="ZYX")
    with pytest.raises(DataError, match=r"domain A are 2D, those of domain B 3D"):
        ImageDataModule(config, UNPAIRED).prepare_data()


def test_axes_of_targets_are_those_of_domain_b(tmp_path: Path) -> None:
    root = write_domains(tmp_path, 2, 0)
    for number in range(2):
        pixels = np.zeros((2, 24, 20), np.uint8)
        pixels[1] = 7
        tifffile.imwrite(root / "trainB" / f"{number}.tif", pixels)
    config = section(root, axes="YX", target_axes="CYX")
    data = ImageDataModule(config, UNPAIRED)
    assert (data.facts.in_channels, data.facts.target_channels) == (1, 2)
    second = ImageDataModule(replace(config, target_channels=[1]), UNPAIRED)
    assert torch.equal(
        next(iter(second.train_dataloader()))["target"], torch.full((4, 1, 16, 16), 7.0)
    )
    assert of_domain(config, "B").axes == "CYX"
    assert of_domain(config, None) is config


# --- which images meet ----------------------------------------------------------------------------


def test_the_shorter_domain_is_revisited_evenly_in_other_orders(tmp_path: Path) -> None:
    root = write_domains(tmp_path, 6, 2)
    data = module(root, patch=PatchConfig([16, 16]))
    assert data.facts.steps_per_epoch == 2  # the longer domain, four patches in a batch
    orders, meetings = set(), set()
    for epoch in range(8):
        (visits,) = epoch_of(data, epoch=epoch)
        assert Counter(a for a, *_ in visits) == {f"train/A/a{n}": 1 for n in range(6)}
        assert Counter(visit[2] for visit in visits) == {f"train/B/b{n}": 3 for n in range(2)}
        # each time that an image of B comes again, another patch is cut
        assert sorted(visit[2:] for visit in visits if visit[2].endswith("b0")) == [
            ("train/B/b0", patch) for patch in range(3)
        ]
        orders.add(tuple(visit[2] for visit in visits))
        meetings |= {(visit[0], visit[2]) for visit in visits}
    assert len(orders) > 4
    assert len(meetings) == 12  # over the epochs, every image of A meets every image of B


def test_which_domain_is_longer_makes_no_difference(tmp_path: Path) -> None:
    data = module(write_domains(tmp_path, 1, 4), patch=PatchConfig([16, 16]))
    (visits,) = epoch_of(data)
    assert Counter(a for a, *_ in visits) == {"train/A/a0": 4}
    assert len({b for _, _, b, _ in visits}) == 4


def test_samples_per_epoch_counts_visits_of_both(root: Path) -> None:
    data = module(root, loader=LoaderConfig(4, samples_per_epoch=9, workers=0))
    (visits,) = epoch_of(data)
    assert len(visits) == 18  # two patches of each visit
    ours, theirs = Counter(v[0] for v in visits), Counter(v[2] for v in visits)
    assert max(ours.values()) - min(ours.values()) <= 2
    assert set(theirs.values()) == {6}


def test_pairs_are_a_function_of_seed_epoch_and_place(root: Path) -> None:
    first, again = epoch_of(module(root), epoch=3), epoch_of(module(root), epoch=3)
    assert first == again
    assert first != epoch_of(module(root), epoch=4)
    assert first != epoch_of(module(root, seed=1), epoch=3)


def test_ranks_share_the_pairs_of_one_process(root: Path) -> None:
    data = module(root)
    (alone,) = epoch_of(data, epoch=2)
    parts = epoch_of(data, epoch=2, ranks=2)
    assert [len(part) for part in parts] == [6, 6]  # five visits of two patches, one made up
    for visit in alone:
        assert visit in parts[0] or visit in parts[1]


def test_patches_are_the_same_with_and_without_workers_and_after_a_stop(root: Path) -> None:
    augment = [FLIPS, Component("gaussian_noise", {"std": 0.1, "prob": 1.0})]
    batches = []
    for workers in (0, 2):
        data = module(root, augment=augment, loader=LoaderConfig(4, workers=workers))
        loader = data.train_dataloader()
        batches.append([batch for _ in range(2) for batch in loader])
    for one, other in zip(*batches, strict=True):
        for key in ("image", "target", "draw", "target_draw"):
            assert torch.equal(one[key], other[key])
        assert (one["id"], one["target_id"]) == (other["id"], other["target_id"])
    resumed = module(root, augment=augment)
    resumed.prepare_data()
    sampler = resumed._train_sampler(0, 1)
    sampler.position = lambda: (1, 2)
    loader = resumed._loader(resumed._patches(resumed.images("train")), batch_sampler=sampler)
    for one, other in zip(loader, batches[0][len(batches[0]) // 2 + 2 :], strict=True):
        assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["target"], other["target"])


def test_a_batch_holds_patches_of_the_named_images(root: Path) -> None:
    for batch in module(root).train_dataloader():
        for index, (name, other) in enumerate(zip(batch["id"], batch["target_id"], strict=True)):
            a, b = int(name[-1]), int(other[-1])
            assert 1000 * a <= batch["image"][index].min()
            assert batch["image"][index].max() < 1000 * (a + 1)
            assert 10 * b <= batch["target"][index].min()
            assert batch["target"][index].max() < 10 * (b + 1)
        assert "domain" not in batch


# --- changes --------------------------------------------------------------------------------------


def test_each_domain_is_augmented_by_itself(tmp_path: Path) -> None:
    # the same picture in both domains: were the draws shared, the patches would be equal
    root = write_domains(tmp_path, 0, 0)
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for folder in ("trainA", "trainB"):
        for number in range(4):
            tifffile.imwrite(root / folder / f"{number}.tif", ramp)
    turns = [Component("rotations_90", {"prob": 1.0}), Component("flips", {"prob": 0.5})]
    data = module(root, axes="YX", augment=turns, patch=PatchConfig([16, 16]))
    batches = [batch for _ in range(2) for batch in data.train_dataloader()]
    pairs = [
        pair for batch in batches for pair in zip(batch["image"], batch["target"], strict=True)
    ]
    assert all(torch.equal(a.unique(), b.unique()) for a, b in pairs)  # whole pictures, turned
    assert sum(not torch.equal(a, b) for a, b in pairs) > len(pairs) // 2


def test_a_batch_on_the_device_is_changed_as_its_patches_would_be(root: Path) -> None:
    augment = [Component("random_affine", {"prob": 1.0}), FLIPS]
    batched = BatchedAugment(augment)
    raw = next(iter(module(root).train_dataloader()))
    changed = changed_apart(raw, batched)
    assert changed["image"].shape == raw["image"].shape
    assert changed["target"].shape == raw["target"].shape
    assert not torch.equal(changed["target"], raw["target"])
    # what is drawn depends on the number of the patch alone, in whatever batch it is
    single = {key: value[2:3] for key, value in raw.items()}
    again = changed_apart(single, batched)
    torch.testing.assert_close(again["image"][0], changed["image"][2])
    torch.testing.assert_close(again["target"][0], changed["target"][2])


def test_a_step_may_be_for_one_domain_alone(root: Path) -> None:
    halve = Component("normalize_range", {"low": 0, "high": 2})
    own = Component(
        "for_domain", {"domain": "B", "transform": {"name": halve.name, "params": halve.params}}
    )
    pad = Component(
        "for_domain",
        {"domain": "A", "transform": {"name": "pad_to_multiple", "params": {"multiple": 32}}},
    )
    plain = module(root, split=SplitConfig(val=2), cache=CacheConfig(CacheKind.none))
    data = module(
        root, split=SplitConfig(val=2), preprocess=[own, pad], cache=CacheConfig(CacheKind.none)
    )
    found = {batch["domain"][0]: batch["image"] for batch in data.val_dataloader()}
    before = {batch["domain"][0]: batch["image"] for batch in plain.val_dataloader()}
    assert torch.equal(found["B"], before["B"] / 2)
    assert found["A"].shape == (1, 1, 64, 64)
    assert found["A"].max() == before["A"].max()
    # what it does to the grid is undone at prediction
    path = root / "trainA" / "a0.tif"
    image, undo = data.preprocessor.image(read(path), domain="A")
    assert image.shape == (1, 64, 64)
    assert undo.invert(image).shape == (1, *SHAPE_A)
    image, undo = data.preprocessor.image(read(path), domain="B")
    assert undo.invert(image).shape == image.shape == (1, *SHAPE_A)


def test_a_random_step_may_be_for_one_domain_alone(root: Path) -> None:
    noise = {"name": "gaussian_noise", "params": {"std": 0.5, "prob": 1.0}}
    own = Component("for_domain", {"domain": "B", "transform": noise})
    raw = next(iter(module(root).train_dataloader()))
    batch = next(iter(module(root, augment=[own]).train_dataloader()))
    assert torch.equal(batch["image"], raw["image"])
    assert not torch.equal(batch["target"], raw["target"])
    with pytest.raises(ComponentError, match="random"):
        module(root, preprocess=[own]).prepare_data()


# --- whole images ---------------------------------------------------------------------------------


def test_whole_images_are_of_one_domain_each(root: Path) -> None:
    data = module(root, split=SplitConfig(val=0.3))
    seen = {}
    for batch in data.val_dataloader():
        assert "target" not in batch
        seen[batch["domain"][0]] = tuple(batch["image"].shape)
    assert seen == {"A": (1, 1, *SHAPE_A), "B": (1, 3, *SHAPE_B)}


def test_one_image_in_a_domain_is_for_training(tmp_path: Path) -> None:
    facts = module(write_domains(tmp_path, 9, 1), split=SplitConfig(val=0.3)).facts
    assert facts.domain_samples == {"train": {"A": 6, "B": 1}, "val": {"A": 3, "B": 0}}


def test_a_domain_without_training_images_is_told(tmp_path: Path) -> None:
    root = write_domains(tmp_path, 4, 1)
    (root / "trainB").rename(root / "valB")
    with pytest.raises(DataError, match=r"domain 'B' has no training images.*4 images of A and 1"):
        module(root).prepare_data()


def test_true_pairs_are_measured_and_never_learnt(root: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs"
    for name, shape in (("A", (20, 24)), ("B", (20, 24, 3))):
        (pairs / name).mkdir(parents=True)
        for number in range(2):
            pixels = np.full(shape, 50 + number, np.uint8)
            iio.imwrite(pairs / name / f"{number}.png", pixels)
    params = {"root": str(pairs), "image": "A/*.png", "target": "B/*.png"}
    measured = SourceConfig(Component("folder", params), Role.val)
    sources = {**section(root).sources, "pairs": measured}
    halve = {"name": "normalize_range", "params": {"low": 0, "high": 100}}
    steps = [Component("for_domain", {"domain": "B", "transform": halve})]
    data = module(root, sources=sources, preprocess=steps)
    whole = [batch for batch in data.val_dataloader() if batch["dataset"] == ["pairs"]]
    assert [batch["domain"] for batch in whole] == [["A"], ["A"]]
    assert whole[1]["target"].shape == (1, 3, 20, 24)
    # each image of a pair is preprocessed as its domain is
    assert whole[1]["image"].unique().tolist() == [51.0]
    assert whole[1]["target"].unique().tolist() == pytest.approx([0.51])
    assert set(module(root).facts.domain_samples["train"].values()) == {5, 3}
    learnt = {**sources, "pairs": replace(measured, role=Role.all)}
    with pytest.raises(DataError, match=r"pairs of image and target.*pix2pix.*role val or test"):
        module(root, sources=learnt).prepare_data()


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec", [TargetSpec(TargetKind.IMAGE), TargetSpec(TargetKind.LABELS, ("a", "b"))]
)
def test_a_task_that_learns_targets_refuses_unpaired_images(root: Path, spec: TargetSpec) -> None:
    with pytest.raises(DataError, match=r"do not belong together.*cyclegan.*folder"):
        ImageDataModule(section(root), spec).prepare_data()


def test_a_paired_source_is_refused_with_the_unpaired_one(tmp_path: Path) -> None:
    root = write_domains(tmp_path, 3, 3)
    only = {"x": SourceConfig(Component("folder", {"root": str(root), "image": "trainA/*.tif"}))}
    with pytest.raises(DataError, match=r"3 of 3 images are of no domain.*unpaired.*a: FOLDER"):
        module(root, sources=only).prepare_data()


def test_a_table_may_tell_the_domain(root: Path) -> None:
    rows = [f"trainA/a{n}.tif,A" for n in range(5)] + [f"trainB/b{n}.png,B" for n in range(3)]
    table = root / "table.csv"
    table.write_text("\n".join(["image,domain", *rows]) + "\n")
    sources = {"table": SourceConfig(Component("csv", {"path": str(table)}))}
    assert module(root, sources=sources).facts.domain_samples["train"] == {"A": 5, "B": 3}
    table.write_text("\n".join(["image,domain", *rows[1:], "trainA/a0.tif,he"]) + "\n")
    with pytest.raises(DataError, match=r"'he'.*expected A or B"):
        module(root, sources=sources).prepare_data()


def test_degraded_pairs_are_refused(root: Path) -> None:
    noisy = [Component("white_noise", {})]
    with pytest.raises(ConfigError, match=r"learns without pairs.*data\.augment"):
        module(root, degrade=noisy).prepare_data()


def test_one_file_read_as_both_domains_is_kept_twice(tmp_path: Path) -> None:
    root = write_domains(tmp_path, 0, 0)
    pixels = np.stack([np.full((20, 20), 3), np.full((20, 20), 8)]).astype(np.uint8)
    tifffile.imwrite(root / "both.tif", pixels)
    table = root / "table.csv"
    table.write_text("id,image,domain\nx,both.tif,A\ny,both.tif,B\n")
    sources = {"table": SourceConfig(Component("csv", {"path": str(table)}))}
    data = module(root, sources=sources, axes="CYX", channels=[0], target_channels=[1])
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].unique().tolist() == [3.0]
    assert batch["target"].unique().tolist() == [8.0]
