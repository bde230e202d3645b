"""`BioImageReader` in MONAI, and readers that a config or a user chooses."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.data import ImageReader
from monai.transforms import Compose, EnsureChannelFirstd, LoadImage, LoadImaged, Spacingd

from imtoolkit.config.sections import Component
from imtoolkit.core.errors import ComponentError, DataError
from imtoolkit.io import probe, read
from imtoolkit.io.reader import BioImageReader
from tests.helpers.image_files import AFFINE, SPACING, TRUTH, VOLUMES


@pytest.mark.parametrize("name", ["image.ome.tif", "image.nii.gz", "v3.ome.zarr"])
def test_monai_loads_every_format_channel_first(tmp_path: Path, name: str) -> None:
    VOLUMES[name](tmp_path / name)
    load = Compose(
        [LoadImaged(keys="image", reader=BioImageReader()), EnsureChannelFirstd(keys="image")]
    )
    image = load({"image": str(tmp_path / name)})["image"]
    np.testing.assert_array_equal(image.numpy(), TRUTH)
    assert image.meta["original_channel_dim"] == 0
    assert image.pixdim.numpy() == pytest.approx(SPACING)
    assert tuple(image.meta["spatial_shape"]) == (5, 12, 16)


def test_affine_belongs_to_the_axes_in_the_order_zyx(tmp_path: Path) -> None:
    VOLUMES["image.nii"](tmp_path / "a.nii")
    affine = LoadImage(reader=BioImageReader(), image_only=True)(str(tmp_path / "a.nii")).affine
    z, y, x = 3, 7, 11
    np.testing.assert_allclose(affine.numpy() @ [z, y, x, 1], AFFINE @ [x, y, z, 1])


def test_monai_resamples_by_the_pixel_size(tmp_path: Path) -> None:
    VOLUMES["image.ome.tif"](tmp_path / "a.ome.tif")
    load = Compose(
        [
            LoadImaged(keys="image", reader=BioImageReader(channels=[0])),
            EnsureChannelFirstd(keys="image"),
            Spacingd(keys="image", pixdim=(1.0, 0.5, 0.25)),
        ]
    )
    image = load({"image": str(tmp_path / "a.ome.tif")})["image"]
    assert tuple(image.shape) == (1, 9, 12, 16)


def test_selection_of_the_reader_counts_and_that_of_the_call_wins(tmp_path: Path) -> None:
    VOLUMES["image.ome.tif"](tmp_path / "a.ome.tif")
    path, reader = tmp_path / "a.ome.tif", BioImageReader(channels=["GFP"], z_range=(1, 3))
    np.testing.assert_array_equal(read(path, reader=reader).pixels, TRUTH[1:, 1:3])
    np.testing.assert_array_equal(read(path, reader=reader, channels=[0]).pixels, TRUTH[:1, 1:3])
    pixels, _ = reader.get_data(reader.read(path))
    np.testing.assert_array_equal(pixels, TRUTH[1:, 1:3])
    assert probe(path, reader=reader).shape == (1, 2, 12, 16)


def test_reader_crosses_to_a_worker() -> None:
    reader = pickle.loads(pickle.dumps(BioImageReader(axes="ZYX")))
    assert reader.selected["axes"] == "ZYX"


def test_suffix_is_verified() -> None:
    reader = BioImageReader()
    assert reader.verify_suffix("a.czi")
    assert reader.verify_suffix(["a.tif", "b.nii.gz"])
    assert not reader.verify_suffix(["a.tif", "b.txt"])


@pytest.mark.parametrize("image_class", ["os.system", "bioio.bio_image.BioImage", "builtins.eval"])
def test_other_image_classes_are_refused(tmp_path: Path, image_class: str) -> None:
    np.save(tmp_path / "a.npy", TRUTH)
    with pytest.raises(ComponentError, match="is not allowed"):
        BioImageReader(image_class=image_class)
    with pytest.raises(ComponentError, match="is not allowed"):
        read(
            tmp_path / "a.npy",
            reader={"name": "BioImageReader", "params": {"image_class": image_class}},
        )


def test_image_class_without_its_package_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    VOLUMES["image.ome.tif"](tmp_path / "a.ome.tif")
    monkeypatch.setitem(sys.modules, "aicsimageio", None)
    with pytest.raises(ComponentError, match="pip install aicsimageio"):
        read(tmp_path / "a.ome.tif", reader=BioImageReader(image_class="aicsimageio.AICSImage"))


def test_what_is_no_reader_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", TRUTH)
    for name in ("os.system", "monai.data.CacheDataset", "NoSuchReader"):
        with pytest.raises(ComponentError):
            read(tmp_path / "a.npy", reader=name)


@pytest.mark.parametrize("given", ["name", "mapping", "component", "instance"])
def test_reader_of_monai_is_taken_with_its_axes_turned(tmp_path: Path, given: str) -> None:
    from monai.data import NibabelReader

    VOLUMES["image.nii"](tmp_path / "a.nii")
    reader: Any = {
        "name": "NibabelReader",
        "mapping": {"name": "NibabelReader", "params": {}},
        "component": Component("NibabelReader"),
        "instance": NibabelReader(),
    }[given]
    ours, theirs = read(tmp_path / "a.nii"), read(tmp_path / "a.nii", reader=reader)
    np.testing.assert_array_equal(theirs.pixels, ours.pixels)
    np.testing.assert_array_equal(theirs.affine, ours.affine)
    assert theirs.spacing == pytest.approx(ours.spacing)


class Raw(ImageReader):  # type: ignore[misc]
    """What a user would write for an own format: 12 x 16 numbers after one line of text."""

    def verify_suffix(self, filename: Any) -> bool:
        return str(filename).endswith(".raw")

    def read(self, data: Any, **_: Any) -> Any:
        header, _, body = Path(data).read_bytes().partition(b"\n")
        return header, np.frombuffer(body, np.uint16).reshape(2, 12, 16)

    def get_data(self, img: Any) -> tuple[Any, dict[str, Any]]:
        meta = {"original_channel_dim": 0, "spatial_shape": (12, 16), "spacing": (0.5, 0.25)}
        return img[1], {**meta, "unit": "micrometer", "channel_names": img[0].decode().split()}


def test_reader_of_a_user_tells_axes_and_pixel_size(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"DAPI GFP\n" + TRUTH[:, 0].tobytes())
    picture = read(tmp_path / "a.raw", reader=Raw(), channels=["GFP"])
    np.testing.assert_array_equal(picture.pixels, TRUTH[1:, 0])
    assert (picture.spacing, picture.unit) == ((0.5, 0.25), "micrometer")
    (tmp_path / "b.raw").write_bytes(b"DAPI GFP\n123")
    with pytest.raises(DataError, match=r"b\.raw: cannot be read"):
        read(tmp_path / "b.raw", reader=Raw())


def test_plain_images_are_read_without_torch_and_bioio(tmp_path: Path) -> None:
    VOLUMES["image.ome.tif"](tmp_path / "a.ome.tif")
    program = (
        "import sys; from imtoolkit.io import read, write; p = read(sys.argv[1]); "
        "write(sys.argv[2], p.pixels, spacing=p.spacing); "
        "print([m for m in ('torch', 'monai', 'bioio', 'nibabel', 'h5py') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a.ome.tif"), str(tmp_path / "b.tif")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
