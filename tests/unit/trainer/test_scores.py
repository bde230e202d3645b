"""Sums of an evaluation against numbers that are known."""

import json

import numpy as np
import pytest
from torchmetrics.classification import BinaryAUROC

from imtoolkit.config.sections import EvaluationConfig
from imtoolkit.metrics.base import SetMetric
from imtoolkit.metrics.heads import HeadMetrics
from imtoolkit.metrics.resampling import draw_counts, paired_set
from imtoolkit.metrics.statistics import bootstrap_mean, paired_difference
from imtoolkit.metrics.suite import (
    ClassificationMetrics,
    InstanceMetrics,
    MetricSuite,
    RegressionMetrics,
)
from imtoolkit.trainer.scores import compare, save, summarise

NAN = float("nan")
SETTINGS = EvaluationConfig(resamples=200)


def rows(*values):
    return [{"id": f"{n}", "dataset": "main", "dice": value} for n, value in enumerate(values)]


def test_the_mean_lies_in_its_interval_and_nan_is_left_out():
    scores = summarise(rows(0.25, 0.75, float("nan")), SETTINGS, seed=0, split="test")
    dice = scores.summary["metrics"]["dice"]
    assert dice["mean"] == 0.5
    assert dice["images"] == 2
    assert 0.25 <= dice["low"] <= 0.5 <= dice["high"] <= 0.75
    assert (scores.summary["images"], scores.summary["split"]) == (3, "test")


def test_a_value_that_is_defined_nowhere_is_written_as_null(tmp_path):
    scores = save(summarise(rows(float("nan")), SETTINGS, seed=0), tmp_path)
    text = (tmp_path / "summary.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["metrics"]["dice"]["mean"] is None
    assert (tmp_path / "per_image.csv").read_text() == "id,dataset,dice\n0,main,\n"
    assert scores.path == tmp_path


def test_a_loss_that_is_nan_for_one_image_is_seen(caplog):
    entries = [{**row, "loss": loss} for row, loss in zip(rows(0.5, 0.6), (0.3, NAN), strict=True)]
    scores = summarise([*entries, {"id": "untold", "dataset": "main"}], SETTINGS, seed=0)
    loss = scores.summary["metrics"]["loss"]
    assert (loss["mean"], loss["low"], loss["images"]) == (None, None, 1)
    assert scores.summary["metrics"]["dice"]["mean"] == pytest.approx(0.55)
    assert "NaN for 1 of 3 images, so it has no mean: '1'" in caplog.text
    compared = compare(scores, scores, SETTINGS, seed=0)["metrics"]
    assert compared["loss"]["difference"] is None
    assert compared["dice"]["difference"] == 0.0


def test_images_without_a_target_leave_the_loss_of_the_others():
    entries = [{**rows(0.5)[0], "loss": 0.3}, {"id": "untold", "dataset": "main"}]
    assert summarise(entries, SETTINGS, seed=0).summary["metrics"]["loss"]["mean"] == 0.3


def test_runs_are_compared_on_the_images_that_both_have():
    first = summarise(rows(0.5, 0.75, 1.0), SETTINGS, seed=0)
    second = summarise(rows(0.25, 0.5), SETTINGS, seed=0)
    found = compare(first, second, SETTINGS, seed=0)
    assert found["images"] == 2
    assert found["metrics"]["dice"]["difference"] == pytest.approx(0.25)


def test_the_same_seed_gives_the_same_interval():
    first, second = (summarise(rows(0.1, 0.5, 0.7, 0.2), SETTINGS, seed=3) for _ in range(2))
    assert first.summary == second.summary


def classified(count=60, skill=1.5, seed=0, names=("healthy", "sick")):
    """Return rows of a classification that knows something, and what measures them."""
    rng = np.random.default_rng(7)
    target = rng.integers(0, len(names), count)
    noise = np.random.default_rng(seed).normal(size=(count, len(names)))
    logits = skill * np.eye(len(names))[target] + noise
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    suite = ClassificationMetrics(names)
    places = [{"id": f"{n:03d}", "dataset": "main", "loss": 0.5} for n in range(count)]
    made = [suite.records.row(one, true) for one, true in zip(chances, target, strict=True)]
    return [{**place, **row} for place, row in zip(places, made, strict=True)], suite


def test_metrics_of_the_set_have_an_interval_and_records_no_mean():
    entries, suite = classified()
    summary = summarise(entries, SETTINGS, 0, suite).summary
    metrics = summary["metrics"]
    assert set(metrics) == {"loss", *suite.of_set(entries)}
    assert metrics["auroc"]["mean"] == suite.of_set(entries)["auroc"]
    assert metrics["auroc"]["low"] < metrics["auroc"]["mean"] < metrics["auroc"]["high"]
    assert metrics["auroc"]["images"] == 60


def test_the_interval_of_accuracy_is_that_of_a_mean():
    entries, suite = classified()
    settings = EvaluationConfig(resamples=20_000)
    found = summarise(entries, settings, 0, suite).summary["metrics"]["accuracy"]
    right = [row["target"] == row["predicted"] for row in entries]
    mean = bootstrap_mean(right, resamples=20_000)
    assert (found["low"], found["high"]) == pytest.approx((mean.low, mean.high), abs=0.02)


def test_strata_keep_the_number_of_images_of_each_class():
    entries, suite = classified(skill=9.0)
    counted = MetricSuite([Prevalence()], records=suite.records)
    plain = summarise(entries, SETTINGS, 0, counted).summary["metrics"]["prevalence"]
    settings = EvaluationConfig(resamples=200, stratify=True)
    kept = summarise(entries, settings, 0, counted).summary["metrics"]["prevalence"]
    assert plain["low"] < plain["mean"] < plain["high"]
    assert kept["low"] == kept["mean"] == kept["high"]


class Prevalence(SetMetric):
    """A metric as a user writes it: without weights."""

    name = "prevalence"

    def __call__(self, predicted, target, probability=None):
        return {"prevalence": float((target == 1).mean())}


def test_confusion_and_curves_stand_in_the_summary_and_are_drawn(tmp_path):
    entries, suite = classified()
    scores = save(summarise(entries, SETTINGS, 0, suite), tmp_path)
    output = json.loads((tmp_path / "summary.json").read_text())["outputs"]["output"]
    table = np.array(output["confusion"])
    assert table.sum() == 60
    assert np.trace(table) / 60 == pytest.approx(scores.summary["metrics"]["accuracy"]["mean"])
    curve = output["roc"]["sick"]
    area = np.trapezoid(curve["tpr"], curve["fpr"])
    assert area == pytest.approx(scores.summary["metrics"]["auroc"]["mean"])
    bins = output["reliability"]
    gaps = [entry["count"] * abs(entry["probability"] - entry["frequency"]) for entry in bins]
    assert sum(gaps) / 60 == pytest.approx(scores.summary["metrics"]["ece"]["mean"])
    drawn = sorted(path.name for path in tmp_path.glob("*.png"))
    assert drawn == ["calibration.png", "confusion.png", "curves.png"]


def test_heads_have_pictures_and_outputs_of_their_own(tmp_path):
    entries, grade = classified()
    suite = HeadMetrics({"grade": grade, "age": RegressionMetrics()})
    rows_of_heads = [
        {
            "id": row["id"],
            "dataset": "main",
            **{f"grade/{name}": row[name] for name in row if grade.is_record(name)},
            "age/target": float(n),
            "age/predicted": float(n) + 1,
        }
        for n, row in enumerate(entries)
    ]
    scores = save(summarise(rows_of_heads, SETTINGS, 0, suite), tmp_path)
    assert scores.summary["metrics"]["age/mae"]["mean"] == 1.0
    assert set(scores.summary["outputs"]) == {"grade", "age"}
    drawn = {path.name for path in tmp_path.glob("*.png")}
    assert drawn == {
        "grade-calibration.png",
        "grade-confusion.png",
        "grade-curves.png",
        "age-numbers.png",
    }


def test_one_class_only_gives_scores_without_an_exception(tmp_path):
    entries, suite = classified(12)
    same = [row for row in entries if row["target"] == "sick"]
    found = save(summarise(same, SETTINGS, 0, suite), tmp_path).summary
    assert found["metrics"]["auroc"]["mean"] is None
    assert found["metrics"]["accuracy"]["images"] == len(same)
    assert "NaN" not in (tmp_path / "summary.json").read_text()


def test_models_are_compared_by_metrics_of_the_set():
    good, poor = (
        summarise(rows, SETTINGS, 0, suite)
        for rows, suite in (classified(skill=2.5, seed=1), classified(skill=0.3, seed=2))
    )
    found = compare(good, poor, EvaluationConfig(resamples=500), seed=0)["metrics"]["auroc"]
    expected = good.summary["metrics"]["auroc"]["mean"] - poor.summary["metrics"]["auroc"]["mean"]
    assert found["difference"] == pytest.approx(expected)
    assert 0 < found["low"] < found["difference"] < found["high"]
    assert found["p_value"] < 0.01
    same = compare(good, good, SETTINGS, seed=0)["metrics"]["auroc"]
    assert (same["difference"], same["p_value"]) == (0.0, 1.0)


def test_the_permutation_test_of_accuracy_is_the_sign_flip_test():
    entries, suite = classified(skill=1.0, seed=1)
    others, _ = classified(skill=0.5, seed=2)
    accuracy = next(metric for metric in suite.set_metrics if metric.name == "accuracy")
    first, second = (suite.records.arrays(item) for item in (entries, others))
    found = paired_set(accuracy, first, second, resamples=20_000)["accuracy"]
    right = [(one.predicted == one.target).astype(float).tolist() for one in (first, second)]
    flipped = paired_difference(*right, resamples=20_000)
    assert found.difference.mean == pytest.approx(flipped.difference.mean)
    assert found.p_value == pytest.approx(flipped.p_value, abs=0.02)


def test_runs_of_other_classes_are_not_compared(caplog):
    first, other = (
        summarise(entries, SETTINGS, 0, suite)
        for entries, suite in (classified(), classified(names=("a", "b")))
    )
    found = compare(first, other, SETTINGS, seed=0)["metrics"]
    assert set(found) == {"loss"}
    assert "predict different classes" in caplog.text


def test_metrics_of_others_are_drawn_less_often_and_say_so():
    entries, suite = classified(20)
    slow = MetricSuite([BinaryAUROC()], records=suite.records)
    found = summarise(entries, EvaluationConfig(resamples=2000), 0, slow).summary["metrics"]
    assert found["binary_auroc"]["resamples"] == 200
    assert found["binary_auroc"]["low"] < found["binary_auroc"]["high"]


def counted(*counts, names=("ap",)):
    """Return rows of images with so many objects found, false and missed at an IoU of 0.5."""
    suite = InstanceMetrics(names=names)
    metric = suite.metrics[0]
    entries = []
    for place, (tp, fp, fn) in enumerate(counts):
        row = metric.row([tp + fn, tp + fp, *[tp, fp, fn] * 10])
        entries.append({"id": f"{place}", "dataset": "main", **row})
    return entries, suite


def test_pooled_scores_have_an_interval_over_images_and_counts_no_mean(tmp_path):
    counts = np.array([(90, 5, 5), (1, 3, 1), (0, 2, 0), (40, 0, 20), (7, 1, 0)])
    entries, suite = counted(*counts)
    scores = save(summarise(entries, SETTINGS, 3, suite), tmp_path)
    found = scores.summary["metrics"]
    assert found["pooled_ap/50"]["mean"] == 138 / counts.sum()
    assert found["ap/50"]["mean"] == pytest.approx(np.mean(counts[:, 0] / counts.sum(1)))
    assert not any(name.startswith("objects/") for name in found)
    # a bootstrap by hand: draw images, add up their counts, divide
    drawn = draw_counts(5, SETTINGS.resamples, np.random.default_rng(3))
    values = []
    for times in drawn:
        tp, fp, fn = np.repeat(counts, times, axis=0).sum(0)
        values.append(tp / (tp + fp + fn))
    low, high = np.quantile(values, [0.025, 0.975])
    assert found["pooled_ap/50"]["low"] == pytest.approx(low)
    assert found["pooled_ap/50"]["high"] == pytest.approx(high)
    assert low < 138 / counts.sum() < high
    table = (tmp_path / "per_image.csv").read_text().splitlines()
    assert table[0].startswith("id,dataset,ap,ap/50,")
    assert {"objects/tp/50", "objects/fp/95", "objects/true"} <= set(table[0].split(","))
    assert len(table) == 6


def test_models_are_compared_by_pooled_scores():
    ours, suite = counted(*[(9, 1, 0)] * 6, (30, 0, 0))
    theirs, _ = counted(*[(5, 5, 5)] * 6, (29, 1, 1))
    first, second = (summarise(entries, SETTINGS, 0, suite) for entries in (ours, theirs))
    found = compare(first, second, SETTINGS, seed=0)["metrics"]["pooled_ap/50"]
    assert found["difference"] == pytest.approx(84 / 90 - 59 / 121)
    assert 0 < found["low"] <= found["difference"] <= found["high"]
    assert found["p_value"] < 0.05
    assert found["images"] == 7
    same = compare(first, first, SETTINGS, seed=0)["metrics"]["pooled_ap/50"]
    assert (same["difference"], same["p_value"]) == (0, 1)
    other = summarise(rows(*[0.5] * 7), SETTINGS, 0, MetricSuite([]))
    assert "pooled_ap/50" not in compare(first, other, SETTINGS, seed=0)["metrics"]
