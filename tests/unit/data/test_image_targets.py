"""Images that are learnt from images: other channels, finer grids, gaps in the targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import scipy.ndimage
import tifffile
import torch

from imtoolkit import io
from imtoolkit.config.sections import (
    CacheConfig,
    Component,
    DataConfig,
    LoaderConfig,
    PatchConfig,
    SourceConfig,
    SplitConfig,
)
from imtoolkit.core.errors import ComponentError, DataError
from imtoolkit.core.facts import TargetKind, TargetSpec
from imtoolkit.data.datamodule import ImageDataModule
from imtoolkit.data.preprocess import Preprocessor
from imtoolkit.data.transforms.enlarge import Enlarge
from imtoolkit.io.picture import Picture

IMAGES = TargetSpec(TargetKind.IMAGE)
ENLARGE = Component("enlarge", {"factor": 2, "order": 1})


def write(root: Path, name: str, number: int, pixels: np.ndarray) -> None:
    (root / name).mkdir(parents=True, exist_ok=True)
    np.save(root / name / f"{number}.npy", pixels)


def section(root: Path, **changes: Any) -> DataConfig:
    params = {"root": str(root), "image": "image/*.npy", "target": "target/*.npy"}
    fields: dict[str, Any] = {
        "sources": {"x": SourceConfig(Component("folder", params))},
        "split": SplitConfig(val=1),
        "loader": LoaderConfig(batch_size=2, workers=0),
        "cache": CacheConfig(root=str(root / "cache")),
        **changes,
    }
    return DataConfig(**fields)


@pytest.mark.parametrize("dims", [2, 3])
def test_channels_in_and_out_may_be_of_any_number(tmp_path: Path, dims: int) -> None:
    shape = (9, 12, 16)[-dims:]
    state = np.random.RandomState(0)
    for number in range(4):
        write(tmp_path, "image", number, state.random_sample((3, *shape)).astype(np.float32))
        write(tmp_path, "target", number, state.randint(0, 9, (2, *shape)).astype(np.uint16))
    axes = f"C{'ZYX'[-dims:]}"
    both = {"low": 0, "high": 9, "keys": ["image", "target"]}
    config = section(
        tmp_path,
        axes=axes,
        target_axes=axes,
        preprocess=[
            Component("normalize_range", both),
            Component("pad_to_multiple", {"multiple": 4}),
        ],
        patch=PatchConfig([8] * dims, 2),
        augment=[Component("flips"), Component("rotations_90")],
    )
    data = ImageDataModule(config, IMAGES)
    assert (data.facts.in_channels, data.facts.target_channels) == (3, 2)
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (2, 3, *[8] * dims)
    assert batch["target"].shape == (2, 2, *[8] * dims)
    assert batch["target"].dtype == torch.float32
    assert float(batch["target"].max()) <= 1
    # padding and normalising are those of image and target alike
    whole = next(iter(data.val_dataloader()))
    inner = (0, slice(None), *(slice((-side % 4) // 2, (-side % 4) // 2 + side) for side in shape))
    truth = np.load(tmp_path / "target" / f"{whole['id'][0]}.npy")
    np.testing.assert_allclose(whole["target"][inner].numpy(), truth / 9, rtol=1e-6)


def test_a_channel_is_learnt_from_others_of_the_same_file(tmp_path: Path) -> None:
    state = np.random.RandomState(0)
    for number in range(3):
        write(tmp_path, "image", number, state.randint(0, 9, (8, 10, 3)).astype(np.uint8))
    params = {"root": str(tmp_path), "image": "image/*.npy", "target": "image/*.npy"}
    config = section(
        tmp_path,
        sources={"x": SourceConfig(Component("folder", params))},
        axes="YXC",
        channels=[0, 2],
        target_channels=[1],
    )
    data = ImageDataModule(config, IMAGES)
    assert (data.facts.in_channels, data.facts.target_channels) == (2, 1)
    batch = next(iter(data.val_dataloader()))
    pixels = np.load(tmp_path / "image" / f"{batch['id'][0]}.npy").transpose(2, 0, 1)
    np.testing.assert_array_equal(batch["image"][0].numpy(), pixels[[0, 2]])
    np.testing.assert_array_equal(batch["target"][0].numpy(), pixels[[1]])


@pytest.mark.parametrize("name", ["normalize_percentiles", "normalize_zscore"])
def test_image_targets_are_normalised_where_their_key_is_listed(tmp_path: Path, name: str) -> None:
    state = np.random.RandomState(0)
    for number in range(3):
        write(tmp_path, "image", number, state.random_sample((8, 8)))
        write(tmp_path, "target", number, 1000 * state.random_sample((8, 8)))
    steps = [Component(name, {"keys": ["image", "target"]})]
    batch = next(
        iter(ImageDataModule(section(tmp_path, preprocess=steps), IMAGES).val_dataloader())
    )
    assert float(batch["target"].abs().max()) < 10
    batch = next(iter(ImageDataModule(section(tmp_path), IMAGES).val_dataloader()))
    assert float(batch["target"].max()) > 100


# --- a finer target -------------------------------------------------------------------------------


def pairs(root: Path, shape: tuple[int, ...] = (32, 32), factor: int = 2, count: int = 4) -> Path:
    state = np.random.RandomState(0)
    for number in range(count):
        fine = state.random_sample([factor * side for side in shape]).astype(np.float32)
        blocks = [size for side in shape for size in (side, factor)]
        coarse = fine.reshape(blocks).mean(axis=tuple(range(1, 2 * len(shape), 2)))
        write(root, "image", number, coarse)
        write(root, "target", number, fine)
    return root


@pytest.mark.parametrize("shape", [(32, 32), (6, 16, 12)])
def test_images_are_enlarged_to_the_grid_of_their_targets(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    config = section(
        pairs(tmp_path, shape),
        axes="ZYX"[-len(shape) :],
        preprocess=[ENLARGE],
        patch=PatchConfig([8] * len(shape)),
    )
    data = ImageDataModule(config, IMAGES)
    whole = next(iter(data.val_dataloader()))
    fine = tuple(2 * side for side in shape)
    assert whole["image"].shape == whole["target"].shape == (1, 1, *fine)
    coarse = torch.from_numpy(np.load(tmp_path / "image" / f"{whole['id'][0]}.npy"))
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    expected = torch.nn.functional.interpolate(
        coarse[None, None].float(), scale_factor=2, mode=mode, align_corners=False
    )
    torch.testing.assert_close(whole["image"], expected, rtol=1e-5, atol=1e-6)
    assert next(iter(data.train_dataloader()))["image"].shape == (2, 1, *[8] * len(shape))


def test_pairs_of_unequal_size_are_told_how_to_enlarge(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        ImageDataModule(section(pairs(tmp_path)), IMAGES).prepare_data()
    text = str(caught.value)
    assert "image is 32 x 32, its target 64 x 64" in text
    assert "{name: enlarge, params: {factor: 2}}" in text
    write(tmp_path, "target", 0, np.zeros((64, 65)))
    config = section(tmp_path, preprocess=[ENLARGE])
    with pytest.raises(DataError, match=r"image is 64 x 64, its target 64 x 65.*after prepro"):
        ImageDataModule(config, IMAGES).prepare_data()
    write(tmp_path, "target", 0, np.zeros((96, 64)))
    with pytest.raises(DataError, match=r"factor: \[3, 2\]"):
        ImageDataModule(section(tmp_path), IMAGES).prepare_data()


@pytest.mark.parametrize("order", [0, 1, 3])
def test_a_ramp_stays_a_ramp_of_half_the_slope(order: int) -> None:
    ramp = torch.arange(32.0).repeat(2, 8, 1)
    out = Enlarge(2, order=order)({"image": ramp})["image"]
    assert out.shape == (2, 16, 64)
    inner = out[0, 8, 20:44].numpy()
    expected = (np.arange(64) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(inner, expected[20:44], atol=0.26 if order == 0 else 2e-3)
    reference = scipy.ndimage.zoom(ramp[0].numpy(), 2, order=order, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(out[0].numpy(), reference)


def test_a_prediction_keeps_the_finer_grid_and_its_pixel_size(tmp_path: Path) -> None:
    steps = [
        Component("enlarge", {"factor": [1, 2, 2]}),
        Component("pad_to_multiple", {"multiple": 16}),
        Component("normalize_zscore"),
    ]
    pixels = np.random.RandomState(0).random_sample((1, 5, 10, 14)).astype(np.float32)
    affine = np.diag([0.5, 0.25, 2.0, 1.0])
    affine[:3, 3] = 10, 20, 30
    picture = Picture(pixels, (2.0, 0.25, 0.5), "millimeter", affine, ("0",), "CZYX")
    image, undo = Preprocessor(DataConfig(sources={}, preprocess=steps)).image(picture)
    assert image.shape == (1, 16, 32, 32)
    back = undo.invert(image)
    assert back.shape == (1, 5, 20, 28)
    assert undo.shape == (5, 20, 28)
    assert undo.spacing == (2.0, 0.125, 0.25)
    assert undo.world is not None
    io.write(
        tmp_path / "out.nii.gz",
        back[0].numpy(),
        axes="ZYX",
        spacing=undo.spacing,
        unit=picture.unit,
        affine=undo.world,
    )
    written = nibabel.load(tmp_path / "out.nii.gz")
    np.testing.assert_allclose(written.header.get_zooms(), (0.25, 0.125, 2.0))
    # the corners of the image are where they were: (-0.5, ...) in pixels of each grid
    corners = [np.array([-0.5, -0.5, -0.5, 1]), np.array([13.5, 9.5, 4.5, 1])]
    finer = [np.array([-0.5, -0.5, -0.5, 1]), np.array([27.5, 19.5, 4.5, 1])]
    for old, new in zip(corners, finer, strict=True):
        np.testing.assert_allclose(written.affine @ new, affine @ old)


def test_without_enlarge_a_prediction_lies_where_the_file_does() -> None:
    picture = Picture(np.ones((1, 5, 6), np.uint8), (0.5, 0.25), "micrometer", None, ("0",), "CYX")
    steps = [Component("resample_spacing", {"spacing": [0.25, 0.25]})]
    _, undo = Preprocessor(DataConfig(sources={}, preprocess=steps)).image(picture)
    assert (undo.shape, undo.spacing, undo.world) == ((5, 6), (0.5, 0.25), None)


def test_batches_tell_the_finer_pixel_size(tmp_path: Path) -> None:
    for number in range(2):
        for name, side in (("image", 8), ("target", 16)):
            (tmp_path / name).mkdir(exist_ok=True)
            tifffile.imwrite(
                tmp_path / name / f"{number}.ome.tif",
                np.random.RandomState(number).randint(0, 9, (side, side)).astype(np.uint8),
                metadata={"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.4},
            )
    params = {"root": str(tmp_path), "image": "image/*", "target": "target/*"}
    sources = {"x": SourceConfig(Component("folder", params))}
    data = ImageDataModule(section(tmp_path, sources=sources, preprocess=[ENLARGE]), IMAGES)
    assert next(iter(data.val_dataloader()))["spacing"][0].tolist() == pytest.approx([0.2, 0.25])
    assert data.facts.spacing == pytest.approx((0.2, 0.25))


def test_enlarge_stands_before_what_changes_the_grid() -> None:
    config = DataConfig(sources={}, preprocess=[Component("pad_to_multiple"), ENLARGE])
    with pytest.raises(ComponentError, match=r"data\.preprocess\.0: .*Put 'enlarge' before it"):
        Preprocessor(config).steps()
    with pytest.raises(ComponentError, match="got factor=1"):
        Preprocessor(
            DataConfig(sources={}, preprocess=[Component("enlarge", {"factor": 1})])
        ).steps()
    with pytest.raises(DataError, match="got 3 factors"):
        Enlarge([1, 2, 2])({"image": torch.zeros(1, 4, 4)})


# --- gaps in the targets --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [TargetKind.LABELS, TargetKind.IMAGE])
def test_samples_without_a_dense_target_are_masked_in_training_and_bare_in_validation(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: TargetKind
) -> None:
    lines = ["image,target,split"]
    for number in range(6):
        write(tmp_path, "image", number, np.full((8, 8), number + 1, np.uint8))
        write(tmp_path, "target", number, np.ones((8, 8), np.uint8))
        target = "" if number in (1, 4) else f"target/{number}.npy"
        lines.append(f"image/{number}.npy,{target},{'val' if number > 3 else 'train'}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    sources = {"x": SourceConfig(Component("csv", {"path": str(tmp_path / "t.csv")}))}
    config = section(tmp_path, sources=sources, axes="YX", augment=[Component("flips")])
    spec = TargetSpec(kind, ("a", "b"), optional=True)
    data = ImageDataModule(config, spec)
    seen = 0
    for batch in data.train_dataloader():
        for place, name in enumerate(batch["id"]):
            has = name != "1"
            assert float(batch["target"][place].float().mean()) == has
            if not has or "weight" in batch:
                assert float(batch["weight"][place].mean()) == has
            seen += 1
    assert seen == 4
    assert data.facts.missing == {"target": 1}
    assert "1 of 4 training samples have no label for 'target'" in caplog.text
    for batch in data.val_dataloader():
        assert ("target" in batch) == (batch["id"][0] == "5")
        assert "weight" not in batch
    with pytest.raises(DataError, match="sample '1' has no target"):
        ImageDataModule(config, TargetSpec(kind, ("a", "b"))).prepare_data()


# --- complex numbers ------------------------------------------------------------------------------


def test_complex_arrays_are_pairs_of_channels(tmp_path: Path) -> None:
    state = np.random.RandomState(0)
    for number in range(3):
        for name in ("image", "target"):
            parts = state.random_sample((2, 2, 8, 8))
            write(tmp_path, name, number, (parts[0] + 1j * parts[1]).astype(np.complex64))
    data = ImageDataModule(section(tmp_path, axes="CYX", target_axes="CYX"), IMAGES)
    assert (data.facts.in_channels, data.facts.target_channels) == (4, 4)
    batch = next(iter(data.val_dataloader()))
    source = np.load(tmp_path / "target" / f"{batch['id'][0]}.npy")
    found = batch["target"][0].numpy()
    np.testing.assert_array_equal(found[0::2], source.real)
    np.testing.assert_array_equal(found[1::2], source.imag)
