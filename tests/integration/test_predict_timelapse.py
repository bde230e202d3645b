"""A time-lapse is predicted frame by frame: frame k of the result is what frame k alone gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import imtoolkit as imt
from imtoolkit import io
from imtoolkit.cli.main import main
from imtoolkit.core.errors import DataError
from imtoolkit.runs import Run

TIMES = 3
SPACING = (0.5, 0.25)


def drawn_frame(number: int, size: int = 22) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a bright square on noise and its labels; it wanders with the number."""
    labels = np.zeros((size, size), np.uint8)
    corner = 2 + 3 * number % (size - 12)
    labels[corner : corner + 8, 4:12] = 1
    noise = np.random.default_rng(number).normal(100, 15, labels.shape)
    return (noise * (1 + number) + 150 * labels).astype(np.uint16), labels


FILM = np.stack([drawn_frame(number)[0] for number in range(TIMES)])  # (T, Y, X)


def config_for(images: Path, **overrides: Any) -> imt.Config:
    raw = {
        "name": "squares",
        "data": {
            "source": {
                "name": "folder",
                "params": {"root": str(images), "image": "*_IM.tif", "target": "*_GT.tif"},
            },
            "axes": "YX",
            "split": {"val": 1},
            "patch": {"size": [16, 16], "per_image": 4},
            # 22 is no multiple of 8, so that each frame must be brought back to its grid
            "preprocess": [
                "normalize_zscore",
                {"name": "pad_to_multiple", "params": {"multiple": 8}},
            ],
            "loader": {"batch_size": 4, "workers": 0},
        },
        "task": {
            "category": "segmentation",
            "classes": ["background", "cell"],
            "net": {"name": "UNet", "params": {"channels": [8, 16], "strides": [2]}},
            "optimizer": {"name": "AdamW", "params": {"lr": 0.02}},
        },
        "inference": {"probabilities": True},
        "trainer": {"max_epochs": 8, "accelerator": "cpu"},
    }
    return imt.load_config(raw, overrides)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("timelapse")
    for number in range(6):
        image, labels = drawn_frame(number)
        io.write(folder / "images" / f"{number}_IM.tif", image)
        io.write(folder / "images" / f"{number}_GT.tif", labels)
    return imt.train(config_for(folder / "images"), path=folder / "run", quiet=True)


@pytest.fixture(scope="module")
def single(run: Run) -> NDArray[Any]:
    """Return what the model makes of each frame alone; the frames differ, and so do these."""
    found = np.stack([imt.predict(run, frame) for frame in FILM])
    assert all(found[n].any() and not found[n].all() for n in range(TIMES))
    assert not any(np.array_equal(found[n], found[n + 1]) for n in range(TIMES - 1))
    return found


def write_film(path: Path) -> Path:
    return io.write(path, FILM, axes="TYX", spacing=SPACING, unit="micrometer", interval=30.0)


@pytest.mark.parametrize("name", ["film.ome.tif", "film.tif"])
def test_a_file_of_several_time_points_is_predicted_frame_by_frame(
    run: Run, single: NDArray[Any], tmp_path: Path, name: str
) -> None:
    film = write_film(tmp_path / name)
    words = ["--json", "predict", str(run.path), str(film), "--output", str(tmp_path / "out")]
    assert main(words) == 0

    written = tmp_path / "out" / name
    with io.open_frames(written) as frames:
        labels = np.stack([picture.pixels[0] for picture in frames])
        assert frames.interval == 30.0
        assert frames.read(0).spacing == SPACING
    np.testing.assert_array_equal(labels, single)
    assert labels.dtype == np.uint8

    beside = tmp_path / "out" / f"film_probabilities{name.removeprefix('film')}"
    with io.open_frames(beside) as frames:
        assert frames.interval == 30.0
        probabilities = np.stack([picture.pixels for picture in frames])
    assert probabilities.shape == (TIMES, 2, *FILM.shape[1:])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), single)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted(
        [written.name, beside.name]
    )


@pytest.mark.parametrize("suffix", [".npy", ".nii.gz"])
def test_arrays_and_nifti_are_films_where_the_axes_say_so(
    run: Run, single: NDArray[Any], tmp_path: Path, suffix: str
) -> None:
    film = write_film(tmp_path / f"film{suffix}")
    labels, _ = imt.predict(run, film, tmp_path / "out", axes="TYX")
    with io.open_frames(labels, axes="TYX") as frames:
        found = np.stack([picture.pixels[0] for picture in frames])
    np.testing.assert_array_equal(found, single)


def test_an_array_with_a_time_axis_gives_one(run: Run, single: NDArray[Any]) -> None:
    np.testing.assert_array_equal(imt.predict(run, FILM, axes="TYX"), single)
    np.testing.assert_array_equal(imt.predict(run, FILM[:1], axes="TYX"), single[:1])
    np.testing.assert_array_equal(imt.predict(run, FILM, axes="TYX", time=1), single[1])
    with pytest.raises(DataError, match="'TYX' for a time-lapse"):
        imt.predict(run, FILM)


def test_a_chosen_time_point_is_predicted_alone(
    run: Run, single: NDArray[Any], tmp_path: Path
) -> None:
    film, out = write_film(tmp_path / "film.ome.tif"), tmp_path / "out"
    words = ["predict", str(run.path), str(film), "--output", str(out), "--time", "2"]
    assert main(words) == 0
    picture = io.read(out / "film.ome.tif")
    np.testing.assert_array_equal(picture.pixels[0], single[2])
    assert picture.spacing == SPACING
    with pytest.raises(DataError, match="has no time point 3"):
        imt.predict(run, film, out, time=3)


def test_a_time_point_in_the_config_of_the_run_is_kept(
    run: Run, single: NDArray[Any], tmp_path: Path
) -> None:
    """A model that was trained on one time point of its files predicts that one."""
    from imtoolkit.trainer.predict import Predictor

    predictor = Predictor(run, time=1)
    assert predictor.config.data.time == 1
    film = write_film(tmp_path / "film.ome.tif")
    labels, _ = predictor.file(film, tmp_path / "one.ome.tif")
    np.testing.assert_array_equal(io.read(labels).pixels[0], single[1])


def test_a_scene_is_chosen_by_number_or_name(
    run: Run, single: NDArray[Any], tmp_path: Path
) -> None:
    import tifffile

    path = tmp_path / "scenes.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        for number in (0, 1):
            metadata = {"axes": "YX", "Name": f"well {number}"}
            file.write(FILM[number], metadata=metadata, photometric="minisblack")
    with pytest.raises(DataError, match="2 scenes"):
        imt.predict(run, path, tmp_path / "out")
    for scene in ("1", "well 1"):
        out = tmp_path / scene
        words = ["predict", str(run.path), str(path), "--output", str(out), "--scene", scene]
        assert main(words) == 0
        np.testing.assert_array_equal(io.read(out / "scenes.ome.tif").pixels[0], single[1])


def test_png_is_refused_with_the_remedy(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = write_film(tmp_path / "film.ome.tif")
    words = ["predict", str(run.path), str(film), "--output", str(tmp_path / "out")]
    assert main([*words, "--format", ".png"]) == 2
    told = capsys.readouterr().err
    assert "--format .ome.tif" in told
    assert "--time 0" in told
    assert not list((tmp_path / "out").glob("*"))


def test_a_bad_frame_is_named_and_no_half_film_is_left(run: Run, tmp_path: Path) -> None:
    film = FILM.astype(np.float32)
    film[1, 3, 3] = np.nan
    io.write(tmp_path / "film.ome.tif", film, axes="TYX")
    with pytest.raises(DataError, match=r"film\.ome\.tif: time point 1: .*NaN"):
        imt.predict(run, tmp_path / "film.ome.tif", tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


def test_a_film_of_more_channels_than_the_model_knows_is_refused(run: Run, tmp_path: Path) -> None:
    two = np.stack([FILM, FILM], axis=1)
    with pytest.raises(DataError, match="time point 0: got 2 channels"):
        imt.predict(run, two, axes="TCYX")
    film = io.write(tmp_path / "two.ome.tif", two, axes="TCYX")
    with pytest.raises(DataError, match="got axes 'YX', but the file has axes TCZYX"):
        imt.predict(run, film, tmp_path / "out")


def test_time_that_the_axes_take_for_channels_is_told_how_to_be_named(
    run: Run, single: NDArray[Any], tmp_path: Path
) -> None:
    film = write_film(tmp_path / "film.ome.tif")
    with pytest.raises(DataError, match=r"got 3 channels .* \(--axes TCYX\)"):
        imt.predict(run, film, tmp_path / "out", axes="CYX")
    labels, _ = imt.predict(run, film, tmp_path / "out", axes="TCYX")
    with io.open_frames(labels) as frames:
        np.testing.assert_array_equal([picture.pixels[0] for picture in frames], single)
