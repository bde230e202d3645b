"""Objects are matched one to one: checked against a dense assignment over all pairs."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from imtoolkit.labels import match, overlap
from imtoolkit.labels import matching as matching_module
from imtoolkit.labels import pairs as pairs_module
from imtoolkit.labels.assignment import best_pairs
from imtoolkit.labels.ignored import overlap_of_counted
from imtoolkit.labels.pairs import count_pairs

THRESHOLDS = (0.01, 0.1, 0.3, 0.5, 0.55, 0.75, 1.0)


def random_labels(seed: int, shape: tuple[int, ...] = (24, 24), count: int = 30) -> np.ndarray:
    """Blocks of random sizes at random places, later ones over earlier ones, ids with gaps."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int64)
    for number in rng.permutation(np.arange(1, 4 * count))[:count].tolist():
        corner = [int(rng.integers(0, side)) for side in shape]
        size = rng.integers(1, 7, len(shape)).tolist()
        box = tuple(slice(low, low + width) for low, width in zip(corner, size, strict=True))
        labels[box] = number
    return labels


def dense_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    rows = [label for label in np.unique(first) if label]
    columns = [label for label in np.unique(second) if label]
    table = np.zeros((len(rows), len(columns)))
    for i, a in enumerate(rows):
        for j, b in enumerate(columns):
            both, either = (first == a) & (second == b), (first == a) | (second == b)
            table[i, j] = both.sum() / either.sum()
    return table


def dense_match(first: np.ndarray, second: np.ndarray, threshold: float) -> tuple[int, float]:
    """Return how many are matched and their total IoU, by one assignment over all pairs."""
    iou = dense_iou(first, second)
    good = iou >= threshold
    rows, columns = linear_sum_assignment(np.where(good, 1000 + iou, 0.0), maximize=True)
    kept = good[rows, columns]
    return int(kept.sum()), float(iou[rows, columns][kept].sum())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shape", [(24, 24), (8, 12, 10)])
def test_as_many_are_matched_as_a_dense_assignment_matches(
    seed: int, shape: tuple[int, ...]
) -> None:
    first, second = random_labels(seed, shape), random_labels(seed + 100, shape)
    moved = np.roll(first, 1, axis=-1)
    for other in (second, moved):
        found = overlap(first, other)
        for threshold in THRESHOLDS:
            ours = match(found, threshold)
            count, total = dense_match(first, other, threshold)
            assert (len(ours), ours.iou.sum()) == (count, pytest.approx(total))
            assert len(np.unique(ours.first)) == len(np.unique(ours.second)) == count
            assert (ours.iou >= threshold).all()


@pytest.mark.parametrize("seed", range(60))
def test_pairs_of_the_highest_gain_are_chosen(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 14, 2)
    # rounded, so that there are ties
    table = np.round(rng.uniform(0.1, 1, shape), 1 + seed % 3) * (rng.random(shape) < 0.4)
    rows, columns = np.nonzero(table)
    chosen = best_pairs(rows, columns, table[rows, columns])
    best = table[linear_sum_assignment(table, maximize=True)].sum()
    assert table[rows, columns][chosen].sum() == pytest.approx(best)
    assert len(np.unique(rows[chosen])) == len(np.unique(columns[chosen])) == len(chosen)


def test_a_long_chain_of_conflicts_is_resolved() -> None:
    # each row has its own column, and a better one that the next row needs
    count = 3000
    rows = np.repeat(np.arange(count), 2)
    columns = rows + np.tile([0, 1], count)
    gains = np.tile([1.2, 1.1], count)
    kept = columns < count
    chosen = best_pairs(rows[kept], columns[kept], gains[kept])
    assert (columns[kept][chosen] == np.arange(count)).all()
    assert not len(best_pairs(rows[:0], columns[:0], gains[:0]))


def test_a_large_group_is_matched_like_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    found = overlap(random_labels(1, (60, 60), 300), random_labels(2, (60, 60), 300))
    dense = match(found, 0.01)
    monkeypatch.setattr(matching_module, "_MOST_CELLS", 0)
    sparse = match(found, 0.01)
    assert len(dense) == len(sparse) > 50
    assert dense.iou.sum() == pytest.approx(sparse.iou.sum())


def test_more_pairs_win_over_a_better_one() -> None:
    # 1 overlaps 7 best; to match both, 1 takes 8 and leaves 7 to 2
    first = np.array([[1, 1, 1, 1, 1, 1, 2, 2, 0, 0]])
    second = np.array([[8, 8, 7, 7, 7, 7, 7, 7, 0, 0]])
    found = match(overlap(first, second), 0.1)
    assert found.first.tolist() == [0, 1]
    assert found.second.tolist() == [1, 0]  # ids 8 and 7
    assert len(match(overlap(first, second), 0.5)) == 1


def test_two_exact_halves_are_one_match() -> None:
    whole, halves = np.array([[1, 1, 1, 1]]), np.array([[2, 2, 5, 5]])
    for pair in ((whole, halves), (halves, whole)):
        found = match(overlap(*pair))
        assert found.iou.tolist() == [0.5]
        assert (found.first.tolist(), found.second.tolist()) == ([0], [0])


def test_a_matching_at_one_half_holds_those_above() -> None:
    found = overlap(random_labels(3), np.roll(random_labels(3), 1, 0))
    for threshold in (0.5, 0.55, 0.6, 0.7, 0.75, 0.95):
        filtered, own = match(found).at(threshold), match(found, threshold)
        assert filtered.first.tolist() == own.first.tolist()
        assert filtered.second.tolist() == own.second.tolist()


def test_numbers_of_objects_do_not_matter() -> None:
    first, second = random_labels(5), random_labels(6)
    rng = np.random.default_rng(0)
    table = np.concatenate([[0], rng.permutation(1 << 16)[: first.max()] + 1])
    for threshold in (0.2, 0.5):
        before = match(overlap(first, second), threshold).iou
        after = match(overlap(table[first], second), threshold).iou
        np.testing.assert_allclose(np.sort(before), np.sort(after))


def test_nothing_is_matched_where_nothing_overlaps() -> None:
    empty = np.zeros((4, 4), np.uint16)
    for first, second in ((empty, empty), (empty, empty + 1), (empty[:0], empty[:0])):
        for threshold in (0.3, 0.5):
            assert len(match(overlap(first, second), threshold)) == 0


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.01])
def test_a_threshold_that_is_no_overlap_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="in \\(0, 1\\]"):
        match(overlap([[1]], [[1]]), threshold)


def test_seventy_thousand_objects_are_matched_with_their_shifted_selves() -> None:
    cells = np.arange(70_000, dtype=np.uint32).reshape(250, 280) + 1
    first = np.kron(cells, np.ones((4, 4), np.uint32))
    second = np.roll(first, 1, axis=1)  # each covers 3 of 4 columns of its own
    second[:, 0] = 0
    found = match(overlap(first, second))
    # 12 of 20 pixels; the last of each row lost its column to the border
    assert len(found) == 70_000
    assert np.isin(found.iou, [12 / 20, 12 / 16]).all()
    assert (found.first == found.second).all()


# --- counting pairs -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["uint8", "int32", "uint32", "uint64"])
def test_pairs_are_counted_alike_in_blocks_of_any_size(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (random_labels(seed).astype(kind) for seed in (7, 8))
    counted = np.random.default_rng(0).random(first.shape) < 0.5
    whole = count_pairs(first, second, counted)
    slow: dict[tuple[int, int, bool], int] = {}
    for key in zip(*(image.ravel().tolist() for image in (first, second, counted)), strict=True):
        slow[key] = slow.get(key, 0) + 1
    keys = sorted(slow)
    assert list(zip(*(column.tolist() for column in whole[:3]), strict=True)) == keys
    assert whole[3].tolist() == [slow[key] for key in keys]
    for block in (7, 100):
        monkeypatch.setattr(pairs_module, "_BLOCK", block)
        for ours, theirs in zip(count_pairs(first, second, counted), whole, strict=True):
            np.testing.assert_array_equal(ours, theirs)
            assert ours.dtype == theirs.dtype


def test_numbers_too_large_for_one_key_are_counted_as_well() -> None:
    huge = np.array([[0, 2**63, 2**63]], np.uint64)
    found = overlap(huge, huge)
    assert found.first_ids.tolist() == [2**63]
    assert found.pixels.tolist() == [2]


# --- pixels that do not count ---------------------------------------------------------------------


def ids(true: list[int], predicted: list[int], ignored: list[int]) -> tuple[list[int], list[int]]:
    found = overlap_of_counted(np.array(true), np.array(predicted), np.array(ignored).astype(bool))
    return found.first_ids.tolist(), found.second_ids.tolist()


def test_objects_that_are_ignored_by_more_than_half_are_left_out() -> None:
    assert ids([1, 1, 1, 2, 2, 2], [0, 0, 0, 0, 0, 0], [0, 0, 1, 0, 1, 1]) == ([1], [])
    assert ids([0, 0, 0, 0, 0, 0], [3, 3, 3, 4, 4, 4], [0, 0, 1, 0, 1, 1]) == ([], [3])
    # exactly one half stays
    assert ids([1, 1, 0, 0], [0, 0, 2, 2], [0, 1, 1, 0]) == ([1], [2])


def test_who_finds_the_rest_of_an_ignored_object_is_not_punished() -> None:
    # object 1 is left out, and 7 covers the one pixel of it that would count
    assert ids([1, 1, 1, 0], [0, 0, 7, 0], [1, 1, 0, 0]) == ([], [])
    assert ids([1, 1, 1, 0], [0, 0, 7, 7], [1, 1, 0, 0]) == ([], [7])  # half of it is elsewhere


def test_an_ignored_prediction_that_matches_stays() -> None:
    true, predicted = [1, 1, 0, 0, 0, 0], [5, 5, 5, 5, 5, 0]
    assert ids(true, predicted, [0, 0, 1, 1, 1, 1]) == ([1], [5])
    assert ids([0, 1, 1, 1, 0, 0], predicted, [0, 0, 1, 1, 1, 0]) == ([], [])


def test_overlap_is_that_of_the_pixels_that_count() -> None:
    true, predicted = np.array([1, 1, 1, 1]), np.array([2, 2, 0, 0])
    found = overlap_of_counted(true, predicted, np.array([0, 0, 0, 1], bool))
    assert found.iou().tolist() == [2 / 3]
    assert overlap_of_counted(true, predicted).iou().tolist() == [0.5]
    everything = overlap_of_counted(true, predicted, np.ones(4, bool))
    assert not len(everything.first_ids)
    assert not len(everything.second_ids)
