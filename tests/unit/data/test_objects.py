"""Are labels numbers of objects: what is refused, what is told, and what is left alone."""

from __future__ import annotations

import numpy as np
import pytest

from imtoolkit.data.objects import ObjectSummary, count_objects


def spots(numbers: list[int], size: int = 4) -> np.ndarray:
    """Draw squares of these numbers that do not touch."""
    side = int(np.ceil(np.sqrt(max(len(numbers), 1))))
    labels = np.zeros((side * 8, side * 8), np.int32)
    for place, number in enumerate(numbers):
        row, column = divmod(place, side)
        labels[row * 8 : row * 8 + size, column * 8 : column * 8 + size] = number
    return labels


def summed(*images: np.ndarray, split: str = "train") -> ObjectSummary:
    summary = ObjectSummary()
    for place, labels in enumerate(images):
        summary.add(f"a{place}", split, count_objects(labels))
    return summary


def test_objects_parts_and_lengths_are_counted() -> None:
    labels = spots([3, 3, 5, 9])
    labels[0, 7] = 5  # a speck of object 5
    found = count_objects(labels)
    assert found == {
        "count": 3,
        "parts": 4,  # without the speck
        "few": [3, 5, 9],
        "scattered": 2,
        "worst": [3, 2],
        "extent": [12, 12],
    }
    assert count_objects(spots(list(range(1, 20))))["few"] is None
    assert count_objects(np.zeros((4, 4, 4), np.uint8)) == {
        "count": 0,
        "parts": 0,
        "few": [],
        "scattered": 0,
        "worst": None,
        "extent": [0, 0, 0],
    }


@pytest.mark.parametrize("numbers", [[1] * 7, [255] * 2, [1, 2, 1, 2, 1, 2], [1, 2, 3, 4] * 3])
def test_a_set_of_masks_is_refused_with_what_was_found(numbers: list[int]) -> None:
    (problem,) = summed(spots(numbers), spots(numbers), spots(numbers)).problems()
    parts = numbers.count(numbers[0])
    assert "in 3 of 3 images the same few numbers" in problem.message
    assert f"'a0': number {numbers[0]} in {parts} parts" in problem.message
    assert "connected_components" in problem.message


def test_most_images_decide() -> None:
    mask, alone = spots([1] * 6), spots([1])
    assert summed(mask, mask, alone).problems()
    assert not summed(mask, alone, alone).problems()


@pytest.mark.parametrize(
    "images",
    [
        [spots([1])] * 5,  # one object in each image, always of one number
        [spots([1, 2, 3])] * 5,
        [spots([1 + place, 1 + place, 20 + place]) for place in range(9)],  # numbers that go on
        [spots([1, 1, *range(2, 12)])] * 5,  # one object in two parts among many
        [np.kron([[1, 2], [3, 4]], np.ones((5, 5), int))] * 3,  # all touch
    ],
)
def test_objects_are_no_classes(images: list[np.ndarray]) -> None:
    assert not summed(*images).problems()


def test_specks_make_no_classes_of_few_objects_but_are_told() -> None:
    labels = spots([1, 2, 3], size=6)
    labels[0, 7], labels[7, 0], labels[15, 15] = 1, 2, 3
    summary = summed(*[labels] * 4)
    assert not summary.problems()
    (told,) = summary.told()
    assert told.startswith("12 of 12 objects, in 4 images, lie in several separate parts")
    assert "'a0': number 1 in 2 parts" in told
    assert "min_size" in told


def test_images_without_objects_are_counted_and_a_set_of_them_is_refused() -> None:
    empty, full = np.zeros((8, 8), np.uint8), spots([1, 2])
    assert summed(full, empty, full, empty).told() == [
        "2 of 4 images hold no object, such as 'a1', 'a3'"
    ]
    (problem,) = summed(empty, empty).problems()
    assert "none of the 2 training images holds an object" in problem.message
    # images to measure alone, such as controls, may be empty
    assert not summed(empty, empty, split="test").problems()
    assert not ObjectSummary().problems()


def test_objects_longer_than_the_patch_are_told() -> None:
    summary = summed(spots([1, 2]), np.ones((40, 3), int))
    assert not summary.told() and not summary.told((40, 8))
    (told,) = summary.told((32, 32))
    assert told.startswith(
        "in 1 of 2 training images with objects, some are longer than data.patch"
    )
