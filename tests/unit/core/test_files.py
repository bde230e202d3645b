"""A file is replaced whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from imtoolkit.core.files import replacing, write_json, write_text


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with replacing(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_full_disk_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(OSError, match="No space"), replacing(path) as part:
        part.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_json_is_written_with_all_letters(tmp_path: Path) -> None:
    write_json(tmp_path / "deep" / "a.json", {"µ": [1, None]})
    assert '"µ"' in (tmp_path / "deep" / "a.json").read_text(encoding="utf-8")
