"""Per-image metrics against closed forms and MONAI."""

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance

from imtoolkit.metrics.segmentation import (
    DiceMetric,
    HausdorffMetric,
    IoUMetric,
    SurfaceDiceMetric,
    confusion_counts,
)

CLASSES = ["background", "nucleus"]


def _square(shape: tuple[int, ...], start: int, side: int) -> np.ndarray:
    labels = np.zeros(shape, np.uint8)
    labels[tuple(slice(start, start + side) for _ in shape)] = 1
    return labels


@pytest.mark.parametrize("dims", [2, 3])
def test_dice_and_iou_of_shifted_squares_follow_the_closed_form(dims: int) -> None:
    first, second = _square((20,) * dims, 4, 8), _square((20,) * dims, 6, 8)
    both, one = 6**dims, 8**dims
    assert DiceMetric(CLASSES)(first, second)["dice/nucleus"] == pytest.approx(both / one)
    assert IoUMetric(CLASSES)(first, second)["iou"] == pytest.approx(both / (2 * one - both))


def test_dice_equals_monai_for_random_labels_of_four_classes() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 4, (2, 30, 31))
    ours = DiceMetric(["b", "x", "y", "z"])(first, second)
    hot = [torch.from_numpy(np.stack([a == k for k in range(4)]))[None] for a in (first, second)]
    theirs = compute_dice(*hot, include_background=False)[0]
    assert [ours[f"dice/{name}"] for name in "xyz"] == pytest.approx(theirs.tolist())
    assert ours["dice"] == pytest.approx(float(theirs.mean()))


def test_a_class_absent_from_both_has_no_value_and_does_not_enter_the_mean() -> None:
    labels = _square((10, 10), 2, 4)
    row = DiceMetric(["background", "nucleus", "never"])(labels, labels)
    assert np.isnan(row["dice/never"])
    assert row["dice"] == 1.0


def test_pixels_of_weight_zero_do_not_count() -> None:
    target, prediction = _square((10, 10), 2, 4), _square((10, 10), 2, 4)
    prediction[0] = 1  # wrong, but ignored
    weight = np.ones((10, 10), np.float32)
    weight[0] = 0
    for metric in (DiceMetric(CLASSES), IoUMetric(CLASSES), SurfaceDiceMetric(CLASSES)):
        assert metric(prediction, target, weight=weight)[metric.name] == 1.0
    assert HausdorffMetric(CLASSES)(prediction, target, weight=weight)["hd95"] == 0.0
    assert DiceMetric(CLASSES)(prediction, target)["dice"] < 1.0


def test_hausdorff_of_a_shifted_square_is_the_shift_in_physical_units() -> None:
    first, second = _square((40, 40), 5, 10), np.roll(_square((40, 40), 5, 10), 4, axis=1)
    metric = HausdorffMetric(CLASSES, percentile=100)
    assert metric(first, second)["hd100"] == pytest.approx(4.0)
    assert metric(first, second, spacing=(1.0, 0.5))["hd100"] == pytest.approx(2.0)
    assert metric(first, second, spacing=(np.nan, np.nan))["hd100"] == pytest.approx(4.0)


def test_cropping_changes_no_distance_even_where_objects_touch_the_border() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        first, second = np.zeros((2, 24, 30), np.uint8)
        for labels in (first, second):
            y, x, h, w = rng.integers(0, 15, 4)
            labels[y : y + h + 1, x : x + w + 1] = 1
        whole = compute_hausdorff_distance(
            torch.from_numpy(first)[None, None],
            torch.from_numpy(second)[None, None],
            include_background=True,
            percentile=95,
        )
        assert HausdorffMetric(CLASSES)(first, second)["hd95"] == pytest.approx(float(whole))


def test_a_missed_object_costs_the_diagonal_and_no_surface_is_met() -> None:
    target, nothing = _square((30, 40), 5, 10), np.zeros((30, 40), np.uint8)
    assert HausdorffMetric(CLASSES)(nothing, target)["hd95"] == pytest.approx(50.0)
    assert SurfaceDiceMetric(CLASSES)(nothing, target)["surface_dice"] == 0.0
    assert np.isnan(SurfaceDiceMetric(CLASSES)(nothing, nothing)["surface_dice"])


def test_surface_dice_counts_what_lies_within_the_tolerance() -> None:
    first, second = _square((40, 40), 5, 10), np.roll(_square((40, 40), 5, 10), 2, axis=1)
    assert SurfaceDiceMetric(CLASSES, tolerance=2.0)(first, second)["surface_dice"] == 1.0
    assert SurfaceDiceMetric(CLASSES, tolerance=0.5)(first, second)["surface_dice"] < 1.0


def test_labels_outside_the_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="got labels 0 to 3 in the target; expected 0 to 1"):
        confusion_counts(np.zeros((4, 4), int), np.array([[0, 3]] * 2).repeat(2, 0), 2)
