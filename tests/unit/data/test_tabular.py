"""Columns that join the image: encoded by what training saw, and refused where they cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from imtoolkit.config.sections import (
    CacheConfig,
    CacheKind,
    Component,
    DataConfig,
    LoaderConfig,
    SourceConfig,
    SplitConfig,
    TabularConfig,
)
from imtoolkit.core.errors import DataError
from imtoolkit.core.facts import DataFacts, TargetKind, TargetSpec
from imtoolkit.data.datamodule import ImageDataModule
from imtoolkit.data.tabular import TabularEncoder, encode_tabular

COLUMNS = [
    TabularConfig("age"),
    TabularConfig("sex", ["f", "m"]),
    TabularConfig("dose", fill=0.0),
]
AGES, DOSES = [30, 50, 40, 60, 90], [1.0, None, 3.0, 2.0, 5.0]
SEXES = ["f", "m", None, "m", "f"]


def config(root: Path, columns: dict[str, list[Any]], tabular: list[TabularConfig]) -> DataConfig:
    count = len(next(iter(columns.values())))
    split = ["train"] * (count - 1) + ["val"]
    source = {"image": np.zeros((count, 8, 8)), "columns": columns, "split": split}
    return DataConfig(
        {"x": SourceConfig(Component("arrays", source))},
        split=SplitConfig(val=0.0),
        tabular=tabular,
        loader=LoaderConfig(batch_size=4, workers=0),
        cache=CacheConfig(CacheKind.none),
    )


def test_features_are_standardised_by_the_training_samples_alone(tmp_path: Path) -> None:
    made = config(tmp_path, {"age": AGES, "sex": SEXES, "dose": DOSES}, COLUMNS)
    data = ImageDataModule(made, TargetSpec(TargetKind.NONE))
    batch = next(iter(data.train_dataloader()))
    assert batch["tabular"].dtype == torch.float32
    order = [int(name) for name in batch["id"]]
    ages, doses = np.array(AGES[:4], float), np.array([1, 0, 3, 2], float)
    expected = np.stack(
        [
            (ages - ages.mean()) / ages.std(),
            np.array([1, 0, 0, 0]),
            np.array([0, 1, 0, 1]),
            (doses - doses.mean()) / doses.std(),
        ],
        axis=1,
    )
    np.testing.assert_allclose(batch["tabular"].numpy(), expected[order], rtol=1e-6)
    facts = data.facts
    assert facts.tabular == ("age", "sex=f", "sex=m", "dose")
    assert facts.tabular_mean == (45.0, 0.0, 0.0, 1.5)
    assert facts.tabular_std[1:3] == (1.0, 1.0)
    held = next(iter(data.val_dataloader()))["tabular"]
    assert held[0, 0] == pytest.approx((90 - ages.mean()) / ages.std())
    # what a model is applied to later is encoded alike, also from facts that were stored
    kept = DataFacts.from_dict(facts.to_dict())
    row = {"age": 90, "sex": "f", "dose": 5.0}
    torch.testing.assert_close(encode_tabular(row, made, kept), held)
    many = encode_tabular([row, {"age": "45", "sex": "", "dose": None}], made, kept)
    assert many.shape == (2, 4)
    assert many[1].tolist() == pytest.approx([0, 0, 0, -1.5 / doses.std()])


def test_a_constant_column_becomes_zero(tmp_path: Path) -> None:
    encoder = TabularEncoder.fitted([TabularConfig("a")], pa.table({"id": ["x", "y"], "a": [7, 7]}))
    assert encoder(pa.table({"id": ["z"], "a": [7]})).tolist() == [[0.0]]


def test_everything_that_cannot_be_encoded_is_told_at_once(tmp_path: Path) -> None:
    columns = {
        "age": ["30", "old", "", "60", "1"],
        "sex": ["f", "x", "m", "m", "f"],
        "dose": DOSES,
    }
    tabular = [*COLUMNS, TabularConfig("hight")]
    made = config(tmp_path, {**columns, "height": [1] * 5}, tabular)
    with pytest.raises(DataError) as caught:
        ImageDataModule(made, TargetSpec(TargetKind.NONE)).prepare_data()
    text = str(caught.value)
    assert "data.tabular.0: sample '0001': column 'age': 'old' is not a number" in text
    assert "sample '0002': column 'age': there is a gap" in text
    assert "2 of 5 samples cannot be used" in text
    assert "give the number that stands for them as 'fill'" in text
    assert "sample '0001': column 'sex': 'x' is none of 'f', 'm'" in text
    assert "no column 'hight'" in text
    assert "Did you mean 'height'?" in text
    assert "column 'dose'" not in text


def test_rows_to_predict_are_refused_alike() -> None:
    made = DataConfig({}, tabular=COLUMNS[:2])
    names = ("age", "sex=f", "sex=m")
    facts = DataFacts(2, 1, tabular=names, tabular_mean=(0.0,) * 3, tabular_std=(1.0,) * 3)
    assert encode_tabular({"age": 2.0, "sex": "m"}, made, facts).tolist() == [[2.0, 0.0, 1.0]]
    with pytest.raises(DataError, match=r"sample 'a\.png': column 'age': 'two' is not a number"):
        encode_tabular([{"image": "a.png", "age": "two", "sex": "f"}], made, facts)
    with pytest.raises(DataError, match="no column 'sex'"):
        encode_tabular({"age": 2}, made, facts)
    with pytest.raises(DataError, match="was trained on the columns"):
        encode_tabular({"age": 2}, DataConfig({}, tabular=COLUMNS[:1]), facts)


def test_truth_values_and_whole_numbers_match_the_texts_that_the_config_lists() -> None:
    table = pa.table({"smoker": [True, None], "grade": pa.array([1.0, 2.0])})
    columns = (TabularConfig("smoker", ["true", "false"]), TabularConfig("grade", ["1", "2"]))
    encoder = TabularEncoder(columns, (0.0,) * 4, (1.0,) * 4)
    assert encoder(table).tolist() == [[1, 0, 1, 0], [0, 0, 0, 1]]
    numbers = TabularEncoder((TabularConfig("smoker", fill=-1.0),), (0.0,), (1.0,))
    assert numbers(table).tolist() == [[1.0], [-1.0]]


def test_columns_with_the_name_of_a_key_of_the_batch_stay_in_the_table(tmp_path: Path) -> None:
    own = {name: ["x"] * 5 for name in ("draw", "affine", "tabular", "prediction", "plate")}
    data = ImageDataModule(config(tmp_path, own, []), TargetSpec(TargetKind.NONE))
    batch = next(iter(data.val_dataloader()))
    assert batch["plate"] == ["x"]
    assert not {"draw", "affine", "tabular", "prediction"} & set(batch)
    assert next(iter(data.train_dataloader()))["draw"].dtype == torch.int64
