"""The manifest: memory, sharing with workers, and how sources are joined and checked."""

from __future__ import annotations

import logging
import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from imtoolkit.config.sections import Component, DataConfig, Role, SourceConfig, SplitConfig
from imtoolkit.core.errors import ComponentError, DataError
from imtoolkit.core.facts import TargetKind, TargetSpec
from imtoolkit.data.columns import class_number
from imtoolkit.data.manifest import build_manifest, list_sources
from imtoolkit.data.references import (
    files_of,
    is_reference,
    join_channels,
    parse,
    read_inside,
)
from imtoolkit.data.splits import draw_splits, write_splits
from imtoolkit.data.table import CORE, Manifest, join

LABELS = TargetSpec(TargetKind.LABELS, ("background", "nucleus"))
CLASSES = TargetSpec(TargetKind.CLASS, ("well", "ill"))
NUMBER = TargetSpec(TargetKind.NUMBER)
NOTHING = TargetSpec(TargetKind.NONE)


def source(name: str, role: str = "all", **params: Any) -> SourceConfig:
    return SourceConfig(Component(name, params), Role(role))


def config(split: SplitConfig | None = None, **sources: SourceConfig) -> DataConfig:
    return DataConfig(sources=sources, split=split or SplitConfig())


def nuclei(root: Path, *names: str) -> Path:
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            (root / folder / f"{name}.tif").write_bytes(b"x")
    return root


def small() -> Manifest:
    columns = {"id": ["b", "a", "c"], "image": ["b.tif", "a.tif", "c.tif"], "age": [3, None, 5]}
    return Manifest.from_columns({**columns, "split": ["val", "train", "train"]})


# --- the table ------------------------------------------------------------------------------------


def test_core_columns_are_always_there_as_text() -> None:
    manifest = small()
    assert manifest.columns == (*CORE, "age")
    assert manifest.row(0) == {
        **{"id": "b", "image": "b.tif", "target": None, "weight": None},
        **{"group": None, "dataset": None, "split": "val", "age": 3},
    }
    numbers = Manifest.from_columns({"id": [1, 2], "image": ["a", "b"], "group": [7, 8]})
    assert numbers.column("id") == ["1", "2"]
    assert numbers.column("group") == ["7", "8"]


def test_rows_are_counted_from_both_ends() -> None:
    assert small().row(-1) == small().row(2)
    assert [row["id"] for row in small().rows()] == ["b", "a", "c"]
    for index in (3, -4):
        with pytest.raises(IndexError):
            small().row(index)


def test_select_keeps_the_order_and_refuses_unknown_splits() -> None:
    assert small().select("train").column("id") == ["a", "c"]
    assert len(small().select("test")) == 0
    assert small().counts() == {"train": 2, "val": 1}
    with pytest.raises(DataError, match="unknown split 'trian'"):
        small().select("trian")


def test_an_unknown_column_names_the_nearest() -> None:
    with pytest.raises(DataError, match="Did you mean 'age'"):
        small().column("agee")


def test_ids_are_unique_and_never_missing() -> None:
    with pytest.raises(DataError, match="1 ids occur more than once: 'a'"):
        Manifest.from_columns({"id": ["a", "a"], "image": ["x", "y"]})
    with pytest.raises(DataError, match="1 samples have no image"):
        Manifest.from_columns({"id": ["a", "b"], "image": ["x", None]})
    with pytest.raises(DataError, match="needs the column 'image'"):
        Manifest.from_columns({"id": ["a"]})


def test_a_million_rows_cost_their_text_and_little_more() -> None:
    count = 1_000_000
    numbers = pa.array(np.arange(count)).cast(pa.string())
    prefix = pa.scalar("/data/images/")
    import pyarrow.compute as pc

    images = pc.binary_join_element_wise(prefix, numbers, "")
    manifest = Manifest.from_columns({"id": numbers, "image": images})
    manifest = manifest.with_column("dataset", "set").with_column("split", "train")
    text = 2 * sum(len(str(number)) * 10**6 for number in [100_000]) + (13 + 3 + 5) * count
    # offsets and null bits: 4 bytes a cell for 7 columns, and an eighth
    assert manifest.nbytes < text + 7 * 4.2 * count
    assert manifest.nbytes < 70e6
    assert manifest.row(123_456)["image"] == "/data/images/123456"


def test_a_shared_manifest_reaches_other_processes_as_a_path(tmp_path: Path) -> None:
    names = [f"sample_{at}" for at in range(5000)]
    plain = Manifest.from_columns({"id": names, "image": names})
    shared = plain.shared(tmp_path / "manifest.arrow")
    assert len(pickle.dumps(plain)) > 100_000
    assert len(pickle.dumps(shared)) < 500
    assert pickle.loads(pickle.dumps(shared)).table.equals(plain.table)
    assert pickle.loads(pickle.dumps(plain)).table.equals(plain.table)
    # a part of a shared manifest is no longer what the file holds
    assert pickle.loads(pickle.dumps(shared.take([4, 2]))).column("id") == ["sample_4", "sample_2"]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(shared.row, (4321,)) == plain.row(4321)


def test_join_keeps_the_columns_of_all_and_renumbers_arrays() -> None:
    first = Manifest.from_columns({"id": ["a"], "image": ["array::0"], "age": [1]}, ["one"])
    second = Manifest.from_columns(
        {"id": ["b"], "image": ["array::0"], "target": ["array::1"], "age": ["old"], "site": ["n"]},
        ["two", "three"],
    )
    both = join([first, second])
    assert both.column("age") == ["1", "old"]
    assert both.column("site") == [None, "n"]
    assert both.row(1)["image"] == "array::1"
    assert str(read_inside(both.row(1)["target"], both.arrays)) == "three"


def test_join_makes_numbers_of_integers_and_fractions() -> None:
    parts = [
        Manifest.from_columns({"id": [str(value)], "image": ["x"], "age": [value]})
        for value in (1, 2.5, None)
    ]
    assert join(parts).column("age") == [1.0, 2.5, None]


# --- references -----------------------------------------------------------------------------------


def test_references_are_taken_apart() -> None:
    assert parse("a.h5::group/raw").key == "group/raw"
    assert parse("C:\\data\\a.npz::x::3").index == 3
    assert files_of("a_0000.tif|a_0001.tif") == ["a_0000.tif", "a_0001.tif"]
    assert files_of("array::3") == []
    assert is_reference("x.npz::labels::1")
    assert not is_reference("ill")
    with pytest.raises(DataError, match="rename it"):
        join_channels(["a|b.tif"])
    with pytest.raises(DataError, match="none of the 1 arrays"):
        read_inside("array::1", [np.zeros(2)])


# --- from the config ------------------------------------------------------------------------------


def test_one_source_is_listed_and_split(tmp_path: Path) -> None:
    root = nuclei(tmp_path, *"abcdefghij")
    manifest = build_manifest(config(cells=source("folder", root=str(root))), 0, LABELS)
    assert manifest.counts() == {"train": 8, "val": 2}
    assert manifest.column("id") == list("abcdefghij")
    assert set(manifest.column("dataset")) == {"cells"}


def test_several_sources_have_roles(tmp_path: Path) -> None:
    train, test = nuclei(tmp_path / "1", *"abcde"), nuclei(tmp_path / "2", *"xyz")
    val, new = nuclei(tmp_path / "3", *"pq"), nuclei(tmp_path / "4", "n")
    made = build_manifest(
        config(
            a=source("folder", "train", root=str(train)),
            b=source("folder", "test", root=str(test)),
            c=source("folder", "val", root=str(val)),
            d=source("folder", "naive", root=str(new)),
        ),
        0,
        LABELS,
    )
    assert made.counts() == {"train": 5, "val": 2, "test": 3, "naive": 1}
    assert made.select("test").column("dataset") == ["b"] * 3


def test_a_role_overrules_what_the_folders_say(tmp_path: Path) -> None:
    for name in ("train", "val"):
        nuclei(tmp_path / name, name)
    sources = config(x=source("folder", "test", root=str(tmp_path)))
    assert build_manifest(sources, 0, LABELS).counts() == {"test": 2}


def test_a_source_that_divides_itself_gives_a_role_its_own_part(tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        nuclei(tmp_path / name, name)
    sources = config(x=source("folder", "test", root=str(tmp_path)))
    made = build_manifest(sources, 0, LABELS)
    assert [Path(image).parts[-3] for image in made.column("image")] == ["test"]


def test_ids_that_meet_get_the_name_of_their_data_set(tmp_path: Path) -> None:
    roots = [nuclei(tmp_path / name, name, "same") for name in ("one", "two")]
    third = nuclei(tmp_path / "three", "other")
    manifest = list_sources(
        config(
            one=source("folder", root=str(roots[0])),
            two=source("folder", root=str(roots[1])),
            three=source("folder", root=str(third)),
        ),
        LABELS,
    )
    assert manifest.column("id") == ["one/one", "one/same", "two/same", "two/two", "other"]


def test_problems_of_all_sources_come_at_once(tmp_path: Path) -> None:
    sources = config(
        first=source("folder", root=str(tmp_path / "none")),
        second=source("csv", path=str(tmp_path / "none.csv")),
    )
    with pytest.raises(DataError) as caught:
        build_manifest(sources, 0, LABELS)
    assert "data.sources.first: folder" in str(caught.value)
    assert "data.sources.second: table" in str(caught.value)
    with pytest.raises(DataError, match="at least one source"):
        build_manifest(config(), 0, LABELS)


def test_an_unknown_source_names_the_nearest() -> None:
    with pytest.raises(ComponentError, match="Did you mean 'folder'"):
        build_manifest(config(x=source("foldr")), 0, LABELS)


def test_a_task_that_learns_labels_needs_targets(tmp_path: Path) -> None:
    root = nuclei(tmp_path, "a", "b")
    params = {"root": str(root), "image": "images/*.tif"}
    with pytest.raises(
        DataError, match=r"no targets, but the task learns labels.*'target', a glob"
    ):
        build_manifest(config(x=source("folder", **params)), 0, LABELS)
    assert len(build_manifest(config(x=source("folder", **params)), 0, NOTHING)) == 2


def test_samples_without_a_target_are_listed(tmp_path: Path) -> None:
    nuclei(tmp_path, "a", "b")
    (tmp_path / "t.csv").write_text("image,target\nimages/a.tif,labels/a.tif\nimages/b.tif,\n")
    with pytest.raises(DataError, match=r"sample 'b' has no target(.|\n)*1 of 2 lack"):
        build_manifest(config(x=source("csv", path=str(tmp_path / "t.csv"))), 0, LABELS)


def test_test_images_without_target_are_left_out_of_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("imagesTr/a_0000.nii", "imagesTr/b_0000.nii", "labelsTr/a.nii", "labelsTr/b.nii"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "imagesTs").mkdir()
    (tmp_path / "imagesTs" / "c_0000.nii").write_bytes(b"x")
    with caplog.at_level(logging.INFO):
        manifest = build_manifest(config(x=source("nnunet", root=str(tmp_path))), 0, LABELS)
    assert manifest.counts() == {"train": 1, "val": 1}
    assert "1 test images without a target are left out" in caplog.text


def arrays(target: Any, count: int = 4) -> DataConfig:
    return config(x=source("arrays", image=np.zeros((count, 8, 8)), target=target))


def test_classes_are_names_or_numbers_of_the_task() -> None:
    build_manifest(arrays(["well", "ill", "ill", "well"]), 0, CLASSES)
    build_manifest(arrays([0, 1, 1, 0]), 0, CLASSES)
    with pytest.raises(DataError) as caught:
        build_manifest(arrays(["well", "sick", "2", "sick"]), 0, CLASSES)
    assert "sample '0001': target: 'sick' is no class. Expected 'well', 'ill'" in str(caught.value)
    assert "(and 1 more samples)" in str(caught.value)
    assert "sample '0002': target: '2' is no class" in str(caught.value)
    assert class_number("1.0", ("well", "ill")) == 1
    assert class_number("2", ("well", "ill")) is None


def test_numbers_must_be_finite_numbers() -> None:
    build_manifest(arrays([0.5, -1, 2, 3]), 0, NUMBER)
    with pytest.raises(DataError, match=r"sample '0000': target: 'a' is not a number"):
        build_manifest(arrays(["a", "b", "c", "d"]), 0, NUMBER)
    with pytest.raises(DataError, match="'inf' is not finite"):
        build_manifest(arrays([0.5, float("inf"), 2, 3]), 0, NUMBER)
    with pytest.raises(DataError, match="sample '0001' has no target"):
        build_manifest(arrays([0.5, float("nan"), 2, 3]), 0, NUMBER)


def test_values_are_no_targets_for_a_task_that_learns_pixels() -> None:
    with pytest.raises(DataError, match=r"targets must be files.*'1' for '0000'"):
        build_manifest(arrays([1, 1, 0, 0]), 0, LABELS)
    masks = np.zeros((4, 8, 8), np.uint8)
    assert build_manifest(arrays(masks), 0, LABELS).row(0)["target"] == "array::4"


def test_an_image_in_two_sources_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = str(nuclei(tmp_path, "a", "b"))
    with caplog.at_level(logging.WARNING):
        sources = config(
            x=source("folder", "train", root=root), y=source("folder", "val", root=root)
        )
        build_manifest(sources, 0, LABELS)
    assert "2 images are listed by more than one source" in caplog.text


def test_splits_of_a_run_decide_when_they_are_given(tmp_path: Path) -> None:
    root = nuclei(tmp_path / "data", *"abcdefghij")
    sources = config(x=source("folder", root=str(root)))
    drawn = build_manifest(sources, 3, LABELS)
    write_splits(drawn, tmp_path / "splits.csv")
    again = build_manifest(sources, 99, LABELS, drawn=tmp_path / "splits.csv")
    assert again.table.equals(drawn.table)
    nuclei(tmp_path / "data", "new")
    with pytest.raises(DataError, match=r"1 samples are new.*'new'"):
        build_manifest(sources, 3, LABELS, drawn=tmp_path / "splits.csv")


def test_samples_that_a_file_leaves_out_stay_out_when_splits_are_read_again(tmp_path: Path) -> None:
    root = nuclei(tmp_path / "data", "a", "b", "c")
    (tmp_path / "s.csv").write_text("id,split\na,train\nb,exclude\nc,val\n")
    sources = config(SplitConfig(file=str(tmp_path / "s.csv")), x=source("folder", root=str(root)))
    drawn = build_manifest(sources, 0, LABELS)
    write_splits(drawn, tmp_path / "splits.csv")
    again = build_manifest(sources, 0, LABELS, drawn=tmp_path / "splits.csv")
    assert again.column("id") == ["a", "c"]


@pytest.mark.parametrize("name", ["../a", "/etc/a", "x/../../a", "C:\\a", "a\\..\\b", "a\nb"])
def test_an_id_that_leaves_the_folder_of_predictions_is_refused(name: str) -> None:
    sources = config(x=source("arrays", image=np.zeros((2, 8, 8)), ids=["fine..too", name]))
    with pytest.raises(DataError, match="neither absolute nor hold"):
        build_manifest(sources, 0, NOTHING)


def test_images_outside_the_root_of_a_table_get_harmless_ids(tmp_path: Path) -> None:
    nuclei(tmp_path / "p", "a")
    nuclei(tmp_path / "q", "a")
    (tmp_path / "tables").mkdir()
    path = tmp_path / "tables" / "t.csv"
    path.write_text("image\n../p/images/a.tif\n../q/images/a.tif\n")
    manifest = list_sources(config(x=source("csv", path=str(path))), NOTHING)
    assert manifest.column("id") == ["p/images/a", "q/images/a"]


def test_groups_of_two_sources_never_part(tmp_path: Path) -> None:
    for name in ("one", "two"):
        for patient in range(6):
            nuclei(tmp_path / name / f"p{patient}", f"{name}{patient}")
    params = {"image": "*/images/*.tif", "target": "*/labels/*.tif"}
    sources = {
        name: source("folder", root=str(tmp_path / name), **params) for name in ("one", "two")
    }
    listed = list_sources(config(**sources), LABELS)
    assert listed.column("parent")[:2] == ["p0/images", "p1/images"]
    drawn = draw_splits(listed, SplitConfig(val=0.3, group_by="parent"), 0)
    where: dict[str, set[str]] = {}
    for row in drawn.rows():
        where.setdefault(row["group"], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in where.values())
    assert drawn.counts() == {"train": 8, "val": 4}


@pytest.mark.realdata
def test_real_nuclei_are_divided_as_the_issue_asks(real_data: Path) -> None:
    root = str(real_data / "dsb2018_fluo")
    sources = config(SplitConfig(val=0.1), nuclei=source("folder", root=root))
    assert build_manifest(sources, 0, LABELS).counts() == {"train": 402, "val": 45, "test": 44}


@pytest.mark.realdata
def test_real_hippocampus_cases_are_held_out(real_data: Path) -> None:
    spec = TargetSpec(TargetKind.LABELS, ("background", "anterior", "posterior"))
    root = str(real_data / "msd_task04_hippocampus")
    sources = config(SplitConfig(val=0.2), cases=source("nnunet", root=root))
    assert build_manifest(sources, 0, spec).counts() == {"train": 166, "val": 42}


@pytest.mark.realdata
def test_real_pneumonia_is_balanced_over_folds(real_data: Path) -> None:
    spec = TargetSpec(TargetKind.CLASS, ("normal", "pneumonia"))
    path = str(real_data / "pneumoniamnist" / "pneumoniamnist_train_val.npz")
    split = SplitConfig(folds=5, stratify_by="target")
    manifest = build_manifest(config(split, xray=source("npz", path=path)), 0, spec)
    shares = [
        np.mean([value == "1" for value in manifest.select(name).column("target")])
        for name in ("train", "val")
    ]
    assert abs(shares[0] - shares[1]) < 0.002
