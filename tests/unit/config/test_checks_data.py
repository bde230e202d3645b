"""What contradicts itself in the section ``data``: columns of the table, and degraded images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from imtoolkit.config import load_config

Problems = Callable[..., list[str]]
NOISE = [{"name": "gaussian_noise", "params": {}}]


@pytest.mark.parametrize(
    ("tabular", "message"),
    [
        (["age", {"column": "age", "fill": 0.0}], "data.tabular.1: the column 'age' stands twice"),
        ([{"column": "sex", "values": []}], "data.tabular.0.values: expects the texts"),
        ([{"column": "sex", "values": ["f", "f"]}], "each once, got ['f', 'f']"),
        ([{"column": "sex", "values": ["f"], "fill": 0.0}], "data.tabular.0.fill: is a number"),
    ],
)
def test_columns_that_contradict_themselves(
    good: dict[str, Any], problems: Problems, tabular: Any, message: str
) -> None:
    good["data"]["tabular"] = tabular
    found = problems(good)
    assert len(found) == 1
    assert message in found[0]


def test_sensible_columns_are_accepted(good: dict[str, Any]) -> None:
    good["data"]["tabular"] = ["age", {"column": "sex", "values": ["f", "m"]}]
    assert [item.column for item in load_config(good).data.tabular] == ["age", "sex"]


def test_an_image_is_not_learnt_from_itself(good: dict[str, Any], problems: Problems) -> None:
    params = good["data"]["source"]["params"]
    params["target"] = params["image"]
    found = problems(good)
    assert len(found) == 1
    assert "is the same as 'image'" in found[0]
    good["data"] |= {"channels": [0, 1], "target_channels": [2]}
    assert load_config(good).data.target_channels == [2]


def test_only_tasks_that_learn_images_degrade_them(
    good: dict[str, Any], problems: Problems
) -> None:
    good["data"]["degrade"] = NOISE
    found = problems(good)
    assert "data.degrade: makes pairs of images" in found[0]
    assert "which a segmentation does not" in found[0]


def test_a_source_of_targets_beside_degrade_is_a_contradiction(
    good: dict[str, Any], problems: Problems
) -> None:
    good["data"]["degrade"] = NOISE
    good["task"] = {
        "category": "enhancement",
        "net": {"name": "UNet", "params": {"channels": [4, 8], "strides": [2]}},
        "loss": "MSELoss",
        "optimizer": "AdamW",
    }
    found = problems(good)
    assert len(found) == 1
    assert ".params.target: with data.degrade the target is the image itself" in found[0]
    del good["data"]["source"]["params"]["target"]
    assert load_config(good).data.degrade[0].name == "gaussian_noise"
