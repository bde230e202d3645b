"""DICOM, MRC and the corners of NIfTI, on files made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from imtoolkit.core.errors import DataError
from imtoolkit.io import probe, read, write
from tests.helpers.image_files import AFFINE, TRUTH

SERIES = "1.2.826.0.1.3680043.8.498.1"


def slice_file(path: Path, plane: Any, number: int, series: str = SERIES, **tags: Any) -> None:
    """Write an axial slice with 0.25 x 0.5 mm pixels, 2 mm from the next."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    item = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    item.SOPClassUID, item.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    item.SeriesInstanceUID, item.InstanceNumber = series, number
    item.Rows, item.Columns = plane.shape[-2:]
    item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
    item.BitsAllocated = item.BitsStored = 16
    item.HighBit, item.PixelRepresentation = 15, 0
    item.PixelSpacing = [0.5, 0.25]
    item.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    item.ImagePositionPatient = [10, 20, 30 + 2.0 * number]
    for name, value in tags.items():
        setattr(item, name, value)
    item.PixelData = np.ascontiguousarray(plane, dtype=np.uint16).tobytes()
    item.save_as(path, enforce_file_format=True)


@pytest.fixture
def series(tmp_path: Path) -> Path:
    folder = tmp_path / "scan"
    folder.mkdir()
    # names run against the order of the slices, and the folder holds notes as well
    for number in range(5):
        slice_file(folder / f"IM{9 - number}", TRUTH[0, number], number)
    (folder / "README.txt").write_text("scanned on a Monday")
    return folder


def test_folder_of_slices_is_a_volume_in_the_order_of_the_slices(series: Path) -> None:
    picture = read(series)
    np.testing.assert_array_equal(picture.pixels, TRUTH[:1])
    assert picture.spacing == pytest.approx((2.0, 0.5, 0.25))
    assert picture.unit == "millimeter"
    # DICOM's x and y point left and back, the affine's right and front
    assert picture.affine is not None
    np.testing.assert_allclose(picture.affine @ [0, 0, 0, 1], [-10, -20, 30, 1])
    np.testing.assert_allclose(picture.affine @ [4, 2, 1, 1], [-11, -21, 32, 1])


def test_file_without_suffix_is_recognised_as_dicom(series: Path) -> None:
    picture = read(series / "IM9")
    np.testing.assert_array_equal(picture.pixels, TRUTH[:1, 0])
    assert picture.spacing == pytest.approx((0.5, 0.25))


def test_series_of_one_folder_are_its_scenes(series: Path) -> None:
    other = SERIES + ".7"
    for number in range(3):
        slice_file(series / f"OTHER{number}", TRUTH[1, number], number, series=other)
    with pytest.raises(DataError, match="2 scenes"):
        read(series)
    assert set(probe(series).scenes) == {SERIES, other}
    np.testing.assert_array_equal(read(series, scene=other).pixels, TRUTH[1:, :3])
    np.testing.assert_array_equal(read(series, scene=SERIES).pixels, TRUTH[:1])


def test_slices_of_unequal_size_are_refused(series: Path) -> None:
    slice_file(series / "IM0", TRUTH[0, 0, :8], 5)
    with pytest.raises(DataError, match="must be of one size"):
        read(series)


def test_values_are_rescaled_to_float32(tmp_path: Path) -> None:
    slice_file(tmp_path / "a.dcm", TRUTH[0, 0], 0, RescaleSlope=2, RescaleIntercept=-1024)
    picture = read(tmp_path / "a.dcm")
    assert picture.pixels.dtype == np.float32
    np.testing.assert_array_equal(picture.pixels[0], TRUTH[0, 0] * 2.0 - 1024)


def test_frames_of_one_file_are_slices_or_with_a_frame_time_a_film(tmp_path: Path) -> None:
    slice_file(tmp_path / "a.dcm", TRUTH[0], 0, NumberOfFrames=5, SliceThickness=2)
    picture = read(tmp_path / "a.dcm")
    np.testing.assert_array_equal(picture.pixels, TRUTH[:1])
    assert picture.spacing == pytest.approx((2.0, 0.5, 0.25))
    slice_file(tmp_path / "b.dcm", TRUTH[0], 0, NumberOfFrames=5, FrameTime=40)
    np.testing.assert_array_equal(read(tmp_path / "b.dcm", time=2).pixels, TRUTH[:1, 2])


def test_dicom_that_was_cut_is_refused(series: Path) -> None:
    whole = (series / "IM9").read_bytes()
    (series / "IM9").write_bytes(whole[:-50])
    with pytest.raises(DataError, match="damaged"):
        read(series / "IM9")
    with pytest.raises(DataError, match="damaged"):
        read(series)


def test_prediction_is_placed_where_the_patient_lies(series: Path, tmp_path: Path) -> None:
    picture = read(series)
    labels = (picture.pixels[0] > 900).astype(np.int64)
    path = write(tmp_path / "p.nii.gz", labels, spacing=picture.spacing, affine=picture.affine)
    np.testing.assert_allclose(nibabel.load(path).affine, picture.affine)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(read(path).pixels[0], labels)


# --- NIfTI ----------------------------------------------------------------------------------------


def test_scaled_nifti_is_a_float(tmp_path: Path) -> None:
    volume = nibabel.Nifti1Image(TRUTH[0].astype(np.int16), np.eye(4))
    volume.header.set_slope_inter(0.5, 10)
    nibabel.save(volume, tmp_path / "a.nii.gz")
    info, picture = probe(tmp_path / "a.nii.gz"), read(tmp_path / "a.nii.gz")
    assert info.dtype == picture.pixels.dtype
    assert picture.pixels.dtype.kind == "f"
    reference = np.asanyarray(nibabel.load(tmp_path / "a.nii.gz").dataobj)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(picture.pixels[0], reference.transpose(2, 1, 0))


def test_time_of_a_nifti_is_chosen_when_the_axes_say_so(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(TRUTH.transpose(3, 2, 1, 0), AFFINE), tmp_path / "a.nii")
    np.testing.assert_array_equal(read(tmp_path / "a.nii", axes="TZYX", time=1).pixels, TRUTH[1:])
    with pytest.raises(DataError, match="2 time points"):
        read(tmp_path / "a.nii", axes="TZYX")


def test_nifti_in_metres_is_in_millimetres(tmp_path: Path) -> None:
    volume = nibabel.Nifti1Image(TRUTH[0].astype(np.int16), np.diag([0.002, 0.001, 0.003, 1]))
    volume.header.set_xyzt_units("meter")
    nibabel.save(volume, tmp_path / "a.nii")
    assert read(tmp_path / "a.nii").spacing == pytest.approx((3.0, 1.0, 2.0))


def test_colours_of_a_nifti_are_channels(tmp_path: Path) -> None:
    rgb = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    voxels = np.zeros((4, 5, 6), rgb)
    voxels["G"] = np.arange(120).reshape(4, 5, 6)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "a.nii")
    picture = read(tmp_path / "a.nii")
    assert (picture.channel_names, picture.pixels.shape) == (("red", "green", "blue"), (3, 6, 5, 4))
    np.testing.assert_array_equal(picture.pixels[1], voxels["G"].transpose(2, 1, 0))


# --- MRC ------------------------------------------------------------------------------------------


def test_mrc_is_a_volume_with_its_voxel_size(tmp_path: Path) -> None:
    mrcfile = pytest.importorskip("mrcfile", reason="the extra 'formats' is not installed")
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(TRUTH[0].astype(np.float32))
        file.voxel_size = (4.0, 8.0, 12.0)  # X, Y, Z in Å
    picture = read(tmp_path / "a.mrc", z_range=(1, 4))
    np.testing.assert_array_equal(picture.pixels[0], TRUTH[0, 1:4])
    assert picture.spacing == pytest.approx((12e-4, 8e-4, 4e-4), rel=1e-5)
    (tmp_path / "a.mrc").write_bytes((tmp_path / "a.mrc").read_bytes()[:-100])
    with pytest.raises(DataError, match="damaged"):
        read(tmp_path / "a.mrc")


def test_pydicom_is_the_one_that_was_tested() -> None:
    assert int(pydicom.__version__.split(".")[0]) >= 2
