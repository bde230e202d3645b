"""Files below a folder by a glob, and the words for what is there when nothing was found.

A glob here keeps what its wildcards stood for: ``img_*.tif`` finds ``img_001.tif`` with the key
``001``, so that ``mask_*.png`` pairs with it. ``**`` spans folders, ``{tif,png}`` lists
alternatives.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from imtoolkit.core.errors import DataError, did_you_mean, listed, nearest
from imtoolkit.io.names import DICOM, is_image, strip_suffix, suffix_of

IGNORED: Final = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
"""Names that operating systems leave behind; so are all that begin with a dot."""

_WILD = re.compile(r"[*?\[]")


@dataclass
class Found:
    """Files that a glob matched, sorted by path.

    Attributes:
        paths: Absolute paths.
        keys: What the wildcards stood for, suffix left out: equal keys belong together.
        base: The folder where the wildcards begin.
    """

    paths: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    base: Path = field(default_factory=Path)

    def __len__(self) -> int:
        return len(self.paths)

    def without(self, others: set[str]) -> Found:
        """Return the files that are not among ``others``."""
        kept = [at for at, path in enumerate(self.paths) if path not in others]
        return Found([self.paths[at] for at in kept], [self.keys[at] for at in kept], self.base)


def find(root: Path, pattern: str) -> Found:
    """Find files below a folder.

    Where the pattern leaves the suffix open (``images/*``), only files that look like images count.
    Folders count where they end in ``.zarr``, or where no file matches (a DICOM series in each).

    Args:
        root: Where a relative pattern starts.
        pattern: A glob with forward slashes; an absolute one is taken as it is.

    Example:
        >>> find(Path("."), "no/such/*.tif").paths
        []
    """
    hits: dict[str, str] = {}
    bases: list[Path] = []
    for single in _alternatives(pattern.replace("\\", "/")):
        base, glob = _static_part(root, single)
        bases.append(base)
        hits.update(_matches(base, glob))
    paths = sorted(hits)
    return Found(paths, [hits[path] for path in paths], bases[0])


def require_found(found: Found, root: Path, pattern: str, what: str) -> None:
    """Check that a glob found something.

    Raises:
        DataError: If not, with the suffixes and folders that are there.
    """
    if found.paths:
        return
    if not found.base.is_dir():
        message = (
            f"no file matches the {what} glob '{pattern}' below '{root}': folder '{found.base}' "
            f"does not exist. {nearest_existing(found.base)}"
        )
    else:
        message = (
            f"no file matches the {what} glob '{pattern}' below '{root}'. {describe(found.base)} "
            f"Change '{what}' to a glob that fits."
        )
    raise DataError(message)


def is_hidden(name: str) -> bool:
    """Tell whether people do not mean a name: ``.DS_Store``, ``._a.tif``, ``Thumbs.db``."""
    return name.startswith(".") or name.lower() in IGNORED


def entries_of(folder: Path) -> set[str]:
    """Return the names in a folder; none where it does not exist."""
    try:
        return {entry.name for entry in os.scandir(folder)}
    except OSError:
        return set()


def subfolders(folder: Path) -> list[str]:
    """Return the names of the visible folders in a folder, sorted; OME-Zarr images are none."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if _is_open_folder(entry))


def describe(folder: Path) -> str:
    """Return a sentence about what is in a folder: suffixes with their number, and sub-folders."""
    with os.scandir(folder) as entries:
        seen = [entry for entry in entries if not is_hidden(entry.name)]
    folders = sorted(entry.name for entry in seen if _is_open_folder(entry))
    files = [entry.name for entry in seen if not _is_open_folder(entry)]
    suffixes = Counter(strip_suffix(name)[1] or "(no suffix)" for name in files).most_common(6)
    parts = [f"{count} {suffix}" for suffix, count in suffixes]
    if folders:
        parts.append(f"the folders {listed(folders)}")
    return f"'{folder}' holds {', '.join(parts) if parts else 'nothing'}."


def absence(path: Path) -> str:
    """Return the words for a file that is not there, or that is a link to one that is not."""
    if path.is_symlink():
        return f"file '{path}' is a link to '{path.readlink()}', which does not exist"
    return f"file '{path}' does not exist"


def nearest_existing(path: Path) -> str:
    """Return a sentence about the nearest parent that exists, and the name in it like ours."""
    child = path
    while not child.parent.is_dir() and child.parent != child:
        child = child.parent
    parent = child.parent
    known = sorted(name for name in entries_of(parent) if not is_hidden(name))
    if nearest(child.name, known):
        return f"In '{parent}':{did_you_mean(child.name, known)}"
    return describe(parent)


def _alternatives(pattern: str) -> list[str]:
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None:
        return [pattern]
    head, tail = pattern[: match.start()], pattern[match.end() :]
    return [
        full for word in match.group(1).split(",") for full in _alternatives(head + word + tail)
    ]


def _static_part(root: Path, pattern: str) -> tuple[Path, list[str]]:
    """Split a pattern into the folder before its first wildcard and the parts from there on."""
    anchor = Path(pattern).anchor
    parts = [part for part in pattern[len(anchor) :].split("/") if part not in ("", ".")]
    count = 0
    while count < len(parts) - 1 and not _WILD.search(parts[count]):
        count += 1
    return (Path(anchor) if anchor else root).joinpath(*parts[:count]), parts[count:]


def _matches(base: Path, glob: list[str]) -> dict[str, str]:
    if not glob or not base.is_dir():
        return {}
    depth = None if "**" in glob else len(glob)
    *folders, last = glob
    stem, suffix = _split_glob(last)
    name = re.compile(_regex([*folders, last]))
    key = re.compile(_regex([*folders, stem]))
    files: dict[str, str] = {}
    series: dict[str, str] = {}
    for inside, is_folder in _walk(base, "", depth):
        if not name.fullmatch(inside):
            continue
        parent, _, leaf = inside.rpartition("/")
        bare = leaf if is_folder and not leaf.endswith(".zarr") else strip_suffix(leaf)[0]
        found = key.fullmatch(f"{parent}/{bare}" if parent else bare)
        words = _key(found) if found else f"{parent}/{bare}".lstrip("/")
        if is_folder and not leaf.endswith(".zarr"):
            series[str(base / inside)] = words
        elif suffix or is_image(inside):
            files[str(base / inside)] = words
    return files or {path: words for path, words in series.items() if _holds_dicom(Path(path))}


def _split_glob(last: str) -> tuple[str, str]:
    """Split the last part of a glob into the glob of the stem and the suffix, if it is fixed."""
    stem, suffix = strip_suffix(last)
    if suffix and not _WILD.search(suffix):
        return stem, suffix
    head, dot, tail = last.rpartition(".")
    if dot and not _WILD.search(tail):
        return head, f".{tail}"
    return (head if dot else last), ""


def _regex(parts: list[str]) -> str:
    text = ""
    for at, part in enumerate(parts):
        if part == "**":
            text += r"(?:(.*)/)?" if at < len(parts) - 1 else r"(.*)"
            continue
        text += "".join(_token(token) for token in re.findall(r"\[[^\]]+\]|.", part))
        text += "/" if at < len(parts) - 1 else ""
    return text


def _token(token: str) -> str:
    if token == "*":
        return r"([^/]*)"
    if token == "?":
        return r"([^/])"
    if len(token) > 1:
        return f"([{token[1:-1].replace('!', '^', 1) if token[1] == '!' else token[1:-1]}])"
    return re.escape(token)


def _key(match: re.Match[str]) -> str:
    return "/".join(word for word in match.groups() if word)


def _walk(base: Path, inside: str, depth: int | None) -> Iterator[tuple[str, bool]]:
    """Yield (path below base, is a folder); does not look into OME-Zarr images."""
    try:
        with os.scandir(base / inside) as opened:
            entries = sorted(opened, key=lambda entry: entry.name)
    except PermissionError as error:
        message = f"folder '{base / inside}' cannot be read: permission denied"
        raise DataError(message) from error
    for entry in entries:
        if is_hidden(entry.name):
            continue
        path = f"{inside}/{entry.name}".lstrip("/")
        is_folder = entry.is_dir()
        yield path, is_folder
        if is_folder and not entry.name.endswith(".zarr") and depth != 1:
            yield from _walk(base, path, depth - 1 if depth else None)


def _is_open_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir() and not entry.name.endswith(".zarr") and not is_hidden(entry.name)


def _holds_dicom(folder: Path) -> bool:
    """Tell whether a folder may be a DICOM series, whose files often have no suffix."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_file() and not is_hidden(entry.name)]
    return any(suffix_of(name) in (*DICOM, "") for name in names)
