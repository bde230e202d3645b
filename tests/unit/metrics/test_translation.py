"""Distances of sets of features against closed forms, and the metrics of a translation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from imtoolkit.metrics.appearance import appearance
from imtoolkit.metrics.distances import (
    FrechetMetric,
    KernelMetric,
    features_of_rows,
    frechet_distance,
    kernel_distance,
    ledoit_wolf,
    standardised,
)
from imtoolkit.metrics.images import MaeMetric, PsnrMetric
from imtoolkit.metrics.translation import CYCLE, TranslationMetrics

RNG = np.random.default_rng


def gaussians(
    count: int, mean: float, deviation: float, size: int = 3, seed: int = 0
) -> np.ndarray:
    """Return samples whose mean and covariance are exactly those asked for."""
    values = RNG(seed).standard_normal((count, size))
    centred = values - values.mean(0)
    root = np.linalg.cholesky(np.linalg.inv(centred.T @ centred / count))
    exact: np.ndarray = centred @ root * deviation + mean
    return exact


# --- Fréchet --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (2.0, 1.0), (0.0, 3.0), (1.5, 0.5)])
def test_frechet_distance_is_that_of_gaussians(shift: float, scale: float) -> None:
    # isotropic Gaussians in K dimensions: K (shift^2 + (s1 - s2)^2)
    first, second = gaussians(60, 0.0, 1.0), gaussians(40, shift, scale, seed=1)
    exact = 3 * (shift**2 + (scale - 1) ** 2)
    assert frechet_distance(first, second) == pytest.approx(exact, abs=1e-9)
    assert frechet_distance(first, second, shrink=False) == pytest.approx(exact, abs=1e-9)


def test_frechet_distance_knows_correlations() -> None:
    # two-dimensional, equal variances, correlations r and -r: commuting covariances
    r = 0.6
    mixing = np.linalg.cholesky(np.array([[1, r], [r, 1]]))
    first = gaussians(500, 0.0, 1.0, 2) @ mixing.T
    second = first * [1, -1]
    roots = np.sqrt([1 + r, 1 - r])
    exact = 2 * (roots[0] - roots[1]) ** 2
    assert frechet_distance(first, second, shrink=False) == pytest.approx(exact, rel=1e-9)


def test_frechet_distance_agrees_with_a_matrix_square_root() -> None:
    from scipy.linalg import sqrtm

    first = RNG(0).standard_normal((80, 5)) @ RNG(1).standard_normal((5, 5))
    second = RNG(2).standard_normal((70, 5)) @ RNG(3).standard_normal((5, 5)) + 1
    covariances = [np.cov(values, rowvar=False, bias=True) for values in (first, second)]
    product = sqrtm(covariances[0] @ covariances[1]).real
    gap = first.mean(0) - second.mean(0)
    exact = gap @ gap + np.trace(covariances[0] + covariances[1] - 2 * product)
    assert frechet_distance(first, second, shrink=False) == pytest.approx(exact, rel=1e-6)


def test_shrinkage_is_the_formula_of_ledoit_and_wolf() -> None:
    values = RNG(0).standard_normal((12, 6)) * np.arange(1, 7)
    covariance, shrunk = ledoit_wolf(values)
    centred = values - values.mean(0)
    sample = centred.T @ centred / 12
    mean = np.trace(sample) / 6
    # written out sample by sample, in the norm |A|^2 = tr(A A') / K of the paper
    error = sum(((np.outer(x, x) - sample) ** 2).sum() / 6 for x in centred) / 12**2
    distance = ((sample - mean * np.eye(6)) ** 2).sum() / 6
    assert shrunk == pytest.approx(min(error, distance) / distance)
    assert covariance == pytest.approx((1 - shrunk) * sample + shrunk * mean * np.eye(6))


def test_shrinkage_brings_few_images_nearer_to_the_truth() -> None:
    drawn = [
        (RNG(n).standard_normal((8, 30)), RNG(n + 99).standard_normal((8, 30))) for n in range(9)
    ]
    shrunk = np.mean([frechet_distance(a, b) for a, b in drawn])
    plain = np.mean([frechet_distance(a, b, shrink=False) for a, b in drawn])
    assert 0 < shrunk < 0.5 * plain  # both sets are drawn from one Gaussian, so the truth is 0


# --- kernel ---------------------------------------------------------------------------------------


def mmd_of_gaussians(mean: float, deviation: float) -> float:
    """Return the squared MMD of N(0, 1) and N(mean, deviation^2) in 1D for k = (xy + 1)^3."""

    def moments(m: float, s: float) -> list[float]:
        return [1.0, m, m**2 + s**2, m**3 + 3 * m * s**2]

    first, second = moments(0, 1), moments(mean, deviation)
    return sum(math.comb(3, n) * (first[n] - second[n]) ** 2 for n in range(4))


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (0.5, 1.0), (0.3, 0.5)])
def test_kernel_distance_of_few_images_has_the_right_mean(mean: float, deviation: float) -> None:
    exact = mmd_of_gaussians(mean, deviation)
    rng = RNG(0)
    found = [
        kernel_distance(rng.standard_normal((6, 1)), mean + deviation * rng.standard_normal((5, 1)))
        for _ in range(4000)
    ]
    error = np.std(found) / math.sqrt(len(found))
    assert abs(np.mean(found) - exact) < 4 * error
    assert error < 0.15 * max(exact, 2)


def test_kernel_distance_is_the_mean_over_pairs() -> None:
    first, second = RNG(0).standard_normal((4, 2)), RNG(1).standard_normal((3, 2))

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 2 + 1) ** 3)

    inside = [np.mean([k(s[i], s[j]) for i in range(len(s)) for j in range(len(s)) if i != j])
              for s in (first, second)]  # fmt: skip
    between = np.mean([k(x, y) for x in first for y in second])
    assert kernel_distance(first, second) == pytest.approx(sum(inside) - 2 * between)


def test_weights_stand_for_images_that_were_drawn_several_times() -> None:
    made, real = RNG(0).standard_normal((4, 2)), RNG(1).standard_normal((4, 2))
    metric = KernelMetric({"b": 2})
    counts = np.array([[1, 1, 1, 1], [2, 0, 1, 1]])
    found = metric.resampled(made, real, None, counts)["kernel_distance/b"]
    assert found[0] == pytest.approx(metric(made, real)["kernel_distance"])
    kept = [0, 2, 3]  # an image is never compared with itself, however often it was drawn
    scaled = standardised(made, real)
    pairs = [(i, j) for i in kept for j in kept if i != j]
    weight = dict(zip(range(4), counts[1].tolist(), strict=True))
    total = sum(weight[i] * weight[j] for i, j in pairs)
    inside = sum(
        sum(weight[i] * weight[j] * (part[i] @ part[j] / 2 + 1) ** 3 for i, j in pairs) / total
        for part in scaled
    )
    between = sum(
        weight[i] * weight[j] * (scaled[0][i] @ scaled[1][j] / 2 + 1) ** 3
        for i in kept for j in kept
    ) / 16  # fmt: skip
    assert found[1] == pytest.approx(inside - 2 * between)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images_define_no_distance(count: int) -> None:
    few, many = np.zeros((count, 3)), RNG(0).standard_normal((9, 3))
    assert math.isnan(frechet_distance(few, many))
    assert math.isnan(kernel_distance(few, many))


# --- of domains -----------------------------------------------------------------------------------


def rows_of(shift: float, count: int = 40) -> list[dict[str, object]]:
    """Return rows of a translation whose made images of B are off by ``shift`` deviations."""
    suite = TranslationMetrics([])
    rows: list[dict[str, object]] = []
    for number in range(count):
        x, y, z, w = (gaussians(count, 5.0, 2.0, 3, seed)[number] for seed in range(4))
        rows.append(suite.features("a", "real", x) | suite.features("b", "made", y + 2 * shift))
        rows.append(suite.features("b", "real", z) | suite.features("a", "made", w))
    return rows


def test_distances_are_of_made_and_real_images_of_each_domain() -> None:
    found = TranslationMetrics([]).of_set(rows_of(1.5))
    exact = 1.5**2 / (1 + 1.5**2 / 4)  # in deviations over both sets
    assert found["frechet_distance/a"] == pytest.approx(0, abs=1e-5)
    assert found["frechet_distance/b"] == pytest.approx(exact, rel=1e-4)
    assert found["frechet_distance"] == pytest.approx(exact / 2, rel=1e-4)


def test_sets_that_share_nothing_are_at_four() -> None:
    found = TranslationMetrics([]).of_set(rows_of(1e4))
    assert found["frechet_distance/b"] == pytest.approx(4, rel=1e-3)


def test_distances_do_not_depend_on_the_scale_of_one_domain() -> None:
    found = TranslationMetrics([]).of_set(rows_of(1.5))
    assert found["kernel_distance/b"] > 10 * abs(found["kernel_distance/a"])


def test_distances_do_not_depend_on_the_scale_of_the_features() -> None:
    scaled = [
        {name: 1000 * np.asarray(value) - 7 for name, value in row.items()} for row in rows_of(1.0)
    ]
    ours, theirs = (TranslationMetrics([]).of_set(rows) for rows in (rows_of(1.0), scaled))
    assert theirs == pytest.approx(ours, rel=1e-3, abs=1e-4)


def test_a_domain_without_images_leaves_the_other_measured() -> None:
    only_a = [row for row in rows_of(0.0) if "features/a/real" in row]
    found = TranslationMetrics([]).of_set(only_a)
    assert all(math.isnan(value) for value in found.values())
    assert TranslationMetrics([]).of_set([{"loss": 1.0}]) == {}


def test_features_are_gathered_from_rows_in_their_order() -> None:
    sizes, made, real = features_of_rows(rows_of(0.0, 5), ("a", "b"))
    assert sizes == {"a": 3, "b": 3}
    assert made.shape == real.shape == (10, 6)
    assert np.isnan(made[0, :3]).all()
    assert not np.isnan(made[0, 3:]).any()
    assert np.isnan(real[0, 3:]).all()


def test_intervals_of_distances_hold_the_value() -> None:
    from imtoolkit.metrics.resampling import bootstrap_set

    ((frechet, arrays), (kernel, _)) = TranslationMetrics([]).sets(rows_of(1.0))
    assert isinstance(frechet, FrechetMetric)
    for metric, name in ((frechet, "frechet_distance/b"), (kernel, "kernel_distance/b")):
        interval = bootstrap_set(metric, arrays, resamples=50)[name]
        assert interval.low < interval.mean < interval.high


def test_what_came_back_is_measured_by_direction() -> None:
    suite = TranslationMetrics([MaeMetric(), PsnrMetric(data_range=1.0)])
    image = torch.zeros(1, 2, 4, 4)
    row = suite.against(CYCLE, "a", image + 0.1, image)
    assert row == pytest.approx(
        {"cycle_mae": 0.1, "cycle_mae/a": 0.1, "cycle_psnr": 20.0, "cycle_psnr/a": 20.0}, rel=1e-5
    )
    other = suite.against(CYCLE, "b", image + 0.3, image)
    found = suite.summarise([row, other])
    assert found["cycle_mae"] == pytest.approx(0.2)
    assert (found["cycle_mae/a"], found["cycle_mae/b"]) == pytest.approx((0.1, 0.3))
    assert suite.directions["cycle_psnr"] == "max"
    assert suite.directions["frechet_distance"] == "min"
    assert suite.is_record("features/a/real")
    assert not suite.is_record("cycle_mae/a")


# --- how an image looks ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 20, 24), (3, 20, 24), (2, 6, 20, 24)])
def test_appearance_has_numbers_for_channels_and_their_pairs(shape: tuple[int, ...]) -> None:
    found = appearance(RNG(0).random(shape))
    channels = shape[0]
    assert found.shape == (9 * channels + channels * (channels - 1) // 2,)
    assert np.isfinite(found).all()


def test_appearance_tells_contrast_texture_and_colour_apart() -> None:
    image = RNG(0).random((2, 32, 32))
    base = appearance(image)
    assert appearance(image + 1)[0] == pytest.approx(base[0] + 1)
    assert appearance(2 * image)[1] == pytest.approx(2 * base[1])
    assert appearance(-image)[2] == pytest.approx(-base[2], abs=1e-6)
    assert appearance(image[::-1])[-1] == pytest.approx(base[-1])
    assert appearance(np.stack([image[0], -image[0]]))[-1] == pytest.approx(-1)
    smooth = np.stack([np.linspace(0, 1, 32)[:, None] * np.ones(32)] * 2)
    assert appearance(smooth)[3] < 0.5 * base[3]  # fine gradients
    # where the objects are makes no difference, as long as they are the same
    assert appearance(np.flip(image, axis=(1, 2))) == pytest.approx(base, rel=1e-4, abs=1e-6)
