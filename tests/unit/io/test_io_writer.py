"""What is written comes back, by our reader and by others; a failure leaves all as it was."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import nibabel
import numpy as np
import pytest
import tifffile

from imtoolkit.core.errors import DataError
from imtoolkit.io import read, write
from imtoolkit.io.writer import FORMATS
from tests.helpers.image_files import AFFINE, SPACING, TRUTH

VOLUME_FORMATS = [".ome.tif", ".ome.tiff", ".tif", ".tiff", ".nii.gz", ".nii", ".npy"]


@pytest.mark.parametrize("suffix", VOLUME_FORMATS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 2])
def test_volume_comes_back(tmp_path: Path, suffix: str, dtype: type, channels: int) -> None:
    pixels = (TRUTH[:channels] % 251).astype(dtype)
    path = write(tmp_path / f"a{suffix}", pixels, spacing=SPACING, unit="micrometer")
    picture = read(path, axes="ZYX" if channels == 1 else None)
    assert picture.pixels.dtype == dtype
    np.testing.assert_array_equal(picture.pixels, pixels)
    if suffix != ".npy":
        assert picture.spacing == pytest.approx(SPACING)
        assert picture.unit == "micrometer"


@pytest.mark.parametrize("suffix", FORMATS)
def test_flat_labels_come_back(tmp_path: Path, suffix: str) -> None:
    labels = TRUTH[0, 0] % 300
    path = write(tmp_path / "new" / f"a{suffix}", labels, spacing=(0.5, 0.25))
    picture = read(path)
    assert picture.axes == "CYX"
    np.testing.assert_array_equal(picture.pixels[0], labels)
    if suffix not in {".npy", ".png"}:
        assert picture.spacing == pytest.approx((0.5, 0.25))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", FORMATS)
def test_axis_of_a_single_channel_makes_no_difference(tmp_path: Path, suffix: str) -> None:
    labels = TRUTH[0, 0] % 300
    flat = write(tmp_path / f"a{suffix}", labels).read_bytes()
    assert len(write(tmp_path / f"b{suffix}", labels[np.newaxis]).read_bytes()) == len(flat)
    np.testing.assert_array_equal(read(tmp_path / f"b{suffix}").pixels[0], labels)


@pytest.mark.parametrize(
    ("highest", "expected"),
    [(1, np.uint8), (255, np.uint8), (256, np.uint16), (65535, np.uint16), (65536, np.uint32)],
)
@pytest.mark.parametrize("suffix", [".ome.tif", ".tif", ".nii.gz", ".npy"])
def test_labels_get_the_smallest_type_that_holds_them(
    tmp_path: Path, suffix: str, highest: int, expected: type
) -> None:
    labels = np.zeros((12, 16), np.int64)
    labels[3, 4] = highest
    picture = read(write(tmp_path / f"a{suffix}", labels))
    assert picture.pixels.dtype == expected
    np.testing.assert_array_equal(picture.pixels[0], labels)


def test_negative_labels_stay_negative(tmp_path: Path) -> None:
    labels = np.array([[-1, 0], [3, 200]], np.int64)
    picture = read(write(tmp_path / "a.ome.tif", labels))
    assert picture.pixels.dtype == np.int16
    np.testing.assert_array_equal(picture.pixels[0], labels)


def test_labels_above_255_are_16_bits_in_a_png(tmp_path: Path) -> None:
    labels = np.zeros((12, 16), np.int64)
    labels[3, 4] = 300
    assert iio.imread(write(tmp_path / "a.png", labels)).dtype == np.uint16
    assert iio.imread(write(tmp_path / "b.png", labels > 0)).dtype == np.uint8
    assert iio.imread(tmp_path / "b.png").max() == 1


def test_colours_are_written_as_such_in_a_png(tmp_path: Path) -> None:
    rgb = (TRUTH[0, :3] % 256).astype(np.uint8)
    path = write(tmp_path / "a.png", rgb)
    np.testing.assert_array_equal(iio.imread(path), rgb.transpose(1, 2, 0))
    np.testing.assert_array_equal(read(path).pixels, rgb)


# --- what other programs see ----------------------------------------------------------------------


def test_ome_tiff_is_one_for_tifffile(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.tif", TRUTH, spacing=SPACING, channel_names=["DAPI", "GFP"])
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        assert file.series[0].axes == "CZYX"
        np.testing.assert_array_equal(file.asarray(), TRUTH)
        xml = file.ome_metadata or ""
    for piece in ('PhysicalSizeX="0.25"', 'PhysicalSizeY="0.5"', 'PhysicalSizeZ="2.0"', "GFP"):
        assert piece in xml
    assert 'PhysicalSizeXUnit="µm"' in xml
    assert read(path).channel_names == ("DAPI", "GFP")


def test_ome_tiff_is_one_for_bioio(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.tif", TRUTH, spacing=SPACING, channel_names=["DAPI", "GFP"])
    forced = {"name": "BioImageReader", "params": {"image_class": "bioio.BioImage"}}
    picture = read(path, reader=forced)
    np.testing.assert_array_equal(picture.pixels, TRUTH)
    assert picture.spacing == pytest.approx(SPACING)
    assert picture.channel_names == ("DAPI", "GFP")


def test_millimetres_stay_lengths_in_ome_tiff(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.tif", TRUTH, spacing=SPACING, unit="millimeter")
    picture = read(path)
    assert picture.spacing == pytest.approx([size * 1000 for size in SPACING])
    assert picture.unit == "micrometer"


def test_tiff_is_a_hyperstack_for_imagej(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", TRUTH, spacing=SPACING, unit="micrometer")
    with tifffile.TiffFile(path) as file:
        assert file.is_imagej
        assert file.imagej_metadata is not None
        assert file.imagej_metadata["spacing"] == 2.0
        assert file.series[0].axes == "ZCYX"
        resolution = file.pages[0].tags["XResolution"].value
        assert resolution[0] / resolution[1] == pytest.approx(4.0)
        np.testing.assert_array_equal(file.asarray(), TRUTH.swapaxes(0, 1))


def test_labels_are_packed_and_images_are_not(tmp_path: Path) -> None:
    labels, image = np.zeros((64, 64), np.uint8), np.zeros((2, 64, 64), np.uint8)
    for suffix in (".tif", ".ome.tif"):
        with tifffile.TiffFile(write(tmp_path / f"l{suffix}", labels)) as file:
            assert file.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        with tifffile.TiffFile(write(tmp_path / f"i{suffix}", image, axes="CYX")) as file:
            assert file.pages[0].compression == tifffile.COMPRESSION.NONE


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_keeps_the_affine_exactly(tmp_path: Path, suffix: str) -> None:
    turned = np.array(AFFINE, dtype=np.float32).astype(np.float64)
    turned[:3, :3] = turned[:3, :3] @ np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turned = turned.astype(np.float32).astype(np.float64)  # what the header can hold
    path = write(tmp_path / f"a{suffix}", TRUTH, affine=turned, unit="millimeter")
    volume: Any = nibabel.load(path)
    np.testing.assert_array_equal(volume.affine, turned)
    np.testing.assert_array_equal(np.asarray(volume.dataobj), TRUTH.transpose(3, 2, 1, 0))
    assert volume.header.get_xyzt_units()[0] == "mm"
    again = read(path)
    np.testing.assert_array_equal(again.affine, turned)
    copy = write(tmp_path / f"b{suffix}", again.pixels, affine=again.affine, unit=again.unit)
    assert copy.read_bytes() == path.read_bytes()


def test_nifti_without_affine_is_placed_by_its_pixel_size(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii.gz", TRUTH[0], spacing=SPACING, unit="micrometer")
    volume: Any = nibabel.load(path)
    np.testing.assert_allclose(volume.affine, np.diag([0.25, 0.5, 2.0, 1.0]))
    assert volume.header.get_xyzt_units()[0] == "micron"


# --- refusals -------------------------------------------------------------------------------------


def test_input_is_never_overwritten_by_any_name(tmp_path: Path) -> None:
    original = write(tmp_path / "a.tif", TRUTH[0, 0])
    before = original.read_bytes()
    (tmp_path / "b.tif").symlink_to(original)
    os.link(original, tmp_path / "c.tif")
    for name in ("a.tif", "b.tif", "c.tif", "../" + tmp_path.name + "/a.tif"):
        with pytest.raises(DataError, match="never overwritten"):
            write(tmp_path / name, TRUTH[1, 1], protect=[original])
    assert original.read_bytes() == before
    write(tmp_path / "d.tif", TRUTH[1, 1], protect={original})


def test_full_disk_is_told_and_the_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.tif", TRUTH[0, 0])
    before = path.read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tifffile, "imwrite", full)
    with pytest.raises(DataError, match=r"a\.tif: the disk is full: up to 1 MB"):
        write(path, TRUTH[1, 1])
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]


FILL = """
import resource, signal, sys, numpy as np
from imtoolkit.core.errors import DataError
from imtoolkit.io import write
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
image = np.random.default_rng(0).integers(0, 60000, (600, 600)).astype(np.uint16)
write(sys.argv[1], image[:9, :9])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    write(sys.argv[1], image)
except DataError as error:
    print(error.__cause__.errno)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on the size of a file")
@pytest.mark.parametrize("suffix", [".ome.tif", ".tif", ".nii", ".nii.gz", ".npy", ".png"])
def test_file_that_does_not_fit_leaves_the_old_one(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(path)], capture_output=True, text=True, check=True
    )
    # the system's word, not a library's: with it, a full disk is told from other failures
    assert done.stdout.strip() == str(errno.EFBIG)
    assert read(path).pixels.shape == (1, 9, 9)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_folder_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        write(tmp_path / "file" / "a.tif", TRUTH[0, 0])


@pytest.mark.parametrize(
    ("name", "pixels", "options", "message"),
    [
        ("a.jpg", TRUTH[0, 0], {}, r"cannot write '\.jpg' files"),
        ("a.tif", TRUTH[0], {}, "may be channels or slices"),
        ("a.tif", TRUTH[0], {"axes": "YX"}, "got axes 'YX'"),
        ("a.tif", TRUTH[np.newaxis], {}, "expected YX, ZYX, CYX or CZYX"),
        ("a.tif", TRUTH[0, 0], {"spacing": (1.0, 0.0)}, "positive"),
        ("a.tif", TRUTH[0, 0], {"spacing": (1.0, 1.0, 1.0)}, "expected 2"),
        ("a.tif", TRUTH[0, 0], {"unit": "inch"}, "expected 'micrometer'"),
        ("a.tif", TRUTH, {"channel_names": ["DAPI"]}, "1 channel names for 2"),
        ("a.tif", TRUTH[0, 0].astype(complex), {}, "real numbers"),
        ("a.nii", TRUTH[0, 0], {"affine": np.eye(3)}, r"expected \(4, 4\)"),
        ("a.png", TRUTH[0, 0] / 2.0, {}, r"write \.ome\.tif instead"),
        ("a.png", TRUTH[:, 0], {}, r"write \.ome\.tif instead"),
        ("a.png", TRUTH, {}, r"write \.ome\.tif instead"),
        ("a.tif", np.array([[0, 2**40]]), {}, "do not fit 32 bits"),
    ],
)
def test_what_cannot_be_written_is_refused(
    tmp_path: Path, name: str, pixels: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        write(tmp_path / name, pixels, **options)
    assert not list(tmp_path.iterdir())
