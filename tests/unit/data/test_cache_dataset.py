"""The cache never lies: what may change an item changes its key, and nothing else does."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from monai.data import PersistentDataset

from imtoolkit.cli.main import main
from imtoolkit.config import plugins
from imtoolkit.config.sections import (
    CacheConfig,
    CacheKind,
    Component,
    DataConfig,
    LoaderConfig,
    SplitConfig,
)
from imtoolkit.core.errors import ComponentError, DataError
from imtoolkit.core.facts import TargetKind, TargetSpec
from imtoolkit.data.cache import dataset as dataset_module
from imtoolkit.data.cache import keys
from imtoolkit.data.cache.foreground import find_foreground
from imtoolkit.data.cache.manage import inspect, verify
from imtoolkit.data.cache.store import CacheError
from imtoolkit.data.datamodule import ImageDataModule
from tests.helpers.images import NUCLEI, section, write_images


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_images(tmp_path)


def prepared(config: DataConfig, target: TargetSpec = NUCLEI, **more: Any) -> ImageDataModule:
    data = ImageDataModule(config, target, **more)
    data.prepare_data()
    return data


def count_computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the id of every sample that is computed from now on."""
    seen: list[str] = []
    compute = dataset_module.compute

    def counted(row: Any, *rest: Any) -> Any:
        seen.append(row["id"])
        return compute(row, *rest)

    monkeypatch.setattr(dataset_module, "compute", counted)
    return seen


def test_the_second_run_computes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = count_computed(monkeypatch)
    first = prepared(section(root))
    assert len(seen) == 6
    second = prepared(section(root))
    assert len(seen) == 6
    assert second.facts == first.facts


@pytest.mark.parametrize(
    "changes",
    [
        {"split": SplitConfig(val=0.5, test=0.0, seed=4)},
        {"loader": LoaderConfig(batch_size=2)},
        {"augment": []},
    ],
)
def test_split_loader_and_augment_have_no_part_in_the_key(
    root: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    prepared(section(root))
    seen = count_computed(monkeypatch)
    prepared(section(root, **changes))
    assert seen == []


@pytest.mark.parametrize(
    "changes",
    [
        {"preprocess": [Component("normalize_zscore"), Component("binarize_target")]},
        {
            "preprocess": [
                Component("normalize_percentiles", {"lower": 1}),
                Component("binarize_target"),
            ]
        },
        {"preprocess": [Component("binarize_target"), Component("normalize_percentiles")]},
        {"channels": [0]},
        {"reader": Component("BioImageReader")},
    ],
)
def test_another_preprocessing_or_reading_makes_all_anew(
    root: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    prepared(section(root))
    seen = count_computed(monkeypatch)
    prepared(section(root, **changes))
    assert len(seen) == 6


@pytest.mark.parametrize("folder", ["images", "labels"])
def test_a_changed_file_is_made_anew_even_with_its_old_time_and_size(
    root: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    prepared(section(root))
    seen = count_computed(monkeypatch)
    path = root / folder / "a3.tif"
    before, pixels = path.stat(), tifffile.imread(path)
    tifffile.imwrite(path, np.ascontiguousarray(pixels[::-1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    data = prepared(section(root))
    assert seen == ["a3"]
    place = data.manifest.column("id").index("a3")
    split = data.manifest.row(place)["split"]
    images = data.images(split)
    item = images[images.data.column("id").index("a3")]
    if folder == "labels":
        np.testing.assert_array_equal(item.grids["target"][0], pixels[::-1] > 0)


def test_another_version_of_a_package_or_of_our_source_makes_all_anew(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(section(root))
    seen = count_computed(monkeypatch)
    monkeypatch.setattr(keys, "_installed", lambda: (("monai", "0.0"),))
    prepared(section(root))
    assert len(seen) == 6
    monkeypatch.setattr(keys, "_own_sources", lambda: {"imtoolkit.io": "other"})
    prepared(section(root))
    assert len(seen) == 12


PLUGIN = """
from monai.transforms import MapTransform

class Halve(MapTransform):
    def __init__(self, keys=("image",)):
        super().__init__(keys)

    def __call__(self, data):
        return {**data, "image": data["image"] / FACTOR}

def shifted(data, by):
    return {**data, "image": data["image"] + by}
"""


def test_the_source_of_a_plugin_has_a_part_in_the_key(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = section(root, preprocess=[Component("binarize_target"), Component("Halve")])
    values = []
    for number, factor in enumerate((2, 4)):
        file = tmp_path / f"v{number}" / "halving.py"
        file.parent.mkdir()
        file.write_text(PLUGIN.replace("FACTOR", str(factor)))
        data = prepared(config, plugins=[str(file)])
        values.append(data.images("train")[0].grids["image"].max())
    assert values[0] == pytest.approx(2 * values[1])


def test_a_plugins_function_is_wrapped_and_cached(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "shifting.py"
    file.write_text(PLUGIN.replace("FACTOR", "2"))
    steps = [Component("binarize_target"), Component("shifted", {"by": 1000.0})]
    data = prepared(section(root, preprocess=steps), plugins=[str(file)])
    assert data.images("train")[0].grids["image"].min() >= 1000


def test_plugins_are_found_in_spawned_workers(root: Path, tmp_path: Path) -> None:
    import multiprocessing

    from torch.utils.data import DataLoader

    file = tmp_path / "spawning.py"
    file.write_text(PLUGIN.replace("FACTOR", "2").replace("Halve", "HalveInWorker"))
    config = section(root, augment=[Component("HalveInWorker")])
    loader = ImageDataModule(config, NUCLEI, plugins=[str(file)]).train_dataloader()
    spawned = DataLoader(
        loader.dataset,
        batch_sampler=loader.batch_sampler,
        collate_fn=loader.collate_fn,
        num_workers=1,
        multiprocessing_context=multiprocessing.get_context("spawn"),
    )
    once = [batch["image"] for batch in spawned]
    again = ImageDataModule(config, NUCLEI, plugins=[str(file)]).train_dataloader()
    for mine, theirs in zip([batch["image"] for batch in again], once, strict=True):
        assert (mine == theirs).all()


def test_torn_and_deleted_items_are_made_anew_in_the_middle_of_a_run(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = prepared(section(root))
    images = data.images("train")
    expected = images[0].grids["image"].copy()
    assert images.store is not None
    path = images.store.path(images.key(0))
    for breakage in (lambda: path.unlink(), lambda: path.write_bytes(path.read_bytes()[:5000])):
        breakage()
        images._open.clear()
        np.testing.assert_array_equal(images[0].grids["image"], expected)
    # but not from a file that has changed since the run began
    path.unlink()
    images._open.clear()
    source = Path(images.data.row(0)["image"])
    tifffile.imwrite(source, tifffile.imread(source)[::-1])
    with pytest.raises(DataError, match="changed while the run was using it"):
        images[0]


def test_set_data_deletes_nothing(root: Path) -> None:
    data = prepared(section(root))
    images = data.images("train")
    assert isinstance(images, PersistentDataset)
    assert images.store is not None
    before = sorted(images.store.folder.rglob("*"))
    images.set_data(data.images("val").data)
    assert sorted(images.store.folder.rglob("*")) == before
    assert len(images) == len(data.images("val"))
    np.testing.assert_array_equal(images[0].grids["image"], data.images("val")[0].grids["image"])


def test_arrays_are_small_mapped_and_read_only(root: Path) -> None:
    item = prepared(section(root)).images("train")[0]
    assert item.grids["image"].dtype == np.float32
    assert item.grids["target"].dtype == np.uint8
    assert not item.grids["image"].flags.writeable
    assert item.meta["shape"] == [1, 48, 40]
    assert set(item.meta["counts"]) == {"0", "1"}
    labels = item.grids["target"].ravel()
    np.testing.assert_array_equal(item.foreground[0], np.flatnonzero(labels == 1))


def test_a_worker_keeps_few_maps_open(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_module, "_MOST_OPEN", 2)
    images = prepared(section(root)).images("train")
    for index in range(len(images)):
        images[index]
    assert len(images._open) == 2
    monkeypatch.setattr(dataset_module, "_MOST_BYTES", 1000)
    images.touch(images[0], 5000)
    assert len(images._open) == 0
    assert images._touched == 0


def test_foreground_counts_what_the_cost_map_keeps() -> None:
    target = np.array([[[0, 1, 1, 2]]], np.uint8)
    weight = np.array([[[1, 1, 0, 0]]], np.float32)
    counts, pixels = find_foreground(target, weight, TargetKind.LABELS)
    assert counts == {0: 1, 1: 1}
    assert {label: places.tolist() for label, places in pixels.items()} == {1: [1]}
    counts, pixels = find_foreground(target, None, TargetKind.INSTANCES)
    assert counts == {0: 1, 1: 3}
    # equally many pixels of each object, whatever its size
    assert pixels[1].shape == (2, 2)
    assert sorted(set(pixels[1].ravel().tolist())) in ([1, 3], [1, 2, 3], [2, 3])


def test_at_most_ten_thousand_foreground_pixels_are_kept_from_everywhere() -> None:
    target = np.zeros((1, 300, 300), np.uint8)
    target[0, :, 100:] = 1
    _, pixels = find_foreground(target, None, TargetKind.LABELS)
    assert len(pixels[1]) == 10_000
    assert (np.diff(pixels[1]) >= 0).all()
    rows = pixels[1] // 300
    assert rows.min() < 10
    assert rows.max() > 290
    again = find_foreground(target, None, TargetKind.LABELS)[1]
    np.testing.assert_array_equal(pixels[1], again[1])


def test_all_bad_samples_are_named_at_once_and_the_good_ones_are_kept(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "images" / "a1.tif").write_bytes(b"text")
    pixels = tifffile.imread(root / "images" / "a4.tif").astype(np.float32)
    pixels[3, 3] = np.nan
    tifffile.imwrite(root / "images" / "a4.tif", pixels)
    tifffile.imwrite(root / "labels" / "a5.tif", np.zeros((5, 5), np.uint8))
    with pytest.raises(DataError) as caught:
        prepared(section(root))
    assert [problem.where for problem in caught.value.problems] == ["a1", "a4", "a5"]
    assert all(Path(problem.file).is_file() for problem in caught.value.problems)
    seen = count_computed(monkeypatch)
    write_images(root)
    with pytest.raises(DataError):  # a5 has another size, written by someone in the meantime
        tifffile.imwrite(root / "labels" / "a5.tif", np.zeros((5, 5), np.uint8))
        prepared(section(root))
    assert "a0" in seen  # rewritten, so a new file


def test_labels_outside_the_classes_are_refused_unless_they_are_mapped(root: Path) -> None:
    with pytest.raises(DataError, match=r"binarize_target|map_labels"):
        prepared(section(root, preprocess=[Component("normalize_percentiles")]))


def test_fractions_as_labels_after_an_interpolation_are_refused(root: Path) -> None:
    zoom = Component("Resized", {"keys": ["image", "target"], "spatial_size": [30, 30]})
    zoom = replace(zoom, params={**zoom.params, "mode": "bilinear"})
    floats = Component("CastToTyped", {"keys": "target", "dtype": "float32"})
    with pytest.raises((DataError, ComponentError)):
        prepared(section(root, preprocess=[Component("binarize_target"), floats, zoom]))


def test_channels_that_vary_are_refused_with_examples(root: Path) -> None:
    for number in (1, 2):
        path = root / "images" / f"a{number}.tif"
        pixels = tifffile.imread(path)
        tifffile.imwrite(path, np.stack([pixels, pixels]), metadata={"axes": "CYX"})
    with pytest.raises(DataError, match="channels"):
        prepared(section(root, axes=None))


def test_a_cache_folder_that_is_a_file_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("")
    with pytest.raises(CacheError, match="IMTOOLKIT_CACHE"):
        prepared(section(root, cache=CacheConfig(root=str(tmp_path / "blocked"))))


def test_verify_reads_all_and_recomputes_some(root: Path) -> None:
    config = section(root)
    prepared(config)
    cache = Path(str(config.cache.root))
    found = verify(cache, recompute=3)
    assert (found.items, found.recomputed, found.is_sound) == (6, 3, True)
    assert found.skipped == {}


def test_verify_removes_what_is_broken_or_comes_out_different(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = section(root)
    prepared(config)
    cache = Path(str(config.cache.root))
    paths = sorted(cache.rglob("*.item"))
    whole = bytearray(paths[0].read_bytes())
    whole[4096 + 7] ^= 1
    paths[0].write_bytes(whole)
    paths[1].write_bytes(paths[1].read_bytes()[:-10])
    found = verify(cache, recompute=0)
    assert (found.damaged, found.torn, found.items) == ([paths[0]], [paths[1]], 5)
    assert not paths[0].exists()
    assert not paths[1].exists()

    from imtoolkit.data.transforms.intensity import NormalizePercentiles

    monkeypatch.setattr(NormalizePercentiles, "change", lambda self, image: image + 1)
    found = verify(cache, recompute=10)
    assert len(found.different) == 4
    assert not found.is_sound
    assert not list(cache.rglob("*.item"))


def test_verify_tells_stale_items_and_foreign_versions(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = section(root)
    prepared(config)
    cache = Path(str(config.cache.root))
    for path in (root / "images").iterdir():
        tifffile.imwrite(path, tifffile.imread(path)[::-1])
    found = verify(cache, recompute=6)
    assert (found.stale, found.recomputed, found.is_sound) == (6, 0, True)
    monkeypatch.setattr(keys, "_installed", lambda: (("monai", "0.0"),))
    assert "other versions" in next(iter(verify(cache).skipped.values()))


def test_the_command_line_lists_verifies_and_clears(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = section(root)
    data = prepared(config)
    where = ["--root", str(config.cache.root)]
    assert main(["cache", "list", *where]) == 0
    text = capsys.readouterr().out
    assert "normalize_percentiles, binarize_target" in text
    assert "yes" in text
    assert main(["cache", "verify", *where]) == 0
    assert main(["cache", "clear", *where]) == 0
    assert "spared" in capsys.readouterr().out
    assert len(inspect(Path(where[1]))) == 1
    data._release()
    assert main(["cache", "clear", *where]) == 0
    assert "removed 6 images" in capsys.readouterr().out
    assert main(["cache", "verify", *where, "--samples", "-1"]) == 2


@pytest.mark.parametrize("kind", [CacheKind.memory, CacheKind.none])
def test_other_kinds_give_the_same_images_and_write_nothing(root: Path, kind: CacheKind) -> None:
    kept = prepared(section(root))
    cache = root / "other"
    data = prepared(section(root, cache=CacheConfig(kind, str(cache))))
    assert data.facts == kept.facts
    for index in range(len(data.images("train"))):
        mine, theirs = data.images("train")[index], kept.images("train")[index]
        for key in ("image", "target"):
            np.testing.assert_array_equal(mine.grids[key], theirs.grids[key])
        np.testing.assert_array_equal(mine.foreground[0], theirs.foreground[0])
    assert not cache.exists()


def test_images_in_memory_are_read_once_for_the_kind_memory(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = count_computed(monkeypatch)
    data = prepared(section(root, cache=CacheConfig(CacheKind.memory)))
    list(data.train_dataloader())
    assert len(seen) == 6


def test_trusted_plugins_only_are_recomputed_by_verify(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "verifying.py"
    file.write_text(PLUGIN.replace("FACTOR", "2").replace("Halve", "HalveForVerify"))
    config = section(root, preprocess=[Component("binarize_target"), Component("HalveForVerify")])
    prepared(config, plugins=[str(file)])
    cache = Path(str(config.cache.root))
    assert "not trusted" in next(iter(verify(cache).skipped.values()))
    plugins.trust([str(file)])
    assert verify(cache).recomputed == 3
