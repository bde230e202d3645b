"""The search finds the best of a grid, one parameter at a time, and never a value without score."""

from __future__ import annotations

import math
from typing import Any

import pytest

from imtoolkit.inference.postprocess.search import coordinate_search

GRID = {"x": [0, 1, 2, 3], "y": [0, 1, 2, 3]}


def valley(at: dict[str, Any]) -> float:
    return float(3 * (at["x"] - 2) ** 2 + (at["y"] - at["x"]) ** 2)


def test_a_valley_is_followed_over_several_sweeps() -> None:
    found = coordinate_search({"x": 0, "y": 0}, GRID, valley, better="min")

    assert found.values == {"x": 2, "y": 2}
    assert (found.before, found.score) == (12.0, 0.0)


def test_each_combination_is_measured_once() -> None:
    seen: list[tuple[int, int]] = []

    def score(at: dict[str, Any]) -> float:
        seen.append((at["x"], at["y"]))
        return -valley(at)

    found = coordinate_search({"x": 0, "y": 0}, GRID, score)

    assert len(seen) == len(set(seen)) == found.tried


def test_as_good_is_no_reason_to_change() -> None:
    assert coordinate_search({"x": 1, "y": 1}, GRID, lambda at: 1.0).values == {"x": 1, "y": 1}


@pytest.mark.parametrize("better", ["max", "min"])
def test_a_combination_without_a_score_is_never_taken(better: Any) -> None:
    def score(at: dict[str, Any]) -> float:
        return math.nan if at["x"] else float(at["y"])

    found = coordinate_search({"x": 0, "y": 2}, GRID, score, better=better)

    assert found.values == {"x": 0, "y": 3 if better == "max" else 0}


def test_nothing_defined_is_told_as_such() -> None:
    found = coordinate_search({"x": 0, "y": 0}, GRID, lambda at: math.nan)

    assert math.isnan(found.score) and found.values == {"x": 0, "y": 0}
