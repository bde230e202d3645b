"""aicsimageio as the reader's backend, in an environment of its own.

aicsimageio 4.14 caps tifffile, zarr and fsspec far below what bioio needs, so both cannot be
installed side by side. It is put into a folder that goes before everything else on the path of a
child process:

    python -m pip install --target DIR aicsimageio "numcodecs<0.16"
    IMTOOLKIT_AICS_OVERLAY=DIR python -m pytest tests/unit/io/test_io_aicsimageio.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from imtoolkit.io import read
from tests.helpers.image_files import SPACING, TRUTH, VOLUMES, colours

pytestmark = [
    pytest.mark.slow,
    pytest.mark.system,
    pytest.mark.skipif(
        "IMTOOLKIT_AICS_OVERLAY" not in os.environ,
        reason="IMTOOLKIT_AICS_OVERLAY does not name a folder with aicsimageio",
    ),
]

PROGRAM = """
import json, sys
import aicsimageio, numpy as np
from imtoolkit.core.errors import DataError
from imtoolkit.io import read
reader = {"name": "BioImageReader", "params": {"image_class": "aicsimageio.AICSImage"}}
job = json.loads(sys.argv[1])
try:
    picture = read(job["path"], reader=reader, **job["how"])
except DataError as error:
    print(json.dumps({"error": str(error)}))
    sys.exit()
np.save(job["out"], picture.pixels)
print(json.dumps({
    "version": aicsimageio.__version__,
    "spacing": picture.spacing,
    "unit": picture.unit,
    "axes": picture.axes,
    "names": picture.channel_names,
}))
"""


def through_aicsimageio(path: Path, **how: Any) -> tuple[dict[str, Any], Any]:
    """Read a file in a child process; return what was told, and the pixels."""
    out = path.parent / f"{path.name}.read.npy"
    job = json.dumps({"path": str(path), "how": how, "out": str(out)})
    overlay = Path(os.environ["IMTOOLKIT_AICS_OVERLAY"]).resolve()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, job],
        env={**os.environ, "PYTHONPATH": str(overlay)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.strip().splitlines()[-1])
    return told, (np.load(out) if out.exists() else None)


@pytest.mark.parametrize("name", ["image.ome.tif", "imagej.tif"])
def test_volume_is_the_same_as_ours(tmp_path: Path, name: str) -> None:
    VOLUMES[name](tmp_path / name)
    told, pixels = through_aicsimageio(tmp_path / name)
    assert told["version"].startswith("4.")
    np.testing.assert_array_equal(pixels, TRUTH)
    assert told["axes"] == "CZYX"
    assert tuple(told["names"]) == read(tmp_path / name).channel_names


def test_pixel_size_is_read(tmp_path: Path) -> None:
    sizes = {f"PhysicalSize{axis}": size for axis, size in zip("ZYX", SPACING, strict=True)}
    metadata = {"axes": "ZYX", **sizes}
    tifffile.imwrite(tmp_path / "a.ome.tif", TRUTH[0], ome=True, metadata=metadata)
    told, _ = through_aicsimageio(tmp_path / "a.ome.tif")
    assert told["spacing"] == pytest.approx(SPACING)
    assert told["unit"] == "micrometer"


def test_channels_slices_and_time_are_chosen(tmp_path: Path) -> None:
    VOLUMES["image.ome.tif"](tmp_path / "a.ome.tif")
    told, pixels = through_aicsimageio(tmp_path / "a.ome.tif", channels=["GFP"], z_range=[1, 3])
    assert told["names"] == ["GFP"]
    np.testing.assert_array_equal(pixels, TRUTH[1:, 1:3])
    tifffile.imwrite(tmp_path / "t.ome.tif", TRUTH[0], ome=True, metadata={"axes": "TYX"})
    assert "5 time points" in through_aicsimageio(tmp_path / "t.ome.tif")[0]["error"]
    _, pixels = through_aicsimageio(tmp_path / "t.ome.tif", time=3)
    np.testing.assert_array_equal(pixels, TRUTH[:1, 3])


def test_colours_become_channels(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", colours())
    told, pixels = through_aicsimageio(tmp_path / "a.tif")
    assert told["names"] == ["red", "green", "blue"]
    np.testing.assert_array_equal(pixels, colours().transpose(2, 0, 1))


def test_broken_file_is_told_in_our_words(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("no image " * 50)
    told, _ = through_aicsimageio(tmp_path / "a.tif")
    assert "a.tif: cannot be read" in told["error"]
