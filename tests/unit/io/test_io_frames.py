"""A time-lapse is read and written frame by frame, and comes back with its time axis."""

from __future__ import annotations

import errno
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from imtoolkit.core.errors import DataError
from imtoolkit.io import FrameWriter, open_frames, read, write
from imtoolkit.io.select import add_time
from tests.helpers.image_files import AFFINE, TRUTH

FILM = np.stack([TRUTH + 1000 * number for number in range(4)])  # (T, C, Z, Y, X)
PARTS = {"CZYX": FILM, "ZYX": FILM[:, 0], "CYX": FILM[:, :, 0], "YX": FILM[:, 0, 0]}
SIZES = {"Z": 2.0, "Y": 0.5, "X": 0.25}


def film_file(path: Path, frames: Iterable[Any], axes: str, **options: Any) -> Path:
    with FrameWriter(path, axes=axes, **options) as writer:
        for frame in frames:
            writer.add(frame)
    return path


def read_film(path: Path, **options: Any) -> NDArray[Any]:
    with open_frames(path, **options) as frames:
        assert frames.times == len(frames)
        return np.stack([picture.pixels for picture in frames])


def stored_axes(suffix: str, axes: str) -> str | None:
    """Return the axes to say: arrays name none, and NIfTI counts channels before time."""
    if suffix == ".npy":
        return f"T{axes}"
    if suffix.startswith(".nii"):
        return f"CT{axes[1:]}" if "C" in axes else f"T{axes}"
    return None


@pytest.mark.parametrize("axes", PARTS)
@pytest.mark.parametrize("suffix", [".ome.tif", ".tif", ".nii.gz", ".npy"])
def test_a_film_comes_back_with_pixel_size_and_interval(
    tmp_path: Path, suffix: str, axes: str
) -> None:
    spacing = [SIZES[letter] for letter in axes if letter in SIZES]
    path = tmp_path / "new" / f"film{suffix}"
    film_file(path, PARTS[axes], axes, spacing=spacing, unit="micrometer", interval=30.0)

    with open_frames(path, axes=stored_axes(suffix, axes)) as frames:
        pictures, interval = list(frames), frames.interval

    expected = PARTS[axes] if "C" in axes else PARTS[axes][:, np.newaxis]
    np.testing.assert_array_equal(np.stack([p.pixels for p in pictures]), expected)
    if suffix != ".npy":
        assert interval == 30.0
        assert {p.spacing for p in pictures} == {tuple(spacing)}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".tif", ".nii", ".npy"])
def test_frame_by_frame_and_all_at_once_make_the_same_file(tmp_path: Path, suffix: str) -> None:
    one = film_file(tmp_path / f"a{suffix}", FILM, "CZYX", interval=2.0)
    other = write(tmp_path / f"b{suffix}", FILM, axes="TCZYX", interval=2.0)
    assert one.read_bytes() == other.read_bytes()


def test_other_programs_see_the_time_axis(tmp_path: Path) -> None:
    path = film_file(tmp_path / "a.ome.tif", FILM, "CZYX", interval=0.5)
    with tifffile.TiffFile(path) as file:
        assert file.series[0].axes == "TCZYX"
        np.testing.assert_array_equal(file.asarray(), FILM)
        assert 'TimeIncrement="0.5"' in (file.ome_metadata or "")
    path = film_file(tmp_path / "a.tif", FILM[:, 0, 0], "YX", interval=0.5)
    with tifffile.TiffFile(path) as file:
        assert file.series[0].axes == "TYX"
        assert (file.imagej_metadata or {})["finterval"] == 0.5
    path = film_file(
        tmp_path / "a.nii.gz", FILM[:, 0], "ZYX", interval=0.5, unit="millimeter", affine=AFFINE
    )
    volume = nibabel.load(path)
    assert volume.shape == FILM[:, 0].shape[::-1]
    assert volume.header.get_zooms()[3] == 0.5
    assert volume.header.get_xyzt_units() == ("mm", "sec")
    np.testing.assert_allclose(volume.affine, AFFINE)
    np.testing.assert_array_equal(np.asarray(volume.dataobj).T, FILM[:, 0])


@pytest.mark.parametrize("suffix", [".ome.tif", ".tif", ".nii.gz", ".npy"])
@pytest.mark.parametrize(
    ("highest", "expected"),
    [((1, 255, 3), np.uint8), ((1, 256, 3), np.uint16), ((5, 70000, 256), np.uint32)],
)
def test_labels_of_all_frames_get_the_smallest_type_that_holds_them(
    tmp_path: Path, suffix: str, highest: tuple[int, ...], expected: type
) -> None:
    film = np.zeros((3, 12, 16), np.int64)
    film[:, 2, 3] = highest
    found = read_film(film_file(tmp_path / f"a{suffix}", film, "YX"), axes="TYX")
    assert found.dtype == expected
    np.testing.assert_array_equal(found[:, 0], film)


def test_values_of_half_precision_keep_their_value(tmp_path: Path) -> None:
    film = np.linspace(0, 1, 2 * 12 * 16, dtype=np.float16).reshape(2, 12, 16)
    found = read_film(film_file(tmp_path / "a.ome.tif", film, "YX"))
    np.testing.assert_array_equal(found[:, 0], film)


# --- reading --------------------------------------------------------------------------------------


def test_a_still_image_is_one_frame_without_time(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.tif", TRUTH[0, 0])
    with open_frames(path, axes="YX") as frames:
        assert frames.times is None
        assert frames.interval is None
        (picture,) = frames
    np.testing.assert_array_equal(picture.pixels, read(path).pixels)


def test_a_chosen_time_point_is_a_still_image(tmp_path: Path) -> None:
    path = film_file(tmp_path / "a.ome.tif", FILM[:, 0, 0], "YX")
    with open_frames(path, axes="YX", time=2) as frames:
        assert frames.times is None
        np.testing.assert_array_equal(frames.read(0).pixels[0], FILM[2, 0, 0])
    with open_frames(path, time=4) as frames, pytest.raises(DataError, match="no time point 4"):
        frames.read(0)


@pytest.mark.parametrize("axes", ["CZYX", "CYX", "YX"])
def test_axes_of_single_images_fit_the_frames_of_a_film(tmp_path: Path, axes: str) -> None:
    path = film_file(tmp_path / "a.ome.tif", PARTS[axes], axes)
    expected = PARTS[axes] if "C" in axes else PARTS[axes][:, np.newaxis]
    np.testing.assert_array_equal(read_film(path, axes=axes), expected)


def test_axes_that_fit_a_film_as_they_are_stay(tmp_path: Path) -> None:
    """Slices that a program saved as time points are read as in training: as slices."""
    path = film_file(tmp_path / "a.ome.tif", FILM[:, 0, 0], "YX")
    with open_frames(path, axes="ZYX") as frames:
        assert frames.times is None
        np.testing.assert_array_equal(frames.read(0).pixels[0], FILM[:, 0, 0])


@pytest.mark.parametrize(
    ("stored", "shape", "wanted", "expected"),
    [
        ("TCZYX", (4, 1, 1, 8, 9), "YX", "TYX"),
        ("TZCYX", (4, 5, 2, 8, 9), "ZCYX", "TZCYX"),
        ("CTYX", (2, 4, 8, 9), "CYX", "CTYX"),
        ("TYXS", (4, 8, 9, 3), "YXC", "TYXC"),
        ("TCZYX", (1, 2, 5, 8, 9), "CZYX", "CZYX"),
        ("TCZYX", (4, 1, 1, 8, 9), "TYX", "TYX"),
        ("TCZYX", (4, 1, 1, 8, 9), None, None),
    ],
)
def test_time_is_put_where_the_file_has_it(
    tmp_path: Path,
    stored: str,
    shape: tuple[int, ...],
    wanted: str | None,
    expected: str | None,
) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros(shape, np.uint8))
    with open_frames(path, axes=stored.replace("S", "C")) as frames:
        image = frames.image
        image.axes = stored
        assert add_time(image, wanted) == expected


def test_a_time_axis_of_one_point_stays_where_it_was_asked_for(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", FILM[:1, 0, 0])
    assert read_film(tmp_path / "a.npy", axes="TYX").shape == (1, 1, 12, 16)


def test_a_failure_of_the_caller_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    path = film_file(tmp_path / "a.ome.tif", FILM[:, 0, 0], "YX")
    with pytest.raises(ValueError, match="mine"), open_frames(path) as frames:
        for _ in frames:
            raise ValueError("mine")


# --- failures -------------------------------------------------------------------------------------


def test_png_is_refused_before_a_frame_is_made(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no time points; choose \.ome\.tif"):
        FrameWriter(tmp_path / "a.png", axes="YX")
    with pytest.raises(DataError, match="no time points"):
        write(tmp_path / "a.png", FILM[:, 0, 0], axes="TYX")


def test_an_input_is_never_overwritten(tmp_path: Path) -> None:
    path = film_file(tmp_path / "a.ome.tif", FILM[:, 0, 0], "YX")
    with pytest.raises(DataError, match="is an input"):
        FrameWriter(path, axes="YX", protect=[path])


def test_after_an_error_the_old_film_is_there_and_nothing_else(tmp_path: Path) -> None:
    path = film_file(tmp_path / "a.npy", FILM[:, 0, 0], "YX")
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt), FrameWriter(path, axes="YX") as writer:
        writer.add(FILM[0, 0, 0])
        raise KeyboardInterrupt
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_frames_of_other_shape_and_films_without_frames_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"frame 1 has the shape \(12, 15\), the first \(12, 16\)"),
        FrameWriter(tmp_path / "a.npy", axes="YX") as writer,
    ):
        writer.add(FILM[0, 0, 0])
        writer.add(FILM[0, 0, 0, :, 1:])
    with (
        pytest.raises(DataError, match="one at least"),
        FrameWriter(tmp_path / "a.npy", axes="YX"),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, _data: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            pass

    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: Full())
    with (
        pytest.raises(DataError, match="the disk is full"),
        FrameWriter(tmp_path / "a.npy", axes="YX") as writer,
    ):
        writer.add(FILM[0, 0, 0])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to its limit")
@pytest.mark.parametrize("suffix", [".ome.tif", ".tif", ".npy", ".nii"])
def test_a_long_film_needs_the_memory_of_a_few_frames(tmp_path: Path, suffix: str) -> None:
    """256 MB pass through a process that may not take half as much."""
    program = f"""
        import resource
        from pathlib import Path
        import numpy as np
        from imtoolkit.io import FrameWriter, open_frames
        frame = np.zeros((1024, 1024), np.float32)
        def go(name, count):
            with FrameWriter(name, axes="YX") as writer:
                for number in range(count):
                    writer.add(frame + number)
            with open_frames(name, axes="TYX") as frames:
                assert [int(p.pixels[0, 0, 0]) for p in frames] == list(range(count))
        go("short{suffix}", 2)  # imports what it needs
        lines = Path("/proc/self/status").read_text().splitlines()
        (taken,) = [int(line.split()[1]) for line in lines if line.startswith("VmData")]
        limit = taken * 2**10 + 120 * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        go("long{suffix}", 64)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
