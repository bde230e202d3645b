"""Signatures of files, folders and arrays, and the fingerprint of a manifest."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from imtoolkit.core.errors import DataError
from imtoolkit.data.fingerprint import (
    ENDS,
    array_signature,
    content_signature,
    file_signature,
    fingerprint,
)
from imtoolkit.data.sources.arrays import ArraysSource
from imtoolkit.data.sources.folder import FolderSource


def touch(path: Path, nanoseconds: int) -> None:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + nanoseconds))


def test_a_signature_is_the_same_until_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"0" * 1000)
    before = file_signature(str(path))
    assert file_signature(str(path)) == before
    touch(path, 1_000_000)
    assert file_signature(str(path)) != before
    assert content_signature(str(path)) in file_signature(str(path))


@pytest.mark.parametrize("place", [0, ENDS - 1, -1, -ENDS])
def test_head_and_tail_are_seen_even_when_size_and_time_stay(tmp_path: Path, place: int) -> None:
    one, other = tmp_path / "a.tif", tmp_path / "b.tif"
    content = bytearray(np.random.default_rng(0).bytes(5 * ENDS))
    one.write_bytes(content)
    content[place] ^= 255
    other.write_bytes(content)
    os.utime(other, ns=(one.stat().st_atime_ns, one.stat().st_mtime_ns))
    assert file_signature(str(one)) != file_signature(str(other))


def test_a_change_in_the_middle_is_seen_by_its_time(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    content = bytearray(5 * ENDS)
    path.write_bytes(content)
    before = file_signature(str(path))
    content[2 * ENDS + 7] = 1
    path.write_bytes(content)
    touch(path, 1_000_000)
    assert file_signature(str(path)) != before


@pytest.mark.parametrize("size", [0, 1, ENDS, ENDS + 1, 2 * ENDS])
def test_files_of_any_size_have_a_signature_of_their_own(tmp_path: Path, size: int) -> None:
    one, other = tmp_path / "a", tmp_path / "b"
    one.write_bytes(b"0" * size)
    other.write_bytes(b"0" * size + b"1")
    assert content_signature(str(one)) != content_signature(str(other))


def test_a_folder_is_known_by_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "a.ome.zarr"
    (folder / "0").mkdir(parents=True)
    (folder / "0" / "0.0").write_bytes(b"chunk")
    (folder / ".zattrs").write_bytes(b"{}")
    before = file_signature(str(folder))
    assert file_signature(str(folder)) == before
    touch(folder / "0" / "0.0", 1_000_000)
    changed = file_signature(str(folder))
    (folder / "0" / "0.1").write_bytes(b"more")
    more = file_signature(str(folder))
    (folder / "0" / "0.1").rename(folder / "0" / "0.2")
    assert len({before, changed, more, file_signature(str(folder))}) == 4


def test_places_inside_a_file_and_channels_in_several_differ(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"x")
    names = [f"{path}", f"{path}::x", f"{path}::x::1", f"{path}::x::2", f"{path}|{path}"]
    assert len({file_signature(name) for name in names}) == len(names)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "cells.tif").write_bytes(b"x")
    with pytest.raises(DataError, match=r"Did you mean 'cells.tif'"):
        file_signature(str(tmp_path / "cell.tif"))


def test_arrays_are_known_by_type_shape_and_values() -> None:
    array = np.arange(6)
    others = [array.astype(np.int32), array.reshape(2, 3), array + 1, array[::-1]]
    assert array_signature(array) == array_signature(array.copy())
    assert array_signature(array) == array_signature(np.arange(12)[::2] // 2)
    assert array_signature(array) not in {array_signature(other) for other in others}


def nuclei(root: Path) -> Path:
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
        for name in "ab":
            (root / folder / f"{name}.tif").write_text(folder + name)
    return root


def test_equal_data_have_equal_fingerprints_wherever_they_are(tmp_path: Path) -> None:
    first = FolderSource(str(nuclei(tmp_path / "here"))).samples()
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    touch(tmp_path / "there" / "images" / "a.tif", 10**9)
    second = FolderSource(str(tmp_path / "there")).samples()
    assert fingerprint(first) == fingerprint(second)
    assert fingerprint(first.take([1, 0]).with_column("split", "train")) == fingerprint(first)


def test_other_pixels_groups_or_partners_change_the_fingerprint(tmp_path: Path) -> None:
    root = nuclei(tmp_path / "data")
    manifest = FolderSource(str(root)).samples()
    seen = {
        fingerprint(manifest),
        fingerprint(manifest.take([0])),
        fingerprint(manifest.with_column("group", ["p", "q"])),
        fingerprint(manifest.with_column("target", manifest.column("target")[::-1])),
    }
    (root / "labels" / "b.tif").write_text("other")
    seen.add(fingerprint(manifest))
    assert len(seen) == 5


def test_arrays_and_classes_have_a_fingerprint() -> None:
    images = np.zeros((2, 4, 4))
    one = fingerprint(ArraysSource(images, target=["x", "y"]).samples())
    assert one == fingerprint(ArraysSource(images.copy(), target=["x", "y"]).samples())
    assert one != fingerprint(ArraysSource(images, target=["x", "x"]).samples())
    assert one != fingerprint(ArraysSource(images + 1, target=["x", "y"]).samples())
