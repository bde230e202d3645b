"""Sources listed in a file: csv, datalist, nnunet, npz; and arrays, classes, unpaired sets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from imtoolkit.core.errors import ComponentError, DataError
from imtoolkit.core.registry import build, builtins_of, resolve
from imtoolkit.data.references import parse, read_inside, split_channels
from imtoolkit.data.sources.arrays import ArraysSource
from imtoolkit.data.sources.base import Source
from imtoolkit.data.sources.class_folders import ClassFoldersSource
from imtoolkit.data.sources.csv import CsvSource
from imtoolkit.data.sources.datalist import DatalistSource
from imtoolkit.data.sources.nnunet import NnunetSource
from imtoolkit.data.sources.npz import NpzSource
from imtoolkit.data.sources.unpaired import UnpairedSource


def make(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def table(root: Path, text: str, name: str = "table.csv") -> str:
    (root / name).write_text(text, encoding="utf-8")
    return str(root / name)


def test_every_built_in_source_is_a_source() -> None:
    for name in builtins_of("source"):
        assert issubclass(resolve("source", name), Source)


def test_a_source_refuses_an_unknown_parameter() -> None:
    with pytest.raises(ComponentError, match="folder"):
        build("source", "folder", {"rot": "data"})


# --- csv ------------------------------------------------------------------------------------------


def test_csv_reads_relative_paths_and_keeps_the_columns_of_the_user(tmp_path: Path) -> None:
    make(tmp_path, "i/a.tif", "i/b.tif", "m/a.png", "m/b.png")
    text = "image,target,age,site\ni/a.tif,m/a.png,61.5,north\ni/b.tif,m/b.png,,south\n"
    manifest = CsvSource(table(tmp_path, text)).samples()
    assert manifest.column("id") == ["a", "b"]
    assert manifest.row(0)["image"] == str(tmp_path / "i/a.tif")
    assert manifest.row(1)["target"] == str(tmp_path / "m/b.png")
    assert manifest.column("age") == [61.5, None]
    assert manifest.column("site") == ["north", "south"]
    assert manifest.column("parent") == ["i", "i"]


def test_csv_takes_names_of_columns(tmp_path: Path) -> None:
    make(tmp_path, "a.tif", "b.tif", "a.png", "b.png", "w.tif")
    text = "src;gt;cm;who;use;case\na.tif;a.png;w.tif;007;train;x\nb.tif;b.png;;1e5;Validation;y\n"
    names = {"target": "gt", "weight": "cm", "group": "who", "split": "use", "id": "case"}
    manifest = CsvSource(table(tmp_path, text), image="src", **names).samples()
    assert manifest.column("id") == ["x", "y"]
    assert manifest.column("group") == ["007", "1e5"]  # names, not numbers
    assert manifest.column("who") == ["007", "1e5"]
    assert manifest.column("split") == ["train", "val"]
    assert manifest.column("weight") == [str(tmp_path / "w.tif"), None]


def test_csv_targets_that_are_no_files_are_values(tmp_path: Path) -> None:
    make(tmp_path, "a.tif", "b.tif")
    manifest = CsvSource(table(tmp_path, "image,target\na.tif,0\nb.tif,sick\n")).samples()
    assert manifest.column("target") == ["0", "sick"]


def test_csv_joins_several_columns_to_the_channels_of_an_image(tmp_path: Path) -> None:
    make(tmp_path, "a_r.tif", "a_g.tif")
    path = table(tmp_path, "red,green\na_r.tif,a_g.tif\n")
    manifest = CsvSource(path, image=["red", "green"]).samples()
    files = split_channels(manifest.row(0)["image"])
    assert files == [str(tmp_path / "a_r.tif"), str(tmp_path / "a_g.tif")]


READERS = "image,first,second,target\n"


def test_csv_joins_the_annotations_of_several_readers(tmp_path: Path) -> None:
    make(tmp_path, "a.png", "a_1.png", "a_2.png", "b.png", "b_1.png", "b_2.png")
    path = table(tmp_path, f"{READERS}a.png,a_1.png,a_2.png,nothing\nb.png,b_1.png,b_2.png,\n")
    manifest = CsvSource(path, target=["first", "second"]).samples()
    joined = [split_channels(cell) for cell in manifest.column("target")]
    assert joined == [[str(tmp_path / f"{one}_{n}.png") for n in (1, 2)] for one in "ab"]
    assert not {"first", "second"} & set(manifest.columns)


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [
        ("a.png,a_1.png,,\n", ["first", "second"], "table.csv:2: no annotation in column 'second'"),
        ("a.png,a_1.png,healthy,\n", ["first", "second"], "no annotation in column 'second'"),
        ("a.png,a_1.png,a_2.png,\n", ["first", "secnd"], "Did you mean 'second'"),
        ("a.png,a_1.png,a_3.png,\n", ["first", "second"], "a_3.png"),
    ],
)
def test_csv_tells_which_annotation_is_missing(
    rows: str, columns: list[str], words: str, tmp_path: Path
) -> None:
    make(tmp_path, "a.png", "a_1.png", "a_2.png")
    with pytest.raises(DataError) as caught:
        CsvSource(table(tmp_path, READERS + rows), target=columns).samples()
    assert words in str(caught.value)


def test_an_image_that_nobody_has_annotated_has_no_target(tmp_path: Path) -> None:
    make(tmp_path, "a.png", "a_1.png", "a_2.png", "b.png")
    path = table(tmp_path, f"{READERS}a.png,a_1.png,a_2.png,\nb.png,,,\n")
    found = CsvSource(path, target=["first", "second"]).samples().column("target")
    assert found[1] is None


def test_csv_starts_relative_paths_at_root_and_keeps_absolute_ones(tmp_path: Path) -> None:
    make(tmp_path / "data", "a.tif", "b.tif")
    path = table(tmp_path, f"image\na.tif\n{tmp_path}/data/b.tif\n")
    manifest = CsvSource(path, root=str(tmp_path / "data")).samples()
    assert manifest.column("image") == [
        str(tmp_path / "data" / name) for name in ("a.tif", "b.tif")
    ]


def test_csv_reads_what_spreadsheets_write(tmp_path: Path) -> None:
    make(tmp_path, "a b.tif")
    (tmp_path / "t.csv").write_bytes(b'\xef\xbb\xbfimage,note\r\n"a b.tif","x, y"\r\n')
    manifest = CsvSource(str(tmp_path / "t.csv")).samples()
    assert manifest.row(0)["note"] == "x, y"


def test_csv_lists_all_missing_files(tmp_path: Path) -> None:
    make(tmp_path, "i/a.tif")
    text = "image,target\ni/a.tif,m/a.tif\ni/b.tif,m/b.tif\n"
    with pytest.raises(DataError) as caught:
        CsvSource(table(tmp_path, text)).samples()
    missing = [
        f"file '{tmp_path / name}' does not exist" for name in ("i/b.tif", "m/a.tif", "m/b.tif")
    ]
    assert all(line in str(caught.value) for line in missing)
    assert "set 'root'" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("images,target\na.tif,b.tif\n", "no column 'image'.*Did you mean 'images'"),
        ("", "is empty"),
        ("image\n", "no samples"),
        ("image,split\na.tif,trian\n", "holds 'trian'"),
        ("image,id\na.tif,\n", ":2: no id"),
        ("image,x\n,1\n", ":2: no image"),
        ("image\na.tif\na.tif\n", "a.tif' is listed 2 times"),
        ("image,x\na.tif\n", "cannot be read"),
    ],
)
def test_csv_tells_what_is_wrong_with_a_table(tmp_path: Path, text: str, message: str) -> None:
    make(tmp_path, "a.tif", "b.tif")
    with pytest.raises(DataError, match=message):
        CsvSource(table(tmp_path, text)).samples()


def test_csv_that_is_missing_names_its_neighbour(tmp_path: Path) -> None:
    table(tmp_path, "image\n", "samples.csv")
    with pytest.raises(DataError, match=r"Did you mean 'samples.csv'"):
        CsvSource(str(tmp_path / "sample.csv")).samples()


# --- datalist -------------------------------------------------------------------------------------


def datalist(root: Path, content: object) -> str:
    (root / "dataset.json").write_text(json.dumps(content))
    return str(root / "dataset.json")


def test_datalist_reads_decathlon_lists(tmp_path: Path) -> None:
    make(
        tmp_path, "imagesTr/a.nii.gz", "imagesTr/b.nii.gz", "labelsTr/a.nii.gz", "imagesTs/c.nii.gz"
    )
    training = [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz", "fold": 2}]
    content = {
        "labels": {"0": "background"},
        "training": training,
        "validation": [{"image": "imagesTr/b.nii.gz", "label": "labelsTr/a.nii.gz"}],
        "test": ["./imagesTs/c.nii.gz"],
        "numTraining": 1,
    }
    manifest = DatalistSource(datalist(tmp_path, content)).samples()
    assert manifest.column("id") == ["a", "b", "c"]
    assert manifest.column("split") == ["train", "val", "test"]
    assert manifest.column("target")[2] is None
    assert manifest.column("fold") == [2, None, None]
    assert Path(manifest.row(0)["image"]) == tmp_path / "imagesTr/a.nii.gz"


def test_datalist_reads_channels_and_class_numbers(tmp_path: Path) -> None:
    make(tmp_path, "t1.nii", "t2.nii")
    content = {"training": [{"image": ["t1.nii", "t2.nii"], "label": 1, "box": [1, 2]}]}
    row = DatalistSource(datalist(tmp_path, content)).samples().row(0)
    assert split_channels(row["image"]) == [str(tmp_path / "t1.nii"), str(tmp_path / "t2.nii")]
    assert row["target"] == "1"
    assert row["box"] == "[1, 2]"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"files": []}, "lists no samples.*'files'"),
        ({"training": [{"img": "a.nii"}]}, "entry 0 has no 'image', but 'img'"),
        ({"training": [{"image": "z.nii"}]}, "z.nii' does not exist"),
        ([1], "a JSON list"),
    ],
)
def test_datalist_tells_what_is_wrong(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        DatalistSource(datalist(tmp_path, content)).samples()


def test_datalist_that_is_no_json_is_told(tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text("{")
    with pytest.raises(DataError, match="is no JSON"):
        DatalistSource(str(tmp_path / "d.json")).samples()


# --- nnunet ---------------------------------------------------------------------------------------


def nnunet(root: Path, channels: int = 2) -> Path:
    for case in ("x_1", "x_2"):
        make(root, *(f"imagesTr/{case}_{number:04d}.nii.gz" for number in range(channels)))
        make(root, f"labelsTr/{case}.nii.gz")
    content = {
        "channel_names": {str(number): f"c{number}" for number in range(channels)},
        "labels": {"background": 0, "edema": 2, "core": 1, "ignore": 3},
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def test_nnunet_joins_the_files_of_the_channels_in_order(tmp_path: Path) -> None:
    source = NnunetSource(str(nnunet(tmp_path)))
    manifest = source.samples()
    assert manifest.column("id") == ["x_1", "x_2"]
    names = [Path(path).name for path in split_channels(manifest.row(0)["image"])]
    assert names == ["x_1_0000.nii.gz", "x_1_0001.nii.gz"]
    assert Path(manifest.row(1)["target"]).name == "x_2.nii.gz"
    assert source.channel_names == ("c0", "c1")
    assert source.classes == ("background", "core", "edema")


def test_nnunet_test_images_are_a_test_set_with_or_without_labels(tmp_path: Path) -> None:
    make(nnunet(tmp_path, 1), "imagesTs/y_0000.nii.gz")
    assert NnunetSource(str(tmp_path)).samples().row(2)["target"] is None
    make(tmp_path, "labelsTs/y.nii.gz")
    row = NnunetSource(str(tmp_path)).samples().row(2)
    assert (row["split"], Path(row["target"]).parent.name) == ("test", "labelsTs")


def test_nnunet_reads_the_decathlon_without_channel_numbers(tmp_path: Path) -> None:
    make(tmp_path, "imagesTr/a_01.nii.gz", "imagesTr/._a_01.nii.gz", "labelsTr/a_01.nii.gz")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"0": "back", "1": "liver"}}))
    source = NnunetSource(str(tmp_path))
    assert source.samples().column("id") == ["a_01"]
    assert source.classes == ("back", "liver")


def test_nnunet_lists_missing_channels_and_labels_of_all_cases(tmp_path: Path) -> None:
    nnunet(tmp_path)
    (tmp_path / "imagesTr/x_1_0001.nii.gz").unlink()
    (tmp_path / "labelsTr/x_2.nii.gz").unlink()
    make(tmp_path, "labelsTr/stray.nii.gz")
    with pytest.raises(DataError) as caught:
        NnunetSource(str(tmp_path)).samples()
    text = str(caught.value)
    assert "case 'x_1' in imagesTr has the channels [0], expected [0, 1]" in text
    assert "case 'x_2' has no file in labelsTr" in text
    assert "target without image" in text


@pytest.mark.realdata
def test_real_hippocampus_is_read_as_nnunet(real_data: Path) -> None:
    source = NnunetSource(str(real_data / "msd_task04_hippocampus"))
    manifest = source.samples()
    assert manifest.counts() == {"train": 208}
    assert source.classes == ("background", "Anterior", "Posterior")
    assert source.channel_names == ("MRI",)
    assert all(Path(path).is_file() for path in manifest.column("target"))


# --- npz, arrays ----------------------------------------------------------------------------------


def test_npz_reads_the_keys_of_medmnist(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    images = np.arange(5 * 4 * 4, dtype=np.uint8).reshape(5, 4, 4)
    np.savez_compressed(
        path,
        train_images=images[:3],
        train_labels=np.array([[0], [1], [1]]),
        test_images=images[3:],
        test_labels=np.array([[0], [0]]),
    )
    manifest = NpzSource(str(path)).samples()
    assert manifest.counts() == {"train": 3, "test": 2}
    assert manifest.column("target") == ["0", "1", "1", "0", "0"]
    place = parse(manifest.row(4)["image"])
    assert (place.path, place.key, place.index) == (str(path), "test_images", 1)


def test_npz_reads_single_arrays_and_target_images(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(
        path, x=np.zeros((2, 4, 4)), seg=np.zeros((2, 4, 4), np.uint8), y=np.array([0.5, 2.25])
    )
    assert NpzSource(str(path)).samples().column("target") == ["0.5", "2.25"]
    manifest = NpzSource(str(path), target="seg").samples()
    assert manifest.column("target") == [f"{path}::seg::{at}" for at in (0, 1)]
    assert manifest.column("split") == [None, None]


def test_npz_tells_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=np.zeros((2, 4, 4)), labels=np.zeros(3))
    with pytest.raises(DataError, match=r"2 samples, but 'labels' has the shape \(3,\)"):
        NpzSource(str(path)).samples()
    with pytest.raises(DataError, match=r"no array 'imgs'.*Did you mean 'images'"):
        NpzSource(str(path), image="imgs").samples()
    np.savez(path, images=np.array([{}, {}], dtype=object))
    with pytest.raises(DataError, match="pickled objects"):
        NpzSource(str(path)).samples()
    path.write_bytes(b"no zip")
    with pytest.raises(DataError, match="no readable npz"):
        NpzSource(str(path)).samples()
    with pytest.raises(DataError, match="does not exist"):
        NpzSource(str(tmp_path / "b.npz")).samples()


@pytest.mark.realdata
def test_real_pneumoniamnist_has_its_own_splits_and_classes(real_data: Path) -> None:
    path = real_data / "pneumoniamnist" / "pneumoniamnist_train_val.npz"
    manifest = NpzSource(str(path)).samples()
    assert manifest.counts() == {"train": 4708, "val": 524}
    with np.load(path) as archive:
        assert (
            list(map(int, manifest.column("target")[:4708]))
            == archive["train_labels"].ravel().tolist()
        )


def test_arrays_are_held_beside_the_table() -> None:
    images = [np.full((4, 4), value) for value in (1, 2, 3)]
    masks = [np.full((4, 4), 10 * value) for value in (1, 2, 3)]
    columns = {"site": ["n", "s", "n"]}
    manifest = ArraysSource(
        images, masks, ids=["a", "b", "c"], group=[1, 1, 2], columns=columns
    ).samples()
    row = manifest.row(1)
    assert read_inside(row["image"], manifest.arrays)[0, 0] == 2
    assert read_inside(row["target"], manifest.arrays)[0, 0] == 20
    assert (row["group"], row["site"]) == ("1", "s")


def test_arrays_with_one_value_for_each_image_are_classes_or_numbers() -> None:
    manifest = ArraysSource(np.zeros((2, 8, 8)), target=np.array([[1], [0]])).samples()
    assert manifest.column("target") == ["1", "0"]
    assert ArraysSource(np.zeros((1, 8, 8)), target=[0.25]).samples().column("target") == ["0.25"]


def test_arrays_of_different_number_are_refused() -> None:
    with pytest.raises(DataError, match="image has 2, target has 1"):
        ArraysSource(np.zeros((2, 8, 8)), target=[1]).samples()
    with pytest.raises(DataError, match="no images"):
        ArraysSource([]).samples()
    with pytest.raises(DataError, match="unknown splits 'trian'"):
        ArraysSource(np.zeros((1, 8, 8)), split=["trian"]).samples()


# --- class folders, unpaired ----------------------------------------------------------------------


def test_class_folders_name_the_class(tmp_path: Path) -> None:
    make(tmp_path, "cat/1.png", "cat/sub/2.png", "dog/1.png", "readme.txt", "dog/Thumbs.db")
    manifest = ClassFoldersSource(str(tmp_path)).samples()
    rows = {row["id"]: row["target"] for row in manifest.rows()}
    assert rows == {"cat/1": "cat", "cat/sub/2": "cat", "dog/1": "dog"}


def test_class_folders_below_train_and_val_decide_the_split(tmp_path: Path) -> None:
    make(tmp_path, "train/cat/1.png", "train/dog/2.png", "val/cat/3.png", "val/dog/4.png")
    manifest = ClassFoldersSource(str(tmp_path)).samples()
    assert manifest.column("split") == ["train", "train", "val", "val"]
    assert manifest.column("target") == ["cat", "dog", "cat", "dog"]


def test_class_folders_can_be_chosen_and_must_hold_images(tmp_path: Path) -> None:
    make(tmp_path, "cat/1.png", "dog/2.png", "empty/notes.txt")
    assert len(ClassFoldersSource(str(tmp_path), classes=["cat"]).samples()) == 1
    with pytest.raises(DataError, match=r"no images of class 'empty'.*1 .txt"):
        ClassFoldersSource(str(tmp_path)).samples()
    with pytest.raises(DataError, match="no folder for the classes 'cow'"):
        ClassFoldersSource(str(tmp_path), classes=["cat", "cow"]).samples()
    with pytest.raises(DataError, match="no class folders"):
        ClassFoldersSource(str(tmp_path / "cat")).samples()


def test_unpaired_sets_are_rows_of_two_domains(tmp_path: Path) -> None:
    make(tmp_path, "x/1.png", "x/2.png", "y/1.png")
    manifest = UnpairedSource(str(tmp_path), a="x", b="y/*.png").samples()
    assert manifest.column("id") == ["A/1", "A/2", "B/1"]
    assert manifest.column("domain") == ["A", "A", "B"]


def test_unpaired_needs_both_sets(tmp_path: Path) -> None:
    make(tmp_path, "trainA/1.png", "other/1.png")
    with pytest.raises(DataError, match=r"no folders trainA and trainB.*other, trainA"):
        UnpairedSource(str(tmp_path)).samples()
    with pytest.raises(DataError, match="both 'a' and 'b'"):
        UnpairedSource(str(tmp_path), a="trainA").samples()
    with pytest.raises(DataError, match="b glob"):
        UnpairedSource(str(tmp_path), a="trainA", b="trainB").samples()


@pytest.mark.realdata
def test_real_unpaired_images_are_found(real_data: Path) -> None:
    manifest = UnpairedSource(str(real_data / "dsb2018_unpaired")).samples()
    domains = manifest.column("domain")
    assert (domains.count("A"), domains.count("B")) == (90, 90)
