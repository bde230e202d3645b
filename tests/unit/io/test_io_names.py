"""Names of image files."""

import pytest

from imtoolkit.io.names import is_image, split_reference, strip_suffix, suffix_of


@pytest.mark.parametrize(
    ("name", "stem", "suffix"),
    [
        ("a/b/cell.ome.tif", "cell", ".ome.tif"),
        ("cell.ome.tiff", "cell", ".ome.tiff"),
        ("cell.tif", "cell", ".tif"),
        ("case.01.nii.gz", "case.01", ".nii.gz"),
        ("plate.ome.zarr", "plate", ".ome.zarr"),
        ("plate.zarr/", "plate", ".zarr"),
        ("Cell.PNG", "Cell", ".PNG"),
        ("set.npz::images::3", "set", ".npz"),
        ("notes.v2.txt", "notes.v2", ".txt"),
        ("IM0001", "IM0001", ""),
        (".tif", ".tif", ""),
    ],
)
def test_suffix_is_stripped_whole(name: str, stem: str, suffix: str) -> None:
    assert strip_suffix(name) == (stem, suffix)


def test_suffix_is_compared_in_lower_case() -> None:
    assert suffix_of("A.NII.GZ") == ".nii.gz"


def test_hidden_and_foreign_files_are_no_images() -> None:
    names = ["a.czi", "a.OME.TIF", "a.txt", "._a.tif", "a.h5::raw", "README"]
    assert [is_image(name) for name in names] == [True, True, False, False, True, False]


def test_reference_splits_into_file_key_and_row() -> None:
    file, inside = split_reference("d/set.npz::images::12")
    assert file.name == "set.npz"
    assert inside == ("images", "12")
    assert split_reference("d/cell.tif")[1] == ()
