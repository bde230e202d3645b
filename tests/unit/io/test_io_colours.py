"""Colours, transparency, palettes, depth of bits."""

from __future__ import annotations

import logging
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from imagecodecs import png_encode
from PIL import Image

from imtoolkit.io import probe, read
from tests.helpers.image_files import TRUTH, colours


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_colours_become_channels(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    iio.imwrite(path, colours()) if suffix != ".tif" else tifffile.imwrite(path, colours())
    picture = read(path)
    assert picture.channel_names == ("red", "green", "blue")
    np.testing.assert_array_equal(picture.pixels, colours().transpose(2, 0, 1))
    np.testing.assert_array_equal(read(path, axes="YXC").pixels, picture.pixels)
    green = read(path, channels=["green"])
    np.testing.assert_array_equal(green.pixels[0], colours()[..., 1])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_alpha_is_dropped_with_a_warning_where_it_varies(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, pixels = tmp_path / f"a{suffix}", colours(samples=4)
    if suffix == ".png":
        iio.imwrite(path, pixels)
    else:
        tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=["unassalpha"])
    with caplog.at_level(logging.WARNING):
        picture = read(path)
    assert "transparency" in caplog.text
    np.testing.assert_array_equal(picture.pixels, pixels[..., :3].transpose(2, 0, 1))
    assert probe(path).shape == (3, 12, 16)
    caplog.clear()
    pixels[..., 3] = 255
    iio.imwrite(tmp_path / "opaque.png", pixels)
    read(tmp_path / "opaque.png")
    assert caplog.text == ""


def test_grey_with_alpha_is_grey(tmp_path: Path) -> None:
    grey = TRUTH[0, 0].astype(np.uint8)
    Image.fromarray(np.stack([grey, 255 - grey], -1), "LA").save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png").pixels[0], grey)


def test_four_interleaved_stains_are_no_alpha(tmp_path: Path) -> None:
    pixels = colours(samples=4)
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels,
        photometric="minisblack",
        planarconfig="contig",
        extrasamples=["unspecified"] * 3,
    )
    picture = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.pixels, pixels.transpose(2, 0, 1))


def test_planar_colours_are_read(tmp_path: Path) -> None:
    planar = np.ascontiguousarray(colours().transpose(2, 0, 1))
    tifffile.imwrite(tmp_path / "a.tif", planar, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, planar)


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_png_of_16_bits_keeps_them(tmp_path: Path, samples: int) -> None:
    pixels = colours(np.uint16, samples)
    (tmp_path / "a.png").write_bytes(png_encode(pixels if samples > 1 else pixels[..., 0]))
    picture = read(tmp_path / "a.png")
    assert picture.pixels.dtype == np.uint16
    assert picture.pixels.max() > 255
    kept = {1: 1, 2: 1, 3: 3, 4: 3}[samples]
    np.testing.assert_array_equal(picture.pixels, pixels[..., :kept].transpose(2, 0, 1))
    assert probe(tmp_path / "a.png").dtype == np.uint16


def test_palette_is_colours_or_with_flat_axes_its_numbers(tmp_path: Path) -> None:
    labels = (TRUTH[0, 0] % 3).astype(np.uint8)
    image = Image.fromarray(labels, "P")
    image.putpalette([0, 0, 0, 200, 0, 0, 0, 0, 90])
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png", axes="YX").pixels[0], labels)
    seen = read(tmp_path / "a.png").pixels
    assert seen.shape == (3, 12, 16)
    np.testing.assert_array_equal(seen[0], np.where(labels == 1, 200, 0))


def test_image_of_one_bit_is_zeros_and_ones(tmp_path: Path) -> None:
    mask = TRUTH[0, 0] % 2 == 0
    Image.fromarray(mask).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", mask)
    np.save(tmp_path / "a.npy", mask)
    for suffix in (".png", ".tif", ".npy"):
        picture = read(tmp_path / f"a{suffix}")
        assert picture.pixels.dtype == np.uint8
        np.testing.assert_array_equal(picture.pixels[0], mask)
        assert probe(tmp_path / f"a{suffix}").dtype == np.uint8


@pytest.mark.parametrize(
    ("shape", "axes", "result"),
    [
        ((12, 16), "CYX", (1, 12, 16)),
        ((12, 16, 3), "CYX", (3, 12, 16)),
        ((3, 12, 16), "CYX", (3, 12, 16)),
        ((7, 12, 16), "CZYX", (1, 7, 12, 16)),
        ((2, 7, 12, 16), "CZYX", (2, 7, 12, 16)),
        ((7, 12, 16, 3), "CZYX", (3, 7, 12, 16)),
    ],
)
def test_array_without_names_of_axes_is_understood(
    tmp_path: Path, shape: tuple[int, ...], axes: str, result: tuple[int, ...]
) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    picture = read(tmp_path / "a.npy")
    assert (picture.axes, picture.pixels.shape) == (axes, result)


def test_single_slice_is_a_volume_only_if_the_axes_say_so(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", TRUTH[:1, :1], ome=True, metadata={"axes": "CZYX"})
    assert read(tmp_path / "a.ome.tif").axes == "CYX"
    volume = read(tmp_path / "a.ome.tif", axes="ZYX")
    assert (volume.axes, volume.pixels.shape) == ("CZYX", (1, 1, 12, 16))


def test_big_endian_files_become_native(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", TRUTH[0, 0], byteorder=">")
    np.save(tmp_path / "a.npy", TRUTH[0, 0].astype(">u2"))
    for suffix in (".tif", ".npy"):
        picture = read(tmp_path / f"a{suffix}")
        assert picture.pixels.dtype.isnative
        np.testing.assert_array_equal(picture.pixels[0], TRUTH[0, 0])


def test_resolution_for_printing_is_no_pixel_size(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "dpi.tif", TRUTH[0, 0], resolution=(72, 72), resolutionunit="INCH")
    assert read(tmp_path / "dpi.tif").spacing is None
    size = (20000, 40000)
    tifffile.imwrite(tmp_path / "um.tif", TRUTH[0, 0], resolution=size, resolutionunit="CENTIMETER")
    assert read(tmp_path / "um.tif").spacing == pytest.approx((0.25, 0.5))
