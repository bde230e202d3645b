"""Reading the pixels of a row: one file for each channel, and what is chosen of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from imtoolkit.core.errors import DataError
from imtoolkit.data.loading import load
from imtoolkit.data.references import join_channels
from tests.helpers.images import NUCLEI, section


@pytest.fixture
def row(tmp_path: Path) -> dict[str, object]:
    """Write an image of two files, and its labels."""
    for channel in range(2):
        tifffile.imwrite(tmp_path / f"x_{channel:04d}.tif", np.full((8, 6), channel + 5, np.uint8))
    tifffile.imwrite(tmp_path / "labels.tif", np.ones((8, 6), np.uint8))
    files = [str(tmp_path / f"x_{channel:04d}.tif") for channel in range(2)]
    return {"id": "x", "image": join_channels(files), "target": str(tmp_path / "labels.tif")}


def test_an_image_of_several_files_is_read_as_its_channels(
    tmp_path: Path, row: dict[str, object]
) -> None:
    loaded = load(row, section(tmp_path), NUCLEI)
    assert loaded.image.pixels.shape == (2, 8, 6)
    assert loaded.image.pixels[:, 0, 0].tolist() == [5, 6]
    assert loaded.target is not None and loaded.target.pixels.shape == (1, 8, 6)


def test_a_channel_of_an_image_of_several_files_is_chosen(
    tmp_path: Path, row: dict[str, object]
) -> None:
    loaded = load(row, section(tmp_path, channels=[1]), NUCLEI)
    assert np.unique(loaded.image.pixels).tolist() == [6]


def test_files_of_one_image_that_differ_in_size_are_named(
    tmp_path: Path, row: dict[str, object]
) -> None:
    tifffile.imwrite(tmp_path / "x_0001.tif", np.zeros((4, 6), np.uint8))
    with pytest.raises(DataError, match=r"x_0001.tif.*one size"):
        load(row, section(tmp_path), NUCLEI)
