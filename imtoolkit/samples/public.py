"""Public data sets by name, through MONAI: its addresses, its checksums, its data sets.

A set is downloaded, compared with its checksum, unpacked beside its place and moved there when it
is whole: an interrupted fetch leaves nothing that looks like a data set. No member of an archive
can leave the folder: links and outside paths are refused before anything is unpacked.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import socket
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from imtoolkit.core.errors import DataError, did_you_mean, listed

log = logging.getLogger(__name__)

TIMEOUT: Final = 60.0
"""Seconds without a byte after which a download is given up."""
PUBLIC: Final = ("mednist", "decathlon")


@dataclass(frozen=True)
class PublicSet:
    """Where a public set comes from.

    Attributes:
        folder: Name of the folder inside the archive, and of the data set on disk.
        archive: Name of the archive.
        url: Its address.
        md5: Its checksum.
        source: The source of a config that reads it, and the parameter that names the place.
        place: Path below the folder that the source reads.
    """

    folder: str
    archive: str
    url: str
    md5: str
    source: tuple[str, str]
    place: str = ""


@dataclass(frozen=True)
class Fetched:
    """A public set on disk.

    Attributes:
        path: Its folder.
        source: The ``data.source`` of a config that reads it.
        images: Number of images with a target.
    """

    path: Path
    source: dict[str, Any]
    images: int


def is_public(name: str) -> bool:
    """Tell whether a name stands for a public set: ``mednist`` or ``decathlon:TASK``."""
    return name.partition(":")[0] in PUBLIC


def fetch(name: str, folder: str | Path, *, progress: bool = False) -> Fetched:
    """Fetch a public data set into ``folder``, ready to train on.

    Args:
        name: ``"mednist"``, or ``"decathlon:"`` and a task such as ``Task04_Hippocampus``.
        folder: Where to put it; the set becomes a folder of its own name in there.
        progress: Show how the download goes.

    Returns:
        Where it is and how a config reads it. A set that is there already is not fetched again.

    Raises:
        DataError: If the name is unknown, the address cannot be reached, the archive differs from
            its checksum or is not safe to unpack, or the disk is full.
    """
    wanted, folder = _find(name), Path(folder)
    target = folder / wanted.folder
    if not target.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # on the disk of the data: the system's own folder for such things may be small
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as part:
                _fetch_into(Path(part), folder / wanted.archive, wanted, progress)
                (Path(part) / wanted.folder).replace(target)
        except OSError as error:
            message = f"cannot write {name} into {folder}: {error.strerror or error}"
            raise DataError(message) from error
        log.info("fetched %s into %s", name, target)
    images = _count_images(folder, wanted)
    kind, parameter = wanted.source
    place = target / wanted.place if wanted.place else target
    source = {"name": kind, "params": {parameter: place.as_posix()}}
    return Fetched(target, source, images)


def _find(name: str) -> PublicSet:
    from monai.apps import DecathlonDataset, MedNISTDataset  # imports torch

    collection, _, task = name.partition(":")
    if collection == "mednist":
        return PublicSet(
            folder=MedNISTDataset.dataset_folder_name,
            archive=MedNISTDataset.compressed_file_name,
            url=MedNISTDataset.resource,
            md5=MedNISTDataset.md5,
            source=("class_folders", "root"),
        )
    tasks = sorted(DecathlonDataset.resource)
    if collection == "decathlon" and task in tasks:
        return PublicSet(
            folder=task,
            archive=f"{task}.tar",
            url=DecathlonDataset.resource[task],
            md5=DecathlonDataset.md5[task],
            source=("datalist", "path"),
            place="dataset.json",
        )
    if collection == "decathlon":
        message = f"unknown task '{task}' of decathlon.{did_you_mean(task, tasks)} "
        message += f"There are {listed(tasks, 10)}; write decathlon:{tasks[3]}"
    else:
        message = f"unknown public set '{name}'; there are 'mednist' and 'decathlon:TASK'"
    raise DataError(message)


def _fetch_into(part: Path, archive: Path, wanted: PublicSet, progress: bool) -> None:
    from monai.apps.utils import extractall

    given = archive.exists()
    _download(part, archive, wanted, progress)
    try:
        _check_members(archive, wanted)
        extractall(archive, part, hash_val=wanted.md5, hash_type="md5")
    except (tarfile.TarError, ValueError, RuntimeError, EOFError) as error:
        message = f"{archive} cannot be unpacked: {error}. Delete it and fetch again"
        raise DataError(message) from error
    for path in (part / wanted.folder).rglob("._*"):
        path.unlink()  # traces of a Mac in the archives of the decathlon; no images
    if not given:
        archive.unlink()


def _download(part: Path, archive: Path, wanted: PublicSet, progress: bool) -> None:
    from monai.apps.utils import check_hash, download_url

    if archive.exists():
        if not check_hash(archive, wanted.md5, "md5"):
            message = (
                f"{archive} differs from the checksum of {wanted.folder} (md5 {wanted.md5}): it "
                "was cut short, or is another file. Delete it and fetch again"
            )
            raise DataError(message)
        return
    try:
        with _patience(part):
            download_url(wanted.url, archive, wanted.md5, "md5", progress=progress)
    except (OSError, RuntimeError, ValueError) as error:
        if "hash" in str(error):
            message = (
                f"what {wanted.url} sent differs from its checksum (md5 {wanted.md5}); it was not "
                "kept. Try again; if it stays so, the file was changed at its origin"
            )
        else:
            message = (
                f"cannot download {wanted.url}: {error}. Is there a network (or a proxy to set in "
                f"HTTPS_PROXY)? Else put the file at {archive} yourself and run this again"
            )
        raise DataError(message) from error
    if not archive.exists():  # MONAI passes over a refused permission in silence
        message = f"the download of {wanted.url} could not be kept at {archive}: no permission"
        raise DataError(message)


@contextlib.contextmanager
def _patience(part: Path) -> Iterator[None]:
    """Let a dead connection end in an error, as urllib waits for ever; download beside the data."""
    timeout, folder = socket.getdefaulttimeout(), tempfile.tempdir
    socket.setdefaulttimeout(TIMEOUT)
    tempfile.tempdir = str(part)
    try:
        yield
    finally:
        socket.setdefaulttimeout(timeout)
        tempfile.tempdir = folder


def _check_members(archive: Path, wanted: PublicSet) -> None:
    """Refuse an archive that would write outside its folder, hold links, or fill the disk."""
    size = 0
    try:
        with tarfile.open(archive) as stream:
            for member in stream:
                size += member.size
                parts = PurePosixPath(member.name.replace("\\", "/")).parts
                inside = [part for part in parts if part != "."]
                plain = member.isfile() or member.isdir()
                within = ".." not in parts and not PurePosixPath(member.name).is_absolute()
                # AppleDouble copies of the folder itself stand beside it
                named = not inside or inside[0] in (wanted.folder, f"._{wanted.folder}")
                if not (plain and within and named) or ":" in member.name:
                    message = (
                        f"{archive} is not safe to unpack: its member '{member.name}' "
                        f"{'lies outside its folder' if plain else 'is a link or a device'}. "
                        "Nothing was unpacked"
                    )
                    raise DataError(message)
    except (tarfile.TarError, EOFError, OSError) as error:
        message = f"{archive} is not an archive that can be read: {error}"
        raise DataError(message) from error
    free = shutil.disk_usage(archive.parent).free
    if size > free:
        message = (
            f"unpacking {archive.name} needs {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free "
            f"in {archive.parent}. Choose a folder on another disk"
        )
        raise DataError(message)


def _count_images(folder: Path, wanted: PublicSet) -> int:
    """Let MONAI's own data set read the layout, without loading an image."""
    from monai.apps import DecathlonDataset, MedNISTDataset

    try:
        if wanted.source[0] == "class_folders":
            whole = MedNISTDataset(folder, "training", val_frac=0, test_frac=0, cache_num=0)
        else:
            whole = DecathlonDataset(folder, wanted.folder, "training", val_frac=0, cache_num=0)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        message = (
            f"{folder / wanted.folder} is not {wanted.folder} as it was published: {error}. "
            "Delete it and fetch again"
        )
        raise DataError(message) from error
    return len(whole)
