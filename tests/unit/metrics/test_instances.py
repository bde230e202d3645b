"""Metrics of objects: drawn objects with known answers, and a dense implementation beside them."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from monai.metrics.panoptic_quality import compute_panoptic_quality
from scipy.optimize import linear_sum_assignment

from imtoolkit.core import registry
from imtoolkit.metrics import instances as instances_module
from imtoolkit.metrics.heads import HeadMetrics
from imtoolkit.metrics.instances import (
    ApMetric,
    InstanceF1Metric,
    MatchedIoUMetric,
    ObjectCountMetric,
    PanopticQualityMetric,
)
from imtoolkit.metrics.suite import InstanceMetrics, MetricSuite, SegmentationMetrics

PERCENTS = range(50, 100, 5)


def blocks(*places: tuple[int, int, int, int], size: int = 40) -> np.ndarray:
    """Draw rectangles ``(top, left, height, width)`` with the numbers 1, 2, ..."""
    labels = np.zeros((size, size), np.int32)
    for number, (top, left, height, width) in enumerate(places, start=1):
        labels[top : top + height, left : left + width] = number
    return labels


def dense(prediction: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Compute all metrics anew: a table of all pairs, an assignment for each threshold."""
    true, ours = (np.unique(image[image > 0]) for image in (target, prediction))
    one = [target.ravel()[:, None] == true, prediction.ravel()[:, None] == ours]
    shared = one[0].T.astype(float) @ one[1].astype(float)
    union = one[0].sum(0)[:, None] + one[1].sum(0) - shared
    iou = shared / np.maximum(union, 1)
    found: dict[str, float] = {}
    for percent in PERCENTS:
        good = iou >= percent / 100
        rows, columns = linear_sum_assignment(np.where(good, -1000 - iou, 0.0))
        matched = iou[rows, columns][good[rows, columns]]
        tp, fp, fn = len(matched), len(ours) - len(matched), len(true) - len(matched)
        found[f"ap/{percent}"] = tp / (tp + fp + fn)
        found[f"objects/tp/{percent}"], found[f"objects/fp/{percent}"] = tp, fp
        found[f"objects/fn/{percent}"] = fn
        if percent == 50:
            precision, recall = tp / len(ours), tp / len(true)
            found["instance_f1"] = 2 * precision * recall / (precision + recall) if tp else 0.0
            found["matched_iou"] = float(matched.mean()) if tp else math.nan
            found["matched_iou/true"] = float(matched.sum()) / len(true)
            found["matched_iou/predicted"] = float(matched.sum()) / len(ours)
            found["panoptic_quality/sq"] = found["matched_iou"]
            found["panoptic_quality/rq"] = found["instance_f1"]
            found["panoptic_quality"] = found["matched_iou"] * found["instance_f1"] if tp else 0.0
            found["objects/iou/50"] = float(matched.sum())
    found["ap"] = float(np.mean([found[f"ap/{percent}"] for percent in PERCENTS]))
    found["objects/true"], found["objects/predicted"] = len(true), len(ours)
    found["object_count"] = abs(len(ours) - len(true)) / len(true)
    return found


def row_of(prediction: Any, target: Any, weight: Any = None, **settings: Any) -> dict[str, Any]:
    batch = [None if item is None else torch.as_tensor(np.asarray(item))[None]
             for item in (prediction, target, weight)]  # fmt: skip
    return InstanceMetrics(**settings).rows(*batch)[0]


def random_pair(seed: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Draw balls as targets, and as a prediction the same moved, lost, split and invented."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    target, prediction = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    for number in range(1, 26):
        centre, radius = rng.uniform(0, 1, len(shape)) * shape, rng.uniform(1.5, 6)
        target[np.linalg.norm(grid - centre, axis=-1) < radius] = number
        ball = np.linalg.norm(grid - centre - rng.normal(0, 0.7, len(shape)), axis=-1) < radius
        if rng.random() < 0.8:
            prediction[ball] = 2 * number
        if rng.random() < 0.2:
            prediction[ball & (grid[..., -1] > centre[-1])] = 2 * number + 1
    return prediction, target


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("shape", [(48, 56), (10, 24, 24)])
def test_all_numbers_are_those_of_a_dense_implementation(seed: int, shape: tuple[int, ...]) -> None:
    prediction, target = random_pair(seed, shape)
    assert row_of(prediction, target) == pytest.approx(dense(prediction, target), nan_ok=True)
    rng = np.random.default_rng(seed)  # pixels without any order
    noise = [rng.integers(0, 6, shape) for _ in range(2)]
    assert row_of(*noise) == pytest.approx(dense(*noise), nan_ok=True)


def test_drawn_objects_have_the_numbers_that_are_counted_by_hand() -> None:
    target = blocks((0, 0, 10, 10), (0, 20, 10, 10), (20, 0, 10, 10), (20, 20, 10, 10))
    # whole; moved by 2 of 10 (IoU 2/3); cut to 0.9; missed; and one that is not there
    prediction = blocks((0, 0, 10, 10), (2, 20, 10, 10), (20, 0, 9, 10), (35, 35, 5, 5))
    row = row_of(prediction, target)
    assert row["ap/50"] == 3 / 5
    assert row["ap/65"] == 3 / 5
    assert row["ap/70"] == 2 / 6
    assert row["ap/90"] == 2 / 6  # an IoU of exactly 0.9 counts
    assert row["ap/95"] == 1 / 7
    assert row["ap"] == pytest.approx((4 * 3 / 5 + 5 * 2 / 6 + 1 / 7) / 10)
    assert row["instance_f1"] == pytest.approx(6 / 8)
    assert row["panoptic_quality"] == pytest.approx((1 + 2 / 3 + 0.9) / 4)
    assert row["panoptic_quality/sq"] == row["matched_iou"] == pytest.approx((1 + 2 / 3 + 0.9) / 3)
    assert row["matched_iou/true"] == pytest.approx((1 + 2 / 3 + 0.9) / 4)
    assert (row["objects/true"], row["objects/predicted"], row["object_count"]) == (4, 4, 0)
    assert [row[f"objects/{kind}/70"] for kind in ("tp", "fp", "fn")] == [2, 2, 2]


def test_an_image_with_itself_is_perfect_whatever_the_numbers_are() -> None:
    target = blocks((0, 0, 4, 4), (4, 0, 4, 4), (30, 30, 10, 10))  # touching, and at the border
    other = np.array([0, 900, 7, 70_000])[target]
    for row in (row_of(target, target), row_of(other, target)):
        assert all(row[f"ap/{percent}"] == 1 for percent in PERCENTS)
        assert row["panoptic_quality"] == row["matched_iou/true"] == row["instance_f1"] == 1


def test_a_tie_of_two_halves_is_one_match() -> None:
    whole = blocks((0, 0, 4, 4))
    halves = blocks((0, 0, 4, 2), (0, 2, 4, 2))
    row = row_of(halves, whole)
    assert [row[f"objects/{kind}/50"] for kind in ("tp", "fp", "fn")] == [1, 1, 0]
    assert row["ap/50"] == 0.5
    row = row_of(whole, halves)
    assert [row[f"objects/{kind}/50"] for kind in ("tp", "fp", "fn")] == [1, 0, 1]


def test_one_object_and_one_pixel() -> None:
    one = np.zeros((5, 5), np.uint8)
    one[0, 0] = 1
    assert row_of(one, one)["ap"] == 1
    assert row_of(one[:1, :1], one[:1, :1])["panoptic_quality"] == 1


def test_an_image_without_objects_has_no_value_and_false_objects_count_against_the_model() -> None:
    empty, found = np.zeros((8, 8), np.int64), blocks((0, 0, 3, 3), (4, 4, 3, 3), size=8)
    row = row_of(empty, empty)
    assert all(math.isnan(value) for name, value in row.items() if "objects/" not in name)
    assert {value for name, value in row.items() if "objects/" in name} == {0}
    false = row_of(found, empty)
    assert false["ap"] == false["instance_f1"] == false["panoptic_quality"] == 0
    assert false["object_count"] == 2
    missed = row_of(empty, found)
    assert missed["ap"] == missed["matched_iou/true"] == 0
    assert missed["object_count"] == 1
    suite, good = InstanceMetrics(), row_of(found, found)
    assert suite.summarise([good, row])["pooled_ap"] == 1
    assert suite.summarise([good, row])["ap"] == 1
    assert suite.summarise([good, false])["pooled_ap"] == 0.5
    assert suite.summarise([good, false])["ap"] == 0.5


def test_pixels_of_weight_zero_do_not_count() -> None:
    target = blocks((0, 0, 10, 10), (0, 20, 10, 10), (20, 0, 10, 10))
    prediction = blocks((0, 0, 10, 10), (0, 20, 10, 4), (35, 35, 4, 4))
    weight = np.ones(target.shape, np.float32)
    weight[:, 24:] = 0  # 4 of 10 columns of the second object are left, and no false object
    row = row_of(prediction, target, weight)
    assert (row["objects/true"], row["objects/predicted"], row["ap/95"]) == (2, 1, 0.5)
    weight[:] = 1
    weight[:, 25:] = 0  # exactly half of it counts: 4 of 5 columns are found
    row = row_of(prediction, target, weight)
    assert (row["objects/true"], row["objects/predicted"]) == (3, 2)
    assert (row["ap/80"], row["ap/85"]) == (2 / 3, 1 / 4)
    nothing = row_of(prediction, target, np.zeros_like(weight))
    assert math.isnan(nothing["ap"])
    assert row_of(prediction, target, 7 * np.ones_like(weight)) == row_of(prediction, target)


def test_seventy_thousand_objects_are_measured() -> None:
    target = np.kron(np.arange(70_000).reshape(250, 280) + 1, np.ones((3, 3), np.int64))
    prediction = np.where(target % 7 == 0, 0, 70_001 - target)
    row = row_of(prediction, target)
    assert (row["objects/true"], row["objects/tp/95"], row["objects/fp/50"]) == (70_000, 60_000, 0)
    assert row["ap"] == pytest.approx(6 / 7)


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        (np.zeros((4, 4), int), np.zeros((4, 5), int), "expected equal"),
        (np.zeros((4, 4)), np.zeros((4, 4), int), "labels must be integers"),
        (np.zeros((4, 4), int), -np.ones((4, 4), int), "must not be negative"),
    ],
)
def test_what_are_no_objects_is_refused(prediction: Any, target: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ApMetric()(prediction, target)


# --- settings -------------------------------------------------------------------------------------


def test_a_threshold_is_part_of_the_name() -> None:
    target = blocks((0, 0, 10, 10), (0, 20, 10, 10))
    prediction = blocks((0, 0, 10, 10), (4, 20, 10, 10))  # IoU 6/14
    suite = MetricSuite([InstanceF1Metric(), InstanceF1Metric(0.4), InstanceF1Metric(0.75)])
    rows = suite.rows(*(torch.from_numpy(image)[None] for image in (prediction, target)))
    assert [rows[0][f"instance_f1{end}"] for end in ("", "_40", "_75")] == [0.5, 1.0, 0.5]
    found = ApMetric(thresholds=[0.4, 0.5])(prediction, target)
    assert (found["ap"], found["ap/40"], found["ap/50"]) == (2 / 3, 1.0, 1 / 3)
    for wrong in (0.0, 1.5):
        with pytest.raises(ValueError, match="in \\(0, 1\\]"):
            PanopticQualityMetric(wrong)
    with pytest.raises(ValueError, match="no thresholds"):
        ApMetric([])


def test_the_metrics_are_known_by_name() -> None:
    kinds = (ApMetric, InstanceF1Metric, PanopticQualityMetric, MatchedIoUMetric, ObjectCountMetric)
    for kind in kinds:
        assert registry.resolve("metric", kind.name) is kind
    suite = InstanceMetrics()
    assert suite.directions["ap"] == suite.directions["pooled_ap"] == "max"
    assert suite.directions["object_count"] == suite.directions["pooled_object_count"] == "min"
    assert list(InstanceMetrics(names=["ap"]).directions) == ["ap", "pooled_ap"]


def test_the_objects_of_an_image_are_matched_once_for_all_metrics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = {"overlap": 0, "match": 0}

    def counting(name: str, function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            calls[name] += 1
            return function(*arguments)

        return call

    for name, function in (("overlap", "overlap_of_counted"), ("match", "match")):
        known = getattr(instances_module, function)
        monkeypatch.setattr(instances_module, function, counting(name, known))
    images = torch.from_numpy(blocks((0, 0, 4, 4)))[None].repeat(3, 1, 1)
    InstanceMetrics().rows(images, images)
    assert calls == {"overlap": 3, "match": 3}


# --- pooled ---------------------------------------------------------------------------------------


def _rows() -> list[dict[str, Any]]:
    pairs = [random_pair(seed, (48, 56)) for seed in range(5)]
    return [{"id": str(place), "dataset": "data", **row_of(*pair)}
            for place, pair in enumerate(pairs)]  # fmt: skip


def test_pooled_numbers_are_those_of_one_large_image() -> None:
    pairs = [random_pair(seed, (48, 56)) for seed in range(5)]
    # side by side, with numbers of their own
    joined = [
        np.concatenate(
            [np.where(image > 0, image + 1000 * place, 0) for place, image in enumerate(images)], 1
        )
        for images in zip(*pairs, strict=True)
    ]
    whole, found = row_of(*joined), InstanceMetrics().summarise(_rows())
    pooled = {name.removeprefix("pooled_"): value
              for name, value in found.items() if name.startswith("pooled_")}  # fmt: skip
    expected = {name: value for name, value in whole.items() if not name.startswith("objects/")}
    assert pooled == pytest.approx(expected)


def test_counts_are_columns_and_no_means() -> None:
    rows, suite = _rows(), InstanceMetrics()
    found = suite.summarise(rows)
    assert not any(name.startswith("objects/") for name in found)
    assert suite.is_record("objects/tp/50")
    names = [name for name in rows[0] if name not in ("id", "dataset")]
    counts = [name.startswith("objects/") for name in names]
    assert counts == sorted(counts)  # after the metrics
    assert not suite.is_record("ap/50")
    assert found["ap/50"] == pytest.approx(np.mean([row["ap/50"] for row in rows]))
    both = HeadMetrics({"cells": suite, "mask": SegmentationMetrics(["a", "b"], names=["dice"])})
    named = [{f"cells/{name}": value for name, value in row.items()} | {"mask/dice": 0.5}
             for row in rows]  # fmt: skip
    of_heads = both.summarise(named)
    assert of_heads["cells/pooled_ap/50"] == found["pooled_ap/50"]
    assert of_heads["mask/dice"] == 0.5
    assert both.is_record("cells/objects/fp/50")
    assert not any("objects/" in name for name in of_heads)


def test_images_without_a_target_are_left_out_of_the_pool() -> None:
    rows, suite = _rows(), InstanceMetrics()
    assert suite.summarise([*rows, {"id": "x", "dataset": "data"}]) == suite.summarise(rows)
    frame = pd.DataFrame([*rows, {"id": "x", "dataset": "data"}])  # as a table holds them
    assert suite.of_set(frame.to_dict("records")) == suite.of_set(rows)
    assert suite.of_set([]) == {}


def test_panoptic_quality_is_that_of_monai() -> None:
    for seed in range(4):
        prediction, target = random_pair(seed, (48, 56))
        numbers = [torch.from_numpy(np.unique(image, return_inverse=True)[1].reshape(image.shape))
                   for image in (prediction, target)]  # fmt: skip
        row = row_of(prediction, target)
        for name, ours in (("pq", ""), ("sq", "/sq"), ("rq", "/rq")):
            # theirs matches above the threshold, ours from it on
            theirs = compute_panoptic_quality(
                *numbers, metric_name=name, match_iou_threshold=0.5 - 1e-6
            )
            assert row[f"panoptic_quality{ours}"] == pytest.approx(float(theirs), abs=1e-5)
