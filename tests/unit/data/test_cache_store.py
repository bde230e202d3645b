"""The cache's folder: made once, shared by processes, honest about a disk that is full."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imtoolkit.data.cache import store as store_module
from imtoolkit.data.cache.manage import clear, inspect
from imtoolkit.data.cache.store import BusyError, CacheError, CacheStore, Content, Lease, leased

KEY = "0123456789abcdef" * 2


def content(value: float = 1.0) -> Content:
    return Content({"image": np.full((1, 4, 4), value, np.float32)}, {"value": value})


def opened(root: Path, name: str = "recipe") -> CacheStore:
    store = CacheStore(root, {"format": 1, "preprocess": []}, name)
    store.prepare()
    return store


def make_slowly(root: Path, log: Path) -> None:
    def compute() -> Content:
        with log.open("a") as stream:
            stream.write("made\n")
        time.sleep(0.3)
        return content()

    opened(root).make(KEY, compute)


def test_an_item_is_made_once_however_many_processes_ask(tmp_path: Path) -> None:
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn")
    processes = [
        context.Process(target=make_slowly, args=(tmp_path / "cache", log)) for _ in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    assert log.read_text() == "made\n"


def test_one_who_does_not_wait_is_told_that_the_item_is_being_made(tmp_path: Path) -> None:
    store = opened(tmp_path)

    def compute() -> Content:
        with pytest.raises(BusyError):
            opened(tmp_path).make(KEY, content, wait=False)
        return content()

    store.make(KEY, compute)
    assert store.make(KEY, lambda: content(2.0), wait=False) == {"value": 1.0}


def test_a_torn_item_is_made_anew(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.make(KEY, content)
    path = store.path(KEY)
    path.write_bytes(path.read_bytes()[:100])
    assert store.open(KEY) is None
    store.make(KEY, lambda: content(2.0))
    item = store.open(KEY)
    assert item is not None
    assert item.arrays["image"].max() == 2.0


def test_a_full_disk_leaves_nothing_half_written_and_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path)

    def full(path: Path, *_: Any) -> int:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store_module, "write_file", full)
    with pytest.raises(CacheError) as caught:
        store.make(KEY, content)
    text = str(caught.value)
    assert str(tmp_path) in text
    assert "full" in text
    assert "IMTOOLKIT_CACHE" in text
    assert "kind: none" in text
    assert "MB" in text
    assert list(store.folder.rglob("*.item*")) == []
    assert list(store.folder.rglob(".*part")) == []


def test_a_folder_that_cannot_be_one_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(CacheError, match=r"cannot be used.*data\.cache\.root"):
        opened(tmp_path / "cache")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_read_only_folder_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(CacheError, match="cannot be used"):
        opened(tmp_path)


def test_clear_removes_what_nobody_uses(tmp_path: Path) -> None:
    opened(tmp_path).make(KEY, content)
    assert [entry.items for entry in inspect(tmp_path)] == [1]
    removed = clear(tmp_path)
    assert (removed.items, removed.spared) == (1, ())
    assert inspect(tmp_path) == []


def test_clear_spares_what_this_process_uses_until_the_lease_ends(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.make(KEY, content)
    lease = Lease(store)
    assert clear(tmp_path).spared == ("recipe",)
    assert store.open(KEY) is not None
    lease.release()
    assert clear(tmp_path).items == 1


def test_clear_spares_what_another_process_uses_until_it_is_killed(tmp_path: Path) -> None:
    opened(tmp_path).make(KEY, content)
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from imtoolkit.data.cache.store import CacheStore, Lease\n"
        "lease = Lease(CacheStore(Path(sys.argv[1]), {}, 'recipe'))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert clear(tmp_path).spared == ("recipe",)
        assert [entry.in_use for entry in inspect(tmp_path)] == [True]
        process.kill()
        process.wait()
    assert leased(tmp_path) == set()  # no one could release it: the system did
    assert clear(tmp_path).items == 1


def test_clear_keeps_what_was_used_lately_if_asked(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.make(KEY, content)
    assert clear(tmp_path, unused_days=1).items == 0
    old = time.time() - 2 * 24 * 3600
    os.utime(store.folder / "recipe.json", (old, old))
    assert clear(tmp_path, unused_days=1).items == 1


def test_clear_and_list_of_no_cache_find_nothing(tmp_path: Path) -> None:
    assert clear(tmp_path / "none").items == 0
    assert inspect(tmp_path / "none") == []


def test_half_written_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.make(KEY, content)
    part = store.path(KEY).with_name(f".{KEY}.item.abc.part")
    shutil.copy(store.path(KEY), part)
    lease = Lease(store)
    clear(tmp_path)
    assert part.exists()  # someone may be writing it now
    os.utime(part, (0, 0))
    clear(tmp_path)
    assert not part.exists()
    lease.release()


def test_a_small_item_with_a_flipped_bit_is_made_again(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.make(KEY, content)
    whole = bytearray(store.path(KEY).read_bytes())
    whole[4096 + 1] ^= 1  # inside the first array: the trailer, written last, is there
    store.path(KEY).write_bytes(whole)
    assert store.meta(KEY) is None
    assert store.open(KEY) is None
    store.make(KEY, content)
    found = store.open(KEY)
    assert found is not None
    assert found.verify() == []
