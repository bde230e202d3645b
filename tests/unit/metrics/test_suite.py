"""Rows for each image, means over rows, and metrics of other libraries."""

import math

import pytest
import torch
from monai.metrics import DiceMetric as MonaiDice
from monai.metrics import HausdorffDistanceMetric
from torchmetrics.classification import BinaryF1Score, MulticlassAccuracy

from imtoolkit.metrics.foreign import as_image_metric
from imtoolkit.metrics.suite import SegmentationMetrics, reduce_rows


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    target = torch.zeros(2, 16, 16, dtype=torch.uint8)
    target[:, 4:12, 4:12] = 1
    prediction = target.clone()
    prediction[1] = prediction[1].roll(2, 0)
    return prediction, target


def test_each_image_of_a_batch_has_its_own_row() -> None:
    prediction, target = _batch()
    rows = SegmentationMetrics(["background", "disc"]).rows(prediction, target)
    assert [row["dice/disc"] for row in rows] == [1.0, 0.75]
    assert {"dice", "iou", "hd95", "surface_dice"} <= set(rows[0])


def test_foreign_metrics_give_the_same_numbers_as_ours() -> None:
    prediction, target = _batch()
    extra = [MonaiDice(include_background=False), BinaryF1Score()]
    suite = SegmentationMetrics(["background", "disc"], names=["dice"], extra=extra)
    for row in suite.rows(prediction, target):
        assert row["binary_f1_score"] == pytest.approx(row["dice"])
    # MONAI's class has our name; a torchmetrics metric of the classes keeps its own
    assert as_image_metric(MonaiDice(), ["a", "b"]).name == "dice"
    assert as_image_metric(MulticlassAccuracy(num_classes=2)).better == "max"
    assert as_image_metric(HausdorffDistanceMetric(), ["a", "b"]).better == "min"


def test_what_is_no_metric_is_refused() -> None:
    with pytest.raises(TypeError, match="got a str as a metric"):
        as_image_metric("dice")


def test_means_leave_out_what_is_not_defined() -> None:
    rows = [{"id": "a", "dice": 0.5, "dice/x": math.nan}, {"id": "b", "dice": 1.0, "dice/x": 0.25}]
    assert reduce_rows(rows) == {"dice": 0.75, "dice/x": 0.25}
    assert reduce_rows([]) == {}
