"""Blocks of label images, joined to one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from imtoolkit.labels.numbering import relabel
from imtoolkit.labels.parts import connected_parts
from imtoolkit.labels.stitching import Stitched, plan_blocks, stitch

Labels = NDArray[Any]


def discs(shape: tuple[int, ...], count: int, radius: float, seed: int = 0) -> Labels:
    """Draw discs (balls) that touch but do not cover each other's pixels."""
    generator = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    labels = np.zeros(shape, np.int32)
    for number in range(1, count + 1):
        centre = generator.uniform(0, shape)
        near = ((places - centre) ** 2).sum(-1) < (radius * generator.uniform(0.6, 1)) ** 2
        labels[near & (labels == 0)] = number
    return relabel(labels)[0]


def same_objects(first: Labels, second: Labels) -> bool:
    """Tell whether two label images differ in their numbers at most."""
    pairs = np.unique(np.stack((first.ravel(), second.ravel())), axis=1)
    return all(len(np.unique(row)) == pairs.shape[1] for row in pairs) and bool(
        ((first == 0) == (second == 0)).all()
    )


def by_blocks(labels: Labels, block: Any, overlap: Any, **more: Any) -> Stitched:
    """Cut a label image into blocks that number their objects by themselves."""
    seen: list[Any] = []

    def of(box: tuple[slice, ...]) -> Labels:
        seen.append(box)
        part = labels[box]
        shuffled = np.random.default_rng(len(seen)).permutation(int(labels.max(initial=0)) + 1)
        return np.where(part > 0, 1 + shuffled[part], 0)

    found = stitch(of, labels.shape, block=block, overlap=overlap, **more)
    assert seen == plan_blocks(labels.shape, block, overlap)  # each once
    return found


@pytest.mark.parametrize(
    ("shape", "block", "overlap", "radius"),
    [
        ((100, 130), (40, 48), 16, 5.0),
        ((100, 130), (200, 48), (0, 20), 5.0),
        ((61, 40), (23, 17), (10, 9), 4.0),
        ((30, 64, 50), (12, 30, 28), (6, 14, 14), 2.5),
    ],
)
def test_cut_labels_come_out_as_they_were(
    shape: Any, block: Any, overlap: Any, radius: float
) -> None:
    labels = discs(shape, 60, radius)
    found = by_blocks(labels, block, overlap)
    assert same_objects(labels, found.labels)
    assert found.count == labels.max() == found.labels.max()
    assert found.cut == 0


def test_objects_on_borders_and_corners_of_blocks_are_counted_once() -> None:
    labels = np.zeros((60, 60), np.int32)
    number = 0
    for row in range(0, 56, 5):  # 4 x 4 pixels, touching none, all over the borders of all blocks
        for column in range(0, 56, 5):
            number += 1
            labels[row : row + 4, column : column + 4] = number
    found = by_blocks(labels, (24, 24), 10)
    assert found.count == number
    assert same_objects(labels, found.labels)


def test_touching_neighbours_stay_apart() -> None:
    labels = np.arange(1, 145).reshape(12, 12).repeat(5, 0).repeat(5, 1)
    found = by_blocks(labels, (25, 25), 11)
    assert same_objects(labels, found.labels)


def test_an_object_that_is_larger_than_a_block_is_joined_and_told() -> None:
    labels = np.zeros((80, 80), np.int32)
    labels[5:75, 10:70] = 1
    labels[5:75, 70:74] = 2
    found = by_blocks(labels, (32, 32), 8)
    assert same_objects(labels, found.labels)
    assert found.cut == 2


def test_two_arms_that_meet_in_a_later_block_are_one_object() -> None:
    labels = np.zeros((40, 40), np.int32)
    labels[4:34, 28:34] = 1
    labels[28:34, 4:34] = 1
    found = by_blocks(labels, (22, 22), 4)
    assert found.count == 1
    assert same_objects(labels, found.labels)


def test_blocks_that_disagree_near_their_border_leave_one_object() -> None:
    """A block that sees the end of an object takes it for something else: the other decides."""
    labels = np.zeros((1, 60), np.int32)
    labels[0, 20:27] = 1  # seen whole by the first block (0 to 30), cut by the second (from 22)

    def of(box: tuple[slice, ...]) -> Labels:
        part = labels[box].copy()
        if box[1].start == 22:
            part[0, :5] = [0, 0, 0, 2, 2]  # what it makes of the five pixels that it sees
        return part

    found = stitch(of, labels.shape, block=(1, 30), overlap=8)
    assert same_objects(labels, found.labels)


def test_the_block_that_sees_most_of_an_object_decides_that_it_is_one() -> None:
    whole = np.zeros((1, 60), np.int32)
    whole[0, 24:34] = 1  # ends beyond the first block, which sees 24 to 30 as two

    def of(box: tuple[slice, ...]) -> Labels:
        part = whole[box].copy()
        if box[1].start == 0:
            part[0, 24:] = [1, 1, 1, 2, 2, 2]
        return part

    found = stitch(of, whole.shape, block=(1, 30), overlap=8)
    assert same_objects(whole, found.labels)


def test_what_one_block_makes_up_at_its_border_is_dropped() -> None:
    def of(box: tuple[slice, ...]) -> Labels:
        part = np.zeros((1, 30), np.int32)
        part[0, -3 if box[1].start == 0 else 5 :][:3] = box[1].start == 0
        return part

    found = stitch(of, (1, 52), block=(1, 30), overlap=8)
    assert found.count == 0
    assert not found.labels.any()


def test_random_disagreement_never_doubles_a_pixel_nor_leaves_a_gap_in_numbers() -> None:
    generator = np.random.default_rng(0)

    def of(box: tuple[slice, ...]) -> Labels:
        shape = tuple(part.stop - part.start for part in box)
        return connected_parts(generator.random(shape) > 0.6)

    found = stitch(of, (50, 60), block=(20, 25), overlap=9)
    assert sorted(np.unique(found.labels)) == list(range(found.count + 1))


def test_the_output_may_be_a_memory_map(tmp_path: Path) -> None:
    labels = discs((90, 70), 40, 5)
    out = np.lib.format.open_memmap(
        tmp_path / "labels.npy", mode="w+", dtype=np.uint32, shape=labels.shape
    )
    out[...] = 7
    found = by_blocks(labels, (32, 32), 14, out=out)
    assert found.labels is out
    out.flush()
    assert same_objects(labels, np.load(tmp_path / "labels.npy"))


def test_images_without_objects_and_without_pixels() -> None:
    assert by_blocks(np.zeros((40, 40), np.uint8), (16, 16), 4).count == 0
    assert by_blocks(np.zeros((5, 0), np.uint8), (16, 16), 4).labels.shape == (5, 0)


def test_what_cannot_be_stitched_is_refused() -> None:
    with pytest.raises(ValueError, match="overlap of 16 for a block of 16"):
        plan_blocks((40, 40), (16, 16), 16)
    with pytest.raises(ValueError, match=r"for an image \[40, 40\]"):
        plan_blocks((40, 40), (16, 16, 16), 4)
    with pytest.raises(ValueError, match=r"labels of \(3, 3\) for a block of \(16, 16\)"):
        stitch(lambda box: np.zeros((3, 3), int), (40, 40), block=(16, 16), overlap=4)
    with pytest.raises(ValueError, match=r"output of \(2, 2\)"):
        stitch(
            lambda box: np.zeros((16, 16), int),
            (40, 40),
            block=(16, 16),
            overlap=4,
            out=np.zeros((2, 2), int),
        )


def test_an_output_too_small_for_the_numbers_is_refused_instead_of_wrapped() -> None:
    image = np.zeros((64, 64), np.int32)
    image[::4, ::4] = np.arange(1, 257).reshape(16, 16)

    with pytest.raises(ValueError, match="uint8"):
        stitch(
            lambda box: image[box],
            image.shape,
            block=(32, 32),
            overlap=8,
            out=np.zeros(image.shape, np.uint8),
        )
