"""Rows for each image, means over rows, and metrics of other libraries."""

import math

import numpy as np
import pytest
import torch
from monai.metrics import (
    ConfusionMatrixMetric,
    FBetaScore,
    GeneralizedDiceScore,
    HausdorffDistanceMetric,
    Metric,
    PanopticQualityMetric,
    ROCAUCMetric,
)
from monai.metrics import DiceMetric as MonaiDice
from torchmetrics.classification import BinaryF1Score, MulticlassAccuracy, MultilabelF1Score
from torchmetrics.segmentation import MeanIoU

from imtoolkit.core.errors import ComponentError
from imtoolkit.metrics.foreign import as_image_metric
from imtoolkit.metrics.heads import HeadMetrics
from imtoolkit.metrics.segmentation import HausdorffMetric
from imtoolkit.metrics.suite import (
    ClassificationMetrics,
    MetricSuite,
    RegressionMetrics,
    SegmentationMetrics,
    reduce_rows,
)


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
    classes = ["background", "disc"]
    theirs = MetricSuite([MonaiDice(include_background=False), BinaryF1Score()], classes)
    ours = SegmentationMetrics(classes, names=["dice"]).rows(prediction, target)
    for row, own in zip(theirs.rows(prediction, target), ours, strict=True):
        assert row["binary_f1_score"] == pytest.approx(own["dice"])
        assert row["dice/disc"] == pytest.approx(own["dice/disc"])
    # MONAI's class has our name; a torchmetrics metric of the classes keeps its own
    assert as_image_metric(MonaiDice(), ["a", "b"]).name == "dice"
    assert as_image_metric(MulticlassAccuracy(num_classes=2)).better == "max"
    assert as_image_metric(HausdorffDistanceMetric(), ["a", "b"]).better == "min"


def test_metrics_that_monai_aggregates_are_measured_and_not_their_counts() -> None:
    prediction, target = _batch()
    sensitivity = ConfusionMatrixMetric(metric_name="sensitivity", include_background=False)
    suite = MetricSuite([sensitivity, FBetaScore(include_background=False)], ["background", "disc"])
    row = suite.rows(prediction, target)[1]  # 48 of 64 pixels are found, and 16 others
    assert row["confusion_matrix/disc"] == pytest.approx(0.75)
    assert row["fbeta_score/disc"] == pytest.approx(0.75)


def test_a_metric_of_monai_keeps_nothing_from_image_to_image() -> None:
    metric = MonaiDice()
    suite = MetricSuite([metric], ["background", "disc"])
    suite.rows(*_batch())
    assert not any(metric._buffers or ())


def test_one_value_for_all_classes_is_not_named_after_one_of_them() -> None:
    suite = MetricSuite([GeneralizedDiceScore()], ["background", "disc"])
    assert set(suite.rows(*_batch())[0]) == {"generalized_dice_score"}


@pytest.mark.parametrize("metric", [ROCAUCMetric(), PanopticQualityMetric(num_classes=1)])
def test_metrics_of_something_else_than_classes_are_refused(metric: Metric) -> None:
    with pytest.raises(ComponentError):
        MetricSuite([metric], ["background", "disc"]).rows(*_batch())


def test_two_metrics_of_one_name_are_refused() -> None:
    twice = [HausdorffMetric(["a", "b"]), HausdorffMetric(["a", "b"], percentile=95)]
    with pytest.raises(ComponentError, match="several metrics are named 'hd95'"):
        MetricSuite(twice)
    assert HausdorffMetric(["a", "b"], percentile=100).name == "hd100"


def test_what_is_no_metric_is_refused() -> None:
    with pytest.raises(TypeError, match="got a str as a metric"):
        as_image_metric("dice")


def test_means_leave_out_what_is_not_defined() -> None:
    rows = [{"id": "a", "dice": 0.5, "dice/x": math.nan}, {"id": "b", "dice": 1.0, "dice/x": 0.25}]
    assert reduce_rows(rows) == {"dice": 0.75, "dice/x": 0.25}
    assert reduce_rows([]) == {}


def test_a_loss_that_is_not_a_number_is_not_left_out() -> None:
    rows = [{"id": "a", "loss": 0.5, "loss/ce": 1.0}, {"id": "b", "loss": math.nan}, {"id": "c"}]
    means = reduce_rows(rows)
    assert math.isnan(means["loss"])
    assert means["loss/ce"] == 1.0  # an image without a target has no loss


@pytest.mark.parametrize("form", ["one-hot", "index"])
def test_torchmetrics_for_segmentation_get_images_with_their_axes(form: str) -> None:
    target = np.array([[0, 0, 1, 1]] * 4)
    prediction = np.array([[0, 1, 1, 1]] * 4)
    metric = as_image_metric(MeanIoU(num_classes=2, input_format=form), ("background", "cell"))
    # background: 4 of 8 pixels, cell: 8 of 12
    assert metric(prediction, target)["mean_io_u"] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_a_metric_that_cannot_measure_labels_is_named() -> None:
    metric = as_image_metric(MultilabelF1Score(num_labels=3), ("background", "cell"))
    labels = np.zeros((4, 4), np.int64)
    with pytest.raises(ComponentError, match="MultilabelF1Score cannot measure label images"):
        metric(labels, labels)


def test_the_metrics_of_heads_have_their_names() -> None:
    suite = HeadMetrics(
        {
            "cells": SegmentationMetrics(["background", "target"], names=["dice"]),
            "grade": ClassificationMetrics(["low", "high"], names=["accuracy"]),
            "age": RegressionMetrics(names=["mae"]),
        }
    )
    rows = [
        {"loss": 1.0, "cells/dice": 0.5, "cells/dice/target": 0.5},
        {"loss": 2.0, "cells/dice": 1.0, "cells/dice/target": 1.0},
    ]
    grades = ClassificationMetrics(["low", "high"]).records
    assert grades is not None
    for row, (chances, true, age) in zip(
        rows, (([0.9, 0.1], 0, 3.0), ([0.8, 0.2], 1, 5.0)), strict=True
    ):
        row |= {f"grade/{name}": value for name, value in grades.row(chances, true).items()}
        row |= {"age/target": age, "age/predicted": age + 1}
    assert suite.summarise(rows) == {
        "loss": 1.5,
        "cells/dice": 0.75,
        "cells/dice/target": 0.75,
        "grade/accuracy": 0.5,
        "age/mae": 1.0,
    }
    assert suite.directions == {"cells/dice": "max", "grade/accuracy": "max", "age/mae": "min"}
    assert suite.is_record("grade/probability/low")
    assert not suite.is_record("cells/dice/target")
