"""Sums of an evaluation against numbers that are known."""

import json

import pytest

from imtoolkit.config.sections import EvaluationConfig
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
