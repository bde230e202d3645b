"""Whole images with a class each, as three kinds of sources have them: to batches and facts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imtoolkit.config.sections import (
    CacheConfig,
    CacheKind,
    Component,
    DataConfig,
    LoaderConfig,
    SourceConfig,
    SplitConfig,
)
from imtoolkit.core.facts import TargetKind, TargetSpec
from imtoolkit.data.datamodule import ImageDataModule

SPEC = TargetSpec(TargetKind.CLASS, ("calm", "wild"))


def shade(number: int) -> np.ndarray:
    return np.full((10, 12), 10 * number, np.uint8)


def class_folders(root: Path) -> Component:
    for number in range(10):
        folder = root / ("wild" if number % 5 == 0 else "calm")
        folder.mkdir(exist_ok=True)
        np.save(folder / f"{number}.npy", shade(number))
    return Component("class_folders", {"root": str(root)})


def npz(root: Path) -> Component:
    images = np.stack([shade(number) for number in range(10)])
    labels = np.array([[int(number % 5 == 0)] for number in range(10)], np.uint8)
    np.savez(root / "set.npz", images=images, labels=labels)
    return Component("npz", {"path": str(root / "set.npz")})


def csv(root: Path) -> Component:
    lines = ["image;mood"]
    for number in range(10):
        np.save(root / f"{number}.npy", shade(number))
        lines.append(f"{number}.npy;{'wild' if number % 5 == 0 else 'calm'}")
    (root / "t.csv").write_text("\n".join(lines))
    return Component("csv", {"path": str(root / "t.csv"), "target": "mood"})


def section(source: Component, root: Path, **changes: Any) -> DataConfig:
    fields: dict[str, Any] = {
        "sources": {"x": SourceConfig(source)},
        "axes": "YX",
        "split": SplitConfig(val=0.5, stratify_by="target"),
        "loader": LoaderConfig(4, samples_per_epoch=40, balance_by="target", workers=0),
        "augment": [Component("flips")],
        "cache": CacheConfig(root=str(root / "cache")),
        **changes,
    }
    return DataConfig(**fields)


@pytest.mark.parametrize("make", [class_folders, npz, csv])
@pytest.mark.parametrize("kind", list(CacheKind))
def test_every_image_has_its_class_and_rare_classes_are_drawn_as_often(
    tmp_path: Path, make: Any, kind: CacheKind
) -> None:
    (tmp_path / "data").mkdir()
    cache = CacheConfig(kind, str(tmp_path / "cache"))
    data = ImageDataModule(section(make(tmp_path / "data"), tmp_path, cache=cache), SPEC)
    facts = data.facts
    assert (facts.in_channels, facts.patch_size) == (1, (10, 12))
    assert facts.samples == {"train": 5, "val": 5}
    assert facts.class_samples == {"target": (4, 1)}  # stratified: one wild image in each split
    drawn = []
    for batch in data.train_dataloader():
        assert batch["image"].shape[1:] == (1, 10, 12)
        wild = batch["image"][:, 0, 0, 0] % 50 == 0
        assert torch.equal(batch["target"], wild.long())
        drawn.append(batch["target"])
    assert torch.bincount(torch.cat(drawn)).tolist() == [20, 20]
    held = [int(batch["target"]) for batch in data.val_dataloader()]
    assert sorted(held) == [0, 0, 0, 0, 1]


def test_a_column_named_split_decides(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    source = csv(tmp_path / "data")
    lines = (tmp_path / "data" / "t.csv").read_text().splitlines()
    parts = ["split", *["train"] * 6, *["valid"] * 2, *["test"] * 2]
    text = "\n".join(f"{line};{part}" for line, part in zip(lines, parts, strict=True))
    (tmp_path / "data" / "t.csv").write_text(text)
    data = ImageDataModule(section(source, tmp_path, split=SplitConfig()), SPEC)
    assert data.facts.samples == {"train": 6, "val": 2, "test": 2}
    assert [batch["id"] for batch in data.test_dataloader()] == [["8"], ["9"]]


def test_a_class_without_training_samples_is_counted_as_none(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    spec = TargetSpec(TargetKind.CLASS, ("calm", "wild", "shy"))
    facts = ImageDataModule(section(npz(tmp_path / "data"), tmp_path), spec).facts
    assert facts.class_samples == {"target": (4, 1, 0)}


@pytest.mark.realdata
def test_chest_x_rays_in_an_npz_file(real_data: Path, tmp_path: Path) -> None:
    path = real_data / "pneumoniamnist" / "pneumoniamnist_train_val.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    config = section(
        Component("npz", {"path": str(path)}),
        tmp_path,
        split=SplitConfig(),
        loader=LoaderConfig(128, workers=0),
        preprocess=[Component("normalize_range", {"low": 0, "high": 255})],
    )
    spec = TargetSpec(TargetKind.CLASS, ("normal", "pneumonia"))
    data = ImageDataModule(config, spec)
    with np.load(path) as archive:
        images, labels = archive["train_images"], archive["train_labels"].ravel()
        held = archive["val_labels"].ravel()
    assert data.facts.samples == {"train": 4708, "val": 524}
    assert data.facts.class_samples == {"target": tuple(np.bincount(labels).tolist())}
    seen = np.zeros(len(images), int)
    for batch in ImageDataModule(config, spec).train_dataloader():
        for name, image, target in zip(batch["id"], batch["image"], batch["target"], strict=True):
            number = int(name.removeprefix("train_"))
            seen[number] += 1
            assert int(target) == labels[number]
            turned = [images[number][::a, ::b] / 255 for a in (1, -1) for b in (1, -1)]
            assert any(np.allclose(image[0], other, atol=1e-6) for other in turned)
    assert (seen == 1).all()
    assert [int(batch["target"]) for batch in data.val_dataloader()] == held.tolist()
