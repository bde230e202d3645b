"""A file is replaced whole or not at all."""

from __future__ import annotations

import errno
import os
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


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_the_group_may_read_as_the_umask_says_which_stays_untouched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    previous = os.umask(0o027)
    try:
        # reading the umask means to set it, which another thread that makes a file would feel
        monkeypatch.setattr("os.umask", lambda mask: pytest.fail("the umask was changed"))
        write_text(tmp_path / "a.txt", "x")
    finally:
        monkeypatch.undo()
        os.umask(previous)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640
