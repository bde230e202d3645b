"""Drawn folders: what they hold, and that nothing of the user's is touched."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from imtoolkit.core.errors import DataError
from imtoolkit.io import read
from imtoolkit.samples import draw, draw_one
from imtoolkit.samples.wells import draw_well


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_files_hold_what_was_drawn_with_its_pixel_size(tmp_path: Path) -> None:
    folder = draw("nuclei", tmp_path / "nuclei", count=2, seed=3)
    drawn = draw_one("nuclei", 1, seed=3)
    image = read(folder / "images" / "nuclei_0001.ome.tif")
    labels = read(folder / "labels" / "nuclei_0001.ome.tif")
    np.testing.assert_array_equal(image.pixels[0], drawn.image)
    np.testing.assert_array_equal(labels.pixels[0], drawn.target)
    assert image.pixels.dtype == np.uint16
    assert image.spacing == pytest.approx(drawn.spacing)
    assert image.unit == "micrometer"


def test_three_dimensions_are_written_with_the_distance_of_slices(tmp_path: Path) -> None:
    folder = draw("nuclei", tmp_path / "nuclei", count=1, dims=3)
    image = read(folder / "images" / "nuclei_0000.ome.tif")
    assert image.axes == "CZYX"
    assert image.spacing == pytest.approx((1.0, 0.5, 0.5))


def test_the_structure_is_written_as_nnunet_expects_with_its_affine(tmp_path: Path) -> None:
    folder = draw("hippocampus", tmp_path / "set", count=2)
    drawn = draw_one("hippocampus", 0)
    image = read(folder / "imagesTr" / "hippocampus_0000_0000.nii.gz")
    labels = read(folder / "labelsTr" / "hippocampus_0000.nii.gz")
    np.testing.assert_allclose(image.pixels[0], drawn.image)
    np.testing.assert_array_equal(labels.pixels[0], drawn.target)
    np.testing.assert_allclose(image.affine, drawn.affine)
    described = json.loads((folder / "dataset.json").read_text())
    assert described["labels"] == {"background": 0, "anterior": 1, "posterior": 2}
    assert described["numTraining"] == 2


def test_shapes_stand_in_a_folder_for_each_class(tmp_path: Path) -> None:
    folder = draw("shapes", tmp_path / "shapes", count=10)
    counts = {path.name: len(list(path.iterdir())) for path in folder.iterdir() if path.is_dir()}
    assert counts == {"cross": 2, "disk": 2, "ring": 2, "square": 2, "triangle": 2}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("membranes", ["images", "labels"]),
        ("denoise", ["again", "clean", "noisy"]),
        ("label_free", ["brightfield", "fluorescence"]),
    ],
)
def test_pairs_stand_in_two_folders_under_one_name(
    tmp_path: Path, name: str, parts: list[str]
) -> None:
    folder = draw(name, tmp_path / name, count=2)
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == parts
    names = [sorted(path.name for path in (folder / part).iterdir()) for part in parts]
    assert names[0] == names[1] == [f"{name}_0000.ome.tif", f"{name}_0001.ome.tif"]


def test_a_larger_count_changes_no_image(tmp_path: Path) -> None:
    few, many = (draw("nuclei", tmp_path / str(count), count=count) for count in (1, 3))
    for relative in ("images/nuclei_0000.ome.tif", "labels/nuclei_0000.ome.tif"):
        np.testing.assert_array_equal(read(few / relative).pixels, read(many / relative).pixels)


def test_drawing_the_same_again_changes_nothing_and_completes(tmp_path: Path) -> None:
    folder = draw("nuclei", tmp_path / "nuclei", count=3)
    before = contents(folder)
    draw("nuclei", folder, count=3)
    assert contents(folder) == before
    lost = folder / "labels" / "nuclei_0001.ome.tif"
    pixels = read(lost).pixels
    lost.unlink()
    draw("nuclei", folder, count=4)
    np.testing.assert_array_equal(read(lost).pixels, pixels)
    assert (folder / "images" / "nuclei_0003.ome.tif").exists()


@pytest.mark.parametrize("other", [{"seed": 1}, {"dims": 3}, {"count": 1}])
def test_other_samples_are_not_mixed_into_a_folder(tmp_path: Path, other: dict[str, int]) -> None:
    folder = draw("shapes", tmp_path / "set", count=2)
    before = contents(folder)
    with pytest.raises(DataError, match="holds other samples"):
        draw("shapes", folder, **{"count": 2, **other})
    with pytest.raises(DataError, match="holds other samples"):
        draw("denoise", folder, count=2)
    assert contents(folder) == before


def test_a_folder_of_the_user_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "images"
    mine.mkdir()
    (mine / "mine.tif").write_bytes(b"mine")
    with pytest.raises(DataError, match="not empty"):
        draw("nuclei", mine, count=1)
    with pytest.raises(DataError, match="is a file"):
        draw("nuclei", mine / "mine.tif", count=1)
    assert contents(mine) == {"mine.tif": hashlib.sha256(b"mine").hexdigest()}


def test_a_readme_tells_what_it_is(tmp_path: Path) -> None:
    text = (draw("nuclei", tmp_path / "set", count=1) / "README.txt").read_text()
    assert "labels/: number of the nucleus" in text
    assert "imtoolkit samples nuclei DIR --count 1 --seed 0 --dims 2" in text


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Did you mean 'nuclei'"):
        draw("nuclie", tmp_path / "a")
    with pytest.raises(DataError, match="in 3 dimensions, not in 2"):
        draw("hippocampus", tmp_path / "a", dims=2)
    with pytest.raises(DataError, match="at least 1"):
        draw("nuclei", tmp_path / "a", count=0)
    assert not (tmp_path / "a").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot write into"):
        draw("nuclei", tmp_path / "file" / "below", count=1)


def test_the_table_of_the_room_names_every_sample() -> None:
    from imtoolkit import samples
    from imtoolkit.samples.folder import SAMPLES

    assert set(samples.BUILTINS["sample"]) == set(SAMPLES)


def test_a_sample_with_a_table_tells_what_was_drawn(tmp_path: Path) -> None:
    folder = draw("wells", tmp_path / "wells", count=3, seed=1)
    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["treatment"] for row in rows] == ["control", "swelling", "stretching"]
    assert rows[0]["dose"] == "0.0"
    for index, row in enumerate(rows):
        drawn = draw_one("wells", index, seed=1)
        assert int(row["nuclei"]) == drawn.facts["objects"]
        assert row["findings"] == drawn.facts["findings"]
        np.testing.assert_array_equal(read(folder / row["image"]).pixels[0], drawn.image)
        assert int(read(folder / row["target"]).pixels.max()) == drawn.facts["objects"]


def test_a_treatment_shows_in_size_and_shape(tmp_path: Path) -> None:
    """The same well under three treatments: mean area grows under one of them alone."""
    areas = {}
    for treatment in ("control", "swelling", "stretching"):
        well = draw_well(
            np.random.default_rng(2), (256, 256), treatment=treatment, dose=9, line="A"
        )
        assert well.target is not None
        areas[treatment] = (well.target > 0).sum() / well.facts["objects"]
    assert areas["swelling"] > 1.5 * areas["control"]
    assert areas["stretching"] < 1.3 * areas["control"]


def test_two_domains_are_other_scenes_but_for_the_pairs(tmp_path: Path) -> None:
    folder = draw("unpaired", tmp_path / "unpaired", count=10)
    found = {part: sorted(path.name for path in (folder / part).glob("*.tif"))
             for part in ("a", "b", "pairs/a", "pairs/b")}  # fmt: skip
    assert [len(names) for names in found.values()] == [4, 4, 2, 2]
    assert found["pairs/a"] == found["pairs/b"]
    assert not set(found["a"]) & set(found["b"])
    grey = read(folder / "pairs" / "a" / found["pairs/a"][0]).pixels
    colours = read(folder / "pairs" / "b" / found["pairs/b"][0]).pixels
    assert (grey.shape, colours.shape) == ((1, 128, 128), (3, 128, 128))
    # where nuclei shine, the section is dark in red
    assert np.corrcoef(grey.ravel(), colours[0].ravel())[0, 1] < -0.5
    assert draw("unpaired", folder, count=10) == folder
