"""Steps of post-processing: each against a known answer, skimage, or a plain loop."""

import itertools
import time
import warnings

import numpy as np
import pytest
import skimage.filters
from scipy import ndimage
from skimage import morphology
from skimage.measure import euler_number

from imtoolkit.core import registry
from imtoolkit.core.errors import ComponentError, DataError
from imtoolkit.inference.postprocess import (
    class_map,
    clear_border,
    connected_components,
    distance,
    expand,
    fill_holes,
    merge_classes,
    merge_instances,
    remove_large,
    remove_small,
    seeds,
    set_operation,
    smooth,
    thin,
    threshold,
    watershed,
    weighted_sum,
)
from imtoolkit.inference.postprocess.thresholds import methods

RNG = np.random.default_rng(0)
SHAPES = [(60, 70), (12, 24, 26)]


def blobs(shape: tuple[int, ...], sigma: float = 2.0, seed: int = 0) -> np.ndarray:
    """A smooth map from 0 to 1."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), sigma)
    return ((noise - noise.min()) / np.ptp(noise)).astype(np.float32)


def discs(shape: tuple[int, ...], *placed: tuple[tuple[int, ...], float]) -> np.ndarray:
    """Numbered discs (balls) by centre and radius; the later lies above."""
    found = np.zeros(shape, np.int32)
    places = np.indices(shape)
    for number, (centre, radius) in enumerate(placed, start=1):
        square = sum((axis - side) ** 2 for axis, side in zip(places, centre, strict=True))
        found[square <= radius**2] = number
    return found


# --- thresholds ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", methods())
@pytest.mark.parametrize("shape", SHAPES)
def test_a_method_gives_the_threshold_that_skimage_gives(
    method: str, shape: tuple[int, ...]
) -> None:
    image = blobs(shape) + 2 * (blobs(shape, 4, seed=1) > 0.5)  # two peaks
    function = getattr(skimage.filters, f"threshold_{method}")
    options = {"block_size": 5} if method == "local" else {}
    found = function(image, **options)
    level = 0
    if method == "multiotsu":
        found, level = found[1], 1
    expected = image > found
    assert np.array_equal(threshold(image, method=method, options=options, level=level), expected)
    assert 0 < expected.mean() < 1
    below = threshold(image, method=method, options=options, level=level, below=True)
    assert np.array_equal(below, ~expected)


@pytest.mark.parametrize("method", methods())
def test_nothing_stands_out_in_a_constant_map(method: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not threshold(np.full((8, 9), 0.3, np.float32), method=method).any()


def test_a_threshold_needs_a_value_or_a_method_that_exists() -> None:
    image = blobs((8, 8))
    with pytest.raises(ValueError, match="neither of 'value' and 'method'"):
        threshold(image)
    with pytest.raises(ValueError, match="both of 'value' and 'method'"):
        threshold(image, 0.5, method="otsu")
    with pytest.raises(ValueError, match="Did you mean 'otsu'"):
        threshold(image, method="otsuu")
    with pytest.raises(ValueError, match="Did you mean 'block_size'"):
        threshold(image, method="local", options={"blocksize": 5})
    with pytest.raises(ValueError, match="only 'multiotsu'"):
        threshold(image, method="otsu", level=1)
    with pytest.raises(DataError, match=r"finds nothing in this map.*Take otsu"):
        threshold(np.arange(64.0).reshape(8, 8), method="minimum")


def test_a_class_is_the_most_probable_one_above_its_threshold() -> None:
    chances = RNG.dirichlet(np.ones(3), (20, 21)).transpose(2, 0, 1)
    assert np.array_equal(class_map(chances), chances.argmax(0))
    limits = [None, 0.3, 0.6]
    expected = np.zeros((20, 21), int)
    for place in itertools.product(range(20), range(21)):
        own = chances[(slice(None), *place)]
        able = [k for k in (1, 2) if own[k] > limits[k]]  # type: ignore[operator]
        expected[place] = max(able, key=lambda k: own[k], default=0)
    assert np.array_equal(class_map(chances, limits), expected)
    assert set(np.unique(expected)) == {0, 1, 2}
    assert np.array_equal(class_map(chances, mapping=[0, 1, 1]), chances.argmax(0) > 0)


# --- size and place -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_small_and_large_objects_go_as_in_skimage(shape: tuple[int, ...]) -> None:
    mask = blobs(shape) > 0.55
    sizes = np.bincount(ndimage.label(mask)[0].ravel())[1:]
    limit = int(np.median(sizes))
    assert sizes.min() < limit < sizes.max()
    expected = morphology.remove_small_objects(mask, max_size=limit - 1)
    assert np.array_equal(remove_small(mask, limit), expected)
    large = remove_large(mask, limit - 1)
    assert np.array_equal(large | expected, mask)
    assert not (large & expected).any()
    numbers = ndimage.label(mask)[0]
    assert np.array_equal(remove_small(numbers, limit), np.where(expected, numbers, 0))


def test_touching_objects_of_different_numbers_are_measured_one_by_one() -> None:
    labels = np.array([[1, 1, 1, 2, 2, 2, 2]])
    assert remove_small(labels, 4).tolist() == [[0, 0, 0, 2, 2, 2, 2]]
    assert remove_small(labels > 0, 4).all()


def test_sizes_are_areas_and_volumes_in_physical_units() -> None:
    labels = discs((9, 30, 30), ((4, 8, 8), 3), ((4, 20, 20), 5))
    pixels = np.bincount(labels.ravel())[1:]
    spacing = (2.0, 0.5, 0.5)
    size = pixels[1] * 0.5  # a pixel is 2 x 0.5 x 0.5
    found = remove_small(labels, size, unit="physical", spacing=spacing)
    assert np.unique(found).tolist() == [0, 2]
    found = remove_small(labels, size * 1.01, unit="physical", spacing=spacing)
    assert not found.any()
    # single precision, as files have it
    third = np.float32(0.1)
    row = np.ones((1, 10), int)
    assert remove_small(row, 0.1, unit="physical", spacing=(third, third)).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_holes_are_filled_as_by_scipy(shape: tuple[int, ...]) -> None:
    mask = blobs(shape, 1.2) > 0.4
    expected = ndimage.binary_fill_holes(mask)
    assert expected.sum() > mask.sum()
    assert np.array_equal(fill_holes(mask), expected)
    numbers = ndimage.label(mask)[0]
    assert np.array_equal(fill_holes(numbers) > 0, _filled_one_by_one(numbers) > 0)


def _filled_one_by_one(numbers: np.ndarray) -> np.ndarray:
    found = numbers.copy()
    parts, count = ndimage.label(numbers == 0)
    for part in range(1, count + 1):
        own = parts == part
        around = np.unique(numbers[ndimage.binary_dilation(own) & ~own])
        ends = np.pad(np.zeros(np.array(own.shape) - 2, bool), 1, constant_values=True)
        if len(around) == 1 and not (own & ends).any():
            found[own] = around[0]
    return found


def test_a_hole_belongs_to_one_object_and_is_no_larger_than_the_limit() -> None:
    labels = np.full((7, 12), 0)
    labels[1:6, 1:6] = 1
    labels[2, 2] = 0
    labels[4, 3:5] = 0
    labels[1:6, 6:11] = 2
    labels[2:4, 6] = labels[2:4, 5] = 0  # between the two
    assert (fill_holes(labels)[1:6, 1:5] == 1).all()
    assert (fill_holes(labels)[2:4, 5:7] == 0).all()
    assert fill_holes(labels, 1)[2, 2] == 1
    assert (fill_holes(labels, 1)[4, 3:5] == 0).all()
    small = fill_holes(labels, 0.3, unit="physical", spacing=(0.5, 0.5))
    assert small[2, 2] == 1
    assert (small[4, 3:5] == 0).all()


def test_a_hole_that_is_open_at_the_top_is_filled_slice_by_slice() -> None:
    tube = np.ones((4, 5, 5), bool)
    tube[:, 2, 2] = False
    padded = np.pad(tube, 1)[1:-1]
    assert not fill_holes(padded)[:, 3, 3].any()
    assert fill_holes(padded, by_slice=True)[:, 3, 3].all()


def test_objects_that_the_end_cuts_go_as_in_skimage() -> None:
    labels = ndimage.label(blobs((50, 50)) > 0.6)[0]
    from skimage.segmentation import clear_border as theirs

    for margin in (0, 2):
        expected = theirs(labels, buffer_size=margin)
        assert np.array_equal(clear_border(labels, margin=margin), expected)
        assert 0 < (expected > 0).sum() < (labels > 0).sum()
    volume = np.zeros((3, 5, 5), int)
    volume[0, 2, 2], volume[1, 0, 0] = 1, 2
    assert np.unique(clear_border(volume)).tolist() == [0]
    assert np.unique(clear_border(volume, in_plane=True)).tolist() == [0, 1]


# --- shapes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", [None, (0.7, 2.0, 0.5)])
def test_a_distance_is_that_to_the_nearest_pixel_of_something_else(
    spacing: tuple[float, ...] | None,
) -> None:
    labels = discs((8, 14, 15), ((4, 6, 5), 4), ((4, 7, 9), 4))
    unit = "pixels" if spacing is None else "physical"
    found = distance(labels, unit=unit, spacing=spacing)
    sides = np.array(spacing or (1, 1, 1))
    for number in (1, 2):
        others = np.argwhere(labels != number) * sides
        for place in np.argwhere(labels == number)[::7]:
            expected = np.linalg.norm(others - place * sides, axis=1).min()
            assert found[tuple(place)] == pytest.approx(expected, rel=1e-5)
    mask = distance(labels > 0, unit=unit, spacing=spacing)
    edt = ndimage.distance_transform_edt(labels > 0, sampling=sides)
    np.testing.assert_allclose(mask, edt, rtol=1e-6)
    assert np.ptp([distance(labels, normalize=True)[labels == n].max() for n in (1, 2)]) == 0


def test_a_blur_is_as_wide_in_each_axis_as_the_pixel_size_says() -> None:
    point = np.zeros((41, 41))
    point[20, 20] = 1
    expected = ndimage.gaussian_filter(point.astype(np.float32), (1.0, 4.0))
    found = smooth(point, 2.0, unit="physical", spacing=(2.0, 0.5))
    np.testing.assert_allclose(found, expected, atol=1e-7)
    assert np.array_equal(smooth(point > 0, 0), point)


@pytest.mark.parametrize("shape", SHAPES)
def test_thinning_keeps_parts_and_holes(shape: tuple[int, ...]) -> None:
    mask = blobs(shape, 2.5, seed=4) > 0.45
    line = thin(mask)
    dims = len(shape)
    assert line.sum() < mask.sum() / 2
    assert (
        ndimage.label(line, np.ones((3,) * dims))[1] == ndimage.label(mask, np.ones((3,) * dims))[1]
    )
    assert euler_number(line, dims) == euler_number(mask, dims)


def test_thinning_by_layers_stops_early_and_is_refused_in_volumes() -> None:
    mask = discs((40, 40), ((20, 20), 12)) > 0
    found = [int(thin(mask, count).sum()) for count in (1, 3)]
    assert mask.sum() > found[0] > found[1] > thin(mask).sum()
    assert np.array_equal(thin(mask, 3), morphology.thin(mask, 3))
    with pytest.raises(ValueError, match="in 3D objects are thinned to their skeleton alone"):
        thin(np.ones((3, 3, 3), bool), 2)


def test_touching_objects_are_thinned_one_by_one() -> None:
    labels = np.zeros((20, 42), np.uint16)
    labels[2:18, 1:21], labels[2:18, 21:41] = 7, 3
    found = thin(labels)
    for number in (3, 7):
        alone = morphology.skeletonize(np.pad(labels == number, 1))[1:-1, 1:-1]
        assert (found == number).sum() == alone.sum()
    assert found.dtype == np.uint16


def test_objects_grow_as_in_skimage_and_no_farther_than_a_mask() -> None:
    from skimage.segmentation import expand_labels

    labels = discs((40, 50), ((10, 12), 4), ((14, 28), 5), ((30, 30), 3))
    assert np.array_equal(expand(labels, 6), expand_labels(labels, 6))
    physical = expand(labels, 3, unit="physical", spacing=(0.5, 1.5))
    assert np.array_equal(physical, expand_labels(labels, 3, spacing=(0.5, 1.5)))
    within = np.indices((40, 50))[0] < 20
    kept = expand(labels, 6, within=within)
    assert np.array_equal(kept, np.where((labels > 0) | within, expand_labels(labels, 6), 0))
    grown = expand(labels > 0, 2)
    assert grown.dtype == bool
    assert np.array_equal(grown, ndimage.distance_transform_edt(labels == 0) <= 2)


# --- seeds and floods ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("height", [0.03, 0.15, 0.3])
def test_h_maxima_are_those_of_skimage(shape: tuple[int, ...], height: float) -> None:
    image = np.round(blobs(shape, 1.5) * 200).astype(np.int32)  # whole numbers: no rounding
    level = round(height * 200)
    found = seeds(image, method="h_maxima", height=level)
    theirs, count = ndimage.label(morphology.h_maxima(image, level), np.ones((3,) * len(shape)))
    # theirs mark the flat top of the dome; ours its highest pixels: one within each
    assert found.max() == count > 1
    inside = theirs[found > 0]
    assert sorted(set(inside.tolist())) == list(range(1, count + 1))


def test_each_part_above_the_floor_of_h_maxima_has_a_seed() -> None:
    image = blobs((80, 80), 2.5)
    found = seeds(image, method="h_maxima", height=0.1, threshold=0.6)
    parts, count = ndimage.label(image > 0.6, np.ones((3, 3)))
    assert sorted(set(parts[found > 0].tolist())) == list(range(1, count + 1))
    assert found.max() > count  # some have two


def test_two_summits_of_equal_height_and_a_shallow_pass_are_one_seed() -> None:
    ridge = np.array([[0.0, 0.9, 0.85, 0.9, 0.2, 0.6, 0.0]])
    found = seeds(ridge, method="h_maxima", height=0.1)
    assert found.tolist() == [[0, 1, 0, 0, 0, 2, 0]]


@pytest.mark.parametrize("least", [1.0, 3.0, 7.5])
def test_peaks_keep_their_distance_and_leave_none_out(least: float) -> None:
    image = blobs((60, 60), 1.5)
    found = seeds(image, threshold=0.3, min_distance=least)
    places = np.argwhere(found)
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
    assert apart[~np.eye(len(places), dtype=bool)].min() >= least
    tops = np.argwhere((image == ndimage.maximum_filter(image, 3)) & (image > 0.3))
    assert len(places) <= len(tops)
    for top in tops:  # each is kept, or near a kept one that is as high
        near = np.linalg.norm(places - top, axis=1) < least
        kept = bool((places == top).all(1).any())
        assert kept or image[tuple(places[near].T)].max() >= image[tuple(top)]


def test_distances_of_peaks_are_physical_where_asked() -> None:
    image = np.zeros((5, 30))
    image[2, 5], image[2, 9], image[2, 20] = 1.0, 0.9, 0.8
    assert seeds(image, min_distance=5).max() == 2
    assert seeds(image, min_distance=5, unit="physical", spacing=(1, 2)).max() == 3
    with pytest.raises(DataError, match="min_distance is given in physical units"):
        seeds(image, min_distance=5, unit="physical")


def test_a_flat_top_is_one_peak_and_a_flat_map_has_none() -> None:
    image = np.zeros((9, 9))
    image[2:6, 3:6] = 1
    found = seeds(image)
    assert found.sum() == 1
    assert image[found > 0] == 1
    for options in ({}, {"method": "h_maxima", "height": 0.1}):
        assert not seeds(np.ones((5, 5)), **options).any()


def test_seeds_say_what_a_method_needs() -> None:
    image = np.zeros((3, 3))
    for options, said in (
        ({"method": "peak"}, "Did you mean 'peaks'"),
        ({"method": "parts"}, "needs 'threshold'"),
        ({"method": "h_maxima"}, "needs 'height'"),
        ({"method": "peaks", "height": 0.1}, "'height' belongs to the method 'h_maxima'"),
        ({"method": "parts", "threshold": 0.5, "min_distance": 2}, "belongs to the method 'peaks'"),
    ):
        with pytest.raises(ValueError, match=said):
            seeds(image, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("dims", [2, 3])
def test_a_watershed_parts_touching_balls_where_they_meet(dims: int) -> None:
    shape, middle = (24,) * dims, (12,) * (dims - 1)
    truth = discs(shape, ((*middle, 7), 6), ((*middle, 17), 6))
    landscape = distance(truth > 0)
    start = seeds(landscape, method="h_maxima", height=1.0)
    found = watershed(landscape, start, truth > 0)
    assert found.max() == 2
    assert np.array_equal(found > 0, truth > 0)
    overlap = max((found == n).sum() for n in (1, 2))
    assert (found == truth).mean() > 0.97 or (found == 3 - truth).mean() > 0.9
    assert overlap < (truth > 0).sum()


def test_a_part_without_a_seed_is_left_out_or_an_object_of_its_own() -> None:
    mask = np.array([[1, 1, 0, 1, 0, 1]], bool)
    start = np.array([[1, 0, 0, 0, 0, 0]])
    flat = np.zeros(mask.shape)
    assert watershed(flat, start, mask).tolist() == [[1, 1, 0, 0, 0, 0]]
    found = watershed(flat, start, mask, keep_unseeded=True)
    assert found.tolist() == [[1, 1, 0, 2, 0, 3]]


def test_valleys_or_ridges_part_objects_as_asked() -> None:
    membrane = np.array([[0, 0.1, 0.9, 0.1, 0, 0]])
    start = np.array([[1, 0, 0, 0, 0, 2]])
    found = watershed(membrane, start, high_inside=False)[0].tolist()
    assert found[:2] == [1, 1]
    assert found[3:] == [2, 2, 2]


@pytest.mark.parametrize("shape", SHAPES)
def test_components_are_those_of_scipy_for_each_class(shape: tuple[int, ...]) -> None:
    classes = (blobs(shape) * 3).astype(int)
    found = connected_components(classes)
    expected = sum(ndimage.label(classes == k)[1] for k in (1, 2, 3))
    assert found.max() == expected
    for number in range(1, expected + 1, 5):
        own = found == number
        assert len(np.unique(classes[own])) == 1
        assert ndimage.label(own)[1] == 1


# --- several maps -------------------------------------------------------------------------------


def test_sets_of_masks_are_those_of_logic() -> None:
    first, second = RNG.random((2, 9, 9)) > 0.5
    expected = {
        "union": first | second,
        "intersection": first & second,
        "difference": first & ~second,
        "xor": first ^ second,
    }
    for name, values in expected.items():
        found = set_operation(first, second, name)
        assert found.dtype == bool
        assert np.array_equal(found, values)
    with pytest.raises(ValueError, match="Did you mean 'union'"):
        set_operation(first, second, "unoin")


def test_merged_objects_stay_apart() -> None:
    first, second = np.array([[1, 1, 0, 0, 4]]), np.array([[0, 1, 1, 4, 0]])
    assert merge_instances([first, second]).tolist() == [[1, 1, 5, 8, 4]]
    many = [np.full((1, 1), 255), np.full((1, 2), 1)]
    with pytest.raises(ValueError, match="got maps of the shapes"):
        merge_instances(many)


def test_merged_classes_have_their_numbers() -> None:
    cell, nucleus = np.array([1, 1, 1, 0]), np.array([0, 1, 0, 1])
    assert merge_classes([cell, nucleus]).tolist() == [1, 2, 1, 2]
    assert merge_classes([cell, nucleus], [3, 7]).tolist() == [3, 7, 3, 7]
    with pytest.raises(ValueError, match="got 1 class numbers for 2 maps"):
        merge_classes([cell, nucleus], [3])


def test_a_sum_counts_each_map_with_its_weight() -> None:
    first, second = RNG.random((2, 4, 4))
    np.testing.assert_allclose(weighted_sum([first, second], [2, -1]), 2 * first - second, 1e-5)


# --- the whole ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0, 5), (5, 0, 3), (1, 1)])
def test_empty_images_pass_through(shape: tuple[int, ...]) -> None:
    mask = np.zeros(shape, bool)
    flat = np.zeros(shape)
    made = [
        *(connected_components(mask), fill_holes(mask), clear_border(mask), remove_small(mask, 3)),
        *(distance(mask), smooth(flat, 1.0), thin(mask), expand(mask, 2), threshold(flat, 0.5)),
        *(threshold(flat, method="otsu"), seeds(flat, method="parts", threshold=0.5), seeds(flat)),
        watershed(flat, mask.astype(int), mask, keep_unseeded=True),
    ]
    for one in made:
        assert one.shape == shape
        assert not one.any()


def test_inputs_are_not_changed() -> None:
    labels = discs((30, 30), ((8, 8), 5), ((20, 20), 6))
    kept, image = labels.copy(), blobs((30, 30))
    before = image.copy()
    for one in (
        *(remove_small(labels, 90), fill_holes(labels), clear_border(labels), thin(labels)),
        *(expand(labels, 2), merge_instances([labels, labels]), smooth(image, 1)),
        watershed(image, labels, image > 0.5, keep_unseeded=True),
    ):
        one[...] = 1
    assert np.array_equal(labels, kept)
    assert np.array_equal(image, before)


@pytest.mark.slow
def test_thousands_of_objects_in_a_large_image_take_seconds() -> None:
    image = blobs((1024, 1024), 4)
    mask = threshold(image, method="otsu")
    start = time.process_time()
    labels = watershed(
        image, seeds(image, method="h_maxima", height=0.02), mask, keep_unseeded=True
    )
    made = clear_border(fill_holes(remove_small(labels, 20)))
    assert made.max() > 1000
    expand(made, 2)
    # a loop over objects that looks at the whole image each time takes minutes
    assert time.process_time() - start < 20


def test_unknown_maps_and_pixel_sizes_are_told() -> None:
    step = registry.build("postprocess", "threshold", {"value": 0.5, "of": "nucleu"})
    with pytest.raises(ComponentError, match="Did you mean 'nucleus'"):
        step.apply({"nucleus": np.zeros((3, 3))}, None)
    sized = registry.build("postprocess", "remove_small", {"size": 3, "unit": "physical"})
    with pytest.raises(DataError, match="a size is given in physical units, and the pixel size"):
        sized.apply({"result": np.ones((3, 3), bool)}, None)
    with pytest.raises(ComponentError, match=r"unit 'micron'.*Expected pixels or physical"):
        registry.build("postprocess", "remove_small", {"size": 3, "unit": "micron"})


@pytest.mark.parametrize(
    ("method", "options", "said"),
    [
        ("multiotsu", {"classes": 1}, "a whole number from 2 to 5"),  # skimage ends the process
        ("multiotsu", {"classes": 30}, "a whole number from 2 to 5"),  # and would take years
        ("multiotsu", {"classes": "many"}, "a whole number from 2 to 5"),
        ("local", {"block_size": 4}, "must be odd"),
        ("local", {"block_size": "large"}, "takes no such options"),
        ("niblack", {"window_size": "large"}, "takes no such options"),
        ("otsu", {"nbins": 0}, "takes no such options"),
    ],
)
def test_wrong_options_of_a_method_are_told_before_any_image(
    method: str, options: dict[str, object], said: str
) -> None:
    with pytest.raises(ComponentError, match=said):
        registry.build("postprocess", "threshold", {"method": method, "options": options})


def test_options_for_each_axis_of_a_volume_are_taken() -> None:
    params = {"method": "sauvola", "options": {"window_size": [3, 15, 15]}}
    step = registry.build("postprocess", "threshold", params)
    assert step.apply({"result": blobs((12, 24, 26))}, None).any()


def test_an_endless_blur_is_refused() -> None:
    with pytest.raises(ComponentError, match="expected a finite number"):
        registry.build("postprocess", "smooth", {"sigma": float("inf")})
