"""Maps of objects, against plain loops over pixels and drawn shapes with known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from imtoolkit.labels import centre_offsets, centres, distance_map, medoids, pixel_classes
from imtoolkit.labels.medoid import search

SPACINGS = (None, (2.0, 0.5), (3.0, 1.0, 0.7))


def drawn(shape: tuple[int, ...], seed: int, count: int = 6) -> np.ndarray:
    """Draw ellipses that overlap, so that objects touch, are cut, and have dents."""
    state = np.random.RandomState(seed)
    labels = np.zeros(shape, np.int32)
    axes = np.indices(shape)
    for number in range(1, count + 1):
        middle = [state.uniform(0, side) for side in shape]
        radii = [state.uniform(1, max(side / 3, 2)) for side in shape]
        inside = sum(((a - m) / r) ** 2 for a, m, r in zip(axes, middle, radii, strict=True)) < 1
        labels[inside] = 3 * number
    return labels


def plain_distances(labels: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Compare each pixel with all others."""
    places = np.argwhere(np.ones(labels.shape))
    flat = labels.ravel()
    out = np.zeros(labels.shape)
    for place, label in zip(places, flat, strict=True):
        others = places[flat != label]
        if label:
            out[tuple(place)] = np.sqrt((((others - place) * spacing) ** 2).sum(1)).min()
    return out


def plain_medoid(mask: np.ndarray, spacing: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of distances of all pixels of a mask, and the pixels."""
    places = np.argwhere(mask)
    ways = (places[:, None] - places[None]) * np.array(spacing)
    return np.sqrt((ways**2).sum(-1)).sum(1), places


@pytest.mark.parametrize(("shape", "seed"), [((17, 23), 0), ((20, 14), 1), ((6, 11, 9), 2)])
@pytest.mark.parametrize("anisotropic", [False, True])
def test_distances_equal_a_loop_over_all_pixels(
    shape: tuple[int, ...], seed: int, anisotropic: bool
) -> None:
    labels = drawn(shape, seed)
    spacing = SPACINGS[len(shape) - 1] if anisotropic else None
    reference = plain_distances(labels, spacing or (1.0,) * len(shape))
    found = distance_map(labels, normalize=False, spacing=spacing)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, reference, rtol=1e-6)
    scaled = distance_map(labels, spacing=spacing)
    for label in np.unique(labels[labels > 0]):
        own = labels == label
        np.testing.assert_allclose(scaled[own], reference[own] / reference[own].max(), rtol=1e-6)
    assert not scaled[labels == 0].any()


def test_distance_between_touching_objects_is_counted_within_each() -> None:
    labels = np.repeat([1, 2], 6)[None].repeat(30, axis=0)
    foreground = ndimage.distance_transform_edt(labels > 0)
    assert foreground.max() > 10 or not foreground.any()  # the mask alone has no edge at all
    found = distance_map(labels, normalize=False)
    assert found[0].tolist() == [6, 5, 4, 3, 2, 1, 1, 2, 3, 4, 5, 6]


def test_an_object_that_fills_the_image_is_all_inside_and_has_finite_distances() -> None:
    labels = np.full((5, 7), 9)
    assert (pixel_classes(labels) == 1).all()
    assert distance_map(labels, normalize=False)[2].tolist() == [1, 2, 3, 3, 3, 2, 1]
    assert distance_map(labels).max() == 1


@pytest.mark.parametrize("width", [1, 1.5, 2, 3])
@pytest.mark.parametrize(("shape", "seed"), [((30, 40), 3), ((12, 20, 18), 4)])
def test_boundary_is_what_lies_within_the_width_of_another_label(
    shape: tuple[int, ...], seed: int, width: float
) -> None:
    labels = drawn(shape, seed)
    classes = pixel_classes(labels, width)
    depth = plain_distances(labels, (1.0,) * len(shape))
    assert classes.dtype == np.uint8
    np.testing.assert_array_equal(classes > 0, labels > 0)
    for label in np.unique(labels[labels > 0]):
        own = labels == label
        expected = depth > width
        assert (classes[own] == 1).any()
        if expected[own].any():
            np.testing.assert_array_equal(classes[own] == 1, expected[own])


def test_the_end_of_the_image_is_no_boundary() -> None:
    labels = np.zeros((6, 6), int)
    labels[:4, :4] = 1
    assert pixel_classes(labels).tolist()[0] == [1, 1, 1, 2, 0, 0]


def test_no_object_is_all_boundary_and_those_that_touch_stay_apart() -> None:
    labels = np.zeros((12, 14), int)
    labels[1, 1] = 1  # one pixel
    labels[1:3, 4:6] = 2  # two by two, alone: all of it is deepest
    labels[5:7, 1:9] = 3  # two rods of two rows that touch: the rows that do not are inside
    labels[7:9, 1:9] = 4
    labels[10, 1:4], labels[10, 4:6] = 5, 6  # one row
    labels[10:12, 8:10], labels[10:12, 10:12], labels[9, 8:12] = 7, 8, 9  # no pixel is free
    classes = pixel_classes(labels)
    for label in range(1, 10):
        assert (classes[labels == label] == 1).any(), label
    assert classes[1, 1] == 1
    assert (classes[1:3, 4:6] == 1).all()
    assert (classes[5, 1:9] == 1).all() and (classes[6:8, 1:9] == 2).all()
    assert classes[10, 1:6].tolist() == [1, 1, 2, 2, 1]
    parts, count = ndimage.label(classes == 1)
    assert count == 9
    assert all(len(np.unique(labels[parts == part])) == 1 for part in range(1, count + 1))


@pytest.mark.parametrize("spacing", SPACINGS)
def test_medoid_has_the_least_sum_of_distances_of_all_pixels(
    spacing: tuple[float, ...] | None,
) -> None:
    shape = (9, 14, 12) if spacing is not None and len(spacing) == 3 else (40, 52)
    for seed in range(4):
        labels = drawn(shape, seed, count=8)
        numbers, found = medoids(labels, spacing=spacing)
        assert numbers.tolist() == np.unique(labels[labels > 0]).tolist()
        for number, place in zip(numbers, found, strict=True):
            steps = spacing or (1.0,) * len(shape)
            sums, places = plain_medoid(labels == number, steps)
            first = places[np.argmax(sums <= sums.min() * (1 + 1e-9))]
            assert place.tolist() == first.tolist()
            assert search(places * np.array(steps)) == np.argmax(sums <= sums.min() * (1 + 1e-9))


def test_medoid_of_rings_and_parts_lies_on_them() -> None:
    y, x = np.mgrid[:41, :41]
    radius = np.hypot(y - 20, x - 20)
    ring = (radius > 14) & (radius < 18) & (x < 30)
    sums, places = plain_medoid(ring, (1.0, 1.0))
    assert medoids(ring)[1][0].tolist() == places[np.argmin(sums)].tolist()
    assert search(places.astype(float)) == np.argmin(sums)


def test_a_large_object_is_searched_with_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = drawn((300, 280), 5, count=2)
    by_fft = medoids(labels)[1]
    monkeypatch.setattr("imtoolkit.labels.medoid._MOST", 0)
    np.testing.assert_array_equal(medoids(labels)[1], by_fft)


@pytest.mark.parametrize("centre", ["centroid", "medoid", "approximate_medoid"])
@pytest.mark.parametrize("shape", [(30, 36), (8, 16, 14)])
def test_offsets_lead_each_pixel_to_the_centre_of_its_object(
    shape: tuple[int, ...], centre: str
) -> None:
    labels = drawn(shape, 7)
    offsets = centre_offsets(labels, centre)  # type: ignore[arg-type]
    assert offsets.shape == (len(shape), *shape) and offsets.dtype == np.float32
    numbers, middles = (
        medoids(labels) if centre == "medoid" else centres(labels, inside=centre != "centroid")
    )
    reached = offsets + np.indices(shape)
    for number, middle in zip(numbers, middles, strict=True):
        own = reached[:, labels == number]
        np.testing.assert_allclose(own, np.broadcast_to(middle[:, None], own.shape), atol=1e-4)
        if centre != "centroid":
            assert labels[tuple(middle.astype(int))] == number
    assert not offsets[:, labels == 0].any()


def test_spacing_chooses_another_centre_but_offsets_stay_in_pixels() -> None:
    # a hook: by pixels the nearest to the mean lies on the long arm, by size on the short one
    labels = np.zeros((9, 9), int)
    labels[0:9, 0] = 1
    labels[8, 0:9] = 1
    mean = centres(labels)[1][0]
    chosen = {}
    for spacing in ((1.0, 1.0), (10.0, 1.0), (1.0, 10.0)):
        places = np.argwhere(labels)
        away = (((places - mean) * spacing) ** 2).sum(1)
        expected = places[away.argmin()]
        offsets = centre_offsets(labels, "approximate_medoid", spacing)
        chosen[spacing] = tuple(offsets[:, 0, 0].astype(int).tolist())
        assert chosen[spacing] == tuple(expected)
    assert len(set(chosen.values())) > 1


def test_images_without_objects_and_of_no_pixels_have_empty_maps() -> None:
    for shape in ((5, 6), (3, 4, 5), (0, 4)):
        empty = np.zeros(shape, np.uint16)
        assert not pixel_classes(empty).any() and not distance_map(empty).any()
        for centre in ("centroid", "medoid", "approximate_medoid"):
            made = centre_offsets(empty, centre)  # type: ignore[arg-type]
            assert made.shape == (len(shape), *shape) and not made.any()


def test_numbers_of_objects_may_be_any() -> None:
    labels = drawn((20, 20), 8)
    high = np.where(labels > 0, labels.astype(np.int64) + 2**33, 0)
    for make in (pixel_classes, distance_map, centre_offsets):
        np.testing.assert_array_equal(make(labels), make(high))  # type: ignore[operator]


@pytest.mark.slow
def test_seventy_thousand_objects_each_have_their_own_values() -> None:
    side = 265
    labels = np.zeros((2 * side, 2 * side), np.uint32)
    labels[::2, ::2] = np.arange(1, side * side + 1).reshape(side, side)
    assert labels.max() > 65_536
    assert (pixel_classes(labels)[::2, ::2] == 1).all()
    labels[1::2] = labels[::2]  # each object two pixels high, its centre half a pixel away
    offsets = centre_offsets(labels)
    assert (offsets[0, ::2, ::2] == 0.5).all() and (offsets[0, 1::2, ::2] == -0.5).all()
    assert not offsets[1].any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pixel_classes(np.zeros((3, 3))), "labels must be integers"),
        (lambda: pixel_classes([[1, -1]]), "must not be negative"),
        (lambda: pixel_classes([[1]], width=0), "got width=0"),
        (lambda: pixel_classes([[1]], width=math.nan), "got width=nan"),
        (lambda: distance_map([[1]], spacing=(1, 0)), "2 positive numbers"),
        (lambda: distance_map([[1]], spacing=(1, 1, 1)), "2 positive numbers"),
        (lambda: centre_offsets([[1]], "middle"), "expected one of centroid, medoid"),
    ],
)
def test_what_cannot_be_is_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


def test_inputs_are_left_as_they_were() -> None:
    labels = drawn((16, 16), 9)
    before = labels.copy()
    for make in (pixel_classes, distance_map):
        make(labels)
    centre_offsets(labels, "medoid")
    np.testing.assert_array_equal(labels, before)
