"""The data module: by itself, under a trainer, in several processes; exact after a stop."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import tifffile
import torch

from imtoolkit.config.sections import (
    CacheConfig,
    CacheKind,
    Component,
    DataConfig,
    LoaderConfig,
    PatchConfig,
    Role,
    SourceConfig,
    SplitConfig,
)
from imtoolkit.core.errors import ComponentError, DataError
from imtoolkit.core.facts import TargetKind, TargetSpec
from imtoolkit.data.cache import fill, store
from imtoolkit.data.cache.store import CacheError
from imtoolkit.data.datamodule import ImageDataModule
from tests.helpers.images import NUCLEI, section, write_images


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_images(tmp_path / "data", 8)


def folder(root: Path, **more: Any) -> Component:
    params = {"root": str(root), "image": "images/*.tif", "target": "labels/*.tif", **more}
    return Component("folder", params)


def test_facts_are_those_of_the_images(root: Path) -> None:
    facts = ImageDataModule(section(root), NUCLEI).facts
    assert facts.spatial_dims == 2
    assert facts.in_channels == 1
    assert facts.patch_size == (16, 16)
    assert facts.samples == {"train": 4, "val": 2, "test": 2}
    assert facts.steps_per_epoch == 4
    assert facts.class_pixels is not None
    assert sum(facts.class_pixels) == pytest.approx(1)
    data = ImageDataModule(section(root), NUCLEI)
    labels = np.concatenate(
        [data.images("train")[index].grids["target"].ravel() for index in range(4)]
    )
    assert facts.class_pixels[1] == pytest.approx((labels == 1).mean())
    assert facts.fingerprint == data.facts.fingerprint


def test_validation_and_test_give_whole_images_once_with_their_names(root: Path) -> None:
    data = ImageDataModule(section(root), NUCLEI)
    seen = []
    for split in ("val", "test"):
        for batch in data.dataloader(split):
            assert batch["image"].shape == (1, 1, 48, 40)
            assert type(batch["image"]) is torch.Tensor
            assert batch["dataset"] == ["data"]
            assert torch.isnan(batch["spacing"]).all()
            seen += batch["id"]
    manifest = data.manifest
    assert sorted(seen) == sorted(
        manifest.select("val").column("id") + manifest.select("test").column("id")
    )


def test_a_split_without_images_has_no_loader_and_says_so(root: Path) -> None:
    data = ImageDataModule(section(root, split=SplitConfig(val=0.2, test=0.0)), NUCLEI)
    assert data.test_dataloader() == []
    with pytest.raises(DataError, match="'naive'"):
        data.dataloader("naive")


def test_whole_images_of_unequal_size_need_a_patch(tmp_path: Path) -> None:
    root = write_images(tmp_path, 4)
    write_images(tmp_path / "other", 1, (30, 30))
    for name in ("images", "labels"):
        (tmp_path / "other" / name / "a0.tif").replace(root / name / "b.tif")
    config = section(root, patch=PatchConfig(), split=SplitConfig(val=0.0))
    data = ImageDataModule(config, NUCLEI)
    with pytest.raises(DataError, match=r"'48 x 40', '30 x 30'.*patch\.size"):
        data.prepare_data()
    alone = replace(config, loader=replace(config.loader, batch_size=1))
    assert ImageDataModule(alone, NUCLEI).facts.patch_size is None
    (root / "images" / "b.tif").unlink()
    (root / "labels" / "b.tif").unlink()
    data = ImageDataModule(config, NUCLEI)
    assert data.facts.patch_size == (48, 40)
    assert next(iter(data.train_dataloader()))["image"].shape == (4, 1, 48, 40)


def test_sources_have_roles_weights_and_names(tmp_path: Path) -> None:
    parts = {name: write_images(tmp_path / name, 4, seed=n) for n, name in enumerate("abcd")}
    config = section(
        parts["a"],
        sources={
            "rare": SourceConfig(folder(parts["a"]), Role.train, weight=3.0),
            "usual": SourceConfig(folder(parts["b"]), Role.train),
            "check": SourceConfig(folder(parts["c"]), Role.val),
            "unseen": SourceConfig(folder(parts["d"]), Role.naive),
        },
        loader=LoaderConfig(4, samples_per_epoch=16, workers=0),
        patch=PatchConfig([16, 16]),
    )
    data = ImageDataModule(config, NUCLEI)
    names = [name for batch in data.train_dataloader() for name in batch["dataset"]]
    assert names.count("rare") == 12
    assert names.count("usual") == 4
    assert {name for batch in data.dataloader("val") for name in batch["dataset"]} == {"check"}
    assert {name for batch in data.dataloader("naive") for name in batch["dataset"]} == {"unseen"}


def test_values_of_a_column_are_drawn_equally_often(tmp_path: Path) -> None:
    root = write_images(tmp_path, 8)
    lines = ["image,target,stain,split"]
    for number in range(8):
        stain = "blue" if number == 0 else "red"
        lines.append(f"images/a{number}.tif,labels/a{number}.tif,{stain},train")
    (root / "table.csv").write_text("\n".join(lines))
    config = section(
        root,
        sources={"t": SourceConfig(Component("csv", {"path": str(root / "table.csv")}))},
        split=SplitConfig(val=0.0),
        loader=LoaderConfig(2, samples_per_epoch=10, balance_by="stain", workers=0),
        patch=PatchConfig([16, 16]),
    )
    for batch in ImageDataModule(config, NUCLEI).train_dataloader():
        assert sorted(batch["stain"]) == ["blue", "red"]
    wrong = section(
        root,
        sources=config.sources,
        split=SplitConfig(val=0.0),
        loader=LoaderConfig(2, balance_by="stian"),
    )
    with pytest.raises(DataError, match="stain"):
        ImageDataModule(wrong, NUCLEI).prepare_data()


def test_arrays_in_memory_are_cached_by_their_content(tmp_path: Path) -> None:
    state = np.random.RandomState(0)
    images = [state.randint(0, 9, (20, 20)).astype(np.uint8) for _ in range(5)]
    labels = [(image > 4).astype(np.uint8) for image in images]

    def module() -> ImageDataModule:
        source = Component("arrays", {"image": images, "target": labels})
        config = DataConfig(
            sources={"a": SourceConfig(source)},
            axes="YX",
            split=SplitConfig(val=1),
            cache=CacheConfig(root=str(tmp_path / "cache")),
            loader=LoaderConfig(2, workers=0),
        )
        return ImageDataModule(config, NUCLEI)

    def by_id(data: ImageDataModule) -> dict[str, np.ndarray]:
        return {
            batch["id"][0]: batch["image"].numpy()[0, 0]
            for split in ("train", "val")
            for batch in data.dataloader(split)
        }

    first = by_id(module())
    assert sorted(map(np.sum, first.values())) == sorted(map(np.sum, images))
    images[2] = images[2] + 1
    second = by_id(module())
    changed = [name for name in first if not np.array_equal(first[name], second[name])]
    assert len(changed) == 1


def test_the_cost_map_comes_along_and_its_zeros_are_no_foreground(tmp_path: Path) -> None:
    for number in range(3):
        image = np.full((32, 32), 50, np.uint8)
        labels = np.zeros((32, 32), np.uint8)
        labels[2:10, 2:10] = 1
        labels[20:30, 20:30] = 1
        weight = np.ones((32, 32), np.uint8)
        weight[:16] = 0
        for part, pixels in (("IM", image + labels), ("GT", labels), ("CM", weight)):
            tifffile.imwrite(tmp_path / f"s{number}_{part}.tif", pixels)
    config = section(
        tmp_path,
        sources={"a": SourceConfig(Component("folder", {"root": str(tmp_path)}))},
        patch=PatchConfig([3, 3], 4, 1.0),
        split=SplitConfig(val=0.0),
        preprocess=[],
    )
    data = ImageDataModule(config, NUCLEI)
    for batch in data.train_dataloader():
        assert batch["weight"].dtype == torch.float32
        assert bool((batch["weight"] == 1).all())
        assert bool((batch["target"][:, 0, 1, 1] == 1).all())
    assert data.facts.class_pixels is not None
    assert data.facts.class_pixels[1] == pytest.approx(100 / 512)


def test_classes_and_numbers_of_a_table_become_tensors(tmp_path: Path) -> None:
    root = write_images(tmp_path, 4)
    rows = [f"images/a{number}.tif,{'cat' if number % 2 else 'dog'},train" for number in range(4)]
    (root / "t.csv").write_text("\n".join(["image,target,split", *rows]))
    config = section(
        root,
        sources={"t": SourceConfig(Component("csv", {"path": str(root / "t.csv")}))},
        split=SplitConfig(val=0.0),
        preprocess=[Component("normalize_zscore")],
    )
    target = TargetSpec(TargetKind.CLASS, ("dog", "cat"))
    for batch in ImageDataModule(config, target).train_dataloader():
        expected = [int(name[-1]) % 2 for name in batch["id"]]
        assert batch["target"].tolist() == expected


def test_wrong_components_are_found_before_any_image_is_read(root: Path) -> None:
    config = section(root / "nowhere", augment=[Component("flipz")])
    with pytest.raises(ComponentError, match="unknown transform 'flipz'"):
        ImageDataModule(config, NUCLEI).prepare_data()


def test_splits_are_written_and_decide_again(root: Path, tmp_path: Path) -> None:
    first = ImageDataModule(section(root), NUCLEI, seed=1)
    first.write_splits(tmp_path / "splits.csv")
    other = section(root, split=SplitConfig(val=0.5, test=0.1))
    again = ImageDataModule(other, NUCLEI, seed=9, splits_file=tmp_path / "splits.csv")
    assert again.manifest.column("split") == first.manifest.column("split")


def test_the_module_and_its_datasets_pickle(root: Path) -> None:
    data = ImageDataModule(section(root), NUCLEI)
    loader = data.train_dataloader()
    first = next(iter(loader))
    copied = pickle.loads(pickle.dumps(loader.dataset))
    visit = next(iter(data._train_sampler(0, 1).visits(0)))
    np.testing.assert_array_equal(np.asarray(copied[visit]["image"]), first["image"][0].numpy())
    again = pickle.loads(pickle.dumps(data))
    assert again.facts == data.facts


def test_a_pickled_dataset_is_small_whatever_the_number_of_samples(root: Path) -> None:
    data = ImageDataModule(section(root), NUCLEI)
    assert len(pickle.dumps(data.train_dataloader().dataset)) < 30_000


def test_samples_for_training_come_from_different_images(root: Path) -> None:
    config = replace(section(root), patch=replace(section(root).patch, per_image=3))
    data = ImageDataModule(config, NUCLEI)
    data.prepare_data()
    images = data.facts.samples["train"]
    ids = [batch["id"][0] for batch in data.samples("train", images + 2)]
    assert len(set(ids[:images])) == images
    assert len(ids) == images + 2


def test_the_preview_shows_samples_of_each_split(root: Path) -> None:
    data = ImageDataModule(section(root), NUCLEI)
    for split in ("train", "val"):
        figure = data.preview(split, count=2)
        assert len(figure.axes) >= 4  # image and target of both
    state = torch.random.get_rng_state()
    data.preview()
    assert torch.equal(torch.random.get_rng_state(), state)


SHARED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from imtoolkit.data.cache import dataset
from imtoolkit.data.cache import fill, store
from imtoolkit.data.cache.store import CacheError
from imtoolkit.data.datamodule import ImageDataModule
from tests.helpers.images import NUCLEI, section
compute = dataset.compute
def counted(row, *rest):
    print('computed', row['id'], flush=True)
    return compute(row, *rest)
dataset.compute = counted
data = ImageDataModule(section(Path(sys.argv[1])), NUCLEI)
data.prepare_data()
print('steps', data.facts.steps_per_epoch, data.facts.class_pixels, flush=True)
"""


def test_processes_share_the_work_and_none_is_done_twice(root: Path) -> None:
    here = str(Path(__file__).parents[3])
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SHARED, str(root), here],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2"},
        )
        for rank in range(2)
    ]
    lines = [process.communicate()[0].splitlines() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    computed = [line for part in lines for line in part if line.startswith("computed")]
    assert sorted(computed) == [f"computed a{number}" for number in range(8)]
    assert lines[0][-1] == lines[1][-1]
    assert lines[0][-1].startswith("steps 2 ")  # 4 images x 4 patches on two ranks, batches of 4


class Recorder(pl.LightningModule):
    """Notes what each step got; weights that depend on every batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(1, 1, 3)
        self.seen: list[tuple[int, list[str], float]] = []

    def training_step(self, batch: Any, _: int) -> Any:
        self.seen.append((self.current_epoch, batch["id"], float(batch["image"].sum())))
        return (self.layer(batch["image"]) ** 2).mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


class SaveAt(pl.Callback):
    """Saves a checkpoint after one batch, or at the end of one epoch, and keeps going."""

    def __init__(self, path: Path, step: int | None = None, epoch: int | None = None) -> None:
        self.path, self.step, self.epoch = path, step, epoch

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer: Any, _: Any) -> None:
        if trainer.current_epoch == self.epoch:
            trainer.save_checkpoint(self.path)


def train(
    config: DataConfig, folder: Path, *callbacks: pl.Callback, resume: Path | None = None
) -> Recorder:
    torch.manual_seed(0)
    module = Recorder()
    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        limit_val_batches=0,
        default_root_dir=folder,
        callbacks=list(callbacks),
    )
    trainer.fit(module, datamodule=ImageDataModule(config, NUCLEI), ckpt_path=resume)
    return module


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("when", [{"step": 2}, {"step": 6}, {"step": 4}, {"epoch": 1}])
def test_a_resumed_training_sees_exactly_the_batches_that_were_left(
    root: Path, tmp_path: Path, workers: int, when: dict[str, int]
) -> None:
    config = section(root, loader=LoaderConfig(4, workers=workers))  # four batches an epoch
    checkpoint = tmp_path / "stopped.ckpt"
    whole = train(config, tmp_path, SaveAt(checkpoint, **when))
    resumed = train(config, tmp_path, resume=checkpoint)
    done = when.get("step", 8)
    assert [seen[1:] for seen in whole.seen[done:]] == [seen[1:] for seen in resumed.seen]
    assert [seen[0] for seen in whole.seen] == [0] * 4 + [1] * 4 + [2] * 4
    for one, two in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, two)


def test_workers_do_not_grow_with_the_images_that_they_visit(tmp_path: Path) -> None:
    """Resident memory after many visits stays near that after a few."""
    root = write_images(tmp_path, 12, (512, 512))
    config = section(root, patch=PatchConfig([64, 64], 2), split=SplitConfig(val=0.0))
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_visit, args=(config, queue))
    process.start()
    few, many = queue.get(timeout=120), queue.get(timeout=120)
    process.join()
    assert many - few < 30e6


def _visit(config: DataConfig, queue: Any) -> None:
    import psutil

    loader = ImageDataModule(config, NUCLEI, workers=0).train_dataloader()
    list(loader)
    queue.put(psutil.Process().memory_info().rss)
    for _ in range(40):
        list(loader)
    queue.put(psutil.Process().memory_info().rss)


@pytest.mark.realdata
def test_real_images_train_in_place(real_data: Path, tmp_path: Path) -> None:
    source = Component("nnunet", {"root": str(real_data / "msd_task04_hippocampus")})
    config = DataConfig(
        sources={"hippocampus": SourceConfig(source)},
        split=SplitConfig(val=0.2),
        patch=PatchConfig([32, 40, 32], 2, 0.5),
        preprocess=[Component("normalize_zscore")],
        augment=[Component("flips")],
        cache=CacheConfig(CacheKind.none, str(tmp_path)),
        loader=LoaderConfig(4, samples_per_epoch=4, workers=0),
    )
    data = ImageDataModule(
        config, TargetSpec(TargetKind.LABELS, ("background", "anterior", "posterior"))
    )
    assert data.facts.spacing == pytest.approx((1, 1, 1))
    assert data.facts.spacing_unit == "millimeter"
    batch = next(iter(data.train_dataloader()))
    assert batch["affine"].shape == (4, 4, 4)
    assert set(batch["target"].unique().tolist()) <= {0, 1, 2}


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_a_worker_reads_like_one_in_this_process(root: Path, workers: int) -> None:
    config = section(
        root,
        augment=[Component("SpatialPadd", {"keys": ["image", "mask"], "spatial_size": [20, 20]})],
        loader=LoaderConfig(4, workers=workers),
    )
    with pytest.raises(DataError) as caught:
        list(ImageDataModule(config, NUCLEI).train_dataloader())
    text = str(caught.value)
    assert "SpatialPadd of data.augment failed" in text
    assert "Traceback" not in text
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_a_disk_that_fills_up_stops_the_preparation_at_once(
    root: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "write_file", full)
    monkeypatch.setattr(fill, "_start_seconds", lambda: -1.0 if workers else 1e9)
    with pytest.raises(CacheError, match="disk is full") as caught:
        ImageDataModule(section(root), NUCLEI).prepare_data()
    assert "Traceback" not in str(caught.value)
    assert not list(root.rglob("*.item"))


def test_images_are_prepared_in_workers_as_in_this_process(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = ImageDataModule(section(root), NUCLEI)
    monkeypatch.setattr(fill, "_start_seconds", lambda: -1.0)
    monkeypatch.setattr(fill, "usable_cores", lambda: 2)
    together = ImageDataModule(section(root, cache=CacheConfig(root=str(root / "b"))), NUCLEI)
    assert alone.facts == together.facts
    files = [sorted(path.name for path in (root / name).rglob("*.item")) for name in ("cache", "b")]
    assert files[0] == files[1]
    for name in files[0]:
        first, second = (next((root / part).rglob(name)) for part in ("cache", "b"))
        assert first.read_bytes() == second.read_bytes()
    (root / "images" / "a1.tif").write_bytes(b"text")
    (root / "images" / "a6.tif").write_bytes(b"text")
    with pytest.raises(DataError) as caught:
        ImageDataModule(section(root), NUCLEI).prepare_data()
    assert [problem.where for problem in caught.value.problems] == ["a1", "a6"]
