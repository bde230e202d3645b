"""The contract on files that microscopes, scanners and other programs wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
import tifffile

from imtoolkit.core.errors import DataError
from imtoolkit.io import probe, read, write

pytestmark = pytest.mark.realdata

# file: how to read it, shape, spacing
SAMPLES: dict[str, tuple[dict[str, Any], tuple[int, ...], tuple[float, ...] | None]] = {
    "czi/RGB-8bit.czi": ({}, (3, 624, 924), (1.08333, 1.08333)),
    "czi/s_1_t_1_c_1_z_1.czi": ({}, (1, 325, 475), (1.08333, 1.08333)),
    "czi/tiles_z.czi": ({}, (2, 2, 512, 510), (4.0, 0.830266, 0.830266)),
    "lif/testdata_2channel_xz.lif": (
        {"scene": "xzt", "time": 3},
        (2, 128, 1, 128),
        (0.140279, 0.14028, 0.14028),
    ),
    "lif/xz_c0_t0.tif": ({}, (1, 128, 128), None),
    "nd2/cluster.nd2": ({"time": 1}, (2, 10, 31, 38), (0.5, 0.167809, 0.167809)),
    "imagej_tiff/input1_tyx.tiff": ({"time": 0}, (1, 198, 356), (2.54, 2.54)),
    "imagej_tiff/multi_f.tiff": ({"time": 1}, (2, 169, 169), (0.124242, 0.124242)),
    "imagej_tiff/zcyx.tiff": ({}, (2, 25, 50, 50), (0.054455, 0.43564, 0.43564)),
    "ome_tiff/multiseries.ome.tiff": ({"scene": 2}, (4, 5, 5), (0.65, 0.65)),
    "ome_tiff/res.ome.tiff": ({}, (4, 25, 26), None),
    "ome_tiff/w2s_T4_C3_Z1_256.ome.tif": ({"time": 2}, (3, 256, 256), (0.1625, 0.1625)),
    "ome_zarr/camera.ome.zarr": ({}, (1, 480, 640), None),
    "ome_zarr/cyx_uint8.zarr": ({}, (3, 16, 20), None),
    "ome_zarr/image-02.zarr": ({}, (1, 200, 200), (1.0, 1.0)),
    "png_jpg_tif2d/blobs.tif": ({}, (1, 254, 256), None),
    "png_jpg_tif2d/hela-cells.tif": ({}, (3, 512, 672), (0.051493, 0.051493)),
    "png_jpg_tif2d/maize_clsm.tif": ({}, (1, 640, 639), None),
    "svs/CMU-1-Small-Region.svs": ({}, (3, 2967, 2220), (0.499, 0.499)),
    "hdf5/sample_ovule.h5::raw": ({}, (), ()),
    "nifti_minc_mgh_afni_par/anatomical.nii": ({}, (1, 25, 41, 33), (2.0, 2.0, 2.0)),
    "nifti_minc_mgh_afni_par/example4d.nii.gz": ({}, (2, 24, 96, 128), (2.2, 2.0, 2.0)),
    "nifti_minc_mgh_afni_par/test.mgz": ({}, (2, 5, 4, 3), (3.741657,) * 3),
    "dicom/galaxy/ct_image.dcm": ({}, (1, 128, 128), (0.661468, 0.661468)),
    "dicom/galaxy/heart_ct_5813.dcm": ({}, (1, 512, 512), (0.878906, 0.878906)),
    "dicom/galaxy/seg_image_ct_binary.dcm": ({}, (1, 3, 16, 16), (1.25, 0.488281, 0.488281)),
    "dicom/pydicom/CT_small.dcm": ({}, (1, 128, 128), (0.661468, 0.661468)),
    "dicom/pydicom/JPEG2000.dcm": ({}, (1, 1024, 256), (2.26, 2.26)),
    "dicom/pydicom/MR_small.dcm": ({}, (1, 64, 64), (0.3125, 0.3125)),
    "dicom/pydicom/examples_ybr_color.dcm": ({"time": 7}, (3, 240, 320), None),
    "dicom/torchio_series": ({}, (1, 17, 128, 88), (2.0, 2.0, 2.0)),
    # a crystal, whose columns lie along Z, rows along X and sections along Y
    "mrc/EMD-3001.map": ({}, (1, 73, 25, 43), (4.5875e-5, 3.925e-5, 4.4825e-5)),
}


@pytest.fixture(scope="module")
def samples(real_data: Path) -> Path:
    return real_data / "reader_samples"


@pytest.mark.parametrize("name", SAMPLES)
def test_contract(samples: Path, name: str) -> None:
    if name.startswith("mrc"):
        pytest.importorskip("mrcfile")
    how, shape, spacing = SAMPLES[name]
    picture, info = read(samples / name, **how), probe(samples / name, **how)
    if shape:
        assert picture.pixels.shape == shape
        assert picture.spacing == (pytest.approx(spacing, rel=1e-5) if spacing else None)
    assert picture.axes == ("CYX" if picture.pixels.ndim == 3 else "CZYX")
    assert len(picture.channel_names) == len(picture.pixels)
    assert picture.pixels.dtype.isnative
    assert picture.pixels.max() > picture.pixels.min()  # not a field of zeros
    assert (info.shape, info.dtype) == (picture.pixels.shape, picture.pixels.dtype)
    assert (info.spacing, info.unit) == (picture.spacing, picture.unit)
    last = read(samples / name, **how, channels=[len(picture.pixels) - 1])
    np.testing.assert_array_equal(last.pixels, picture.pixels[-1:])
    if picture.axes == "CZYX":
        part = read(samples / name, **how, z_range=(1, 2), axes=None)
        np.testing.assert_array_equal(part.pixels, picture.pixels[:, 1:2])


def test_every_sample_is_read_here(samples: Path) -> None:
    listed = {name.split("::")[0] for name in SAMPLES}
    present = {
        str(path.relative_to(samples).as_posix())
        for path in [*samples.glob("*/*"), *samples.glob("dicom/*/*.dcm")]
        if path.parent.name != "dicom" and path.parent.name != "torchio_series"
    }
    assert present - listed == set()


@pytest.mark.parametrize(
    "name",
    [
        "lif/testdata_2channel_xz.lif",
        "ome_tiff/multiseries.ome.tiff",
        "nd2/cluster.nd2",
        "imagej_tiff/multi_f.tiff",
        "dicom/pydicom",
    ],
)
def test_several_scenes_or_times_without_a_choice_are_refused(samples: Path, name: str) -> None:
    with pytest.raises(DataError, match="none was chosen"):
        read(samples / name)


@pytest.mark.parametrize("name", [name for name in SAMPLES if name.endswith((".tif", ".tiff"))])
def test_tiff_gives_the_same_through_bioio(samples: Path, name: str) -> None:
    how = dict(SAMPLES[name][0])
    forced = {"name": "BioImageReader", "params": {"image_class": "bioio.BioImage"}}
    ours, theirs = read(samples / name, **how), read(samples / name, **how, reader=forced)
    np.testing.assert_array_equal(ours.pixels, theirs.pixels)
    assert ours.channel_names == theirs.channel_names
    if ours.spacing is not None:
        assert theirs.spacing == pytest.approx(ours.spacing, rel=1e-5)


def test_colours_of_a_czi_are_in_agreement_with_zeiss(samples: Path) -> None:
    pyczi = pytest.importorskip("pylibCZIrw.czi")
    with pyczi.open_czi(str(samples / "czi/RGB-8bit.czi")) as file:
        blue_green_red = file.read(plane={"T": 0, "C": 0, "Z": 0})
    picture = read(samples / "czi/RGB-8bit.czi")
    assert picture.channel_names == ("red", "green", "blue")
    np.testing.assert_array_equal(picture.pixels, blue_green_red[..., ::-1].transpose(2, 0, 1))


def test_mosaic_of_a_czi_is_in_agreement_with_zeiss(samples: Path) -> None:
    pyczi = pytest.importorskip("pylibCZIrw.czi")
    picture = read(samples / "czi/tiles_z.czi")
    with pyczi.open_czi(str(samples / "czi/tiles_z.czi")) as file:
        for channel, depth in np.ndindex(2, 2):
            plane = file.read(plane={"T": 0, "C": channel, "Z": depth})[..., 0]
            np.testing.assert_array_equal(picture.pixels[channel, depth], plane)


def test_lif_slice_is_in_agreement_with_its_exported_tiff(samples: Path) -> None:
    lif = read(samples / "lif/testdata_2channel_xz.lif", scene="xzt", time=0, channels=[0])
    tif = tifffile.imread(samples / "lif/xz_c0_t0.tif")
    np.testing.assert_array_equal(lif.pixels[0, :, 0], tif)


def test_nifti_is_in_agreement_with_nibabel(samples: Path, tmp_path: Path) -> None:
    name = samples / "nifti_minc_mgh_afni_par/example4d.nii.gz"
    volume: Any = nibabel.load(name)
    picture = read(name)
    np.testing.assert_array_equal(picture.pixels, np.asarray(volume.dataobj).transpose(3, 2, 1, 0))
    np.testing.assert_array_equal(picture.affine, volume.affine)
    again: Any = nibabel.load(write(tmp_path / "a.nii.gz", picture.pixels, affine=picture.affine))
    np.testing.assert_array_equal(again.affine, volume.affine)
    np.testing.assert_array_equal(np.asarray(again.dataobj), np.asarray(volume.dataobj))


def test_hdf5_is_in_agreement_with_h5py(samples: Path) -> None:
    path = samples / "hdf5/sample_ovule.h5"
    with h5py.File(path) as file:
        raw, label = file["raw"][()], file["label"][()]
        spacing = tuple(file["raw"].attrs["element_size_um"])
    picture = read(f"{path}::raw", z_range=(2, 4))
    np.testing.assert_array_equal(picture.pixels[0], raw[2:4])
    assert picture.spacing == pytest.approx(spacing)
    np.testing.assert_array_equal(read(f"{path}::label").pixels[0], label)


def test_nuclei_of_the_data_science_bowl_are_read_as_they_are(real_data: Path) -> None:
    files = sorted((real_data / "dsb2018_fluo").rglob("*.tif"))[:20]
    assert files
    for file in files:
        np.testing.assert_array_equal(read(file).pixels[0], tifffile.imread(file))
