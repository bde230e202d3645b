"""The way from a file to the net and back: one path for training and prediction, undone exactly."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from imtoolkit import io
from imtoolkit.config.sections import Component, DataConfig
from imtoolkit.core.errors import ComponentError, DataError
from imtoolkit.core.facts import TargetKind
from imtoolkit.data.loading import Loaded, meta_affine, reverse_columns, spacing_of
from imtoolkit.data.preprocess import Preprocessor
from imtoolkit.io.picture import Picture


def picture(
    shape: tuple[int, ...] = (1, 10, 14),
    spacing: tuple[float, ...] | None = None,
    affine: np.ndarray | None = None,
    seed: int = 0,
) -> Picture:
    pixels = np.random.RandomState(seed).randint(0, 200, shape).astype(np.uint8)
    axes = "CYX" if len(shape) == 3 else "CZYX"
    unit = None if spacing is None else "micrometer"
    return Picture(pixels, spacing, unit, affine, ("0",) * shape[0], axes)


def preprocessor(*steps: Component) -> Preprocessor:
    return Preprocessor(DataConfig(sources={}, preprocess=list(steps)))


def test_no_steps_give_the_image_as_plain_float32() -> None:
    source = picture((3, 4, 5))
    image, undo = preprocessor().image(source)
    assert type(image) is torch.Tensor
    assert image.dtype == torch.float32
    np.testing.assert_array_equal(image.numpy(), source.pixels)
    assert torch.equal(undo.invert(image), image)


@pytest.mark.parametrize("shape", [(1, 10, 14), (2, 5, 10, 14)])
def test_padding_is_cut_off_from_labels_and_from_probabilities(shape: tuple[int, ...]) -> None:
    steps = [Component("normalize_zscore"), Component("pad_to_multiple", {"multiple": 8})]
    source = picture(shape)
    image, undo = preprocessor(*steps).image(source)
    assert all(side % 8 == 0 for side in image.shape[1:])
    labels = torch.arange(image[0].numel()).reshape(1, *image.shape[1:])
    back = undo.invert(labels)
    assert back.shape == (1, *shape[1:])
    assert back.dtype == torch.int64
    cut = tuple(
        slice((new - old) // 2, (new - old) // 2 + old)
        for old, new in zip(shape[1:], image.shape[1:], strict=True)
    )
    assert torch.equal(back, labels[(slice(None), *cut)])
    probabilities = torch.rand(4, *image.shape[1:])
    assert torch.equal(undo.invert(probabilities), probabilities[(slice(None), *cut)])


def test_resampling_is_undone_without_inventing_labels() -> None:
    source = picture((1, 20, 30), (0.5, 0.25))
    image, undo = preprocessor(Component("resample_spacing", {"spacing": [0.5, 0.5]})).image(source)
    assert image.shape[1] == 20
    assert 15 <= image.shape[2] <= 16
    labels = torch.zeros(1, *image.shape[1:], dtype=torch.uint8)
    labels[..., 8:] = 200
    back = undo.invert(labels)
    assert back.shape == (1, 20, 30)
    assert back.dtype == torch.uint8
    assert set(back.unique().tolist()) == {0, 200}
    assert 20 * 14 <= int((back == 200).sum()) <= 20 * 16
    smooth = undo.invert(labels.float(), labels=False)
    assert len(smooth.unique()) > 2


def test_several_grid_steps_are_undone_in_turn() -> None:
    steps = [
        Component("resample_spacing", {"spacing": [2.0, 1.0, 1.0]}),
        Component("pad_z", {"slices": 9}),
        Component("pad_to_multiple", {"multiple": [1, 16, 16]}),
        Component("normalize_percentiles"),
    ]
    source = picture((1, 12, 20, 20), (1.0, 0.5, 0.5))
    image, undo = preprocessor(*steps).image(source)
    assert image.shape == (1, 9, 16, 16)
    assert undo.invert(torch.ones(1, *image.shape[1:], dtype=torch.uint8)).shape == (1, 12, 20, 20)


def test_monai_steps_that_can_be_undone_are() -> None:
    steps = [
        Component("CropForegroundd", {"keys": ["image"], "source_key": "image"}),
        Component("Resized", {"keys": ["image"], "spatial_size": [16, 16]}),
    ]
    source = picture()
    source.pixels[:, :2] = 0
    image, undo = preprocessor(*steps).image(source)
    assert image.shape == (1, 16, 16)
    assert undo.invert(torch.ones(1, 16, 16, dtype=torch.uint8)).shape == (1, 10, 14)


def test_a_step_that_cannot_be_undone_is_told_when_it_matters(tmp_path: Path) -> None:
    file = tmp_path / "cutting.py"
    file.write_text(
        "def cut(data):\n    return {**data, 'image': data['image'].as_tensor()[..., :4]}\n"
    )
    config = DataConfig(sources={}, preprocess=[Component("cut")])
    image, undo = Preprocessor(config, [str(file)]).image(picture())
    assert image.shape == (1, 10, 4)
    with pytest.raises(DataError, match="cannot be undone"):
        undo.invert(image)


def test_the_same_image_is_made_with_and_without_a_target() -> None:
    steps = [
        Component("normalize_percentiles"),
        Component("binarize_target"),
        Component("SpatialPadd", {"keys": ["image", "target"], "spatial_size": [16, 16]}),
    ]
    source, labels = picture(), picture(seed=1)
    alone, _ = preprocessor(*steps).image(source)
    both = preprocessor(*steps).sample(Loaded(source, labels), TargetKind.LABELS)
    assert torch.equal(alone, both.image)
    assert both.target is not None
    assert both.target.shape == (1, 16, 16)


def test_a_failing_step_is_named() -> None:
    step = Component("resample_spacing", {"spacing": [1.0, 1.0]})
    with pytest.raises(DataError, match="pixel size"):
        preprocessor(step).image(picture())
    channels = Component("SplitDimd", {"keys": "image", "dim": 7})
    with pytest.raises((DataError, ComponentError), match="SplitDimd"):
        preprocessor(channels).image(picture())


def test_it_pickles_also_after_use() -> None:
    made = preprocessor(Component("normalize_zscore"))
    first, _ = made.image(picture())
    again, _ = pickle.loads(pickle.dumps(made)).image(picture())
    assert torch.equal(first, again)


def test_affines_count_axes_as_the_array_does_inside_and_as_nifti_does_outside() -> None:
    affine = np.array([[0, 0, 3.0, 10], [2, 0, 0, 20], [0, 1.5, 0, 30], [0, 0, 0, 1]])
    source = picture((1, 4, 6, 8), (3.0, 1.5, 2.0), affine)
    inside = meta_affine(source)
    # voxel (z, y, x) of the array is voxel (x, y, z) of the file
    np.testing.assert_allclose(inside @ [1, 2, 3, 1], affine @ [3, 2, 1, 1])
    np.testing.assert_allclose(reverse_columns(inside, 3), affine)
    assert spacing_of(inside, 3) == pytest.approx((3.0, 1.5, 2.0))
    prepared = preprocessor().sample(Loaded(source), TargetKind.NONE)
    assert prepared.affine is not None
    np.testing.assert_allclose(prepared.affine, affine)
    assert prepared.spacing == pytest.approx((3.0, 1.5, 2.0))


def test_padding_moves_the_origin_of_the_affine() -> None:
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    source = picture((1, 6, 8, 8), (4.0, 3.0, 2.0), affine)
    step = Component("pad_to_multiple", {"multiple": 8})
    prepared = preprocessor(step).sample(Loaded(source), TargetKind.NONE)
    assert prepared.affine is not None
    # one slice was added below: the first voxel lies 4 mm lower
    assert prepared.affine[:3, 3].tolist() == [0, 0, -4]


@pytest.mark.realdata
def test_a_nifti_comes_back_on_its_own_grid(real_data: Path, tmp_path: Path) -> None:
    path = next(iter(sorted((real_data / "msd_task04_hippocampus").rglob("imagesTr/*.nii.gz"))))
    source = io.read(str(path))
    steps: list[Any] = [
        Component("Orientationd", {"keys": "image", "axcodes": "LPS"}),
        Component("resample_spacing", {"spacing": [0.8, 1.2, 1.0]}),
        Component("pad_to_multiple", {"multiple": 16}),
    ]
    image, undo = preprocessor(*steps).image(source)
    assert all(side % 16 == 0 for side in image.shape[1:])
    back = undo.invert(image)
    assert back.shape == source.pixels.shape
    reference = source.pixels.astype(np.float32)
    inner = (slice(None), *(slice(3, -3) for _ in range(3)))
    agreement = np.corrcoef(back.numpy()[inner].ravel(), reference[inner].ravel())[0, 1]
    assert agreement > 0.95
    assert nibabel.load(path).shape == tuple(reversed(source.pixels.shape[1:]))
