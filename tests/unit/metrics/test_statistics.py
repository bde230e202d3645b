"""Intervals that cover what they promise, and tests that keep their level."""

import math

import numpy as np
import pytest
from scipy import stats

from imtoolkit.metrics.statistics import bootstrap_mean, paired_difference


def test_the_interval_agrees_with_scipy_bootstrap() -> None:
    values = np.random.default_rng(0).beta(8, 2, 60)
    ours = bootstrap_mean(values, resamples=20_000)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1.5e-3)


def test_the_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for seed in range(400):
        interval = bootstrap_mean(rng.normal(3.0, 1.0, 50), 0.9, 500, seed)
        hits += interval.low <= 3.0 <= interval.high
    assert 0.85 <= hits / 400 <= 0.94


def test_undefined_values_are_left_out_and_counted() -> None:
    interval = bootstrap_mean([0.5, math.nan, 0.7])
    assert (interval.mean, interval.count) == (pytest.approx(0.6), 2)
    assert bootstrap_mean([math.nan]).count == 0
    assert math.isnan(bootstrap_mean([0.4]).low)
    assert str(bootstrap_mean([0.4])) == "0.400"


def test_one_nan_is_seen_where_every_image_must_have_a_value():
    interval = bootstrap_mean([0.5, math.nan, 0.7], needs_all=True)
    assert math.isnan(interval.mean)
    assert math.isnan(interval.low)
    assert interval.count == 2
    assert bootstrap_mean([0.5, 0.7], needs_all=True) == bootstrap_mean([0.5, 0.7])
    compared = paired_difference([1.0, 2.0, math.nan], [0.0, 1.0, 2.0], needs_all=True)
    assert math.isnan(compared.difference.mean)
    assert math.isnan(compared.p_value)
    assert paired_difference([1.0, 2.0, math.nan], [0.0, 1.0, 2.0]).difference.mean == 1.0


def test_a_level_outside_zero_to_one_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a fraction between 0 and 1"):
        bootstrap_mean([0.1, 0.2], confidence=95)


def test_a_clear_difference_is_found_and_none_is_not() -> None:
    rng = np.random.default_rng(3)
    base = rng.normal(0.8, 0.1, 40)
    better = paired_difference(base + 0.05 + rng.normal(0, 0.02, 40), base)
    assert better.p_value < 0.01
    assert better.difference.low > 0
    same = paired_difference(base + rng.normal(0, 0.02, 40), base)
    assert same.p_value > 0.05
    with pytest.raises(ValueError, match="expected the same images"):
        paired_difference([1.0], [1.0, 2.0])


def test_the_sign_flip_test_keeps_its_level() -> None:
    rng = np.random.default_rng(4)
    found = sum(
        paired_difference(rng.normal(0, 1, 20), np.zeros(20), resamples=200, seed=k).p_value < 0.1
        for k in range(200)
    )
    assert 5 <= found <= 35  # 20 expected
