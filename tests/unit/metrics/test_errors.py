"""How well an uncertainty tells errors, against counting pair by pair."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from imtoolkit.metrics.errors import error_auroc, rank_correlation


@pytest.mark.parametrize("levels", [3, 1000])  # with and without many equal values
def test_the_area_is_the_share_of_pairs(levels: int) -> None:
    rng = np.random.default_rng(0)
    scores, wrong = rng.integers(0, levels, 200) / levels, rng.random(200) < 0.3
    above, below = scores[wrong][:, None], scores[~wrong][None]
    pairs = ((above > below) + 0.5 * (above == below)).mean()
    assert error_auroc(scores, wrong) == pytest.approx(pairs)


def test_it_is_one_where_errors_are_the_most_uncertain_and_half_where_nothing_is_told() -> None:
    wrong = np.array([False, False, True, True])
    assert error_auroc(np.array([0.1, 0.2, 0.3, 0.4]), wrong) == 1.0
    assert error_auroc(np.array([0.4, 0.3, 0.2, 0.1]), wrong) == 0.0
    assert error_auroc(np.ones(4), wrong) == 0.5


def test_it_is_not_defined_where_all_is_right_or_all_is_wrong() -> None:
    for wrong in (np.zeros(4, bool), np.ones(4, bool)):
        assert math.isnan(error_auroc(np.arange(4.0), wrong))


def test_the_rank_correlation_is_that_of_scipy() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 9, 50).astype(float), rng.normal(size=50)
    expected = spearmanr(first, second).statistic
    assert rank_correlation(first, second) == pytest.approx(expected)
    first[7] = np.nan  # an image without a value is left out
    expected = spearmanr(np.delete(first, 7), np.delete(second, 7)).statistic
    assert rank_correlation(first, second) == pytest.approx(expected)


def test_it_is_not_defined_for_two_pairs_or_for_equal_values() -> None:
    assert math.isnan(rank_correlation(np.array([1.0, 2.0]), np.array([1.0, 2.0])))
    assert math.isnan(rank_correlation(np.ones(5), np.arange(5.0)))
