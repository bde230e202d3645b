"""What predict is given becomes single images with a place for each prediction."""

from pathlib import Path

import pytest

from imtoolkit.core.errors import DataError
from imtoolkit.trainer.inputs import (
    FileLayout,
    Input,
    check_output,
    check_targets,
    find_inputs,
)


@pytest.fixture
def folder(tmp_path):
    for name in ("a.tif", "sub/b.ome.tif", "sub/deep/c.nii.gz", "sub/notes.txt", ".hidden.tif"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "in" / "d.ome.zarr" / "0").mkdir(parents=True)
    return tmp_path / "in"


def test_a_folder_gives_its_images_with_their_sub_folders(folder):
    found = [(one.path.name, one.folder.as_posix()) for one in find_inputs([folder])]
    assert found == [
        ("a.tif", "."),
        ("d.ome.zarr", "."),
        ("b.ome.tif", "sub"),
        ("c.nii.gz", "sub/deep"),
    ]


def test_an_image_named_twice_is_predicted_once(folder):
    assert len(find_inputs([folder / "a.tif", folder / "a.tif"])) == 1


def test_a_pattern_keeps_the_sub_folders_below_its_fixed_part(folder):
    found = find_inputs([str(folder / "**" / "*.tif")])
    assert {(one.path.name, one.folder.as_posix()) for one in found} == {
        ("a.tif", "."),
        ("b.ome.tif", "sub"),
    }


@pytest.mark.parametrize(
    ("name", "suffix", "expected"),
    [
        ("x/cell.ome.tif", None, "cell.ome.tif"),
        ("x/ct.nii.gz", None, "ct.nii.gz"),
        ("x/film.czi", None, "film.ome.tif"),
        ("x/photo.jpg", None, "photo.png"),
        ("x/cell.ome.zarr", None, "cell.ome.tif"),
        ("x/cell.1.tif", ".npy", "cell.1.npy"),
    ],
)
def test_compound_suffixes_are_taken_off_whole(name, suffix, expected):
    assert Input((Path(name),), Path("s")).target(Path("out"), suffix) == Path("out/s") / expected


def test_everything_that_is_missing_or_empty_is_listed(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    given = [tmp_path / "empty", folder / "nope.tif", str(folder / "*.png"), folder / "a.tif"]
    with pytest.raises(DataError) as caught:
        find_inputs(given)
    assert len(caught.value.problems) == 3


def test_a_table_lists_missing_images_with_their_lines(folder):
    table = folder / "t.csv"
    table.write_text("image,group\na.tif,1\nx.tif,1\n../in/a.tif,2\ny.tif,2\n")
    with pytest.raises(DataError) as caught:
        find_inputs([table])
    assert [problem.line for problem in caught.value.problems] == [3, 5]


def test_a_table_cannot_send_predictions_out_of_the_folder(folder):
    table = folder / "sub" / "t.csv"
    table.write_text("image\n../a.tif\ndeep/c.nii.gz\n")
    found = [one.target(Path("out"), None) for one in find_inputs([table])]
    assert found == [Path("out/a.tif"), Path("out/deep/c.nii.gz")]


def test_a_table_without_the_column_says_which_it_has(folder):
    (folder / "t.csv").write_text("path,group\na.tif,1\n")
    with pytest.raises(DataError, match="no column 'image', but path, group"):
        find_inputs([folder / "t.csv"])


def test_an_output_on_an_input_or_on_another_output_is_refused(folder, tmp_path):
    found = find_inputs([folder])
    check_targets(found, targets(found, tmp_path / "out"))
    with pytest.raises(DataError) as caught:
        check_targets(found, targets(found, folder))
    assert len(caught.value.problems) == 3  # d.ome.zarr would become d.ome.tif
    twice = [Input((folder / "a.tif",)), Input((folder / "sub" / "a.tif",))]
    with pytest.raises(DataError, match="would fall on"):
        check_targets(twice, targets(twice, tmp_path / "out"))


TWO = FileLayout(files=2, columns=(("red", "green"),))


def targets(found: list[Input], output: Path) -> list[list[Path]]:
    return [[one.target(output, None)] for one in found]


def numbered(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_numbered_files_are_the_channels_of_one_image(tmp_path):
    names = [f"{case}_000{n}.nii.gz" for case in ("b", "a_0001") for n in (1, 0)]
    folder = numbered(tmp_path / "in" / "sub", *names, "whole.nii.gz", "img_2023.nii.gz")
    found = find_inputs([folder.parent], TWO)
    assert [
        ([path.name for path in one.paths], one.target(Path("out"), None)) for one in found
    ] == [
        (["a_0001_0000.nii.gz", "a_0001_0001.nii.gz"], Path("out/sub/a_0001.nii.gz")),
        (["b_0000.nii.gz", "b_0001.nii.gz"], Path("out/sub/b.nii.gz")),
        (["img_2023.nii.gz"], Path("out/sub/img_2023.nii.gz")),
        (["whole.nii.gz"], Path("out/sub/whole.nii.gz")),
    ]
    assert find_inputs([folder / "b_0001.nii.gz", folder / "b_0000.nii.gz"], TWO) == [
        Input((folder / "b_0000.nii.gz", folder / "b_0001.nii.gz"))
    ]
    assert len(find_inputs([folder.parent])) == 6  # a model of one file an image


def test_all_missing_channels_are_told_at_once(tmp_path):
    folder = numbered(tmp_path, "a_0000.tif", "b_0001.tif", *(f"c_000{n}.tif" for n in range(3)))
    with pytest.raises(DataError) as caught:
        find_inputs([folder, tmp_path / "gone.tif"], TWO)
    told = str(caught.value)
    assert "a_0001.tif: no such file: channel 1 of 'a'" in told
    assert "b_0000.tif: no such file: channel 0 of 'b'" in told
    assert "c_0002.tif: is channel 2 of 'c'; the model knows 0 to 1" in told
    assert "gone.tif" in told
    assert told.count("'a.tif|b.tif'") == 1


def test_the_user_joins_files_of_any_name(tmp_path):
    folder = numbered(tmp_path, "red.tif", "green.tif", "odd|name.tif")
    (one,) = find_inputs([f"{folder / 'red.tif'}|{folder / 'green.tif'}"])
    assert one.paths == (folder / "red.tif", folder / "green.tif")
    assert one.target(Path("out"), None) == Path("out/red.tif")
    assert find_inputs([folder / "odd|name.tif"])[0].paths == (folder / "odd|name.tif",)
    with pytest.raises(DataError) as caught:
        find_inputs([f"{folder / 'red.tif'}|{folder / 'x.tif'}|{folder / 'y.tif'}"])
    assert [Path(problem.file).name for problem in caught.value.problems] == ["x.tif", "y.tif", ""]


def test_a_table_joins_the_columns_of_the_run_or_the_files_of_a_cell(tmp_path):
    folder = numbered(tmp_path, "r.tif", "g.tif")
    (folder / "columns.csv").write_text("red;green;note\nr.tif;g.tif;x\n")
    (folder / "cells.csv").write_text("image,note\nr.tif|g.tif,x\n")
    expected = [Input((folder / "r.tif", folder / "g.tif"))]
    assert find_inputs([folder / "columns.csv"], TWO) == expected
    assert find_inputs([folder / "cells.csv"], TWO) == expected
    (folder / "bad.csv").write_text("red,green\nr.tif,\nx.tif,y.tif\nr.tif,g.tif\n")
    with pytest.raises(DataError) as caught:
        find_inputs([folder / "bad.csv"], TWO)
    assert [problem.line for problem in caught.value.problems] == [2, 3, 3]


def test_no_file_of_an_image_is_overwritten(tmp_path):
    folder = numbered(tmp_path, "a.tif", "b.tif")
    numbered(folder / "sub", "b.tif")
    given = [f"{folder / 'a.tif'}|{folder / 'b.tif'}", folder / "sub" / "b.tif"]
    with pytest.raises(DataError) as caught:
        check_targets(find_inputs(given), targets(find_inputs(given), folder))
    assert len(caught.value.problems) == 2


def test_a_table_keeps_the_other_columns_of_its_rows_as_text(tmp_path):
    folder = numbered(tmp_path, "a.tif", "b.tif")
    (folder / "cases.csv").write_text("image,age,code\na.tif,63,007\nb.tif,,x\n")
    first, second = find_inputs([folder / "cases.csv"])
    assert first.row == {"image": "a.tif", "age": "63", "code": "007"}
    assert second.row == {"image": "b.tif", "age": None, "code": "x"}
    assert find_inputs([folder / "a.tif"])[0].row is None


def test_real_numbers_are_not_rounded_into_a_png():
    photo = Input((Path("in/a.png"),))
    assert photo.target(Path("out"), None) == Path("out/a.png")
    assert photo.target(Path("out"), None, fractions=True) == Path("out/a.ome.tif")
    check_output(Path("out"), ".png")
    with pytest.raises(DataError, match=r"would be rounded: choose \.ome\.tif"):
        check_output(Path("out"), ".png", fractions=True)


class Camera:
    """The part of a user's reader that tells its files from others."""

    def verify_suffix(self, filename):
        return str(filename).endswith(".cam")


def test_a_reader_of_the_user_finds_its_own_files(tmp_path):
    folder = numbered(tmp_path, "a.cam", "b.tif")
    (folder / "c.txt").touch()
    layout = FileLayout(reader=Camera())
    for given in (folder, str(folder / "*")):
        assert [one.path.name for one in find_inputs([given], layout)] == ["a.cam", "b.tif"]
    assert [one.path.name for one in find_inputs([folder])] == ["b.tif"]
    assert layout.is_image(folder / "a.cam")
    assert find_inputs([folder / "a.cam"])[0].target(Path("out"), None) == Path("out/a.ome.tif")
