"""What ``predict`` is given, as single images: files, folders, patterns, tables, OME-Zarr."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imtoolkit import io
from imtoolkit.core.errors import DataError, Problem, did_you_mean

TABLES = (".csv", ".tsv")


@dataclass(frozen=True)
class Input:
    """One image to predict.

    Attributes:
        path: The file; for OME-Zarr and DICOM a folder.
        folder: Sub-folder of the output that its prediction goes to.
    """

    path: Path
    folder: Path = Path()

    def target(self, output: Path, suffix: str | None) -> Path:
        """Return where its prediction goes: same stem, without compound suffixes."""
        stem, own = io.strip_suffix(self.path)
        return output / self.folder / f"{Path(stem).name}{suffix or writable(own)}"


def writable(suffix: str) -> str:
    """Return the suffix for predictions of images with this suffix.

    Example:
        >>> writable(".nii.gz"), writable(".czi"), writable(".jpg")
        ('.nii.gz', '.ome.tif', '.png')
    """
    from imtoolkit.io.writer import FORMATS

    lower = suffix.lower()
    if lower in (".jpg", ".jpeg", ".bmp"):
        return ".png"  # labels do not survive a lossy format
    return lower if lower in FORMATS else ".ome.tif"


def find_inputs(given: Sequence[str | Path]) -> list[Input]:
    """Turn what the user gave into single images, in order, each once.

    Raises:
        DataError: If something does not exist, or holds no images; all such are listed.
    """
    found: dict[Path, Input] = {}
    problems: list[Problem] = []
    for item in given:
        try:
            for one in _expand(str(item)):
                found.setdefault(one.path.absolute(), one)
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(problems)
    return list(found.values())


def check_output(output: Path, suffix: str | None) -> None:
    """Refuse a format or a folder that no prediction could be written in.

    Raises:
        DataError: Before anything is computed.
    """
    from imtoolkit.io.writer import FORMATS

    if suffix is not None and suffix.lower() not in FORMATS:
        known = did_you_mean(suffix, FORMATS)
        message = f"cannot write '{suffix}' files.{known} There are {', '.join(FORMATS)}"
        raise DataError(message)
    place = next(place for place in (output, *output.absolute().parents) if place.exists())
    if not place.is_dir():
        message = "is a file; predictions go into a folder. Choose another --output folder"
        raise DataError(Problem(message, file=str(place)))


def check_targets(inputs: Iterable[Input], output: Path, suffix: str | None) -> None:
    """Refuse outputs that would fall on an input or on each other, before anything is computed.

    Raises:
        DataError: With all such.
    """
    sources = {one.path.resolve() for one in inputs}
    taken: dict[Path, Path] = {}
    problems = []
    for one in inputs:
        target = one.target(output, suffix).resolve()
        if target in sources:
            message = "the prediction would overwrite this input. Choose another --output folder"
            problems.append(Problem(message, file=str(one.path)))
        elif target in taken:
            message = f"its prediction {target.name} would fall on that of {taken[target]}"
            remedy = "Predict them into different folders"
            problems.append(Problem(f"{message}. {remedy}", file=str(one.path)))
        taken[target] = one.path
    if problems:
        raise DataError(problems)


def _expand(item: str) -> Iterator[Input]:
    path = Path(item).expanduser()
    if path.is_dir() and not io.is_image(path):
        yield from _in_folder(path)
    elif path.suffix.lower() in TABLES and path.is_file():
        yield from _in_table(path)
    elif path.exists():
        yield Input(path)
    elif glob.has_magic(item):
        yield from _matching(item)
    else:
        message = "no such file or folder"
        raise DataError(Problem(message, file=item))


def _in_folder(folder: Path) -> Iterator[Input]:
    images = sorted(_walk(folder))
    if not images:
        message = "this folder holds no images that can be read"
        raise DataError(Problem(message, file=str(folder)))
    for path in images:
        yield Input(path, path.parent.relative_to(folder))


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if io.is_image(path):
            yield path
        elif path.is_dir():
            yield from _walk(path)


def _matching(pattern: str) -> Iterator[Input]:
    # sub-folders of the output count from the part of the pattern that is fixed
    parts = Path(pattern).expanduser().parts
    count = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    root, rest = Path(*parts[:count]), str(Path(*parts[count:]))
    images = sorted(path for path in root.glob(rest) if io.is_image(path))
    if not images:
        message = "this pattern matches no image"
        raise DataError(Problem(message, file=pattern))
    for path in images:
        yield Input(path, path.parent.relative_to(root))


def _in_table(table: Path) -> Iterator[Input]:
    import pandas as pd

    frame = pd.read_csv(table, sep="\t" if table.suffix.lower() == ".tsv" else ",")
    if "image" not in frame:
        message = f"this table has no column 'image', but {', '.join(map(str, frame.columns))}"
        raise DataError(Problem(message, file=str(table)))
    missing = []
    for line, name in enumerate(frame["image"].astype(str), start=2):
        path = table.parent / Path(name).expanduser()
        if not path.exists():
            missing.append(Problem(f"no such image: {name}", file=str(table), line=line))
            continue
        inside = Path(name).parent
        safe = not inside.is_absolute() and ".." not in inside.parts
        yield Input(path, inside if safe else Path())
    if missing:
        raise DataError(missing)
