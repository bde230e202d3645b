"""What became of drawn objects, and colours of which neighbours differ."""

import itertools

import numpy as np
import pytest

from imtoolkit.labels.colouring import colouring, neighbours
from imtoolkit.labels.verdicts import Verdict, judge, looked_up


def names(verdicts: np.ndarray) -> list[str]:
    return [Verdict(one).name for one in verdicts]


def test_a_merge_names_both_true_objects_and_the_predicted_one() -> None:
    true = [[1, 1, 1, 2, 2, 2, 0, 3, 3]]
    found = judge(true, [[9, 9, 9, 9, 9, 9, 0, 0, 0]])  # an IoU of one half is a match
    assert names(found.true) == ["FOUND", "MERGED", "MISSED"]
    assert names(found.predicted) == ["FOUND"]
    found = judge(true, [[9, 9, 9, 9, 9, 9, 9, 9, 9]])
    assert names(found.true) == ["MERGED"] * 3
    assert names(found.predicted) == ["MERGED"]
    assert (found.merges, found.splits) == (1, 0)


def test_a_split_names_the_true_object_and_its_pieces() -> None:
    true = [[1, 1, 1, 1, 1, 1, 0, 2]]
    found = judge(true, [[4, 4, 5, 5, 6, 6, 0, 7]])
    assert names(found.true) == ["SPLIT", "FOUND"]
    assert names(found.predicted) == ["SPLIT", "SPLIT", "SPLIT", "FOUND"]
    assert (found.merges, found.splits) == (0, 1)


def test_what_overlaps_too_little_is_missed_and_false() -> None:
    found = judge([[1, 1, 1, 0, 0]], [[0, 0, 2, 2, 2]])
    assert (names(found.true), names(found.predicted)) == (["MISSED"], ["FALSE"])
    assert names(judge([[1, 1, 1, 0, 0]], [[0, 0, 2, 2, 2]], threshold=0.2).true) == ["FOUND"]


def test_what_is_ignored_has_no_verdict() -> None:
    true, predicted = np.array([[1, 1, 0, 2, 2]]), np.array([[3, 3, 0, 0, 0]])
    found = judge(true, predicted, np.array([[0, 0, 0, 1, 1]], bool))
    assert names(found.true) == ["FOUND"]
    assert found.of_true(true).tolist() == [[1, 1, 0, 0, 0]]
    assert found.of_predicted(predicted[:, 1:]).tolist() == [[1, 0, 0, 0]]


def test_empty_images_have_no_verdicts() -> None:
    empty, one = np.zeros((3, 3), int), np.eye(3, dtype=int)
    assert not len(judge(empty, empty).true)
    assert names(judge(empty, one).predicted) == ["FALSE"]
    assert names(judge(one, empty).true) == ["MISSED"]
    assert (
        looked_up(one, np.array([], int), np.array([], int)).tolist() == np.zeros((3, 3)).tolist()
    )


# --- colours --------------------------------------------------------------------------------------


def near(labels: np.ndarray) -> set[tuple[int, int]]:
    """Return the objects that touch, corners included, pixel by pixel."""
    found = set()
    for place in np.ndindex(labels.shape):
        for step in itertools.product((-1, 0, 1), repeat=labels.ndim):
            other = tuple(p + s for p, s in zip(place, step, strict=True))
            if all(0 <= p < side for p, side in zip(other, labels.shape, strict=True)):
                pair = int(labels[place]), int(labels[other])
                if 0 < pair[0] < pair[1]:
                    found.add(pair)
    return found


@pytest.mark.parametrize("shape", [(9, 11), (4, 5, 6), (12,)])
def test_neighbours_touch_by_side_or_corner(shape: tuple[int, ...]) -> None:
    labels = np.random.default_rng(0).integers(0, 40, shape)
    assert {tuple(pair) for pair in neighbours(labels).tolist()} == near(labels)


def test_neighbours_of_any_reach_are_told() -> None:
    row = np.array([[5, 0, 0, 0, 8, 0, 0, 3]])
    assert neighbours(row, reach=3).tolist() == [[3, 8]]
    assert neighbours(row, reach=4).tolist() == [[3, 8], [5, 8]]
    assert neighbours(np.zeros((4, 4), int)).tolist() == []


@pytest.mark.parametrize("seed", range(3))
def test_touching_objects_have_different_colours(seed: int) -> None:
    # the cells of a Voronoi map: a planar graph
    rng = np.random.default_rng(seed)
    seeds = rng.uniform(0, 60, (80, 2))
    grid = np.stack(np.mgrid[:60, :60], axis=-1)
    labels = np.linalg.norm(grid[:, :, None] - seeds, axis=-1).argmin(-1) + 1
    ids, colours = colouring(labels, 7)
    of = dict(zip(ids.tolist(), colours.tolist(), strict=True))
    assert all(of[one] != of[other] for one, other in neighbours(labels).tolist())
    counts = np.bincount(colours, minlength=7)
    assert counts.min() > 0
    assert set(colouring(labels, 1)[1].tolist()) == {0}  # too few colours: still one for each


def test_wishes_are_fulfilled_where_neighbours_allow_it() -> None:
    labels = np.array([[1, 2, 2, 3, 0, 0, 4]])
    _, colours = colouring(labels, 7, wishes=np.array([5, 5, -1, 5]))
    assert sorted([colours[0] == 5, colours[1] == 5]) == [False, True]
    assert colours[3] == 5
    with pytest.raises(ValueError, match="0 colours"):
        colouring(labels, 0)
