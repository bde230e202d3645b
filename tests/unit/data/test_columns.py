"""Targets in the table: classes, several classes and numbers, and what is not known of them."""

from __future__ import annotations

import time
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
)
from imtoolkit.core.batch import MISSING_CLASS
from imtoolkit.core.errors import DataError
from imtoolkit.core.facts import ColumnTarget, TargetKind, TargetSpec
from imtoolkit.data.columns import class_samples, encode, mean_and_std, texts_in, vector_text
from imtoolkit.data.datamodule import ImageDataModule
from imtoolkit.data.table import Manifest

NAN = float("nan")
PETS = ("dog", "cat", "cow")


def table(**columns: Any) -> Manifest:
    count = len(next(iter(columns.values())))
    ids = [f"s{number}" for number in range(count)]
    return Manifest.from_columns({"id": ids, "image": ids, **columns})


def classes(cells: Any, kind: TargetKind = TargetKind.CLASS) -> Any:
    return encode(table(pet=cells), ColumnTarget("pet", kind, ("pet",), PETS))


# --- cells ----------------------------------------------------------------------------------------


def test_a_class_is_a_name_or_a_number() -> None:
    found = classes(["cat", "0", " cow ", "2.0"])
    assert found.values.dtype == np.int64
    assert found.values.tolist() == [1, 0, 2, 2]
    assert not found.missing.any()
    assert classes(pa.array([2, None, 0], pa.int64())).values.tolist() == [2, MISSING_CLASS, 0]
    # a column of whole numbers with gaps becomes one of floats where tables are joined
    assert classes(pa.array([2.0, None, 0.0])).values.tolist() == [2, MISSING_CLASS, 0]


def test_what_is_not_known_of_a_class_is_missing_and_not_wrong() -> None:
    found = classes(["dog", "", None, "NA", "nan", "?"])
    assert found.values.tolist() == [0, *[MISSING_CLASS] * 5]
    assert found.missing.tolist() == [False, *[True] * 5]
    assert not found.wrong
    named = encode(table(x=["na", "b"]), ColumnTarget("x", TargetKind.CLASS, ("x",), ("na", "b")))
    assert named.values.tolist() == [0, 1]


def test_a_word_that_is_no_class_is_told_with_the_nearest() -> None:
    found = classes(["dog", "catt", "3"])
    assert set(found.wrong) == {1, 2}
    assert "'catt' is no class. Did you mean 'cat'?" in found.wrong[1]
    assert found.missing.tolist() == [False, False, False]


def test_several_classes_are_joined_by_semicolons_or_bars_and_none_is_none() -> None:
    found = classes(["dog;cow", "cat|0", "", "?", "[0 1 1]", "cat; "], TargetKind.CLASSES)
    assert found.values.dtype == np.float32
    expected = [[1, 0, 1], [1, 1, 0], [0, 0, 0], [NAN] * 3, [0, 1, 1], [0, 1, 0]]
    np.testing.assert_array_equal(found.values, np.array(expected, np.float32))
    assert found.missing.tolist() == [False, False, False, True, False, False]
    assert "has 2 entries for 3 classes" in classes(["[0 1]"], TargetKind.CLASSES).wrong[0]
    assert "'fish' is no class" in classes(["dog;fish"], TargetKind.CLASSES).wrong[0]


def test_several_classes_may_stand_in_a_column_each() -> None:
    spec = ColumnTarget("pets", TargetKind.CLASSES, PETS, PETS)
    found = encode(table(dog=[1, 0, None], cat=[0, 1, 1], cow=["1", "0", "0"]), spec)
    np.testing.assert_array_equal(found.values, [[1, 0, 1], [0, 1, 0], [NAN, 1, 0]])
    assert found.missing.tolist() == [False, False, True]
    assert class_samples(found, spec) == (1, 2, 1)
    assert "expected 0 or 1" in encode(table(dog=[2], cat=[0], cow=[1]), spec).wrong[0]


def test_numbers_have_two_axes_always() -> None:
    one = encode(table(age=[3.5, None, 4]), ColumnTarget("age", TargetKind.NUMBER, ("age",)))
    np.testing.assert_array_equal(one.values, np.array([[3.5], [NAN], [4]], np.float32))
    spec = ColumnTarget("two", TargetKind.NUMBER, ("age", "dose"))
    two = encode(table(age=["3", "x"], dose=[1e-3, 2e3]), spec)
    assert two.values.shape == (2, 2)
    assert two.values[0].tolist() == pytest.approx([3, 1e-3])
    assert two.wrong == {1: "'x' is not a number"}
    cells = ["[0.5 2]", "?", vector_text(np.array([1.0, 4.0]))]
    vector = encode(table(age=cells), ColumnTarget("age", TargetKind.NUMBER, ("age",)))
    np.testing.assert_array_equal(vector.values, [[0.5, 2], [NAN, NAN], [1, 4]])


def test_numbers_keep_the_precision_of_their_column() -> None:
    values = np.random.RandomState(0).random_sample(50).astype(np.float32)
    found = encode(table(x=values), ColumnTarget("x", TargetKind.NUMBER, ("x",)))
    np.testing.assert_array_equal(found.values[:, 0], values)
    assert texts_in(pa.chunked_array([[1.0, None, 3.0]])).to_pylist() == ["1", "", "3"]
    assert texts_in(pa.array([1.5, None])).to_pylist() == ["1.5", ""]


def test_mean_and_deviation_leave_gaps_out() -> None:
    values = np.array([[1, NAN], [3, NAN], [NAN, NAN]], np.float32)
    assert mean_and_std(values) == ((2.0, 0.0), (1.0, 1.0))


def test_a_million_rows_cost_seconds_and_megabytes() -> None:
    count = 1_000_000
    names = pa.array(PETS).take(pa.array(np.arange(count) % 3))
    made = Manifest.from_columns(
        {"id": pa.array(np.arange(count)).cast(pa.string()), "image": names, "pet": names}
    )
    started = time.monotonic()
    found = encode(made, ColumnTarget("pet", TargetKind.CLASS, ("pet",), PETS))
    assert time.monotonic() - started < 10  # a loop over dicts takes a minute
    assert found.values.nbytes == 8 * count
    assert np.bincount(found.values).tolist() == [333334, 333333, 333333]


# --- through the data module ----------------------------------------------------------------------

LINES = """image,grade,findings,age,split
{0},low,a;b,30,train
{1},high,,50,train
{2},low,b,,train
{3},,a,40,train
{4},low,b,20,val
"""
MORE = (
    ColumnTarget("grade", TargetKind.CLASS, ("grade",), ("low", "high")),
    ColumnTarget("finding", TargetKind.CLASSES, ("findings",), ("a", "b")),
    ColumnTarget("age", TargetKind.NUMBER, ("age",)),
)


def write(root: Path, text: str = LINES, count: int = 5) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        np.save(root / f"{number}.npy", np.full((8, 8), number, np.uint8))
    path = root / "table.csv"
    path.write_text(text.format(*(f"{number}.npy" for number in range(count))))
    return path


def section(path: Path, **changes: Any) -> DataConfig:
    fields: dict[str, Any] = {
        "sources": {"t": SourceConfig(Component("csv", {"path": str(path)}))},
        "axes": "YX",
        "split": SplitConfig(val=0.0),
        "loader": LoaderConfig(batch_size=4, workers=0),
        "cache": CacheConfig(CacheKind.none),
        **changes,
    }
    return DataConfig(**fields)


def by_id(data: ImageDataModule) -> dict[str, dict[str, Any]]:
    found = {}
    for batch in [*data.train_dataloader(), *data.val_dataloader()]:
        for place, name in enumerate(batch["id"]):
            found[name] = {key: value[place] for key, value in batch.items()}
    return found


def test_targets_of_several_heads_come_each_under_its_own_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = ImageDataModule(
        section(write(tmp_path)), TargetSpec(TargetKind.NONE, more=MORE, optional=True)
    )
    rows = by_id(data)
    assert rows["0"]["finding"].tolist() == [1, 1]
    assert rows["1"]["finding"].tolist() == [0, 0]
    assert rows["1"]["age"].tolist() == [50]
    assert torch.isnan(rows["2"]["age"]).all()
    assert [int(rows[str(number)]["grade"]) for number in range(5)] == [0, 1, 0, -100, 0]
    batch = next(iter(data.train_dataloader()))
    assert batch["grade"].dtype == torch.int64
    assert batch["grade"].shape == (4,)
    assert batch["finding"].shape == (4, 2)
    assert batch["age"].shape == (4, 1)
    assert batch["age"].dtype == torch.float32
    facts = data.facts
    assert facts.class_samples == {"grade": (2, 1), "finding": (2, 2)}
    assert facts.number_mean == {"age": (40.0,)}
    assert facts.number_std["age"][0] == pytest.approx(np.std([30, 50, 40]))
    assert facts.missing == {"grade": 1, "age": 1}
    assert "1 of 4 training samples have no label for 'age'" in caplog.text


def test_a_missing_label_is_an_error_that_lists_the_samples_unless_it_may_be_missing(
    tmp_path: Path,
) -> None:
    data = ImageDataModule(section(write(tmp_path)), TargetSpec(TargetKind.NONE, more=MORE))
    with pytest.raises(DataError) as caught:
        data.prepare_data()
    text = str(caught.value)
    assert "sample '3' has no target 'grade'" in text
    assert "sample '2' has no target 'age'" in text
    assert "1 of 5 lack a target 'age'" in text
    assert "sample '1'" not in text  # no finding is a finding


def test_the_main_target_may_stand_in_any_column(tmp_path: Path) -> None:
    text = LINES.replace("{3},,", "{3},high,")
    spec = TargetSpec(TargetKind.CLASS, ("low", "high"), columns=("grade",))
    config = section(
        write(tmp_path, text),
        loader=LoaderConfig(4, samples_per_epoch=40, balance_by="target", workers=0),
        split=SplitConfig(val=0.0, stratify_by="target"),
    )
    data = ImageDataModule(config, spec)
    drawn = torch.cat([batch["target"] for batch in data.train_dataloader()])
    assert torch.bincount(drawn).tolist() == [20, 20]
    assert data.facts.class_samples == {"target": (2, 2)}
    assert data.facts.missing == {}


def test_a_column_that_no_table_has_is_named_with_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path)
    for optional in (False, True):
        spec = TargetSpec(TargetKind.NUMBER, columns=("agee",), optional=optional)
        with pytest.raises(DataError, match=r"'agee'.*Did you mean 'age'"):
            ImageDataModule(section(path), spec).prepare_data()
    config = section(path, loader=LoaderConfig(balance_by="grad", workers=0))
    with pytest.raises(DataError, match=r"no column 'grad'.*Did you mean 'grade'"):
        ImageDataModule(config, TargetSpec(TargetKind.NONE)).prepare_data()


def test_a_source_without_findings_is_not_one_of_images_without_them(tmp_path: Path) -> None:
    looked = write(tmp_path / "a")
    not_looked = write(tmp_path / "b", "image,split\n{0},train\n{1},train\n", 2)
    sources = {
        name: SourceConfig(Component("csv", {"path": str(path)}))
        for name, path in (("a", looked), ("b", not_looked))
    }
    spec = TargetSpec(TargetKind.NONE, more=MORE[1:2], optional=True)
    data = ImageDataModule(section(looked, sources=sources), spec)
    rows = by_id(data)
    assert rows["a/1"]["finding"].tolist() == [0, 0]
    assert torch.isnan(rows["b/1"]["finding"]).all()
    assert data.facts.missing == {"finding": 2}


def test_a_changed_label_in_a_column_changes_the_fingerprint(tmp_path: Path) -> None:
    spec = TargetSpec(TargetKind.NONE, more=MORE, optional=True)
    before = ImageDataModule(section(write(tmp_path)), spec).facts.fingerprint
    assert ImageDataModule(section(write(tmp_path)), spec).facts.fingerprint == before
    after = ImageDataModule(section(write(tmp_path, LINES.replace("50", "51"))), spec)
    assert after.facts.fingerprint != before


def test_arrays_of_flags_and_of_numbers_are_targets_of_the_whole_image(tmp_path: Path) -> None:
    flags = np.array([[0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1]], np.uint8)
    images = np.zeros((4, 8, 8), np.uint8)
    np.savez(tmp_path / "set.npz", train_images=images, train_labels=flags)
    npz = Component("npz", {"path": str(tmp_path / "set.npz")})
    arrays = Component("arrays", {"image": images, "target": flags})
    for source in (npz, arrays):
        config = section(tmp_path, sources={"x": SourceConfig(source)})
        data = ImageDataModule(config, TargetSpec(TargetKind.CLASSES, PETS))
        batch = next(iter(data.train_dataloader()))
        order = [int(name[-4:]) for name in batch["id"]]
        np.testing.assert_array_equal(batch["target"].numpy(), flags[order])
        assert data.facts.class_samples == {"target": (2, 2, 2)}
        numbers = ImageDataModule(config, TargetSpec(TargetKind.NUMBER))
        assert numbers.facts.number_mean == {"target": (0.5, 0.5, 0.5)}


def test_a_split_without_any_known_vector_has_as_many_numbers(tmp_path: Path) -> None:
    cells = ["[1 2 3]", "?", "[4 5 6]", None]
    source = {"image": np.zeros((4, 4, 4)), "split": ["train", "train", "train", "val"]}
    source["columns"] = {"cells": cells}
    spec = TargetSpec(TargetKind.NUMBER, columns=("cells",), optional=True)
    config = section(tmp_path, sources={"x": SourceConfig(Component("arrays", source))})
    data = ImageDataModule(config, spec)
    held = next(iter(data.val_dataloader()))["target"]
    assert held.shape == (1, 3)
    assert torch.isnan(held).all()
    assert data.facts.number_mean == {"target": (2.5, 3.5, 4.5)}


def test_measured_targets_stratify_the_splits(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 50) ** 3
    source = Component("arrays", {"image": np.zeros((50, 4, 4)), "target": values})
    config = section(
        tmp_path,
        sources={"x": SourceConfig(source)},
        split=SplitConfig(val=10, stratify_by="target"),
    )
    data = ImageDataModule(config, TargetSpec(TargetKind.NUMBER))
    drawn = [float(batch["target"]) for batch in data.val_dataloader()]
    edges = np.quantile(values, [0.2, 0.4, 0.6, 0.8])
    assert np.bincount(np.searchsorted(edges, drawn)).tolist() == [2, 2, 2, 2, 2]


def test_previews_name_classes_and_numbers(tmp_path: Path) -> None:
    config = section(write(tmp_path))
    for spec, words in (
        (TargetSpec(TargetKind.CLASS, ("low", "high"), ("grade",), optional=True), "target: high"),
        (TargetSpec(TargetKind.CLASSES, ("a", "b"), ("findings",)), "target: a, b"),
        (TargetSpec(TargetKind.NUMBER, columns=("age",), optional=True), "target: unknown"),
    ):
        figure = ImageDataModule(config, spec).preview("train", 4)
        titles = " ".join(axes.get_title() for axes in figure.axes)
        assert words in titles


def test_a_column_of_weights_in_kilograms_is_not_taken_for_cost_maps(tmp_path: Path) -> None:
    path = write(tmp_path, "image,weight\n{0},72.5\n{1},80\n", 2)
    with pytest.raises(DataError, match=r"'weight'.*cost maps.*'72\.5'.*'body_weight'"):
        ImageDataModule(section(path), TargetSpec(TargetKind.NONE)).prepare_data()
