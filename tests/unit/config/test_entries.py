"""Lists and tables of entries: columns of numbers and texts, groups of weights, schedules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from imtoolkit.config import load_config
from imtoolkit.config.explain import explain
from imtoolkit.config.schema import config_schema
from imtoolkit.config.sections import TabularConfig, WeightGroup

Problems = Callable[..., list[str]]


def test_a_bare_name_is_a_column_of_numbers(good: dict[str, Any]) -> None:
    good["data"]["tabular"] = ["age", {"column": "sex", "values": ["f", "m"]}]
    assert load_config(good).data.tabular == [
        TabularConfig("age"),
        TabularConfig("sex", ["f", "m"]),
    ]


def test_an_entry_of_a_list_is_checked_where_it_stands(
    good: dict[str, Any], problems: Problems
) -> None:
    good["data"]["tabular"] = ["age", {"colum": "sex"}]
    found = problems(good)
    assert any("data.tabular.1.colum: unknown key 'colum'. Did you mean" in text for text in found)
    assert any("data.tabular.1: the key 'column' is missing" in text for text in found)


@pytest.mark.parametrize(
    ("key", "child"),
    [
        ("data.tabular", "data.tabular.column"),
        ("task.heads", "task.heads.NAME.classes"),
        ("task.optimizers.NAME.groups", "task.optimizers.NAME.groups.lr"),
    ],
)
def test_the_entries_of_lists_and_tables_are_explained(key: str, child: str) -> None:
    assert child in explain(key).children
    assert explain(child).doc


def test_groups_of_weights_are_part_of_an_optimizer(good: dict[str, Any]) -> None:
    group = {"weights": ["nets.net.model.0.*"], "lr": 1e-4}
    good["task"]["optimizer"] = {"name": "AdamW", "params": {"lr": 1e-3}, "groups": [group]}
    found = load_config(good).task.optimizers["net"].groups
    assert found == [WeightGroup(["nets.net.model.0.*"], lr=1e-4)]


def test_the_schema_knows_short_and_long_entries(good: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(config_schema())
    good["data"]["tabular"] = [{"column": "sex", "values": ["f", "m"]}]
    good["trainer"]["schedules"] = {
        "task.losses.loss.weight": {"name": "linear", "params": {"start": 0, "end": 1}}
    }
    assert [error.message for error in validator.iter_errors(good)] == []
    good["data"]["tabular"] = ["age"]
    assert [error.message for error in validator.iter_errors(good)] == []
    good["data"]["tabular"] = [{"values": ["f", "m"]}]
    assert list(validator.iter_errors(good))
