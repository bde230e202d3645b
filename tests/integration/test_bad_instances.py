"""Labels that are no objects, odd ones that are fine, and what is said of them on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imtoolkit.runs import find_run
from tests.helpers.command import COUNT, Done, Place

SIDE = 32
OBJECTS: dict[str, Any] = {
    "task.category": "embedseg",
    "task.classes": None,
    "task.loss": None,
    "task.object_radius": 4.0,
    "data.patch": {"size": [SIDE, SIDE]},
}


def spots(labels: list[int], *, at: int = 4) -> np.ndarray:
    """Draw squares with these labels on a grid, away from the border."""
    out = np.zeros((SIDE, SIDE), np.uint16)
    for place, label in enumerate(labels):
        row, column = divmod(place, 4)
        out[at + 8 * row : at + 8 * row + 4, 2 + 8 * column : 6 + 8 * column] = label
    return out


@pytest.fixture
def place(place: Place) -> Place:
    """Return a user's folder whose labels number five objects in each image."""
    for number in range(COUNT):
        place.label(number, spots([1, 2, 3, 4, 5]))
    return place


def train(place: Place, changes: dict[str, Any] | None = None) -> Done:
    return place.train({**OBJECTS, **(changes or {})})


def every(labels: np.ndarray) -> Callable[[Place], None]:
    def spoil(place: Place) -> None:
        for number in range(COUNT):
            place.label(number, labels)

    return spoil


REFUSED: dict[str, tuple[Callable[[Place], Any], tuple[str, ...]]] = {
    "a mask of 0 and 1": (
        every(spots([1] * 6)),
        (
            "the labels look like classes, not like objects",
            "in 4 of 4 images",
            "number 1 in 6 parts",
            "Add connected_components to data.preprocess",
        ),
    ),
    "a mask of 0 and 255": (
        every(spots([255] * 6).astype(np.uint8)),
        ("the same few numbers (255)", "connected_components"),
    ),
    "three classes": (
        every(spots([1, 2, 1, 2, 3, 3, 1, 2])),
        ("the same few numbers (1, 2, 3)", "number 1 in 3 parts", "connected_components"),
    ),
    "no object anywhere": (
        every(np.zeros((SIDE, SIDE), np.uint8)),
        ("none of the 2 training images holds an object", "Check which files"),
    ),
    "negative labels": (
        lambda place: place.label(3, spots([1, 2]).astype(np.int16) - 1),
        ("labels/c3.tif", "labels are negative", "0 for background and 1, 2, ... for objects"),
    ),
    "fractions": (
        lambda place: place.label(3, spots([1, 2]).astype(np.float32) / 4),
        ("labels/c3.tif", "labels must be whole numbers", "save them as integers"),
    ),
    "another size": (
        lambda place: place.label(3, spots([1, 2])[:30]),
        ("images/c3.tif", "image is 32 x 32, its target 30 x 32"),
    ),
}


@pytest.mark.parametrize("spoil", list(REFUSED))
def test_labels_that_are_no_objects_are_refused_with_a_remedy(place: Place, spoil: str) -> None:
    change, words = REFUSED[spoil]
    change(place)
    train(place).refuses(*words)
    assert not place.runs()


def test_objects_drawn_in_colours_are_told_from_numbers(place: Place) -> None:
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], np.uint8)
    for number in range(COUNT):
        place.label(number, colours[spots([1, 2])])
    done = train(place, {"data.target_axes": "YXC"})
    done.refuses("target has 3 channels", "drawn in colours", "number of each object", "unique")
    train(place).refuses("labels/c0.tif", "axes")


def test_the_remedy_for_a_mask_is_a_remedy(place: Place) -> None:
    every(spots([1] * 6))(place)
    preprocess = ["normalize_percentiles", "connected_components"]
    done = train(place, {"data.preprocess": preprocess})
    assert done.code == 0, done.err
    run = find_run("latest", Path("runs"))
    assert run.facts.objects == {"train": 12, "val": 6, "test": 6}
    assert "look like classes" not in done.out + done.err


def one_object(place: Place) -> None:
    for number in range(COUNT):
        place.label(number, spots([1 + number]))


def one_object_of_one_number(place: Place) -> None:
    every(spots([1]))(place)


def cut_by_the_border(place: Place) -> None:
    labels = np.zeros((SIDE, SIDE), np.uint16)
    labels[:5, :9], labels[10:14, -3:], labels[-4:, 8:20], labels[12:20, 0] = 1, 2, 3, 4
    every(labels)(place)


def some_empty(place: Place) -> None:
    for number in range(2):
        place.label(number, np.zeros((SIDE, SIDE), np.uint8))


def touching(place: Place) -> None:
    every(np.kron(np.arange(1, 17).reshape(4, 4), np.ones((8, 8), int)).astype(np.uint8))(place)


def huge_numbers(place: Place) -> None:
    labels = spots([1, 2, 3]).astype(np.uint32)
    every(np.where(labels > 0, 2**32 - labels.astype(np.int64), 0).astype(np.uint32))(place)


def numbers_of_unsigned_64_bits(place: Place) -> None:
    labels = spots([1, 2, 3]).astype(np.uint64)
    every(np.where(labels > 0, np.uint64(2**63) + labels, np.uint64(0)))(place)


def numbers_beyond_whole_ones(place: Place) -> None:
    every((spots([1, 2, 3]) * 1e30).astype(np.float64))(place)


def of_single_pixels(place: Place) -> None:
    labels = np.zeros((SIDE, SIDE), np.uint16)
    labels[2::4, 2::4] = np.arange(1, 65).reshape(8, 8)
    every(labels)(place)


FINE = [
    *(one_object, one_object_of_one_number, cut_by_the_border, some_empty),
    *(touching, huge_numbers, of_single_pixels),
    *(numbers_of_unsigned_64_bits, numbers_beyond_whole_ones),
]


@pytest.mark.parametrize("change", FINE, ids=[change.__name__ for change in FINE])
def test_odd_objects_are_trained_on(place: Place, change: Callable[[Place], None]) -> None:
    change(place)
    done = train(place, {"data.split": divided(place)})
    assert done.code == 0, done.err
    assert "Traceback" not in done.out + done.err
    assert "several separate parts" not in done.out + done.err
    assert ("2 of 4 images hold no object" in done.out + done.err) == (change is some_empty)
    if change in (huge_numbers, numbers_of_unsigned_64_bits, numbers_beyond_whole_ones):
        assert find_run("latest", Path("runs")).facts.objects == {"train": 6, "val": 3, "test": 3}


def test_objects_in_several_parts_are_told_with_image_and_count(place: Place) -> None:
    place.label(2, spots([1, 2, 3, 4, 5, 3, 3]))
    done = train(place)
    assert done.code == 0, done.err
    said = " ".join((done.out + done.err).split())
    assert "1 of 20 objects, in 1 images, lie in several separate parts" in said
    assert "'c2': number 3 in 3 parts" in said
    assert "connected_components" in said


def test_objects_longer_than_a_patch_are_told(place: Place) -> None:
    labels = spots([1, 2, 3, 4])
    labels[10:30, 2:28] = 5
    every(labels)(place)
    done = train(place, {"data.patch": {"size": [16, 16]}})
    assert done.code == 0, done.err
    said = " ".join((done.out + done.err).split())
    assert "in 2 of 2 training images with objects, some are longer than data.patch.size" in said


@pytest.mark.slow
def test_more_objects_than_sixteen_bits_count_are_trained_on(place: Place) -> None:
    side = 257
    labels = np.zeros((2 * side, 2 * side), np.uint32)
    labels[::2, ::2] = np.arange(1, side * side + 1).reshape(side, side)
    place.label(0, labels)
    place.image(0, (100 + 800 * (labels > 0)).astype(np.uint16))
    done = train(place, {"data.split": divided(place)})
    assert done.code == 0, done.err
    assert find_run("latest", Path("runs")).facts.objects == {
        "train": side * side + 5,
        "val": 5,
        "test": 5,
    }


def divided(place: Place) -> dict[str, str]:
    """Write which image belongs to which split, so that tests know it."""
    place.text("id,split\nc0,train\nc1,val\nc2,train\nc3,test\n", "splits.csv")
    return {"file": "splits.csv"}


def test_check_tells_the_objects_and_what_is_made_of_them(place: Place) -> None:
    config = place.config({**OBJECTS, "data.split": divided(place)})
    done = place.command("check", config.name)
    assert done.code == 0, done.err
    lines = dict(line.split(maxsplit=1) for line in done.out.splitlines() if "  " in line)
    assert lines["objects"] == "10 train, 5 val, 5 test"
    assert lines["centre_offsets"] == f"of a batch  [2, 2, {SIDE}, {SIDE}]"


def test_augmentation_on_the_device_is_refused_where_objects_move(place: Place) -> None:
    changes = {"data.augment": ["flips"], "data.augment_on": "device"}
    train(place, changes).refuses("'flips' moves objects", "data.augment_on: worker")
