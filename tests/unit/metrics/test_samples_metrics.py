"""Distances of sets of segmentations, against counting pair by pair."""

from __future__ import annotations

import numpy as np
import pytest

from imtoolkit.core.errors import ComponentError
from imtoolkit.metrics.base import Array
from imtoolkit.metrics.foreign import as_image_metric
from imtoolkit.metrics.samples import (
    GeneralizedEnergyDistance,
    SampleDiversity,
    SampledMetrics,
    iou_distances,
)
from imtoolkit.metrics.segmentation import DiceMetric

CLASSES = ("background", "lesion")


def by_hand(first: Array, second: Array, classes: int = 2) -> float:
    found = []
    for label in range(1, classes):
        ours, theirs = first == label, second == label
        if (ours | theirs).any():
            found.append(1 - (ours & theirs).sum() / (ours | theirs).sum())
    return float(np.mean(found)) if found else 0.0


def drawn(count: int, classes: int = 2, seed: int = 0) -> Array:
    labels: Array = np.random.default_rng(seed).integers(0, classes, (count, 40)).astype(np.uint8)
    return labels


@pytest.mark.parametrize("classes", [2, 4])
def test_distances_are_those_of_each_pair(classes: int) -> None:
    first, second = drawn(5, classes), drawn(3, classes, seed=1)
    first[0] = 0  # shows nothing
    second[0] = 0
    found = iou_distances(first, second, classes)
    expected = [[by_hand(one, other, classes) for other in second] for one in first]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found[0, 0] == 0.0  # two that show nothing are equal


def test_the_energy_distance_is_its_formula() -> None:
    samples, truths = drawn(6), drawn(4, seed=1)
    across = np.mean([[by_hand(s, y) for y in truths] for s in samples])
    within = [np.mean([[by_hand(a, b) for b in one] for a in one]) for one in (samples, truths)]
    found = GeneralizedEnergyDistance(CLASSES)(samples, truths)
    assert found["ged"] == pytest.approx(2 * across - sum(within), rel=1e-6)


def test_equal_sets_have_no_distance_and_a_blurred_mean_has_one() -> None:
    truths = np.array([[0, 0, 1, 1], [1, 1, 1, 1]])
    metric = GeneralizedEnergyDistance(CLASSES)
    assert metric(np.concatenate([truths] * 3), truths)["ged"] == pytest.approx(0.0)
    always_small = np.repeat(truths[:1], 6, axis=0)
    assert metric(always_small, truths)["ged"] == pytest.approx(0.5 - 0.25)


def test_samples_that_vary_as_the_annotations_are_nearer_on_average_than_any_single_one() -> None:
    readers = np.array([[0, 0, 1, 1], [1, 1, 1, 1]])
    varied = np.concatenate([readers] * 8)
    metric = GeneralizedEnergyDistance(CLASSES)
    mean = np.mean([metric(varied, truth[None])["ged"] for truth in readers])
    for single in readers:
        alone = np.repeat(single[None], 16, axis=0)
        assert mean < np.mean([metric(alone, truth[None])["ged"] for truth in readers])


def test_diversity_is_that_of_different_samples() -> None:
    samples = np.array([[1, 1], [1, 0], [1, 1]])
    found = SampleDiversity(CLASSES)(samples, np.array([[1, 1]]))
    assert found["sample_diversity"] == pytest.approx((0.5 + 0.5 + 0.0) / 3)
    assert np.isnan(found["sample_diversity/annotators"])  # one annotation does not differ
    equal = SampleDiversity(CLASSES)(samples[[0, 0]], samples)
    assert equal["sample_diversity"] == 0.0
    assert equal["sample_diversity/annotators"] == pytest.approx(1 / 3)


def test_pixels_of_weight_zero_do_not_count() -> None:
    suite = SampledMetrics([], CLASSES, [GeneralizedEnergyDistance(CLASSES)])
    samples, truths = drawn(4).reshape(4, 8, 5), drawn(2, seed=1).reshape(2, 8, 5)
    weight = np.ones((8, 5))
    weight[4:] = 0
    row = suite.row_of_samples(samples, truths, weight)
    assert row == suite.row_of_samples(samples[:, :4], truths[:, :4])
    assert row != suite.row_of_samples(samples, truths)


def test_the_suite_knows_which_way_is_better() -> None:
    of_samples = [GeneralizedEnergyDistance(CLASSES), SampleDiversity(CLASSES)]
    suite = SampledMetrics([DiceMetric(CLASSES)], CLASSES, of_samples)
    assert suite.directions == {"dice": "max", "ged": "min", "sample_diversity": "max"}


def test_a_task_of_single_predictions_refuses_them() -> None:
    with pytest.raises(ComponentError, match="'ged' compares several predictions"):
        as_image_metric(GeneralizedEnergyDistance(CLASSES), CLASSES)
