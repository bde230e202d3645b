"""Label images: known answers, and agreement with scikit-image and with counting by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import label, regionprops

from imtoolkit import labels as room
from imtoolkit.labels import (
    boundaries,
    centres,
    connected_parts,
    count_parts,
    overlap,
    relabel,
    separated,
    sizes,
)

FUNCTIONS = [boundaries, centres, connected_parts, relabel, sizes, lambda x: overlap(x, x)]
FUNCTIONS += [count_parts, lambda x: separated(x, x)]


def scattered(shape: tuple[int, ...], objects: int, seed: int, step: int = 1) -> Any:
    """Return objects of Voronoi shape with gaps, numbered in steps."""
    rng = np.random.default_rng(seed)
    seeds = np.zeros(shape, np.int64)
    places = rng.choice(seeds.size, objects, replace=False)
    seeds.ravel()[places] = np.arange(1, objects + 1) * step
    far, where = ndimage.distance_transform_edt(seeds == 0, return_indices=True)
    found = seeds[tuple(where)]
    found[far > 4] = 0
    return found


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("wrong", [np.array([[0.0, 1.0]]), np.array([[-1, 2]])])
def test_floats_and_negative_labels_are_refused(function: Any, wrong: Any) -> None:
    with pytest.raises(ValueError, match="labels must"):
        function(wrong)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_input_is_not_changed(function: Any) -> None:
    image = scattered((20, 20), 5, 0)
    before = image.copy()
    function(image)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("shape", [(0, 5), (4, 5), (2, 3, 4)])
def test_images_without_objects_are_fine(function: Any, shape: tuple[int, ...]) -> None:
    function(np.zeros(shape, np.uint16))


@pytest.mark.parametrize("highest", [40, 2**20, 2**40])
def test_relabel_is_consecutive_and_reversible(highest: int) -> None:
    image = scattered((30, 40), 30, 1, step=highest // 30)
    new, former = relabel(image)
    assert new.dtype == np.uint8
    np.testing.assert_array_equal(np.unique(new), np.arange(len(former)))
    np.testing.assert_array_equal(former[new], image)


def test_relabel_takes_the_smallest_type() -> None:
    assert relabel(np.arange(256).reshape(16, 16))[0].dtype == np.uint8
    assert relabel(np.arange(257).reshape(1, 257))[0].dtype == np.uint16
    assert relabel(np.arange(70_000).reshape(7, 10_000))[0].dtype == np.uint32


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.uint64])
def test_every_type_of_integer_is_understood(dtype: type) -> None:
    image = np.array([[0, 7, 7], [90, 0, 90]], dtype)
    new, former = relabel(image)
    assert new.tolist() == [[0, 1, 1], [2, 0, 2]]
    assert former.dtype == dtype
    np.testing.assert_array_equal(overlap(image, image).pixels, [2, 2])
    assert connected_parts(image).tolist() == [[0, 1, 1], [2, 0, 3]]


def test_relabel_without_background() -> None:
    new, former = relabel([[9, 4]])
    assert (new.tolist(), former.tolist()) == ([[2, 1]], [0, 4, 9])


@pytest.mark.parametrize("shape", [(40, 50), (10, 20, 30)])
@pytest.mark.parametrize("step", [1, 10**6])
def test_overlap_counts_what_a_loop_counts(shape: tuple[int, ...], step: int) -> None:
    first, second = scattered(shape, 20, 2), scattered(shape, 30, 3, step)
    found = overlap(first, second)
    np.testing.assert_array_equal(found.first_ids, np.unique(first[first > 0]))
    np.testing.assert_array_equal(found.second_ids, np.unique(second[second > 0]))
    dense = found.matrix().toarray()
    for n, a in enumerate(found.first_ids):
        assert found.first_sizes[n] == (first == a).sum()
        for m, b in enumerate(found.second_ids):
            assert dense[n, m] == ((first == a) & (second == b)).sum()
    assert len(found.pixels) == np.count_nonzero(dense)


def test_overlap_of_many_objects_stays_sparse() -> None:
    count = 300 * 300
    first = np.arange(1, count + 1).reshape(300, 300)
    found = overlap(first, first[::-1])  # a dense table would hold 8e9 numbers
    assert len(found.pixels) == count
    np.testing.assert_array_equal(found.pixels, 1)
    np.testing.assert_array_equal(found.second_ids[found.second].reshape(300, 300), first[::-1])


def test_overlap_of_an_image_with_itself_is_perfect() -> None:
    found = overlap(*[scattered((30, 30), 12, 4)] * 2)
    np.testing.assert_array_equal(found.first, found.second)
    np.testing.assert_array_equal(found.iou(), 1.0)
    np.testing.assert_array_equal(found.dice(), 1.0)


def test_iou_and_dice_are_one_another() -> None:
    found = overlap(scattered((30, 30), 12, 5), scattered((30, 30), 9, 6))
    np.testing.assert_allclose(found.dice(), 2 * found.iou() / (1 + found.iou()))
    np.testing.assert_allclose(found.matrix(found.iou()).sum(), found.iou().sum())


def test_overlap_of_unequal_shapes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 2\) and \(2, 3\)"):
        overlap(np.zeros((2, 2), int), np.zeros((2, 3), int))


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("shape", [(30, 40), (8, 12, 16)])
def test_parts_of_a_mask_are_those_of_scipy(shape: tuple[int, ...], *, diagonal: bool) -> None:
    mask = np.random.default_rng(7).random(shape) < 0.4
    structure = ndimage.generate_binary_structure(len(shape), len(shape) if diagonal else 1)
    expected, count = ndimage.label(mask, structure)
    parts = connected_parts(mask, diagonal=diagonal)
    assert parts.max() == count
    np.testing.assert_array_equal(parts, expected)  # scipy numbers in scan order as well


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("shape", [(30, 40), (8, 12, 16)])
def test_parts_of_labels_are_those_of_scikit_image(
    shape: tuple[int, ...], *, diagonal: bool
) -> None:
    image = np.random.default_rng(7).integers(0, 3, shape) * 1000
    expected = label(image, background=0, connectivity=len(shape) if diagonal else 1)
    np.testing.assert_array_equal(connected_parts(image, diagonal=diagonal), expected)


def test_touching_objects_stay_apart_and_torn_ones_are_parted() -> None:
    assert connected_parts([[3, 3, 5, 0, 3]]).tolist() == [[1, 1, 2, 0, 3]]


def test_boundary_of_a_square_is_its_frame() -> None:
    image = np.zeros((9, 9), int)
    image[2:7, 2:7] = 1
    frame = image.astype(bool)
    frame[3:6, 3:6] = False
    np.testing.assert_array_equal(boundaries(image), frame)
    outside = ndimage.binary_dilation(image) & (image == 0)
    np.testing.assert_array_equal(boundaries(image, outer=True), frame | outside)


@pytest.mark.parametrize("shape", [(30, 40), (8, 12, 16)])
def test_inner_boundary_is_what_erosion_of_each_object_takes(shape: tuple[int, ...]) -> None:
    image = scattered(shape, 10, 8)
    expected = np.zeros(shape, bool)
    for number in np.unique(image[image > 0]):
        mask = image == number
        expected |= mask & ~ndimage.binary_erosion(mask, border_value=1)
    np.testing.assert_array_equal(boundaries(image), expected)


def test_end_of_the_image_is_a_boundary_only_if_asked() -> None:
    image = np.ones((4, 5), int)
    image[0, 0] = 0
    assert boundaries(image).sum() == 2
    framed = boundaries(image, border=True)
    inner = np.zeros((4, 5), bool)
    inner[1:3, 1:4] = True
    np.testing.assert_array_equal(framed, ~inner & (image > 0))
    np.testing.assert_array_equal(boundaries(image, border=True, outer=True), ~inner)
    # background at the end of the image, away from any object, is no boundary
    lonely = np.pad(np.ones((1, 1), int), 3)
    assert not boundaries(lonely, border=True, outer=True)[0].any()


@pytest.mark.parametrize("shape", [(40, 50), (10, 20, 30)])
def test_centres_and_sizes_are_those_of_scikit_image(shape: tuple[int, ...]) -> None:
    image = scattered(shape, 25, 9, step=7)
    expected = regionprops(image)
    ids, places = centres(image)
    np.testing.assert_array_equal(ids, [region.label for region in expected])
    np.testing.assert_allclose(places, [region.centroid for region in expected])
    np.testing.assert_array_equal(sizes(image)[0], ids)
    np.testing.assert_array_equal(sizes(image)[1], [region.area for region in expected])


def test_inner_centre_lies_on_its_object_and_is_the_nearest_pixel() -> None:
    image = scattered((40, 50), 12, 10)
    image[5:20, 5:20] = 99
    image[6:19, 6:19] = 0  # a ring
    ids, places = centres(image, inside=True)
    means = dict(zip(*(part.tolist() for part in centres(image)), strict=True))
    for number, place in zip(ids.tolist(), places, strict=True):
        assert image[tuple(place.astype(int))] == number
        distances = np.linalg.norm(np.argwhere(image == number) - means[number], axis=1)
        assert np.linalg.norm(place - means[number]) == pytest.approx(distances.min())


def test_room_offers_what_it_lists() -> None:
    assert all(callable(getattr(room, name)) for name in room.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = room.nothing


def test_parts_of_each_label_are_counted_specks_left_out_where_wanted() -> None:
    labels = np.zeros((20, 20), int)
    labels[0:6, 0:6], labels[8:14, 0:6] = 4, 4  # two parts of a size
    labels[0:6, 10:16], labels[19, 19] = 9, 9  # one, and a speck
    labels[10, 10], labels[11, 11] = 12, 12  # touch at a corner
    assert [found.tolist() for found in count_parts(labels)] == [[4, 9, 12], [2, 2, 2]]
    assert count_parts(labels, diagonal=True)[1].tolist() == [2, 2, 1]
    assert count_parts(labels, diagonal=True, least=0.1)[1].tolist() == [2, 1, 1]
    empty = count_parts(np.zeros((3, 4), np.uint8))
    assert [found.tolist() for found in empty] == [[], []]


def test_only_labels_that_gained_parts_are_numbered_anew() -> None:
    before = np.zeros((8, 8), int)
    before[1:3, 1:3] = 5
    before[5, 0], before[7, 3] = 6, 6  # in two parts from the start
    labels = np.pad(before, 8, mode="symmetric")
    apart = separated(labels, before)
    structure = np.ones((3, 3))
    for number in np.unique(apart[apart > 0]):
        if number != 6:
            assert ndimage.label(apart == number, structure)[1] == 1
    assert (apart > 0).sum() == (labels > 0).sum()
    assert np.array_equal(apart > 0, labels > 0)
    assert len(np.unique(apart[labels == 5])) == 9
    np.testing.assert_array_equal(separated(before, before), before)


def test_what_grows_over_the_border_stays_one_object() -> None:
    before = np.array([[3, 3, 0, 4]])
    labels = np.pad(before, ((0, 0), (4, 4)), mode="symmetric")
    assert separated(labels, before).tolist() == [[6, 0, 3, 3, 3, 3, 0, 4, 4, 0, 5, 5]]
