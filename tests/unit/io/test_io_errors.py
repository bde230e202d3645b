"""What a file can be wrong about: one clear message that names it and says what to do."""

from __future__ import annotations

import builtins
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import h5py
import imageio.v3 as iio
import nibabel
import numpy as np
import pytest
import tifffile

from imtoolkit.core.errors import ComponentError, DataError, MissingPackageError
from imtoolkit.io import probe, read
from tests.helpers.image_files import TRUTH, VOLUMES


def refused(path: Path | str, *words: str, **how: Any) -> str:
    """Read, expect a `DataError` that names the file and has all words, and return its text."""
    with pytest.raises(DataError) as caught:
        read(path, **how)
    text = str(caught.value)
    assert Path(str(path).split("::")[0]).name in text
    for word in words:
        assert word in text, text
    return text


def test_missing_file_suggests_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "cell_01.tif").touch()
    refused(tmp_path / "cell_1.tif", "does not exist", "Did you mean 'cell_01.tif'?")
    refused(tmp_path / "nowhere" / "a.tif", "nor does its folder")


def test_dangling_link_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.tif").symlink_to(tmp_path / "gone.tif")
    refused(tmp_path / "a.tif", "is a link to", "gone.tif")


@pytest.mark.parametrize("suffix", [".tif", ".png", ".nii.gz", ".npy", ".h5", ".czi", ".dcm"])
def test_empty_file_is_told(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").touch()
    refused(tmp_path / f"a{suffix}", "is empty (0 bytes)")


@pytest.mark.parametrize(
    "suffix",
    [
        *(".tif", ".ome.tif", ".png", ".jpg", ".bmp", ".nii", ".nii.gz", ".mgz", ".npy", ".npz"),
        *(".h5", ".dcm", ".czi", ".nd2", ".lif", ".mrc"),
    ],
)
def test_text_with_the_suffix_of_an_image_is_refused(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").write_text("these are my notes of the experiment\n" * 40)
    refused(tmp_path / f"a{suffix}")


@pytest.mark.parametrize(
    "options", ["contiguous", "strips", "zlib", "tiles", "pages", "imagej", "ome"]
)
@pytest.mark.parametrize("kept", [0.03, 0.3, 0.5, 0.95])
def test_tiff_that_was_cut_is_refused_and_never_filled_with_zeros(
    tmp_path: Path, options: str, kept: float
) -> None:
    path = tmp_path / "a.tif"
    stack = np.random.default_rng(0).integers(1, 60000, (6, 64, 80), dtype=np.uint16)
    how: dict[str, dict[str, Any]] = {
        "contiguous": {},
        "strips": {"rowsperstrip": 8},
        "zlib": {"compression": "zlib", "rowsperstrip": 8},
        "tiles": {"tile": (32, 32)},
        "imagej": {"imagej": True},
        "ome": {"ome": True, "compression": "zlib"},
    }
    if options == "pages":
        with tifffile.TiffWriter(path) as writer:
            for plane in stack:
                writer.write(plane, contiguous=False, metadata=None)
    else:
        tifffile.imwrite(path, stack, metadata={"axes": "ZYX"}, **how[options])
    np.testing.assert_array_equal(read(path, axes="ZYX").pixels[0], stack)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    refused(path)


def test_tiff_whose_last_strip_is_cut_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, TRUTH[0, 0], rowsperstrip=2, metadata=None)
    path.write_bytes(path.read_bytes()[:-10])
    refused(path, "cut short", "Copy or export it again")


def test_single_planes_of_a_cut_tiff_are_checked_as_well(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, TRUTH[0], ome=True, metadata={"axes": "ZYX"}, compression="zlib")
    with tifffile.TiffFile(path) as file:
        broken = file.pages[4].dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[broken : broken + 20] = b"\xff" * 20
    path.write_bytes(content)
    np.testing.assert_array_equal(read(path, z_range=(0, 4)).pixels, TRUTH[:1, :4])
    refused(path, "damaged", z_range=(4, 5))


def test_ome_tiff_of_several_files_is_whole_or_refused(tmp_path: Path) -> None:
    parts = "".join(
        f'<TiffData FirstC="{n}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="c{n}.ome.tif">urn:uuid:0000-{n}</UUID></TiffData>'
        for n in range(2)
    )
    for n in range(2):
        xml = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:0000-{n}"><Image ID="Image:0"><Pixels ID="Pixels:0" Type="uint16" '
            'DimensionOrder="XYCZT" SizeX="16" SizeY="12" SizeC="2" SizeZ="1" SizeT="1">'
            f'<Channel ID="a"/><Channel ID="b"/>{parts}</Pixels></Image></OME>'
        )
        tifffile.imwrite(tmp_path / f"c{n}.ome.tif", TRUTH[n, 0], description=xml, metadata=None)
    for n in range(2):
        np.testing.assert_array_equal(read(tmp_path / f"c{n}.ome.tif").pixels, TRUTH[:, 0])
        np.testing.assert_array_equal(
            read(tmp_path / f"c{n}.ome.tif", channels=[1]).pixels, TRUTH[1:, 0]
        )
    (tmp_path / "c1.ome.tif").unlink()
    refused(tmp_path / "c0.ome.tif")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
def test_nifti_that_was_cut_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    noise = np.random.default_rng(0).integers(0, 1000, (40, 40, 40)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(noise, np.eye(4)), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, "Copy or export it again")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_picture_that_was_cut_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    iio.imwrite(path, np.random.default_rng(0).integers(0, 255, (90, 90)).astype(np.uint8))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, "damaged")


@pytest.mark.parametrize("name", ["image.npy", "image.npz", "image.h5"])
def test_array_that_was_cut_is_refused(tmp_path: Path, name: str) -> None:
    VOLUMES[name](tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / name, "damaged")


def test_pickled_array_is_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (builtins.print, ("executed",))

    np.save(tmp_path / "a.npy", np.array([[Trap()]], dtype=object), allow_pickle=True)
    refused(tmp_path / "a.npy")
    np.savez(tmp_path / "a.npz", image=np.array([[Trap()]], dtype=object))
    refused(tmp_path / "a.npz")
    with pytest.raises(ComponentError, match="run code"):
        read(tmp_path / "a.npy", reader={"name": "NumpyReader", "params": {"allow_pickle": True}})


# --- axes -----------------------------------------------------------------------------------------


def test_volume_axes_for_a_flat_file_are_refused_with_those_that_fit(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", TRUTH[0, 0])
    refused(tmp_path / "a.tif", "got axes 'ZYX'", "(12, 16)", "Say axes 'YX'", axes="ZYX")
    iio.imwrite(tmp_path / "a.png", np.zeros((12, 16, 3), np.uint8))
    refused(tmp_path / "a.png", "colours", "Say axes 'YXC'", axes="ZYX")
    refused(tmp_path / "a.png", "got axes 'YX'", axes="YX")


@pytest.mark.parametrize("axes", ["QYX", "ZY", "YYX", "XYZW"])
def test_axes_that_mean_nothing_are_refused(tmp_path: Path, axes: str) -> None:
    np.save(tmp_path / "a.npy", TRUTH[0])
    refused(tmp_path / "a.npy", "not understood", axes=axes)


def test_flat_axes_for_a_volume_are_refused(tmp_path: Path) -> None:
    VOLUMES["image.nii"](tmp_path / "a.nii")
    refused(tmp_path / "a.nii", "got axes 'YX'", "CZYX", axes="YX")


# --- scenes, time, channels, slices ---------------------------------------------------------------


def scenes_file(path: Path) -> None:
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(TRUTH[0, 0], metadata={"axes": "YX", "Name": "left"})
        writer.write(TRUTH[1, 1], metadata={"axes": "YX", "Name": "right"})


def test_several_scenes_need_a_choice_by_number_or_name(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    scenes_file(path)
    refused(path, "2 scenes ('left', 'right')", "data.scene")
    for choice in (1, "right", "Image:1", "1"):
        np.testing.assert_array_equal(read(path, scene=choice).pixels[0], TRUTH[1, 1])
    refused(path, "no scene 'rigth'", "Did you mean 'right'?", scene="rigth")
    refused(path, "no scene 2", scene=2)
    assert probe(path).scenes == ("left", "right")


def test_several_time_points_need_a_choice(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, TRUTH[0], ome=True, metadata={"axes": "TYX"})
    refused(path, "5 time points", "data.time")
    np.testing.assert_array_equal(read(path, time=3).pixels, TRUTH[0, 3:4])
    refused(path, "no time point 5", time=5)
    assert probe(path).times == 5
    # a stack that was saved as time: the axes mend it
    np.testing.assert_array_equal(read(path, axes="ZYX").pixels, TRUTH[:1])


def test_unknown_channels_and_slices_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    VOLUMES["image.ome.tif"](path)
    refused(path, "no channel 'DAP'", "Did you mean 'DAPI'?", channels=["DAP"])
    refused(path, "no channel 2", "'DAPI', 'GFP'", channels=[2])
    refused(path, "no channel was chosen", channels=[])
    refused(path, "within [0, 5]", z_range=(3, 6))
    refused(path, "within [0, 5]", z_range=(3, 3))
    with pytest.raises(DataError, match="expected two numbers"):
        read(path, z_range=[1])


# --- containers, suffixes, packages ---------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_several_arrays_need_a_key(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"set{suffix}"
    if suffix == ".npz":
        np.savez(path, raw=TRUTH[0, 0], label=TRUTH[1, 0])
    else:
        with h5py.File(path, "w") as file:
            file["raw"], file["label"] = TRUTH[0, 0], TRUTH[1, 0]
    refused(path, "2 arrays", "Choose one: 'set")
    np.testing.assert_array_equal(read(f"{path}::raw").pixels, TRUTH[:1, 0])
    np.testing.assert_array_equal(read(f"{path}::label").pixels, TRUTH[1:, 0])
    refused(f"{path}::rax", "no array 'rax'", "Did you mean 'raw'?")


def test_rows_of_a_set_are_read_one_by_one(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "set.npz", images=TRUTH[0], colours=TRUTH.transpose(1, 2, 3, 0))
    np.save(tmp_path / "set.npy", TRUTH[0])
    for name in ("set.npz::images::3", "set.npy::3"):
        np.testing.assert_array_equal(read(tmp_path / name).pixels, TRUTH[:1, 3])
    rgb = read(tmp_path / "set.npz::colours::2", axes="YXC")
    np.testing.assert_array_equal(rgb.pixels, TRUTH[:, 2])
    refused(tmp_path / "set.npy::5", "no row '5'")
    refused(tmp_path / "set.npz::images::x", "no row 'x'")


def test_key_on_a_file_that_holds_one_image_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", TRUTH[0, 0])
    refused(f"{tmp_path / 'a.tif'}::raw", "holds one image")


def test_unknown_suffix_lists_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.tiv").write_bytes(b"something")
    refused(tmp_path / "a.tiv", "'.tiv' is not one that imtoolkit reads", "Did you mean '.tif'?")
    (tmp_path / "a.xyz").write_bytes(b"something")
    refused(tmp_path / "a.xyz", ".ome.zarr", "image_class: bioio.BioImage")


def test_folder_that_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "slices").mkdir()
    (tmp_path / "slices" / "notes.txt").write_text("nothing here" * 20)
    refused(tmp_path / "slices", "without DICOM files")
    (tmp_path / "a.zarr").mkdir()
    refused(tmp_path / "a.zarr", "no OME-Zarr")
    (tmp_path / "a.zarr" / ".zattrs").write_text("{broken")
    refused(tmp_path / "a.zarr", ".zattrs is damaged")
    (tmp_path / "a.zarr" / ".zattrs").write_text("{}")
    refused(tmp_path / "a.zarr", "no 'multiscales'")


@pytest.mark.parametrize(
    ("suffix", "module", "package", "line"),
    [
        (".czi", "bioio_czi", "bioio-czi", "pip install 'imtoolkit[formats]'"),
        (".dv", "bioio_dv", "bioio-dv", "pip install 'imtoolkit[formats]'"),
        (".sldy", "bioio_sldy", "bioio-sldy", "pip install bioio-sldy"),
        (".dcm", "pydicom", "pydicom", "pip install 'imtoolkit[formats]'"),
        (".mrc", "mrcfile", "mrcfile", "pip install 'imtoolkit[formats]'"),
    ],
)
def test_missing_package_comes_with_the_line_that_installs_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
    module: str,
    package: str,
    line: str,
) -> None:
    (tmp_path / f"a{suffix}").write_bytes(b"x" * 200)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError, match=f"{re.escape(line)}$") as caught:
        read(tmp_path / f"a{suffix}")
    assert package in str(caught.value)


def test_every_package_that_reads_a_format_is_in_the_extra_that_the_message_names() -> None:
    from imtoolkit.io.bio import _ALONE
    from imtoolkit.io.names import VENDOR

    text = (Path(__file__).resolve().parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    extra = tomllib.loads(text)["project"]["optional-dependencies"]["formats"]
    named = {re.split(r"[<>=]", requirement)[0].strip() for requirement in extra}
    plugins = {module.replace("_", "-") for module in VENDOR.values() if module not in _ALONE}
    assert named == plugins | {"pydicom", "mrcfile"}
