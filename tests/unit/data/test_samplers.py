"""Which samples come when: the same for all ranks, once in evaluation, exact on resume."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from imtoolkit.core.errors import DataError
from imtoolkit.data.position import training_position
from imtoolkit.data.samplers import EvalSampler, Plan, TrainSampler, Visit, first_samples


def flat(batches: list[list[Visit]]) -> list[Visit]:
    return [visit for batch in batches for visit in batch]


def epoch_of(sampler: TrainSampler, epoch: int, done: int = 0) -> list[list[Visit]]:
    sampler.position = lambda: (epoch, done)
    return list(sampler)


def test_an_epoch_visits_each_sample_once_in_an_order_of_its_own() -> None:
    plan = Plan(10, seed=3)
    orders = [plan.epoch(epoch).tolist() for epoch in range(4)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert Plan(10, seed=3).epoch(2).tolist() == orders[2]
    assert Plan(10, seed=4).epoch(2).tolist() != orders[2]


def test_partial_epochs_walk_through_all_samples_equally_often() -> None:
    plan = Plan(10, visits=4, seed=0)
    drawn = np.concatenate([plan.epoch(epoch) for epoch in range(5)])
    assert Counter(drawn.tolist()) == dict.fromkeys(range(10), 2)
    longer = Plan(4, visits=10, seed=0)
    drawn = np.concatenate([longer.epoch(epoch) for epoch in range(2)])
    assert Counter(drawn.tolist()) == dict.fromkeys(range(4), 5)


def test_groups_are_visited_equally_often_in_every_round() -> None:
    groups = np.array([0] * 90 + [1] * 9 + [2])
    plan = Plan(100, visits=30, groups=groups, seed=1)
    for epoch in range(3):
        drawn = groups[plan.epoch(epoch)]
        assert all(set(part) == {0, 1, 2} for part in drawn.reshape(-1, 3).tolist())
    # an epoch that does not divide goes on where the last one ended
    uneven = Plan(100, visits=31, groups=groups, seed=1)
    drawn = np.concatenate([groups[uneven.epoch(epoch)] for epoch in range(3)])
    assert sorted(Counter(drawn.tolist()).values()) == [31, 31, 31]
    members = np.concatenate([uneven.epoch(epoch) for epoch in range(3)])
    rare = members[groups[members] == 1]
    assert max(Counter(rare.tolist()).values()) - min(Counter(rare.tolist()).values()) <= 1


def test_weights_say_how_often_samples_come() -> None:
    weights = np.array([1.0] * 10 + [3.0] * 10)
    plan = Plan(20, visits=40, weights=weights, seed=0)
    for epoch in range(3):
        counts = Counter(plan.epoch(epoch).tolist())
        assert all(counts[index] == 1 for index in range(10))
        assert all(counts[index] == 3 for index in range(10, 20))
    few = Plan(20, visits=10, weights=weights, seed=0)
    drawn = np.concatenate([few.epoch(epoch) for epoch in range(200)])
    assert (drawn >= 10).mean() == pytest.approx(0.75, abs=0.02)


def test_no_training_samples_is_an_error() -> None:
    with pytest.raises(DataError, match="no training samples"):
        Plan(0)


def test_batches_count_patches_and_visits_of_an_image_are_adjacent() -> None:
    batches = epoch_of(TrainSampler(Plan(5), 8, per_image=4), 0)
    assert [len(batch) for batch in batches] == [8, 8, 4]
    for batch in batches:
        for start in range(0, len(batch), 4):
            part = batch[start : start + 4]
            assert len({visit.sample for visit in part}) == 1
            assert [visit.patch for visit in part] == [0, 1, 2, 3]
    assert len(flat(batches)) == 5 * 4


def test_where_batches_and_patches_do_not_divide_no_patch_is_lost_or_doubled() -> None:
    sampler = TrainSampler(Plan(5), 3, per_image=4)
    visits = flat(epoch_of(sampler, 7))
    assert len(sampler) == 7
    assert len(set(visits)) == 20
    assert {visit.epoch for visit in visits} == {7}


def test_repeated_visits_of_an_image_are_for_other_patches() -> None:
    visits = flat(epoch_of(TrainSampler(Plan(2, visits=6), 4, per_image=2), 0))
    assert len(set(visits)) == 12
    for sample in (0, 1):
        patches = sorted(visit.patch for visit in visits if visit.sample == sample)
        assert patches == list(range(6))


@pytest.mark.parametrize("samples", [1, 2, 5, 8, 9])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_ranks_get_equally_many_batches_and_every_sample_comes(samples: int, ranks: int) -> None:
    parts = [
        epoch_of(TrainSampler(Plan(samples), 3, 2, rank=rank, ranks=ranks), 1)
        for rank in range(ranks)
    ]
    sizes = [[len(batch) for batch in part] for part in parts]
    assert all(size == sizes[0] for size in sizes)
    assert len(sizes[0]) == len(TrainSampler(Plan(samples), 3, 2, ranks=ranks))
    visits = [visit for part in parts for visit in flat(part)]
    assert {visit.sample for visit in visits} == set(range(samples))
    assert len(set(visits)) == len(visits)  # an image that comes once more comes for other patches


@pytest.mark.parametrize("done", [0, 1, 3, 4])
def test_a_resumed_epoch_goes_on_where_it_stood(done: int) -> None:
    sampler = TrainSampler(Plan(7), 4, per_image=2)
    assert epoch_of(sampler, 2, done) == epoch_of(sampler, 2)[done:]
    assert len(sampler) == 4


def test_without_a_trainer_each_pass_is_the_next_epoch_also_for_a_loader_that_asks_twice() -> None:
    sampler = TrainSampler(Plan(4), 2)
    iter(sampler)  # asked for, never used
    assert {visit.epoch for visit in flat(list(sampler))} == {0}
    assert {visit.epoch for visit in flat(list(sampler))} == {1}


@pytest.mark.parametrize("samples", [0, 1, 3, 7, 8])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_evaluation_sees_each_sample_exactly_once(samples: int, ranks: int) -> None:
    parts = [list(EvalSampler(samples, rank=rank, ranks=ranks)) for rank in range(ranks)]
    own = parts[:samples]  # a rank for which nothing is left measures the last one again
    assert sorted(index for part in own for index in part) == list(range(samples))
    assert all(part == ([samples - 1] if samples else []) for part in parts[samples:])
    assert [len(part) for part in parts] == [
        len(EvalSampler(samples, rank=rank, ranks=ranks)) for rank in range(ranks)
    ]


def trainer(
    epochs: tuple[int, int, int], batches: int, limit: Any = 1.0, overfit: float = 0.0
) -> Any:
    started, processed, completed = epochs
    return SimpleNamespace(
        overfit_batches=overfit,
        limit_train_batches=limit,
        fit_loop=SimpleNamespace(
            epoch_progress=SimpleNamespace(
                current=SimpleNamespace(started=started, processed=processed, completed=completed)
            ),
            epoch_loop=SimpleNamespace(
                batch_progress=SimpleNamespace(current=SimpleNamespace(processed=batches))
            ),
        ),
    )


@pytest.mark.parametrize(
    ("epochs", "batches", "limit", "expected"),
    [
        ((0, 0, 0), 0, 1.0, (0, 0)),  # a new run
        ((3, 2, 2), 0, 1.0, (2, 0)),  # the third epoch begins
        ((3, 2, 2), 4, 1.0, (2, 4)),  # saved in the middle of the third epoch
        ((3, 3, 2), 10, 1.0, (3, 0)),  # saved as the third epoch ended
        ((3, 2, 2), 10, 1.0, (3, 0)),  # saved in the validation after its last batch
        ((3, 2, 2), 5, 5, (3, 0)),  # the trainer uses five batches of an epoch
        ((3, 2, 2), 5, 0.5, (3, 0)),
        ((3, 2, 2), 3, 0.5, (2, 3)),
    ],
)
def test_the_position_is_read_from_every_state_of_the_loop(
    epochs: tuple[int, int, int], batches: int, limit: Any, expected: tuple[int, int]
) -> None:
    assert training_position(trainer(epochs, batches, limit), 10) == expected


def test_overfitting_repeats_the_first_epoch() -> None:
    assert training_position(trainer((5, 4, 4), 0, overfit=2), 10) == (0, 0)


def test_the_first_batches_visit_these_samples_on_all_ranks() -> None:
    samplers = [TrainSampler(Plan(7), 4, 2, rank=rank, ranks=2) for rank in range(2)]
    batches = [list(sampler) for sampler in samplers]
    seen = {visit.sample for own in batches for visit in own[0]}
    assert set(first_samples(samplers, 1).tolist()) == seen
    assert len(first_samples(samplers, 1)) == 4
    assert sorted(first_samples(samplers, 1.0).tolist()) == list(range(7))
