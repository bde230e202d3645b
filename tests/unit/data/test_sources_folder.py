"""The folder source: every layout it reads, how names meet, and what it says when they do not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imtoolkit.core.errors import DataError
from imtoolkit.data.manifest import Manifest
from imtoolkit.data.sources.folder import FolderSource
from imtoolkit.data.sources.listing import find
from imtoolkit.data.sources.pairing import without_affixes


def make(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def pairs(manifest: Manifest, root: Path, column: str = "target") -> dict[str, str | None]:
    """Return the partner of each image, both relative to the root."""
    return {
        Path(row["image"]).relative_to(root).as_posix(): row[column]
        and Path(row[column]).relative_to(root).as_posix()
        for row in manifest.rows()
    }


def test_images_and_targets_meet_by_stem_whatever_their_suffix(tmp_path: Path) -> None:
    make(tmp_path, "images/a.ome.tif", "images/b.tif", "labels/a.png", "labels/b.nii.gz")
    manifest = FolderSource(str(tmp_path), "images/*.tif", "labels/*").samples()
    assert pairs(manifest, tmp_path) == {
        "images/a.ome.tif": "labels/a.png",
        "images/b.tif": "labels/b.nii.gz",
    }
    assert manifest.column("id") == ["a", "b"]
    assert all(Path(path).is_absolute() for path in manifest.column("image"))


@pytest.mark.parametrize(
    ("image", "target", "names"),
    [
        ("img_*.tif", "mask_*.png", ["img_001.tif", "img_002.tif", "mask_001.png", "mask_002.png"]),
        ("i/*", "m/*", ["i/img_001.tif", "i/img_002.tif", "m/mask_001.tif", "m/mask_002.tif"]),
        ("i/*", "m/*", ["i/x1_raw.tif", "i/x2_raw.tif", "m/x1_seg.tif", "m/x2_seg.tif"]),
        ("i/*", "m/*", ["i/img001.tif", "i/img002.tif", "m/mask001.tif", "m/mask002.tif"]),
        ("*.tif", "*_mask.tif", ["a.tif", "b.tif", "a_mask.tif", "b_mask.tif"]),
        (
            "*/image.tif",
            "*/label.tif",
            ["p/image.tif", "q/image.tif", "p/label.tif", "q/label.tif"],
        ),
        ("**/x_*.tif", "**/y_*.tif", ["p/x_1.tif", "q/r/x_1.tif", "p/y_1.tif", "q/r/y_1.tif"]),
        ("raw.tif", "seg.tif", ["raw.tif", "seg.tif"]),
        ("i/*.{tif,png}", "m/*", ["i/a.tif", "i/b.png", "m/a.png", "m/b.tif"]),
    ],
)
def test_names_meet_in_what_the_wildcards_stand_for(
    tmp_path: Path, image: str, target: str, names: list[str]
) -> None:
    make(tmp_path, *names)
    manifest = FolderSource(str(tmp_path), image, target).samples()
    half = len(names) // 2
    assert pairs(manifest, tmp_path) == dict(zip(names[:half], names[half:], strict=True))


def test_one_folder_with_suffixes_im_gt_cm_is_recognised(tmp_path: Path) -> None:
    make(tmp_path, "a_IM.tif", "a_GT.tif", "a_CM.tif", "b_IM.tif", "b_GT.tif", "b_CM.tif")
    manifest = FolderSource(str(tmp_path)).samples()
    assert manifest.column("id") == ["a", "b"]
    assert pairs(manifest, tmp_path)["a_IM.tif"] == "a_GT.tif"
    assert pairs(manifest, tmp_path, "weight")["b_IM.tif"] == "b_CM.tif"


@pytest.mark.parametrize(
    ("image", "target"),
    [("images", "labels"), ("image", "masks"), ("noisy", "clean"), ("raw", "gt"), ("IM", "GT")],
)
def test_sub_folders_with_equal_stems_are_recognised(
    tmp_path: Path, image: str, target: str
) -> None:
    make(tmp_path, f"{image}/a.tif", f"{image}/b.tif", f"{target}/a.tif", f"{target}/b.tif")
    manifest = FolderSource(str(tmp_path)).samples()
    assert pairs(manifest, tmp_path) == {
        f"{image}/{name}.tif": f"{target}/{name}.tif" for name in "ab"
    }


def test_cost_maps_may_lack_for_some_images(tmp_path: Path) -> None:
    names = ["images/a.tif", "images/b.tif", "labels/a.tif", "labels/b.tif", "weights/b.tif"]
    make(tmp_path, *names)
    manifest = FolderSource(str(tmp_path)).samples()
    assert [value and Path(value).name for value in manifest.column("weight")] == [None, "b.tif"]


@pytest.mark.parametrize("glob", [None, "images/*.tif", "*/images/*.tif"])
def test_train_val_and_test_folders_decide_the_split(tmp_path: Path, glob: str | None) -> None:
    for split in ("train", "validation", "Test"):
        make(tmp_path, f"{split}/images/{split}1.tif", f"{split}/labels/{split}1.tif")
    target = glob and glob.replace("images", "labels")
    manifest = FolderSource(str(tmp_path), glob, target).samples()
    found = dict(zip(manifest.column("id"), manifest.column("split"), strict=True))
    assert found == {"train1": "train", "validation1": "val", "Test1": "test"}


def test_flat_train_and_val_folders_work_without_sub_folders(tmp_path: Path) -> None:
    make(tmp_path, "train/a_IM.tif", "train/a_GT.tif", "val/b_IM.tif", "val/b_GT.tif")
    manifest = FolderSource(str(tmp_path)).samples()
    assert manifest.counts() == {"train": 1, "val": 1}


def test_a_split_folder_that_is_laid_out_differently_is_not_passed_over(tmp_path: Path) -> None:
    make(tmp_path, "train/images/a.tif", "val/imgs/b.tif")
    (tmp_path / "test").mkdir()  # an empty one is
    with pytest.raises(DataError, match=r"image glob 'images/\*.tif' below '.*val'"):
        FolderSource(str(tmp_path), "images/*.tif").samples()
    assert FolderSource(str(tmp_path)).samples().counts() == {"train": 1, "val": 1}


def test_equal_stems_in_several_folders_get_longer_ids(tmp_path: Path) -> None:
    make(tmp_path, "p/a.tif", "q/a.tif")
    assert FolderSource(str(tmp_path), "*/*.tif").samples().column("id") == ["p/a", "q/a"]
    make(tmp_path / "s", "train/images/a.tif", "val/images/a.tif")
    assert FolderSource(str(tmp_path / "s")).samples().column("id") == ["train/a", "val/a"]


def test_the_folder_of_an_image_is_kept_for_grouping(tmp_path: Path) -> None:
    make(tmp_path, "images/p1/a.tif", "images/p2/b.tif")
    manifest = FolderSource(str(tmp_path), "images/**/*.tif").samples()
    assert manifest.column("parent") == ["p1", "p2"]


def test_images_without_targets_serve_for_prediction(tmp_path: Path) -> None:
    make(tmp_path, "a.tif", "b.nii.gz", "notes.txt")
    manifest = FolderSource(str(tmp_path)).samples()
    assert manifest.column("id") == ["a", "b"]
    assert manifest.column("target") == [None, None]


def test_hidden_files_and_leftovers_of_systems_are_ignored(tmp_path: Path) -> None:
    make(tmp_path, "a.tif", "._a.tif", ".DS_Store", "Thumbs.db", "__MACOSX/a.tif", "desktop.ini")
    for glob in (None, "*", "**/*", "**/*.tif"):
        assert FolderSource(str(tmp_path), glob).samples().column("id") == ["a"]


def test_an_ome_zarr_folder_is_one_image(tmp_path: Path) -> None:
    make(tmp_path, "a.ome.zarr/0/0.0", "a.ome.zarr/.zattrs", "b.ome.zarr/0/0.0")
    assert FolderSource(str(tmp_path), "*.ome.zarr").samples().column("id") == ["a", "b"]
    assert FolderSource(str(tmp_path)).samples().column("id") == ["a", "b"]


def test_a_folder_of_dicom_files_is_one_image(tmp_path: Path) -> None:
    make(tmp_path, "scans/p1/1.dcm", "scans/p1/2.dcm", "scans/p2/IM0001")
    assert FolderSource(str(tmp_path), "scans/*").samples().column("id") == ["p1", "p2"]


def test_everything_without_a_partner_is_listed_at_once(tmp_path: Path) -> None:
    make(tmp_path, *(f"images/{name}.tif" for name in "abcd"))
    make(tmp_path, *(f"labels/{name}.tif" for name in "cdef"))
    with pytest.raises(DataError) as caught:
        FolderSource(str(tmp_path), "images/*.tif", "labels/*.tif").samples()
    text = str(caught.value)
    for name in "ab":
        assert f"image without target: {tmp_path}/images/{name}.tif" in text
    for name in "ef":
        assert f"target without image: {tmp_path}/labels/{name}.tif" in text
    assert "2 of 4 images and 4 targets fit together" in text
    assert "'*' stands for" in text


def test_a_long_list_of_missing_partners_is_cut(tmp_path: Path) -> None:
    make(tmp_path, *(f"images/x{number}.tif" for number in range(60)), "labels/x0.tif")
    with pytest.raises(DataError, match="and 49 more"):
        FolderSource(str(tmp_path), "images/*.tif", "labels/*.tif").samples()


def test_two_targets_for_one_image_are_refused(tmp_path: Path) -> None:
    make(tmp_path, "images/a.tif", "labels/a.tif", "labels/a.png")
    with pytest.raises(DataError, match=r"several targets for 'a': .*a\.png, .*a\.tif"):
        FolderSource(str(tmp_path)).samples()


def test_a_weight_without_image_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "images/a.tif", "labels/a.tif", "weights/z.tif")
    with pytest.raises(DataError, match=r"weight without image: .*z\.tif"):
        FolderSource(str(tmp_path)).samples()


def test_a_missing_folder_names_the_nearest_one(tmp_path: Path) -> None:
    make(tmp_path, "nuclei/a.tif")
    with pytest.raises(DataError, match=r"nuclie' does not exist.*Did you mean 'nuclei'"):
        FolderSource(str(tmp_path / "nuclie")).samples()


def test_a_file_given_as_folder_is_told(tmp_path: Path) -> None:
    make(tmp_path, "a.tif")
    with pytest.raises(DataError, match="is a file, not a folder"):
        FolderSource(str(tmp_path / "a.tif")).samples()


def test_a_glob_that_finds_nothing_tells_which_suffixes_are_there(tmp_path: Path) -> None:
    make(tmp_path, "images/a.png", "images/b.png", "images/c.ome.tif")
    with pytest.raises(DataError, match=r"'images/\*.jpg'.*2 \.png, 1 \.ome\.tif"):
        FolderSource(str(tmp_path), "images/*.jpg").samples()
    with pytest.raises(DataError, match=r"folder '.*imges' does not exist.*Did you mean 'images'"):
        FolderSource(str(tmp_path), "imges/*.png").samples()
    with pytest.raises(DataError, match=r"target glob 'labels/.*the folders 'images'"):
        FolderSource(str(tmp_path), "images/*", "labels/*").samples()


def test_an_unknown_layout_asks_for_globs(tmp_path: Path) -> None:
    make(tmp_path, "alpha/a.tif", "beta/a.tif")
    with pytest.raises(DataError, match=r"the folders 'alpha', 'beta'.*Say where they are"):
        FolderSource(str(tmp_path)).samples()


def test_a_target_glob_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="need 'image'"):
        FolderSource(str(make(tmp_path, "a.tif")), target="*.tif").samples()


def test_a_path_that_a_reference_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="rename it"):
        FolderSource(str(make(tmp_path, "a|b.tif"))).samples()


class _Backwards:
    """A folder that lists its entries in the reverse order of their names."""

    def __init__(self, folder: str | Path, scandir: Callable[..., Any]) -> None:
        with scandir(folder) as entries:
            self.entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

    def __enter__(self) -> list[os.DirEntry[str]]:
        return self.entries

    def __exit__(self, *error: object) -> None:
        pass

    def __iter__(self) -> Iterator[os.DirEntry[str]]:
        return iter(self.entries)


def test_the_order_of_rows_does_not_depend_on_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(
        tmp_path, *(f"images/{name}.tif" for name in "dbca"), *(f"gt/{name}.tif" for name in "abcd")
    )
    forwards = FolderSource(str(tmp_path)).samples()
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: _Backwards(folder, scandir))
    assert FolderSource(str(tmp_path)).samples().table.equals(forwards.table)
    assert forwards.column("id") == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a?.tif", {"1": "a1.tif", "2": "a2.tif"}),
        ("a[!1].tif", {"2": "a2.tif"}),
        ("[ab]*.tif", {"a/1": "a1.tif", "a/2": "a2.tif", "b/1": "b1.tif"}),
        ("**/c.tif", {"x/y": "x/y/c.tif"}),
        ("./x/*/c.tif", {"y": "x/y/c.tif"}),
    ],
)
def test_globs(tmp_path: Path, pattern: str, expected: dict[str, str]) -> None:
    make(tmp_path, "a1.tif", "a2.tif", "b1.tif", "x/y/c.tif")
    found = find(tmp_path, pattern)
    relative = [Path(path).relative_to(tmp_path).as_posix() for path in found.paths]
    assert dict(zip(found.keys, relative, strict=True)) == expected


def test_an_absolute_glob_is_taken_as_it_is(tmp_path: Path) -> None:
    make(tmp_path, "images/a.tif", "elsewhere/labels/a.tif")
    target = f"{tmp_path.as_posix()}/elsewhere/labels/*.tif"
    manifest = FolderSource(str(tmp_path), "images/*.tif", target).samples()
    assert pairs(manifest, tmp_path) == {"images/a.tif": "elsewhere/labels/a.tif"}


def test_affixes_are_cut_at_the_end_of_words_and_never_into_numbers() -> None:
    assert without_affixes(["img_008", "img_009"]) == ["008", "009"]
    assert without_affixes(["cat_a_raw", "bat_a_raw"]) == ["cat", "bat"]
    assert without_affixes(["t10", "t11"]) == ["10", "11"]
    assert without_affixes(["only"]) == ["only"]
    assert without_affixes(["seg", "seg2"]) == ["", "2"]


@pytest.mark.realdata
def test_real_nuclei_are_read_with_and_without_globs(real_data: Path) -> None:
    root = str(real_data / "dsb2018_fluo")
    plain = FolderSource(root).samples()
    assert plain.counts() == {"train": 447, "test": 44}
    globs = FolderSource(root, "images/*.tif", "labels/*.tif").samples()
    assert globs.table.equals(plain.table)
    for row in plain.rows():
        assert Path(row["image"]).name == Path(row["target"]).name


@pytest.mark.realdata
def test_real_noisy_and_clean_images_meet(real_data: Path) -> None:
    manifest = FolderSource(str(real_data / "w2s_denoise")).samples()
    assert len(manifest) == 72
    assert all("/clean/" in target for target in manifest.column("target"))
