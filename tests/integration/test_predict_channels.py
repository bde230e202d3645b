"""Images with a file for each channel, and arrays without a file, give what the pixels say."""

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

SPACING = (0.5, 0.25)
PLACES: dict[str, Any] = {"spacing": SPACING, "unit": "micrometer", "axes": "YX"}


def drawn(number: int, size: int = 24) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return ``(C, Y, X)`` and labels: what lights up in the second channel only is a cell."""
    rng = np.random.default_rng(number)
    labels = np.zeros((size, size), np.uint8)
    y, x = rng.integers(1, size - 9, 2)
    labels[y : y + 8, x : x + 8] = 1
    image = rng.normal(100, 10, (2, size, size))
    image[0, :, : size // 2] += 80  # a decoy
    image[1] += 80 * labels
    return image.astype(np.uint16), labels


def write_case(folder: Path, case: str, image: NDArray[Any]) -> None:
    for number, channel in enumerate(image):
        io.write(folder / f"{case}_{number:04d}.nii.gz", channel, **PLACES)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("channels")
    for number in range(6):
        image, labels = drawn(number)
        write_case(root / "imagesTr", f"case_{number}", image)
        io.write(root / "labelsTr" / f"case_{number}.nii.gz", labels, **PLACES)
    raw = {
        "name": "two-channels",
        "data": {
            "source": {"name": "nnunet", "params": {"root": str(root)}},
            "axes": "YX",
            "split": {"val": 1},
            "patch": {"size": [16, 8], "per_image": 4},
            "preprocess": [
                {"name": "resample_spacing", "params": {"spacing": [0.5, 0.5]}},
                "normalize_zscore",
            ],
            "loader": {"batch_size": 4, "workers": 0},
        },
        "task": {
            "category": "segmentation",
            "classes": ["background", "cell"],
            "net": {"name": "UNet", "params": {"channels": [8, 16], "strides": [2]}},
            "optimizer": {"name": "AdamW", "params": {"lr": 0.02}},
        },
        "trainer": {"max_epochs": 8, "accelerator": "cpu"},
    }
    return imt.train(imt.load_config(raw), path=root / "run", quiet=True)


def test_the_files_of_a_case_give_what_their_stack_gives(run: Run, tmp_path: Path) -> None:
    assert run.facts.image_files == 2
    images = {case: drawn(number)[0] for number, case in enumerate(("a", "b_7"), start=20)}
    for case, image in images.items():
        write_case(tmp_path / "in" / "sub", case, image)
    words = [str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    assert main(["--json", "predict", str(run.path), *words]) == 0
    written = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert written == [tmp_path / "out" / "sub" / f"{case}.nii.gz" for case in images]
    for path, image in zip(written, images.values(), strict=True):
        found, swapped = io.read(path), imt.predict(run, image[::-1], spacing=SPACING)
        expected = imt.predict(run, image, spacing=SPACING)
        np.testing.assert_array_equal(found.pixels[0], expected)
        assert found.spacing == SPACING
        assert found.unit == "micrometer"
        assert expected.any()
        assert not np.array_equal(expected, swapped)  # the order of the channels matters


def test_files_of_any_name_are_joined_in_their_order(run: Run, tmp_path: Path) -> None:
    image, _ = drawn(30)
    for name, channel in zip(("z", "a"), image, strict=True):
        io.write(tmp_path / f"{name}.tif", channel, **PLACES)
    reference = f"{tmp_path / 'z.tif'}|{tmp_path / 'a.tif'}"
    (written,) = imt.predict(run, reference, tmp_path / "out")
    expected = imt.predict(run, image, spacing=SPACING)
    np.testing.assert_array_equal(io.read(written).pixels[0], expected)
    assert written == tmp_path / "out" / "z.tif"

    (tmp_path / "t.csv").write_text("image\nz.tif|a.tif\n")
    (written,) = imt.predict(run, tmp_path / "t.csv", tmp_path / "table", suffix=".npy")
    np.testing.assert_array_equal(np.load(written), expected)
    with pytest.raises(DataError, match="overwrite this input"):
        imt.predict(run, reference, tmp_path)


def test_a_time_lapse_in_two_files_is_predicted_frame_by_frame(run: Run, tmp_path: Path) -> None:
    film = np.stack([drawn(number)[0] for number in range(40, 43)])  # (T, C, Y, X)
    for number in (0, 1):
        places = {**PLACES, "axes": "TYX"}
        io.write(tmp_path / f"film_000{number}.ome.tif", film[:, number], **places)
    (written,) = imt.predict(run, tmp_path / "film_0001.ome.tif", tmp_path / "out")
    assert written.name == "film.ome.tif"
    with io.open_frames(written) as frames:
        found = np.stack([picture.pixels[0] for picture in frames])
    expected = np.stack([imt.predict(run, frame, spacing=SPACING) for frame in film])
    np.testing.assert_array_equal(found, expected)

    io.write(tmp_path / "film_0001.ome.tif", film[:2, 1], **{**PLACES, "axes": "TYX"})
    with pytest.raises(DataError, match="same time points: got 2, and 3"):
        imt.predict(run, tmp_path / "film_0000.ome.tif", tmp_path / "out2")


def test_missing_channels_and_unequal_sizes_are_named(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_case(tmp_path / "in", "a", drawn(1)[0][:1])
    write_case(tmp_path / "in", "b", drawn(2)[0][:1])
    words = ["predict", str(run.path), str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "a_0001.nii.gz" in told
    assert "b_0001.nii.gz" in told
    assert "one for each channel" in told
    for case in "ab":
        io.write(tmp_path / "in" / f"{case}_0001.nii.gz", drawn(1, size=30)[0][1], **PLACES)
    with pytest.raises(DataError, match=r"_0001\.nii\.gz: .* of one size"):
        imt.predict(run, tmp_path / "in", tmp_path / "out")


def test_an_array_is_resampled_by_the_pixel_size_that_is_given(run: Run) -> None:
    image, _ = drawn(50)
    fine = imt.predict(run, image, spacing=SPACING)
    assert fine.shape == image.shape[1:]
    assert not np.array_equal(fine, imt.predict(run, image, spacing=(0.5, 0.5)))
    np.testing.assert_array_equal(imt.Predictor(run).array(image, spacing=SPACING), fine)
    (listed,) = imt.predict(run, [image], spacing=np.array(SPACING))
    np.testing.assert_array_equal(listed, fine)


def test_messages_about_arrays_speak_of_the_array(run: Run) -> None:
    image, _ = drawn(51)
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (image, {}, r"the array: has no pixel size.* for Y, X in m.*such as spacing=\(0"),
        (image, {"spacing": (1, 2, 3)}, r"the array: got spacing=.*each of Y, X"),
        (image, {"spacing": (1, 0)}, "the array: got spacing=.*positive"),
        (image, {"spacing": 1.0}, "the array: got spacing=1.0"),
        (image[0, 0], {"spacing": SPACING}, "the array: has the shape"),
    ]
    for array, options, message in cases:
        with pytest.raises(DataError, match=message) as caught:
            imt.predict(run, array, **options)
        assert "array::" not in str(caught.value)


def test_files_tell_their_own_pixel_size(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="leave it out"):
        imt.predict(run, tmp_path, tmp_path / "out", spacing=SPACING)
