"""Metrics of whole sets, against loops over pairs, torchmetrics and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torchmetrics.functional.classification as theirs
import torchmetrics.functional.regression as theirs_of_numbers
from scipy import stats
from torchmetrics.classification import (
    BinaryAUROC,
    BinaryF1Score,
    MulticlassAUROC,
    MulticlassConfusionMatrix,
    MultilabelF1Score,
)
from torchmetrics.regression import MeanSquaredError

from imtoolkit.core import registry
from imtoolkit.core.errors import ComponentError
from imtoolkit.metrics.base import SetMetric
from imtoolkit.metrics.classification import MccMetric
from imtoolkit.metrics.foreign_sets import as_set_metric
from imtoolkit.metrics.images import MaeMetric, PsnrMetric
from imtoolkit.metrics.ranking import AuprcMetric, AurocMetric, EceMetric
from imtoolkit.metrics.records import ClassRecords, MultilabelRecords, NumberRecords
from imtoolkit.metrics.regression import PearsonCorrelation, R2Score
from imtoolkit.metrics.suite import ClassificationMetrics, MetricSuite, RegressionMetrics

NAN = float("nan")
TWO = ("healthy", "sick")
THREE = ("cat", "dog", "owl")


def drawn(classes: int, images: int = 80, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return targets and probabilities that know something of them, with ties."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, images)
    logits = rng.normal(size=(images, classes)) + 1.5 * np.eye(classes)[target]
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    chances = np.round(chances, 1) + 1e-3
    return target, chances / chances.sum(1, keepdims=True)


def measured(suite: MetricSuite, target, chances) -> dict[str, float]:
    assert suite.records is not None
    rows = [suite.records.row(one, true) for one, true in zip(chances, target, strict=True)]
    return suite.summarise(rows)


def test_two_classes_agree_with_torchmetrics() -> None:
    target, chances = drawn(2)
    found = measured(ClassificationMetrics(TWO), target, chances)
    truth, score = torch.as_tensor(target), torch.as_tensor(chances[:, 1])
    said = torch.as_tensor(chances.argmax(1))
    assert found["auroc"] == pytest.approx(float(theirs.binary_auroc(score, truth)))
    assert found["auprc"] == pytest.approx(float(theirs.binary_average_precision(score, truth)))
    assert found["mcc"] == pytest.approx(float(theirs.binary_matthews_corrcoef(said, truth)))
    assert found["sensitivity"] == pytest.approx(float(theirs.binary_recall(said, truth)))
    assert found["specificity"] == pytest.approx(float(theirs.binary_specificity(said, truth)))
    assert found["f1/sick"] == pytest.approx(float(theirs.binary_f1_score(said, truth)))
    assert found["brier"] == pytest.approx(float(((score - truth) ** 2).mean()))
    assert found["balanced_accuracy"] == pytest.approx(
        (found["sensitivity"] + found["specificity"]) / 2
    )


def test_the_auroc_counts_pairs_with_ties_as_half() -> None:
    target, chances = drawn(2, seed=3)
    positive, negative = chances[target == 1, 1], chances[target == 0, 1]
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    found = AurocMetric(TWO)(chances.argmax(1), target, chances)
    assert found == {"auroc": pytest.approx(np.mean(pairs))}
    rank = stats.mannwhitneyu(positive, negative).statistic / len(pairs)
    assert found["auroc"] == pytest.approx(rank)


def test_three_classes_agree_with_torchmetrics() -> None:
    target, chances = drawn(3)
    found = measured(ClassificationMetrics(THREE), target, chances)
    truth, score = torch.as_tensor(target), torch.as_tensor(chances)
    known = {"num_classes": 3, "average": "macro"}
    functions = {
        "accuracy": theirs.multiclass_accuracy(score, truth, num_classes=3, average="micro"),
        "balanced_accuracy": theirs.multiclass_accuracy(score, truth, **known),
        "auroc": theirs.multiclass_auroc(score, truth, **known),
        "auprc": theirs.multiclass_average_precision(score, truth, **known),
        "f1": theirs.multiclass_f1_score(score, truth, **known),
        "sensitivity": theirs.multiclass_recall(score, truth, **known),
        "specificity": theirs.multiclass_specificity(score, truth, **known),
        "mcc": theirs.multiclass_matthews_corrcoef(score, truth, num_classes=3),
        "ece": theirs.multiclass_calibration_error(score, truth, num_classes=3, n_bins=15),
        "brier": ((score - torch.eye(3)[truth]) ** 2).sum(1).mean(),
    }
    assert {name: found[name] for name in functions} == {
        name: pytest.approx(float(value), abs=1e-6) for name, value in functions.items()
    }
    by_class = theirs.multiclass_auroc(score, truth, num_classes=3, average=None)
    assert [found[f"auroc/{name}"] for name in THREE] == pytest.approx(by_class.tolist())


def test_several_labels_leave_out_what_is_not_known() -> None:
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, (60, 3)).astype(float)
    chances = np.clip(0.35 * target + 0.7 * rng.random((60, 3)), 0, 1)
    target[rng.random((60, 3)) < 0.3] = NAN
    found = measured(ClassificationMetrics(THREE, multilabel=True), target, chances)
    for k, name in enumerate(THREE):
        known = ~np.isnan(target[:, k])
        truth = torch.as_tensor(target[known, k]).long()
        score = torch.as_tensor(chances[known, k])
        assert found[f"auroc/{name}"] == pytest.approx(float(theirs.binary_auroc(score, truth)))
        f1 = theirs.binary_f1_score((score >= 0.5).long(), truth)
        assert found[f"f1/{name}"] == pytest.approx(float(f1))
    assert found["auroc"] == pytest.approx(np.mean([found[f"auroc/{name}"] for name in THREE]))


def test_one_class_only_has_no_value_and_no_exception() -> None:
    found = measured(ClassificationMetrics(TWO), [1, 1, 1], [[0.2, 0.8], [0.6, 0.4], [0.1, 0.9]])
    undefined = {name for name, value in found.items() if math.isnan(value)}
    assert {"auroc", "auprc", "mcc", "specificity"} <= undefined
    assert found["accuracy"] == found["sensitivity"] == pytest.approx(2 / 3)


def test_a_class_that_no_image_has_is_left_out_of_the_mean() -> None:
    target = [0, 1, 0, 1]
    chances = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]])
    found = measured(ClassificationMetrics(THREE), target, chances)
    assert math.isnan(found["auroc/owl"])
    assert found["auroc"] == found["balanced_accuracy"] == 1.0


def test_probabilities_that_are_nan_are_not_ranked() -> None:
    chances = np.array([[0.8, 0.2], [NAN, NAN]])
    assert math.isnan(AurocMetric(TWO)(chances.argmax(1), np.array([0, 1]), chances)["auroc"])


def test_images_without_a_target_are_left_out() -> None:
    suite = ClassificationMetrics(TWO, names=["accuracy", "auroc"])
    chances = [[0.9, 0.1], [0.3, 0.7], [0.1, 0.9]]
    assert measured(suite, [0, 1, -100], chances) == {"accuracy": 1.0, "auroc": 1.0}
    assert math.isnan(measured(suite, [None] * 3, chances)["accuracy"])
    assert suite.summarise([]) == {}


def test_perfect_calibration_has_no_error_and_a_liar_has() -> None:
    chances = np.tile([0.25, 0.75], (4, 1))
    right = EceMetric(TWO)(np.ones(4), np.array([1, 1, 1, 0]), chances)
    wrong = EceMetric(TWO)(np.ones(4), np.array([0, 0, 0, 1]), chances)
    assert (right["ece"], wrong["ece"]) == (0.0, pytest.approx(0.5))


def test_numbers_agree_with_torchmetrics_and_scipy() -> None:
    rng = np.random.default_rng(0)
    target = rng.normal(1000.0, 2.0, (50, 1))
    predicted = target + rng.normal(0.3, 1.0, (50, 1))
    found = measured(RegressionMetrics(), target, predicted)
    x, y = torch.as_tensor(predicted[:, 0]), torch.as_tensor(target[:, 0])
    assert found["pearson"] == pytest.approx(stats.pearsonr(x, y).statistic)
    assert found["r2"] == pytest.approx(float(theirs_of_numbers.r2_score(x, y)), rel=1e-6)
    assert found["mae"] == pytest.approx(float((x - y).abs().mean()))
    assert found["rmse"] == pytest.approx(float(((x - y) ** 2).mean().sqrt()))


def test_several_numbers_have_a_value_each_and_gaps_are_left_out() -> None:
    target = [[1.0, 10.0], [2.0, NAN], [3.0, 30.0], [NAN, NAN]]
    predicted = [[1.5, 10.0], [2.5, 99.0], [3.5, 32.0], [0.0, 0.0]]
    found = measured(RegressionMetrics(("age", "size"), names=["mae"]), target, predicted)
    assert found == {"mae": 0.75, "mae/age": 0.5, "mae/size": 1.0}


def test_equal_numbers_have_no_correlation() -> None:
    same = np.full((5, 1), 0.1)
    other = np.arange(5.0)[:, None]
    assert math.isnan(PearsonCorrelation()(other, same)["pearson"])
    assert math.isnan(R2Score()(other, same)["r2"])
    assert PearsonCorrelation()(2 * other + 7, other)["pearson"] == pytest.approx(1.0)


@pytest.mark.parametrize("classes", [2, 3])
def test_resampled_sets_are_measured_as_if_their_images_were_repeated(classes: int) -> None:
    target, chances = drawn(classes, images=30)
    said = chances.argmax(1)
    counts = np.random.default_rng(1).multinomial(30, np.full(30, 1 / 30), size=5)
    for metric in ClassificationMetrics(THREE[:classes]).set_metrics:
        fast = metric.resampled(said, target, chances, counts)
        slow = SetMetric.resampled(metric, said, target, chances, counts)
        assert set(fast) == set(slow)
        for name in fast:
            np.testing.assert_allclose(fast[name], slow[name], atol=1e-12, err_msg=name)


def test_resampled_numbers_are_measured_as_if_their_images_were_repeated() -> None:
    rng = np.random.default_rng(1)
    target = rng.normal(5, 1, (30, 2))
    predicted = target + rng.normal(size=(30, 2))
    target[3, 0] = NAN
    counts = rng.multinomial(30, np.full(30, 1 / 30), size=5)
    for metric in RegressionMetrics(("a", "b")).set_metrics:
        fast = metric.resampled(predicted, target, None, counts)
        slow = SetMetric.resampled(metric, predicted, target, None, counts)
        for name in fast:
            np.testing.assert_allclose(fast[name], slow[name], rtol=1e-9, err_msg=name)


def test_the_mcc_of_labels_is_that_of_each() -> None:
    rng = np.random.default_rng(2)
    target, said = rng.integers(0, 2, (2, 40, 2))
    both = MccMetric(("a", "b"), multilabel=True)(said, target.astype(float))
    alone = MccMetric(("no", "yes"))(said[:, 1], target[:, 1])
    assert both["mcc/b"] == pytest.approx(alone["mcc"])


def test_metrics_of_torchmetrics_measure_the_whole_set() -> None:
    target, chances = drawn(2)
    suite = MetricSuite([BinaryAUROC(), BinaryF1Score()], records=ClassRecords(TWO))
    found = measured(suite, target, chances)
    ours = measured(ClassificationMetrics(TWO), target, chances)
    assert found["binary_auroc"] == pytest.approx(ours["auroc"])
    assert found["binary_f1_score"] == pytest.approx(ours["f1/sick"])
    target, chances = drawn(3)
    each = MulticlassAUROC(num_classes=3, average=None)
    found = measured(MetricSuite([each], records=ClassRecords(THREE)), target, chances)
    ours = measured(ClassificationMetrics(THREE), target, chances)
    assert found["multiclass_auroc/owl"] == pytest.approx(ours["auroc/owl"])
    numbers = MetricSuite([MeanSquaredError(), MaeMetric()], records=NumberRecords())
    found = measured(numbers, [[1.0], [2.0]], [[2.0], [2.0]])
    assert found == {"mean_squared_error": 0.5, "mae": 0.5}


@pytest.mark.parametrize(
    ("metric", "records", "message"),
    [
        (PsnrMetric(), ClassRecords(TWO), "'psnr' measures images, and this output is classes"),
        (MaeMetric(), ClassRecords(TWO), "'mae' measures images"),
        (BinaryAUROC(), ClassRecords(THREE), "measures two classes, and there are 3"),
        (BinaryAUROC(), NumberRecords(), "expected one of torchmetrics.regression"),
        (MeanSquaredError(), ClassRecords(TWO), "expected Binary... or Multiclass..."),
        (MultilabelF1Score(num_labels=2), ClassRecords(TWO), "does not measure this output"),
    ],
)
def test_metrics_of_another_kind_are_refused(metric, records, message: str) -> None:
    with pytest.raises(ComponentError, match=message):
        as_set_metric(metric, records)


def test_a_metric_of_sets_is_refused_for_images() -> None:
    with pytest.raises(ComponentError, match="'auprc' measures one class or number"):
        MetricSuite([AuprcMetric(TWO)], TWO)


def test_a_table_is_no_value() -> None:
    suite = MetricSuite([MulticlassConfusionMatrix(num_classes=3)], records=ClassRecords(THREE))
    with pytest.raises(ComponentError, match=r"returns a table \(3, 3\)"):
        measured(suite, *drawn(3))


def test_records_are_named_values_and_never_averaged() -> None:
    suite = ClassificationMetrics(TWO, names=["accuracy"])
    assert suite.records is not None
    row = suite.records.row([0.25, 0.75], 0)
    assert row == {
        "target": "healthy",
        "predicted": "sick",
        "probability/healthy": 0.25,
        "probability/sick": 0.75,
    }
    assert suite.summarise([{"loss": 0.5, **row}]) == {"loss": 0.5, "accuracy": 0.0}
    heads = [{"loss": 0.5, "kind/loss": 0.2, **{f"kind/{k}": v for k, v in row.items()}}]
    assert suite.summarise(heads, "kind") == {"kind/loss": 0.2, "kind/accuracy": 0.0}


def test_logits_are_no_probabilities() -> None:
    with pytest.raises(ValueError, match="not logits"):
        ClassRecords(TWO).row([-1.0, 3.0], 0)
    with pytest.raises(ValueError, match=r"sum to 1\.5"):
        ClassRecords(TWO).row([0.75, 0.75], 0)
    with pytest.raises(ValueError, match="got 2 probabilities for 3 classes"):
        MultilabelRecords(THREE).row([0.5, 0.5])
    with pytest.raises(ValueError, match="got 2 numbers"):
        NumberRecords().row([0.5, 0.5])


def test_the_catalogue_names_them() -> None:
    for name in ("accuracy", "auroc", "brier", "ece", "mcc", "specificity"):
        assert registry.build("metric", name, {}, classes=TWO).name == name
    assert isinstance(registry.build("metric", "r2", {}), SetMetric)
