"""One contract, run over every format: axes, values, pixel size, names, partial reading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imtoolkit.io import open_frames, probe, read
from tests.helpers.image_files import (
    AFFINE,
    FLAT,
    MILLIMETER,
    SPACING,
    TRUTH,
    VOLUMES,
    WITH_NAMES,
    WITHOUT_SPACING,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("formats")
    for name, make in {**VOLUMES, **FLAT}.items():
        make(made / name)
    return made


@pytest.mark.parametrize("name", VOLUMES)
def test_volume_is_read_as_czyx_with_every_value_in_its_place(folder: Path, name: str) -> None:
    picture = read(folder / name)
    assert picture.axes == "CZYX"
    assert picture.pixels.dtype == (np.int32 if name.endswith(".mgz") else np.uint16)
    assert picture.pixels.dtype.isnative
    np.testing.assert_array_equal(picture.pixels, TRUTH)


@pytest.mark.parametrize("name", sorted({*VOLUMES, *FLAT} - {"v2.ome.zarr", "v3.ome.zarr"}))
def test_pixels_stay_when_their_file_is_gone_and_may_be_written(tmp_path: Path, name: str) -> None:
    {**VOLUMES, **FLAT}[name](tmp_path / name)
    before = probe(tmp_path / name)
    picture = read(tmp_path / name)
    kept = picture.pixels.copy()
    (tmp_path / name).write_bytes(b"\0" * (tmp_path / name).stat().st_size)
    np.testing.assert_array_equal(picture.pixels, kept)
    picture.pixels[...] = 0
    assert before.shape == kept.shape


@pytest.mark.parametrize("name", sorted(set(VOLUMES) - WITHOUT_SPACING))
def test_pixel_size_is_in_zyx_with_its_unit(folder: Path, name: str) -> None:
    picture = read(folder / name)
    assert picture.spacing == pytest.approx(SPACING, rel=1e-6)
    assert picture.unit == ("millimeter" if name in MILLIMETER else "micrometer")


@pytest.mark.parametrize("name", sorted(WITHOUT_SPACING))
def test_nothing_is_made_up_where_the_file_has_no_pixel_size(folder: Path, name: str) -> None:
    picture = read(folder / name)
    assert (picture.spacing, picture.unit, picture.affine) == (None, None, None)


@pytest.mark.parametrize("name", VOLUMES)
def test_probe_tells_what_read_returns(folder: Path, name: str) -> None:
    info, picture = probe(folder / name, channels=[1]), read(folder / name, channels=[1])
    assert info.shape == picture.pixels.shape
    assert info.dtype == picture.pixels.dtype
    assert (info.axes, info.spacing, info.unit) == (picture.axes, picture.spacing, picture.unit)
    assert info.channel_names == picture.channel_names
    assert (len(info.scenes), info.times) == (1, 1)


@pytest.mark.parametrize("name", VOLUMES)
def test_channels_and_slices_are_chosen_in_the_order_asked_for(folder: Path, name: str) -> None:
    picture = read(folder / name, channels=[1, 0], z_range=(1, 3))
    np.testing.assert_array_equal(picture.pixels, TRUTH[[1, 0], 1:3])
    one = read(folder / name, channels=[1])
    np.testing.assert_array_equal(one.pixels, TRUTH[1:])


@pytest.mark.parametrize("name", sorted(WITH_NAMES))
def test_channels_have_their_names_and_are_chosen_by_them(folder: Path, name: str) -> None:
    assert read(folder / name).channel_names == ("DAPI", "GFP")
    picture = read(folder / name, channels=["gfp"])  # case does not matter
    assert picture.channel_names == ("GFP",)
    np.testing.assert_array_equal(picture.pixels, TRUTH[1:])


@pytest.mark.parametrize("name", sorted(MILLIMETER))
def test_affine_is_exact_and_moves_with_the_first_slice(folder: Path, name: str) -> None:
    affine = read(folder / name).affine
    assert affine is not None
    np.testing.assert_allclose(affine, AFFINE, atol=0 if name != "image.mgz" else 1e-6)
    part = read(folder / name, z_range=(2, 4)).affine
    assert part is not None
    np.testing.assert_allclose(part @ [0, 0, 0, 1], AFFINE @ [0, 0, 2, 1], atol=1e-6)


@pytest.mark.parametrize("name", VOLUMES)
def test_axes_may_be_said_and_are_then_those_of_the_file(folder: Path, name: str) -> None:
    stored = probe(folder / name).file_axes.replace("T", "")
    picture = read(folder / name, axes=stored)
    np.testing.assert_array_equal(picture.pixels, TRUTH)
    # the user is right where the file calls its slices channels and its channels slices
    swapped = stored.translate(str.maketrans("CZ", "ZC"))
    np.testing.assert_array_equal(
        read(folder / name, axes=swapped).pixels, TRUTH.transpose(1, 0, 2, 3)
    )


@pytest.mark.parametrize("name", FLAT)
def test_flat_image_is_read_as_cyx(folder: Path, name: str) -> None:
    picture = read(folder / name)
    assert picture.axes == "CYX"
    assert picture.channel_names == ("0",)
    np.testing.assert_array_equal(picture.pixels, TRUTH[:1, 0].astype(np.uint8))
    np.testing.assert_array_equal(read(folder / name, axes="YX").pixels, picture.pixels)
    np.testing.assert_array_equal(read(folder / name, axes="CYX").pixels, picture.pixels)


@pytest.mark.parametrize("name", ["image.ome.tif", "packed.ome.tiff", "imagej.tif"])
def test_tiff_gives_the_same_through_bioio(folder: Path, name: str) -> None:
    forced = {"name": "BioImageReader", "params": {"image_class": "bioio.BioImage"}}
    ours, theirs = read(folder / name), read(folder / name, reader=forced)
    np.testing.assert_array_equal(ours.pixels, theirs.pixels)
    assert ours.channel_names == theirs.channel_names
    if name == "imagej.tif":
        assert ours.spacing == pytest.approx(theirs.spacing)
    else:
        # bioio takes the numbers of OME-TIFF without their units, and these are in nm, µm and mm
        assert ours.spacing == pytest.approx(SPACING)


@pytest.mark.parametrize("name", ["grey.png", "grey.tif", "grey.bmp"])
def test_flat_image_gives_the_same_through_bioio(folder: Path, name: str) -> None:
    forced = {"name": "BioImageReader", "params": {"image_class": "bioio.BioImage"}}
    ours, theirs = read(folder / name), read(folder / name, reader=forced)
    np.testing.assert_array_equal(ours.pixels, theirs.pixels)
    assert ours.axes == theirs.axes


def test_several_files_are_the_channels_of_one_image(folder: Path) -> None:
    files = [folder / "grey.png", folder / "grey.tif", folder / "grey.npy"]
    picture = read(files)
    assert picture.pixels.shape == (3, 12, 16)
    assert picture.channel_names == ("0", "1", "2")
    assert read(files, channels=[2]).pixels.shape == (1, 12, 16)


def test_reading_slices_of_a_zarr_reads_only_their_chunks(tmp_path: Path) -> None:
    VOLUMES["v2.ome.zarr"](tmp_path / "a.ome.zarr")
    for chunk in (tmp_path / "a.ome.zarr" / "0").glob("**/[0-9]*"):
        # damage every chunk but those of slice 3; a reader that touches them fails
        if chunk.is_file() and "3" not in str(chunk.relative_to(tmp_path)).split("0", 1)[1]:
            chunk.write_bytes(b"broken")
    np.testing.assert_array_equal(
        read(tmp_path / "a.ome.zarr", z_range=(3, 4), axes="CZYX").pixels, TRUTH[:, 3:4]
    )


def test_dv_is_read(tmp_path: Path) -> None:
    pytest.importorskip("bioio_dv", reason="needs imtoolkit[formats]")
    import mrc  # comes with bioio-dv

    mrc.imsave(str(tmp_path / "a.dv"), TRUTH)
    picture = read(tmp_path / "a.dv")
    np.testing.assert_array_equal(picture.pixels, TRUTH)
    with open_frames(tmp_path / "a.dv") as frames:
        assert frames.times is None
