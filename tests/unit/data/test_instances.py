"""Objects from file to batch: maps after augmentation, patches around each, numbers that stay."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from scipy import ndimage

from imtoolkit import io
from imtoolkit.config.sections import (
    AugmentOn,
    CacheConfig,
    CacheKind,
    Component,
    LoaderConfig,
    PatchConfig,
    SplitConfig,
)
from imtoolkit.core.batch import CENTRE_OFFSETS, DISTANCE, IMAGE, PIXEL_CLASSES, TARGET, WEIGHT
from imtoolkit.core.errors import ConfigError, DataError
from imtoolkit.core.facts import TargetKind, TargetMap, TargetSpec
from imtoolkit.data.batched.place import on_device
from imtoolkit.data.cache import keys
from imtoolkit.data.cache.dataset import Item
from imtoolkit.data.cache.foreground import MOST_PIXELS, find_foreground
from imtoolkit.data.datamodule import ImageDataModule
from imtoolkit.data.patches import choose_start
from imtoolkit.data.preprocess import Preprocessor
from imtoolkit.data.samplers import Visit
from imtoolkit.data.target_maps import make_map, try_maps
from imtoolkit.io.picture import Picture
from imtoolkit.labels import centre_offsets, distance_map, pixel_classes, relabel
from tests.helpers.images import section

MAPS = (
    TargetMap(PIXEL_CLASSES, {"width": 1}),
    TargetMap(DISTANCE, {"normalize": False}),
    TargetMap(CENTRE_OFFSETS, {"centre": "medoid"}),
)
OBJECTS = TargetSpec(TargetKind.INSTANCES, maps=MAPS)
AFFINE = Component("random_affine", {"degrees": 30, "scale": 0.2, "shift": 0.3, "prob": 1.0})


def squares(shape: tuple[int, ...], seed: int, count: int = 12) -> np.ndarray:
    """Draw boxes on a grid of cells, each in one part, some of them touching."""
    state = np.random.RandomState(seed)
    labels = np.zeros(shape, np.uint16)
    for number in range(1, count + 1):
        corner = [state.randint(0, side - 4) for side in shape]
        box = tuple(slice(at, at + state.randint(3, 8)) for at in corner)
        labels[box][labels[box] == 0] = number
    for number in range(1, count + 1):  # what is left of a covered box may be in pieces
        parts, found = ndimage.label(labels == number, np.ones((3,) * labels.ndim))
        for part in range(2, found + 1):
            labels[parts == part] = 0
    return labels


def write(root: Path, images: list[np.ndarray], *, weights: bool = False) -> Path:
    """Write label images, and beside each an image that shows its labels."""
    for folder in ("images", "labels", "weights"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number, labels in enumerate(images):
        name = f"a{number:02}.tif"
        tifffile.imwrite(root / "images" / name, (labels.astype(np.float32) + 0.5))
        tifffile.imwrite(root / "labels" / name, labels)
        if weights:
            cost = np.ones(labels.shape, np.float32)
            cost[..., : labels.shape[-1] // 2] = 0
            tifffile.imwrite(root / "weights" / name, cost)
    return root


def module(root: Path, spec: TargetSpec = OBJECTS, **changes: Any) -> ImageDataModule:
    fields: dict[str, Any] = {
        "preprocess": [],
        "split": SplitConfig(val=1),
        "patch": PatchConfig([32, 32], per_image=4, foreground=0.5),
        "loader": LoaderConfig(batch_size=4, workers=0),
        **changes,
    }
    return ImageDataModule(section(root, **fields), spec)


def require_maps(batch: dict[str, Any]) -> None:
    """Compare every map of a batch with what the pure functions make of its objects."""
    for place, labels in enumerate(batch[TARGET][:, 0].numpy()):
        for key, made in (
            (PIXEL_CLASSES, pixel_classes(labels)[None]),
            (DISTANCE, distance_map(labels, normalize=False)[None]),
            (CENTRE_OFFSETS, centre_offsets(labels, "medoid")),
        ):
            np.testing.assert_array_equal(batch[key][place].numpy(), made)


@pytest.mark.parametrize("shape", [(48, 40), (10, 36, 40)])
def test_maps_are_made_of_the_objects_as_augmentation_left_them(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    root = write(tmp_path, [squares(shape, seed) for seed in range(4)])
    data = module(
        root,
        axes="ZYX"[-len(shape) :],
        augment=[Component("flips"), Component("rotations_90"), AFFINE],
        patch=PatchConfig([8, 32, 32][-len(shape) :], per_image=4, foreground=0.5),
    )
    dims = len(shape)
    for batch in [*data.train_dataloader(), *data.val_dataloader(), *data.samples("train", 3)]:
        assert not torch.is_floating_point(batch[TARGET])
        assert batch[PIXEL_CLASSES].dtype == torch.uint8
        assert batch[DISTANCE].dtype == batch[CENTRE_OFFSETS].dtype == torch.float32
        assert batch[PIXEL_CLASSES].shape == batch[TARGET].shape == batch[DISTANCE].shape
        assert batch[CENTRE_OFFSETS].shape[1] == dims
        require_maps(batch)
    # the image shows the labels, so that it tells whether objects moved as it did
    batch = next(iter(module(root, axes="ZYX"[-dims:], patch=data.config.patch).train_dataloader()))
    assert torch.equal(batch[IMAGE].floor().long(), batch[TARGET].long())


def test_maps_come_from_workers_and_are_the_same(tmp_path: Path) -> None:
    root = write(tmp_path, [squares((40, 40), seed) for seed in range(4)])
    here = list(module(root, augment=[AFFINE]).train_dataloader())
    away = module(root, augment=[AFFINE], loader=LoaderConfig(batch_size=4, workers=1))
    for one, other in zip(here, away.train_dataloader(), strict=True):
        for key in (IMAGE, TARGET, PIXEL_CLASSES, DISTANCE, CENTRE_OFFSETS):
            assert torch.equal(one[key], other[key])


def test_cost_maps_move_with_the_objects_and_are_mirrored_with_them(tmp_path: Path) -> None:
    root = write(tmp_path, [squares((40, 20), seed) for seed in range(3)], weights=True)
    config = section(root).sources["data"].source
    assert isinstance(config, Component)
    source = Component(config.name, {**config.params, "weight": "weights/*.tif"})
    data = module(
        root,
        sources={"data": type(section(root).sources["data"])(source)},
        augment=[Component("flips"), Component("rotations_90")],
    )
    for batch in data.train_dataloader():
        assert batch[WEIGHT].shape == batch[TARGET].shape
        assert 0.3 < float(batch[WEIGHT].mean()) < 0.7
        require_maps(batch)


def one_part_each(labels: np.ndarray) -> bool:
    structure = np.ones((3,) * labels.ndim)
    return all(
        ndimage.label(labels == number, structure)[1] == 1
        for number in np.unique(labels[labels > 0])
    )


def test_an_object_that_padding_shows_twice_is_two_objects(tmp_path: Path) -> None:
    labels = np.zeros((24, 24), np.uint16)
    labels[4:7, 4:7], labels[10:14, 0:3], labels[18:20, 20:24] = 3, 5, 9
    root = write(tmp_path, [labels] * 3)
    data = module(root, patch=PatchConfig([56, 56]))
    for batch in data.train_dataloader():
        for patch in batch[TARGET][:, 0].numpy():
            assert one_part_each(patch)
            # 16 pixels more on each side: 3 and its mirror images; 5 and 9 grow over the border
            assert {3, 5, 9} <= set(np.unique(patch).tolist())
            assert len(np.unique(patch)) - 1 > 6
            assert (patch == 5).sum() == 2 * 12
        require_maps(batch)


@pytest.mark.parametrize("axes", ["YX", "ZYX"])
def test_padding_before_the_cache_tells_mirrored_objects_apart(tmp_path: Path, axes: str) -> None:
    shape = (20, 20) if axes == "YX" else (6, 20, 20)
    labels = np.zeros(shape, np.uint16)
    labels[..., 2:4, 2:4] = 7
    root = write(tmp_path, [labels] * 2)
    data = module(
        root,
        axes=axes,
        preprocess=[Component("pad_to_multiple", {"multiple": 16})],
        patch=PatchConfig([16] * len(shape)),
        split=SplitConfig(val=1),
    )
    (batch,) = data.samples("val", 1)
    found = batch[TARGET][0, 0].numpy()
    assert found.shape[-2:] == (32, 32)
    assert one_part_each(found)
    assert len(np.unique(found)) - 1 == 4  # itself, its images across two borders, and the corner


@pytest.mark.parametrize("axes", ["YX", "ZYX"])
def test_objects_that_reflection_shows_twice_get_numbers_of_their_own(
    tmp_path: Path, axes: str
) -> None:
    shape = (40, 40) if axes == "YX" else (8, 40, 40)
    root = write(tmp_path, [squares(shape, seed, 6) for seed in range(3)])
    patch = PatchConfig([8, 40, 40][-len(shape) :], per_image=6)
    data = module(root, axes=axes, augment=[AFFINE], patch=patch)
    more = 0
    for batch in data.train_dataloader():
        for labels in batch[TARGET][:, 0].numpy():
            assert one_part_each(labels)
            more += labels.max() > 6
    assert more > 0  # some were mirrored


def test_monais_transforms_move_objects_too_but_may_not_interpolate_them(tmp_path: Path) -> None:
    root = write(tmp_path, [squares((40, 40), seed) for seed in range(3)])

    def affine(mode: list[str]) -> Component:
        params = {"keys": ["image", "target"], "mode": mode, "prob": 1.0, "rotate_range": 0.5}
        return Component("RandAffined", params)

    batch = next(iter(module(root, augment=[affine(["bilinear", "nearest"])]).train_dataloader()))
    assert not torch.is_floating_point(batch[TARGET])
    require_maps(batch)
    with pytest.raises(DataError, match="interpolated them"):
        next(iter(module(root, augment=[affine(["bilinear", "bilinear"])]).train_dataloader()))


def test_where_objects_move_nothing_is_left_to_the_device(tmp_path: Path) -> None:
    root = write(tmp_path, [squares((40, 40), 0)])
    still = section(root, augment=[Component("gaussian_noise")])
    moving = section(root, augment=[Component("gaussian_noise"), Component("flips")])
    assert on_device(still, gpu=True, workers=2, instances=True)
    assert on_device(moving, gpu=True, workers=2)
    assert not on_device(moving, gpu=True, workers=2, instances=True)
    forced = section(root, augment=[Component("flips")], augment_on=AugmentOn.device)
    with pytest.raises(ConfigError, match=r"(?s)'flips' moves objects.*augment_on: worker"):
        on_device(forced, gpu=True, workers=2, instances=True)
    with pytest.raises(ConfigError, match="moves objects"):
        module(root, augment=[Component("flips")], augment_on=AugmentOn.device).prepare_data()


# --- patches around objects -----------------------------------------------------------------------


def item_of(labels: np.ndarray, weight: np.ndarray | None = None) -> Item:
    _, foreground = find_foreground(labels[None], weight, TargetKind.INSTANCES)
    grids = {IMAGE: np.zeros((1, *labels.shape), np.float32), TARGET: labels[None]}
    return Item(grids, list(foreground.values()), {})


@pytest.mark.parametrize("shape", [(90, 90), (9, 60, 60)])
def test_every_object_is_the_centre_of_equally_many_patches(shape: tuple[int, ...]) -> None:
    labels = np.zeros(shape, np.uint16)
    labels[..., 30:, 3:58] = 1  # most of the image
    for number in range(2, 11):  # nine of a few pixels
        labels[..., 2 * number, 5 * number : 5 * number + 2] = number
    item = item_of(labels)
    patch = PatchConfig([3] * len(shape), 5, 1.0)
    centres = []
    for epoch in range(20):
        for number in range(5):
            start = choose_start(
                item,
                patch.size or [],
                patch,
                Visit(epoch, 0, number),
                np.random.RandomState(epoch * 5 + number),
            )
            centres.append(tuple(at + 1 for at in start))
    drawn = np.bincount([labels[centre] for centre in centres], minlength=11)
    assert drawn[1:].tolist() == [10] * 10
    big = {centre for centre in centres if labels[centre] == 1}
    assert len(big) > 5  # another pixel of it each time


def test_positions_are_bounded_whatever_the_number_of_objects() -> None:
    labels = np.zeros((300, 300), np.int32)
    labels[::2, ::2] = np.arange(1, 150 * 150 + 1).reshape(150, 150)
    counts, found = find_foreground(labels[None], None, TargetKind.INSTANCES)
    assert counts == {0: 300 * 300 - 22500, 1: 22500}
    assert found[1].shape == (MOST_PIXELS, 1)
    assert len(np.unique(labels.ravel()[found[1]])) == MOST_PIXELS
    again = find_foreground(labels[None], None, TargetKind.INSTANCES)[1]
    np.testing.assert_array_equal(found[1], again[1])
    few = find_foreground((labels < 4)[None] * labels[None], None, TargetKind.INSTANCES)[1][1]
    assert few.shape == (3, 1)


def test_objects_that_the_cost_map_ignores_are_no_centres() -> None:
    labels = np.zeros((20, 20), np.uint8)
    labels[2:5, 2:5], labels[10:12, 10:14] = 1, 2
    weight = np.ones((1, 20, 20), np.float32)
    weight[:, :6] = 0
    weight[:, 10] = 0
    counts, found = find_foreground(labels[None], weight, TargetKind.INSTANCES)
    assert counts == {0: 13 * 20 - 4, 1: 4}
    assert len(found[1]) == 1
    rows = found[1] // 20
    assert set(rows.ravel().tolist()) == {11}
    empty = find_foreground(labels[None], np.zeros_like(weight), TargetKind.INSTANCES)
    assert empty == ({}, {})


# --- numbers that stay ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seventy_thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write two images of 70,225 objects of one or two pixels."""
    side = 265
    labels = np.zeros((2 * side, 3 * side), np.uint32)
    labels[::2, ::3] = np.arange(1, side * side + 1).reshape(side, side)
    labels[::2, 1::3] = labels[::2, ::3] * (np.arange(side) % 2)
    return write(tmp_path_factory.mktemp("many"), [labels] * 2)


@pytest.mark.slow
def test_more_objects_than_sixteen_bits_count_stay_apart_to_the_batch(
    seventy_thousand: Path,
) -> None:
    truth = tifffile.imread(seventy_thousand / "labels" / "a00.tif")
    spec = TargetSpec(TargetKind.INSTANCES, maps=(TargetMap(CENTRE_OFFSETS),))
    data = module(
        seventy_thousand,
        spec,
        augment=[Component("flips"), AFFINE],
        patch=PatchConfig([64, 96], per_image=2, foreground=1.0),
    )
    assert data.facts.objects == {"train": 70225, "val": 70225}
    (whole,) = data.samples("val", 1)
    np.testing.assert_array_equal(whole[TARGET][0, 0].numpy(), truth)
    assert whole[CENTRE_OFFSETS].abs().max() == 0.5
    plain = module(
        seventy_thousand, spec, augment=[], patch=PatchConfig([530, 795]), cache=data.config.cache
    )
    (patch,) = plain.samples("train", 1)
    np.testing.assert_array_equal(patch[TARGET][0, 0].numpy(), truth)
    flipped = module(
        seventy_thousand,
        spec,
        augment=[Component("flips", {"prob": 1.0})],
        patch=PatchConfig([530, 795]),
        cache=data.config.cache,
    )
    (patch,) = flipped.samples("train", 1)
    np.testing.assert_array_equal(patch[TARGET][0, 0].numpy(), truth[::-1, ::-1])
    batch = next(iter(data.train_dataloader()))
    assert batch[TARGET].dtype == torch.int32
    assert batch[TARGET].min() >= 0


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".nii.gz", ".npy"])
@pytest.mark.parametrize("dtype", [np.uint32, np.int64])
def test_many_objects_survive_writing_and_reading(tmp_path: Path, suffix: str, dtype: type) -> None:
    labels = np.arange(70_000, dtype=dtype).reshape(1, 250, 280)
    path = io.write(tmp_path / f"labels{suffix}", labels)
    read = io.read(path, axes="YX").pixels
    np.testing.assert_array_equal(read.reshape(labels.shape), labels)


def test_numbers_too_large_for_float32_are_replaced_and_objects_stay_apart(tmp_path: Path) -> None:
    labels = np.zeros((32, 32), np.uint32)
    labels[2:6, 2:6], labels[2:6, 6:10], labels[20:30, 20:30] = 2**24, 2**24 + 1, 2**32 - 1
    root = write(tmp_path, [labels] * 2)
    for number in range(2):  # the image of such numbers is of no use
        tifffile.imwrite(root / "images" / f"a{number:02}.tif", (labels > 0).astype(np.uint8))
    data = module(root, augment=[AFFINE])
    (batch,) = data.samples("val", 1)
    np.testing.assert_array_equal(batch[TARGET][0, 0].numpy(), relabel(labels)[0])


def test_a_prediction_of_many_millions_of_objects_comes_back_to_its_grid() -> None:
    config = section(Path(), preprocess=[Component("pad_to_multiple", {"multiple": 8})])
    picture = Picture(np.ones((1, 5, 5), np.uint8), None, None, None, ("0",), "CYX")
    image, undo = Preprocessor(config).image(picture)
    labels = torch.full(image.shape, 2**24 + 1, dtype=torch.int64)
    labels[..., 4] = 2**31 - 1
    back = undo.invert(labels)
    assert back.dtype == torch.int64
    assert set(back.unique().tolist()) == {2**24 + 1, 2**31 - 1}


# --- maps that cannot be --------------------------------------------------------------------------


def test_wrong_maps_are_found_before_training(tmp_path: Path) -> None:
    def wanting(name: str, **params: Any) -> TargetSpec:
        return TargetSpec(TargetKind.INSTANCES, maps=(TargetMap(name, params),))

    for spec, words in (
        (wanting("edges"), "there is no map 'edges'"),
        (wanting(PIXEL_CLASSES, width=0), "got width=0"),
        (wanting(PIXEL_CLASSES, wide=3), "wide"),
        (wanting(CENTRE_OFFSETS, centre="middle"), "medoid"),
        (wanting(DISTANCE, spacing=[1, 1, 1]), "expected 2 positive numbers"),
    ):
        with pytest.raises(ConfigError, match=re.escape(words)):
            try_maps(spec, 2)
    root = write(tmp_path, [squares((40, 40), 0)] * 2)
    with pytest.raises(ConfigError, match="got width=0"):
        module(root, wanting(PIXEL_CLASSES, width=0)).prepare_data()


def test_a_map_takes_the_pixel_size_of_its_image_where_that_is_known() -> None:
    labels = np.repeat([[0, 1, 1, 1, 1, 0]], 5, axis=0)
    wanted = TargetMap(DISTANCE, {"normalize": False, "spacing": "image"})
    known = make_map(wanted, labels, torch.tensor([2.0, 0.5]))
    np.testing.assert_array_equal(known[0, 2], [0, 0.5, 1, 1, 0.5, 0])
    unknown = make_map(wanted, labels, torch.tensor([float("nan")] * 2))
    np.testing.assert_array_equal(unknown[0, 2], [0, 1, 2, 2, 1, 0])


def test_a_cache_in_memory_or_none_gives_the_same(tmp_path: Path) -> None:
    root = write(tmp_path, [squares((40, 40), seed) for seed in range(3)])
    batches = [
        list(module(root, augment=[AFFINE], cache=cache).train_dataloader())
        for cache in (
            CacheConfig(root=str(root / "cache")),
            CacheConfig(kind=CacheKind.memory),
            CacheConfig(kind=CacheKind.none),
        )
    ]
    for others in zip(*batches, strict=True):
        for key in (TARGET, CENTRE_OFFSETS):
            assert all(torch.equal(others[0][key], other[key]) for other in others[1:])


def test_the_cache_knows_what_numbers_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys._own_sources()["imtoolkit.labels"]
    read = Path.read_bytes
    monkeypatch.setattr(
        Path, "read_bytes", lambda self: read(self) + b"#" * (self.name == "parts.py")
    )
    keys._own_sources.cache_clear()
    assert keys._own_sources()["imtoolkit.labels"] != before
    monkeypatch.undo()
    keys._own_sources.cache_clear()
    assert keys._own_sources()["imtoolkit.labels"] == before


def test_a_preview_shows_objects(tmp_path: Path) -> None:
    root = write(tmp_path, [squares((40, 40), seed) for seed in range(3)])
    figure = module(root).preview(count=2)
    assert len(figure.axes) >= 4
