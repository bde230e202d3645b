"""The drawings: their truth is exact, and their noise is what it says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from imtoolkit.samples.denoise import GAIN, OFFSET, draw_denoise
from imtoolkit.samples.drawing import camera, draw_blob, largest_part, smooth_noise
from imtoolkit.samples.folder import SAMPLES, draw_one
from imtoolkit.samples.hippocampus import draw_hippocampus
from imtoolkit.samples.label_free import draw_label_free
from imtoolkit.samples.membranes import draw_membranes
from imtoolkit.samples.nuclei import SMALLEST, draw_culture, draw_nuclei
from imtoolkit.samples.shapes import SHAPES, draw_shapes

KINDS = [(name, dims) for name, sample in SAMPLES.items() for dims in sample.shapes]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("name", "dims"), KINDS)
def test_a_picture_depends_on_name_seed_dims_and_index_only(name: str, dims: int) -> None:
    first, again = (draw_one(name, 3, seed=5, dims=dims) for _ in range(2))
    np.testing.assert_array_equal(first.image, again.image)
    others = [draw_one(name, 4, seed=5, dims=dims), draw_one(name, 3, seed=6, dims=dims)]
    for other in others:
        assert other.image.shape != first.image.shape or (other.image != first.image).mean() > 0.5


@pytest.mark.parametrize(("name", "dims"), KINDS)
def test_image_target_and_pixel_size_fit_together(name: str, dims: int) -> None:
    drawn = draw_one(name, 0, dims=dims)
    assert drawn.image.ndim == dims
    assert len(drawn.spacing) == dims
    assert min(drawn.spacing) > 0
    assert drawn.image.std() > 0
    if drawn.target is not None:
        # colours lie before the axes of the pixels
        assert drawn.target.shape[-dims:] == drawn.image.shape


@pytest.mark.parametrize("dims", [2, 3])
def test_as_many_nuclei_are_drawn_as_asked_each_in_one_part(dims: int) -> None:
    shape = (256, 256) if dims == 2 else (24, 128, 128)
    drawn = draw_nuclei(rng(1), shape, count=9)
    labels = drawn.target
    assert labels is not None
    assert drawn.facts["objects"] == 9
    assert set(np.unique(labels)) == set(range(10))
    for number in range(1, 10):
        assert ndimage.label(labels == number)[1] == 1
        assert (labels == number).sum() >= SMALLEST


def test_nuclei_are_where_the_labels_say() -> None:
    for index in range(8):
        drawn = draw_one("nuclei", index)
        inside, outside = drawn.image[drawn.target > 0], drawn.image[drawn.target == 0]
        assert np.median(inside) > np.percentile(outside, 90), index


def test_a_nucleus_has_the_area_of_its_radius() -> None:
    culture = draw_culture(rng(2), 2)
    drawn = draw_nuclei(rng(3), (1024, 1024), count=60, culture=culture)
    inner = np.bincount(drawn.target.ravel())[1:]
    expected = np.pi * culture.radius**2 / culture.spacing[0] ** 2
    assert 0.7 * expected < np.median(inner) < 1.4 * expected


def test_clustered_nuclei_touch() -> None:
    drawn = [draw_one("nuclei", index) for index in range(6)]
    parts = sum(ndimage.label(item.target > 0)[1] for item in drawn)
    objects = sum(int(item.facts["objects"]) for item in drawn)
    assert parts < 0.9 * objects


def test_nuclei_come_in_eight_bits_as_well() -> None:
    drawn = draw_nuclei(rng(4), (128, 128), dtype=np.uint8)
    assert drawn.image.dtype == np.uint8
    assert 150 < drawn.image.max() <= 255


def test_nuclei_stop_where_no_room_is_left() -> None:
    drawn = draw_nuclei(rng(5), (48, 48), count=500)
    assert 0 < int(drawn.facts["objects"]) < 500


@pytest.mark.parametrize("shape", [(256, 256), (6, 128, 128)])
def test_membranes_part_the_cells_and_are_dark(shape: tuple[int, ...]) -> None:
    drawn = draw_membranes(rng(6), shape)
    target = drawn.target
    assert set(np.unique(target)) == {0, 1}
    assert 0.05 < target.mean() < 0.45
    assert drawn.image[target == 1].mean() < 0.75 * drawn.image[target == 0].mean()
    last = target if target.ndim == 2 else target[0]
    assert ndimage.label(last == 0)[1] > 5  # closed cells, not loose lines


def test_the_noise_of_a_pair_is_poisson_and_read_noise() -> None:
    drawn = draw_denoise(rng(7), (512, 512), photons=30.0, read_noise=2.0)
    clean = drawn.target.astype(float)
    photons = (clean - OFFSET) / GAIN
    residual = (drawn.image.astype(float) - clean) / GAIN
    for low, high in ((0, 1), (2, 6), (10, 25)):
        # below the offset nothing is cut off: it lies three deviations above zero
        chosen = (photons >= low) & (photons < high)
        assert chosen.sum() > 300
        expected = photons[chosen].mean() + 2.0**2
        assert residual[chosen].var() == pytest.approx(expected, rel=0.12)
        assert residual[chosen].mean() == pytest.approx(0, abs=5 * np.sqrt(expected / chosen.sum()))


def test_two_exposures_share_the_scene_and_nothing_of_the_noise() -> None:
    drawn = draw_denoise(rng(7), (256, 256), photons=30.0, read_noise=2.0)
    assert drawn.target is not None
    first, second = (
        image.astype(float) - drawn.target for image in (drawn.image, drawn.more["again"])
    )
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] == pytest.approx(0, abs=0.02)
    assert first.std() == pytest.approx(second.std(), rel=0.02)


def test_the_clean_image_of_a_pair_is_the_expectation_of_the_noisy_one() -> None:
    bright = draw_denoise(rng(8), (128, 128), stain="actin", photons=40000.0)
    ratio = (bright.image.astype(float) - OFFSET) / np.maximum(bright.target - OFFSET, 1)
    lit = (bright.target > 5000) & (bright.target < 60000)
    assert np.abs(ratio[lit] - 1).max() < 0.5
    assert ratio[lit].mean() == pytest.approx(1, abs=0.01)


def test_camera_has_the_mean_and_variance_that_it_promises() -> None:
    picture = camera(rng(9), np.full((400, 400), 50.0), read_noise=3.0, gain=2.0, offset=10.0)
    assert picture.mean() == pytest.approx(110, abs=0.2)
    assert picture.var() == pytest.approx(4 * (50 + 9) + 1 / 12, rel=0.03)


@pytest.mark.parametrize("shape", [(192, 192), (12, 96, 96)])
def test_the_structural_channel_tells_where_the_stain_is(shape: tuple[int, ...]) -> None:
    drawn = draw_label_free(rng(10), shape)
    stain = drawn.target.astype(float)
    nuclei = stain > (stain.min() + stain.max()) / 3
    assert ndimage.label(nuclei)[1] >= 3
    assert int(drawn.facts["cells"]) >= ndimage.label(ndimage.binary_opening(nuclei))[1]
    # nuclei differ from cytoplasm, but not by brightness alone: else there were nothing to learn
    image = drawn.image.astype(float)
    difference = abs(image[nuclei].mean() - image[~nuclei].mean()) / image.std()
    assert 0.01 < difference < 1.5


@pytest.mark.parametrize("kind", sorted(SHAPES))
@pytest.mark.parametrize("dims", [2, 3])
def test_shapes_are_brighter_where_they_are(kind: str, dims: int) -> None:
    drawn = draw_shapes(rng(11), (48,) * dims, kind=kind, contrast=200.0)
    assert drawn.facts["class"] == kind
    level = (drawn.image.min() + np.percentile(drawn.image, 99.5)) / 2
    found = int((ndimage.median_filter(drawn.image, 3) > level).sum())
    assert found == pytest.approx(int(drawn.facts["pixels"]), rel=0.25)


def test_classes_of_shapes_come_in_turn() -> None:
    kinds = [draw_one("shapes", index).facts["class"] for index in range(10)]
    assert kinds == sorted(SHAPES) * 2


def test_the_two_parts_touch_and_are_one_body() -> None:
    drawn = draw_hippocampus(rng(12))
    labels = drawn.target
    assert [int((labels == part).sum()) for part in (1, 2)] == [
        drawn.facts["anterior"],
        drawn.facts["posterior"],
    ]
    assert min(int(drawn.facts["anterior"]), int(drawn.facts["posterior"])) > 200
    assert ndimage.label(labels > 0)[1] == 1
    grown = ndimage.binary_dilation(labels == 1)
    assert (grown & (labels == 2)).any()
    assert drawn.affine is not None
    np.testing.assert_allclose(np.abs(np.diag(drawn.affine)[:3]), drawn.spacing)
    assert drawn.unit == "millimeter"


def test_the_two_part_structure_needs_three_dimensions() -> None:
    with pytest.raises(ValueError, match="3D only"):
        draw_hippocampus(rng(), (50, 35))


@pytest.mark.parametrize("sigma", [0.7, 3.0, 12.0])
def test_smooth_noise_has_unit_deviation_and_the_asked_scale(sigma: float) -> None:
    field = smooth_noise(rng(13), (256, 200), sigma)
    assert field.mean() == pytest.approx(0, abs=1e-9)
    assert field.std() == pytest.approx(1)
    shifted = np.corrcoef(
        field[:, : -round(2 * sigma)].ravel(), field[:, round(2 * sigma) :].ravel()
    )
    # a Gaussian blur correlates as exp(-d**2 / (4 sigma**2))
    assert shifted[0, 1] == pytest.approx(
        np.exp(-(round(2 * sigma) ** 2) / (4 * sigma**2)), abs=0.15
    )


def test_a_blob_has_the_volume_of_its_axes() -> None:
    blob = draw_blob(rng(14), (60, 80, 80), (2, 1, 1), (60, 40, 40), (20, 10, 15), roughness=0.0)
    assert blob is not None
    volume = 4 / 3 * np.pi * 20 * 10 * 15 / 2
    assert (blob.depth > 0).sum() == pytest.approx(volume, rel=0.05)
    assert blob.coverage.sum() == pytest.approx(volume, rel=0.05)


def test_a_blob_outside_the_image_is_none() -> None:
    assert draw_blob(rng(), (20, 20), (1, 1), (80, 80), (5, 5)) is None


def test_largest_part_keeps_one() -> None:
    mask = np.zeros((5, 9), bool)
    mask[1, 1] = mask[1:4, 4:8] = True
    assert largest_part(mask).sum() == 12
