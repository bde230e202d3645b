"""Public sets through MONAI, from a server on this machine with small archives made here."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import json
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from imtoolkit.core.errors import DataError
from imtoolkit.samples import fetch, public

TASK = "Task04_Hippocampus"


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without talking."""

    def log_message(self, *args: object) -> None:
        return


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the address of a server and the folder that it serves."""
    root = tmp_path / "served"
    root.mkdir()
    handler = functools.partial(QuietHandler, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}", root
        httpd.shutdown()
        thread.join()


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def volume(seed: int) -> bytes:
    values = np.random.default_rng(seed).integers(0, 3, (6, 7, 5)).astype(np.uint8)
    return nib.Nifti1Image(values, np.eye(4)).to_bytes()


def write_decathlon(path: Path, extra: Callable[[tarfile.TarFile], None] | None = None) -> None:
    listed = [
        {
            "image": f"./imagesTr/hippocampus_{n:03d}.nii",
            "label": f"./labelsTr/hippocampus_{n:03d}.nii",
        }
        for n in range(3)
    ]
    described = {
        "name": "Hippocampus",
        "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
        "modality": {"0": "MRI"},
        "training": listed,
        "test": [],
        **dict.fromkeys(("description", "reference", "licence", "tensorImageSize"), "x"),
        "numTraining": 3,
        "numTest": 0,
    }
    with tarfile.open(path, "w") as tar:
        add(tar, f"./._{TASK}", b"mac")
        add(tar, f"{TASK}/dataset.json", json.dumps(described).encode())
        add(tar, f"{TASK}/imagesTr/._hippocampus_000.nii", b"mac")
        for number, item in enumerate(listed):
            for name in item.values():
                add(tar, f"{TASK}/{name[2:]}", volume(number))
        if extra is not None:
            extra(tar)


def publish(
    monkeypatch: pytest.MonkeyPatch, server: tuple[str, Path], path: Path, md5: str | None = None
) -> None:
    """Let MONAI find an archive of this test at its address."""
    from monai.apps import DecathlonDataset, MedNISTDataset

    address = f"{server[0]}/{path.name}"
    md5 = md5 or hashlib.md5(path.read_bytes()).hexdigest()
    if path.name.startswith("MedNIST"):
        monkeypatch.setattr(MedNISTDataset, "resource", address)
        monkeypatch.setattr(MedNISTDataset, "md5", md5)
    else:
        monkeypatch.setitem(DecathlonDataset.resource, TASK, address)
        monkeypatch.setitem(DecathlonDataset.md5, TASK, md5)


def test_a_task_of_the_decathlon_is_fetched_ready_to_train(
    tmp_path: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = server[1] / f"{TASK}.tar"
    write_decathlon(archive)
    publish(monkeypatch, server, archive)
    fetched = fetch(f"decathlon:{TASK}", tmp_path / "data")
    assert fetched.path == tmp_path / "data" / TASK
    assert fetched.images == 3
    place = (fetched.path / "dataset.json").as_posix()
    assert fetched.source == {"name": "datalist", "params": {"path": place}}
    assert (fetched.path / "imagesTr" / "hippocampus_002.nii").read_bytes() == volume(2)
    # nothing else stays: neither the archive, nor a part, nor the traces of a Mac
    assert [path.name for path in (tmp_path / "data").iterdir()] == [TASK]
    assert not list(fetched.path.rglob("._*"))


def test_the_fetched_task_is_read_by_the_source_it_names(
    tmp_path: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    datalist = pytest.importorskip("imtoolkit.data.sources.datalist")
    archive = server[1] / f"{TASK}.tar"
    write_decathlon(archive)
    publish(monkeypatch, server, archive)
    fetched = fetch(f"decathlon:{TASK}", tmp_path / "data")
    manifest = datalist.DatalistSource(**fetched.source["params"]).samples()
    assert len(manifest) == 3


def test_mednist_is_fetched_as_class_folders(
    tmp_path: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = server[1] / "MedNIST.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        add(tar, "MedNIST/README.md", b"about")
        for name in ("Hand", "CXR"):
            for number in range(4):
                add(tar, f"MedNIST/{name}/{number:06d}.jpeg", b"jpeg")
    publish(monkeypatch, server, archive)
    fetched = fetch("mednist", tmp_path / "data")
    assert fetched.images == 8
    assert fetched.source["name"] == "class_folders"
    assert sorted(path.name for path in fetched.path.iterdir()) == ["CXR", "Hand", "README.md"]


def test_a_set_that_is_there_is_not_fetched_again(
    tmp_path: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = server[1] / f"{TASK}.tar"
    write_decathlon(archive)
    publish(monkeypatch, server, archive)
    fetch(f"decathlon:{TASK}", tmp_path / "data")
    archive.unlink()
    assert fetch(f"decathlon:{TASK}", tmp_path / "data").images == 3


def test_an_archive_put_there_by_hand_needs_no_network_and_is_kept(
    tmp_path: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    archive = folder / f"{TASK}.tar"
    write_decathlon(archive)
    publish(monkeypatch, ("http://127.0.0.1:9", folder), archive)
    assert fetch(f"decathlon:{TASK}", folder).images == 3
    assert archive.exists()


def test_a_wrong_checksum_is_refused_and_not_kept(
    tmp_path: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = server[1] / f"{TASK}.tar"
    write_decathlon(archive)
    publish(monkeypatch, server, archive, md5="0" * 32)
    with pytest.raises(DataError, match="differs from its checksum"):
        fetch(f"decathlon:{TASK}", tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_a_torn_archive_of_the_user_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / f"{TASK}.tar").write_bytes(b"half")
    with pytest.raises(DataError, match=r"Task04_Hippocampus\.tar differs from the checksum"):
        fetch(f"decathlon:{TASK}", folder)
    assert (folder / f"{TASK}.tar").read_bytes() == b"half"


def outside(tar: tarfile.TarFile) -> None:
    add(tar, f"{TASK}/../../escaped.txt", b"x")


def absolute(tar: tarfile.TarFile) -> None:
    add(tar, "/tmp/escaped.txt", b"x")


def beside(tar: tarfile.TarFile) -> None:
    add(tar, "other/escaped.txt", b"x")


def symbolic(tar: tarfile.TarFile) -> None:
    link = tarfile.TarInfo(f"{TASK}/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    tar.addfile(link)


def hard(tar: tarfile.TarFile) -> None:
    link = tarfile.TarInfo(f"{TASK}/hard")
    link.type, link.linkname = tarfile.LNKTYPE, "../../secret"
    tar.addfile(link)


def pipe(tar: tarfile.TarFile) -> None:
    fifo = tarfile.TarInfo(f"{TASK}/fifo")
    fifo.type = tarfile.FIFOTYPE
    tar.addfile(fifo)


@pytest.mark.parametrize("member", [outside, absolute, beside, symbolic, hard, pipe])
def test_an_archive_that_would_leave_its_folder_is_refused_whole(
    tmp_path: Path,
    server: tuple[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    member: Callable[[tarfile.TarFile], None],
) -> None:
    archive = server[1] / f"{TASK}.tar"
    write_decathlon(archive, member)
    publish(monkeypatch, server, archive)
    with pytest.raises(DataError, match="not safe to unpack"):
        fetch(f"decathlon:{TASK}", tmp_path / "data")
    assert not list(tmp_path.rglob("escaped.txt"))
    assert not (tmp_path / "data" / TASK).exists()


def test_an_archive_that_is_none_is_named(
    tmp_path: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = server[1] / f"{TASK}.tar"
    archive.write_bytes(b"this is a page of an error, not an archive")
    publish(monkeypatch, server, archive)
    with pytest.raises(DataError, match="not an archive"):
        fetch(f"decathlon:{TASK}", tmp_path / "data")


def test_an_archive_too_large_for_the_disk_is_refused_before_unpacking(
    tmp_path: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = server[1] / f"{TASK}.tar"
    write_decathlon(archive)
    publish(monkeypatch, server, archive)
    usage = public.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(public.shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(DataError, match="Choose a folder on another disk"):
        fetch(f"decathlon:{TASK}", tmp_path / "data")


def test_without_a_network_the_message_tells_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:  # a port on which nobody listens
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    archive = tmp_path / f"{TASK}.tar"
    write_decathlon(archive)
    publish(monkeypatch, (f"http://127.0.0.1:{port}", tmp_path), archive)
    with pytest.raises(DataError, match=r"cannot download .* Is there a network"):
        fetch(f"decathlon:{TASK}", tmp_path / "data")
    assert socket.getdefaulttimeout() is None


def test_a_page_that_is_gone_is_told(
    tmp_path: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = server[1] / f"{TASK}.tar"
    write_decathlon(archive)
    publish(monkeypatch, server, archive)
    archive.unlink()
    with pytest.raises(DataError, match="404"):
        fetch(f"decathlon:{TASK}", tmp_path / "data")


def test_a_folder_that_is_not_the_set_is_told(tmp_path: Path) -> None:
    (tmp_path / TASK).mkdir()
    with pytest.raises(DataError, match="not Task04_Hippocampus as it was published"):
        fetch(f"decathlon:{TASK}", tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("decathlon:Task04_Hipocampus", "Did you mean 'Task04_Hippocampus'"),
        ("decathlon", "write decathlon:Task04_Hippocampus"),
        ("cifar", "there are 'mednist' and 'decathlon:TASK'"),
    ],
)
def test_unknown_names_are_told(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fetch(name, tmp_path / "data")
    assert not (tmp_path / "data").exists()
