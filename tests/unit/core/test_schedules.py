"""Numbers over epochs: closed forms, chains, lengths that are filled in."""

from __future__ import annotations

import math
from typing import Any

import pytest

from imtoolkit.core.errors import ComponentError
from imtoolkit.core.schedules import Cosine, Exponential, Linear, build_schedule


def _values(name: str, params: dict[str, Any], epochs: int | None, count: int = 8) -> list[float]:
    schedule = build_schedule(name, params, epochs)
    return [schedule(epoch) for epoch in range(count)]


def test_ways_follow_their_formulas() -> None:
    for epoch in range(1, 10):
        share = epoch / 10
        assert Linear(2.0, 7.0, 10)(epoch) == pytest.approx(2 + 5 * share)
        assert Cosine(2.0, 7.0, 10)(epoch) == pytest.approx(4.5 - 2.5 * math.cos(math.pi * share))
        assert Exponential(2.0, 8.0, 10)(epoch) == pytest.approx(2 * 4**share)


@pytest.mark.parametrize("kind", [Linear, Cosine, Exponential])
def test_ends_are_met_exactly_and_kept(kind: type[Any]) -> None:
    way = kind(0.1, 0.7, epochs=3, begin=2)
    assert [way(epoch) for epoch in (0, 1, 2)] == [0.1] * 3
    assert [way(epoch) for epoch in (5, 6, 1000)] == [0.7] * 3


def test_a_length_that_is_left_out_ends_with_the_training() -> None:
    found = _values("linear", {"start": 0, "end": 1}, epochs=5)
    assert found == [0, 0.25, 0.5, 0.75, 1, 1, 1, 1]
    found = _values("linear", {"start": 0, "end": 1, "begin": 2}, epochs=5)
    assert found[:5] == [0, 0, 0, 0.5, 1]
    assert _values("linear", {"start": 0, "end": 1}, epochs=1)[0] == 0


def test_steps_jump_at_their_milestones() -> None:
    found = _values("steps", {"values": [1, 0.5, 0.1], "milestones": [2, 5]}, None)
    assert found == [1, 1, 0.5, 0.5, 0.5, 0.1, 0.1, 0.1]


def test_a_sequence_fills_the_lengths_of_its_parts() -> None:
    parts = [
        {"name": "constant", "params": {"number": 2}},
        {"name": "linear", "params": {"start": 2, "end": 0}},
        {"name": "exponential", "params": {"start": 1, "end": 16}},
    ]
    found = _values("sequence", {"schedules": parts, "milestones": [1, 3]}, epochs=8)
    assert found == pytest.approx([2, 2, 1, 1, 2, 4, 8, 16])


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("linear", {"start": 0, "end": 1}, "needs 'epochs': the training has no number of epochs"),
        ("linear", {"start": 0, "end": 1, "epochs": 0}, "expected at least 1"),
        ("exponential", {"start": 0, "end": 1, "epochs": 3}, "two numbers of one sign"),
        ("steps", {"values": [1, 2], "milestones": [3, 2]}, "expected one of the values more"),
        ("steps", {"values": [1, 2, 3], "milestones": [3, 3]}, "milestones that grow"),
        ("sequence", {"schedules": [], "milestones": [1]}, "got 0 schedules"),
        ("linnear", {}, "unknown schedule 'linnear'. Did you mean 'linear'"),
        ("constant", {"number": math.nan}, "gives nan for epoch 0; expected a number"),
    ],
)
def test_wrong_values_are_told(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ComponentError, match=message):
        build_schedule(name, params)
