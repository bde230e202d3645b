"""The file of one cached image: whole or recognised as torn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imtoolkit.data.cache.files import TornFileError, open_file, read_meta, write_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    arrays = {
        "image": np.arange(2 * 5 * 7, dtype=np.float32).reshape(2, 5, 7),
        "target": np.array([[[0, 3], [1, 2]]], np.uint8),
        "foreground/1": np.array([4, 9, 11], np.int64),
    }
    target = tmp_path / "a.item"
    write_file(target, arrays, {"shape": [2, 5, 7], "unit": "µm", "spacing": [0.5, None]})
    return target


def test_arrays_and_metadata_come_back_as_they_were(path: Path) -> None:
    item = open_file(path)
    np.testing.assert_array_equal(
        item.arrays["image"], np.arange(70, dtype=np.float32).reshape(2, 5, 7)
    )
    assert item.arrays["target"].dtype == np.uint8
    assert item.arrays["foreground/1"].tolist() == [4, 9, 11]
    assert item.meta == {"shape": [2, 5, 7], "unit": "µm", "spacing": [0.5, None]}
    assert read_meta(path) == item.meta
    assert item.verify() == []


def test_arrays_are_read_only_and_aligned_to_pages(path: Path) -> None:
    for array in open_file(path).arrays.values():
        assert not array.flags.writeable
        assert array.ctypes.data % 4096 == 0


def test_a_file_cut_anywhere_is_torn(path: Path) -> None:
    whole = path.read_bytes()
    for length in [0, 1, 23, 24, 200, 4096, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(TornFileError):
            open_file(path)
        with pytest.raises(TornFileError):
            read_meta(path)


def test_a_longer_file_and_a_foreign_file_are_torn(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(TornFileError):
        open_file(path)
    path.write_bytes(b"x" * 10_000)
    with pytest.raises(TornFileError):
        open_file(path)


def test_a_flipped_bit_in_the_header_is_torn_and_in_an_array_is_found_by_verify(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    header = whole.copy()
    header[40] ^= 1
    path.write_bytes(header)
    with pytest.raises(TornFileError):
        open_file(path)
    array = whole.copy()
    array[4096 + 5] ^= 1  # the first array starts at the first page after the header
    path.write_bytes(array)
    assert open_file(path).verify() == ["image"]


def test_objects_are_refused_and_nothing_is_pickled(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="cannot hold"):
        write_file(tmp_path / "a", {"image": np.array([{}])}, {})


def test_an_item_without_arrays_or_with_an_empty_one_comes_back(tmp_path: Path) -> None:
    write_file(tmp_path / "none", {}, {"a": 1})
    assert open_file(tmp_path / "none").meta == {"a": 1}
    write_file(tmp_path / "empty", {"image": np.zeros((1, 0, 3), np.float32)}, {})
    assert open_file(tmp_path / "empty").arrays["image"].shape == (1, 0, 3)
