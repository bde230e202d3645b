"""What every source has in common: one method, and the way columns become a manifest."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Final

from imtoolkit.core.errors import DataError, Problem
from imtoolkit.data.references import files_of
from imtoolkit.data.sources.listing import absence, entries_of, nearest_existing
from imtoolkit.data.table import Manifest
from imtoolkit.io.names import strip_suffix

SPLIT_NAMES: Final[dict[str, str]] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "validating": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "naive": "naive",
}
"""Words for the splits in the folders and tables of others, lower case, and what we call them."""

MOST: Final = 20
"""Problems that a message lists one by one."""


class Source(ABC):
    """A set of samples somewhere.

    A subclass takes plain values in its constructor, which touches no file, and lists its samples
    in `samples`. To use an own source in a config, list its module under ``plugins:`` and name the
    class.

    Example:
        >>> class TwoCells(Source):
        ...     def samples(self) -> Manifest:
        ...         return Manifest.from_columns({"id": ["a", "b"], "image": ["a.tif", "b.tif"]})
        >>> len(TwoCells().samples())
        2
    """

    has_targets: ClassVar[bool] = True
    """Whether a task may ask for targets; two sets of unpaired images have none."""

    @abstractmethod
    def samples(self) -> Manifest:
        """List the samples.

        Returns:
            A manifest with at least the columns ``id`` and ``image``; ``split`` where the source
            itself tells what a sample is for, ``group`` where it knows what belongs together.

        Raises:
            DataError: If files are missing or do not fit together; all problems at once.
        """


def split_name(word: str) -> str | None:
    """Return our name for a split, or ``None`` where the word stands for none.

    Example:
        >>> split_name("Validation"), split_name("images")
        ('val', None)
    """
    return SPLIT_NAMES.get(word.strip().lower())


def shortest_unique(*candidates: Sequence[str]) -> list[str]:
    """Return the first of several lists of names in which no name occurs twice, else the last.

    Example:
        >>> shortest_unique(["a", "a"], ["x/a", "y/a"])
        ['x/a', 'y/a']
    """
    for names in candidates:
        if len(set(names)) == len(names):
            return list(names)
    return list(candidates[-1])


def ids_of(paths: Sequence[str], root: Path) -> list[str]:
    """Name samples by the stem of their file, or by its path where stems are not unique."""
    stems = [strip_suffix(Path(path).name)[0] for path in paths]
    relative = [relative_stem(path, root) for path in paths]
    return shortest_unique(stems, relative, list(paths))


def relative_stem(path: str, root: Path) -> str:
    """Return a path below ``root`` without its suffix, with forward slashes.

    Of a path that lies elsewhere all folders are kept, but neither drive nor ``..``: the name may
    become a part of the path of a prediction, which must not leave its folder.
    """
    inside = relative_path(path, root)
    stem = inside.with_name(strip_suffix(inside.name)[0])
    return "/".join(part for part in stem.parts if part not in ("/", "..") and ":" not in part)


def relative_path(path: str, root: Path) -> PurePosixPath:
    """Return a path relative to ``root`` where it lies below it, unchanged elsewhere."""
    place = Path(path)
    return PurePosixPath(
        (place.relative_to(root) if place.is_relative_to(root) else place).as_posix()
    )


def absolute(path: str | Path) -> Path:
    """Return an absolute path; ``~`` is the user's home."""
    return Path(path).expanduser().absolute()


def require_folder(folder: Path, remedy: str) -> None:
    """Check that a folder exists.

    Raises:
        DataError: If it does not, with the nearest folder that does and what is in it.
    """
    if folder.is_dir():
        return
    kind = "is a file, not a folder" if folder.exists() else "does not exist"
    if os.name != "nt" and "\\" in folder.name:
        kind += " (it looks like a path of Windows; here folders are parted by '/')"
    message = f"folder '{folder}' {kind}. {nearest_existing(folder)} {remedy}"
    raise DataError(message)


def require_files(references: Iterable[str | None], remedy: str) -> None:
    """Check that every file of some references exists, asking each folder once for its list.

    Raises:
        DataError: If any does not exist: all of them at once.
    """
    folders: dict[str, set[str]] = {}
    missing: list[str] = []
    for reference in references:
        for path in files_of(reference) if reference else ():
            parent, name = os.path.split(path)  # a path object for each row takes far longer
            if parent not in folders:
                folders[parent] = entries_of(Path(parent))
            if name not in folders[parent] and not Path(path).exists():
                missing.append(path)
    if missing:
        found = list(dict.fromkeys(missing))
        hint = f"{nearest_existing(Path(found[0]))} {remedy}"
        problems = [Problem(absence(Path(path))) for path in found]
        raise DataError([*shortened(problems), Problem(hint)])


def require_unique(ids: Sequence[str], paths: Sequence[str], remedy: str) -> None:
    """Check that no id stands for two files.

    Raises:
        DataError: If one does, with the files.
    """
    if len(set(ids)) == len(ids):
        return
    files: dict[str, list[str]] = defaultdict(list)
    for name, path in zip(ids, paths, strict=True):
        files[name].append(path)
    problems = [
        Problem(_shared(name, same)) for name, same in sorted(files.items()) if len(same) > 1
    ]
    raise DataError([*shortened(problems), Problem(remedy)])


def _shared(name: str, paths: Sequence[str]) -> str:
    if len(set(paths)) == 1:
        return f"'{paths[0]}' is listed {len(paths)} times"
    return f"'{name}' stands for several files: {', '.join(sorted(paths))}"


def shortened(problems: Sequence[Problem], most: int = MOST) -> list[Problem]:
    """Return the first problems, and a line that counts the rest.

    Example:
        >>> [str(item) for item in shortened([Problem(str(i)) for i in range(5)], most=2)]
        ['0', '1', 'and 3 more']
    """
    if len(problems) <= most:
        return list(problems)
    return [*problems[:most], Problem(f"and {len(problems) - most} more")]


def same_length(columns: Mapping[str, Any]) -> int:
    """Return the length that all given columns have; ``None`` is no column.

    Raises:
        DataError: If they differ.
    """
    lengths = {name: len(values) for name, values in columns.items() if values is not None}
    if len(set(lengths.values())) > 1:
        usual = Counter(lengths.values()).most_common(1)[0][0]
        parts = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        message = f"expected as many of each, such as {usual}, but {parts}"
        raise DataError(message)
    return next(iter(lengths.values()), 0)
