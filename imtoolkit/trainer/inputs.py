"""What ``predict`` is given, as single images: files, folders, patterns, tables, OME-Zarr.

An image may have a file for each channel. Files are joined to images by nnU-Net's numbers
(``case_0000.nii.gz``, ``case_0001.nii.gz``) where the model was trained on such images, by the
columns of a table, or by the user, as ``a.tif|b.tif``.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from imtoolkit import io
from imtoolkit.config.sections import DataConfig
from imtoolkit.core.errors import DataError, Problem, did_you_mean, listed
from imtoolkit.core.facts import DataFacts
from imtoolkit.data.references import CHANNELS
from imtoolkit.data.sources.csv import read_csv, texts_of
from imtoolkit.data.sources.nnunet import CHANNEL_NUMBER

TABLES = (".csv", ".tsv")


@dataclass(frozen=True)
class Input:
    """One image to predict.

    Attributes:
        paths: The file, or one for each channel; for OME-Zarr and DICOM a folder.
        folder: Sub-folder of the output that its prediction goes to.
        row: The row of the table that names it, as text by column; ``None`` without a table.
    """

    paths: tuple[Path, ...]
    folder: Path = Path()
    row: Mapping[str, str | None] | None = field(default=None, compare=False)

    @property
    def path(self) -> Path:
        """The file, or that of the first channel."""
        return self.paths[0]

    def target(self, output: Path, suffix: str | None, *, fractions: bool = False) -> Path:
        """Return where its prediction goes: same stem, without compound suffixes.

        The prediction of ``case_0000.nii.gz`` and ``case_0001.nii.gz`` is ``case.nii.gz``.

        Args:
            output: The folder of all predictions.
            suffix: The format; left out, as the input has it.
            fractions: Whether real numbers are predicted: beside a PNG they are OME-TIFF then.
        """
        stem, own = io.strip_suffix(self.path)
        cases = {_case(path)[0] for path in self.paths}
        if len(self.paths) > 1 and len(cases) == 1:
            stem = cases.pop()
        kind = suffix or writable(own)
        if suffix is None and fractions and kind == ".png":
            kind = ".ome.tif"
        return output / self.folder / f"{stem}{kind}"


@dataclass(frozen=True)
class FileLayout:
    """How the images that a model was trained on lie in files.

    Attributes:
        files: Files of an image: several where each channel has its own.
        columns: For each table of the run, the columns that hold these files.
        reader: What reads them where the run names a reader (``data.reader``).
    """

    files: int = 1
    columns: tuple[tuple[str, ...], ...] = ()
    reader: Any = None

    @classmethod
    def of(cls, config: DataConfig, facts: DataFacts) -> FileLayout:
        """Return the layout of a run's images."""
        given = [
            entry.source.params.get("image", "image")
            for entry in config.sources.values()
            if entry.source.name == "csv"
        ]
        columns = [(one,) if isinstance(one, str) else tuple(one) for one in given]
        layout = cls(facts.image_files, tuple(dict.fromkeys(columns)))
        if config.reader is None:
            return layout
        from imtoolkit.io.foreign import resolve  # MONAI's readers, which few runs need

        return replace(layout, reader=resolve(config.reader))

    def is_image(self, path: Path) -> bool:
        """Tell whether a file can be read; a reader of the user's knows suffixes of its own."""
        return io.is_image(path) or (self.reader is not None and self._has_own_suffix(path))

    def _has_own_suffix(self, path: Path) -> bool:
        return path.is_file() and bool(self.reader.verify_suffix(str(path)))


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


def find_inputs(given: Sequence[str | Path], layout: FileLayout | None = None) -> list[Input]:
    """Turn what the user gave into single images, in order, each once.

    Args:
        given: Files, ``a.tif|b.tif`` for the channels of one image, folders, patterns, tables.
        layout: How the images of the model lie in files; left out, one file is one image.

    Raises:
        DataError: If something does not exist, or holds no images; all such are listed.
    """
    layout = layout or FileLayout()
    found: dict[tuple[Path, ...], Input] = {}
    problems: list[Problem] = []
    for item in given:
        try:
            for one in _expand(str(item), layout):
                found.setdefault(tuple(path.absolute() for path in one.paths), one)
        except DataError as error:
            problems += error.problems
    images, missing = _join_channels(found.values(), layout.files)
    if problems or missing:
        raise DataError([*problems, *missing])
    return images


def _join_channels(found: Iterable[Input], files: int) -> tuple[list[Input], list[Problem]]:
    """Join files that are numbered by channel to images; the others stay as they are.

    The other channels of a file are taken from its folder, whether they were given or not.
    """
    images: dict[tuple[Path, ...], Input] = {}
    problems: list[Problem] = []
    for one in found:
        case, number = _case(one.path)
        names = [f"{case}_{at:04d}{io.strip_suffix(one.path)[1]}" for at in range(files)]
        parts = tuple(one.path.with_name(name) for name in names)
        if files == 1 or len(one.paths) > 1 or number is None:
            images.setdefault(tuple(path.absolute() for path in one.paths), one)
        elif number < files:
            joined = replace(one, paths=parts)
            images.setdefault(tuple(path.absolute() for path in parts), joined)
        elif parts[0].exists():
            message = f"is channel {number} of '{case}'; the model knows 0 to {files - 1}"
            problems.append(Problem(f"{message}: move it elsewhere", file=str(one.path)))
        else:
            images.setdefault((one.path.absolute(),), one)
    missing = [
        Problem(f"no such file: channel {at} of '{_case(one.path)[0]}'", file=str(path))
        for one in images.values()
        for at, path in enumerate(one.paths)
        if not path.exists()
    ]
    if missing:
        remedy = (
            f"The model was trained on images of {files} files, one for each channel. Put the "
            "missing ones beside the others, or join files of other names with '|': 'a.tif|b.tif'"
        )
        problems += [*missing, Problem(remedy)]
    return list(images.values()), problems


def _case(path: Path) -> tuple[str, int | None]:
    """Return the name of an image and the number of the channel that a file holds, if it has one.

    Example:
        >>> _case(Path("brain_07_0001.nii.gz")), _case(Path("cells.tif"))
        (('brain_07', 1), ('cells', None))
    """
    stem, _ = io.strip_suffix(path)
    part = CHANNEL_NUMBER.fullmatch(stem)
    return (part[1], int(part[2])) if part else (stem, None)


def check_output(output: Path, suffix: str | None, *, fractions: bool = False) -> None:
    """Refuse a format or a folder that no prediction could be written in.

    Args:
        output: The folder.
        suffix: The format; ``None`` for that of each input.
        fractions: Whether images of real numbers are predicted, which PNG cannot hold.

    Raises:
        DataError: Before anything is computed.
    """
    from imtoolkit.io.writer import FORMATS

    if fractions and suffix is not None and suffix.lower() == ".png":
        message = (
            "PNG holds whole numbers, and this model predicts images of real numbers, which would "
            "be rounded: choose .ome.tif, .tif, .nii.gz or .npy"
        )
        raise DataError(message)

    if suffix is not None and suffix.lower() not in FORMATS:
        known = did_you_mean(suffix, FORMATS)
        message = f"cannot write '{suffix}' files.{known} There are {', '.join(FORMATS)}"
        raise DataError(message)
    place = next(place for place in (output, *output.absolute().parents) if place.exists())
    if not place.is_dir():
        message = "is a file; predictions go into a folder. Choose another --output folder"
        raise DataError(Problem(message, file=str(place)))


def check_targets(inputs: Sequence[Input], targets: Sequence[Sequence[Path]]) -> None:
    """Refuse outputs that would fall on an input or on each other, before anything is computed.

    Args:
        inputs: The images.
        targets: The files that are written for each image.

    Raises:
        DataError: With all such.
    """
    sources = {path.resolve() for one in inputs for path in one.paths}
    taken: dict[Path, Path] = {}
    problems = []
    for one, files in zip(inputs, targets, strict=True):
        for target in (file.resolve() for file in files):
            if target in sources:
                message = (
                    "the prediction would overwrite this input. Choose another --output folder"
                )
                problems.append(Problem(message, file=str(one.path)))
            elif target in taken:
                message = f"its prediction {target.name} would fall on that of {taken[target]}"
                remedy = "Predict them into different folders"
                problems.append(Problem(f"{message}. {remedy}", file=str(one.path)))
            taken[target] = one.path
    if problems:
        raise DataError(problems)


def _expand(item: str, layout: FileLayout) -> Iterator[Input]:
    path = Path(item).expanduser()
    if path.is_dir() and not layout.is_image(path):
        yield from _in_folder(path, layout)
    elif path.suffix.lower() in TABLES and path.is_file():
        yield from _in_table(path, layout)
    elif path.exists():
        yield Input((path,))
    elif CHANNELS in item:
        yield _several(item)
    elif glob.has_magic(item):
        yield from _matching(item, layout)
    else:
        message = "no such file or folder"
        raise DataError(Problem(message, file=item))


def _several(item: str) -> Input:
    paths = tuple(Path(part).expanduser() for part in item.split(CHANNELS))
    missing = [Problem("no such file", file=str(path)) for path in paths if not path.exists()]
    if missing:
        remedy = f"'{CHANNELS}' joins the files that hold the channels of one image: '{item}'"
        raise DataError([*missing, Problem(remedy)])
    return Input(paths)


def _in_folder(folder: Path, layout: FileLayout) -> Iterator[Input]:
    images = sorted(_walk(folder, layout))
    if not images:
        message = "this folder holds no images that can be read"
        raise DataError(Problem(message, file=str(folder)))
    for path in images:
        yield Input((path,), path.parent.relative_to(folder))


def _walk(folder: Path, layout: FileLayout) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if layout.is_image(path):
            yield path
        elif path.is_dir():
            yield from _walk(path, layout)


def _matching(pattern: str, layout: FileLayout) -> Iterator[Input]:
    # sub-folders of the output count from the part of the pattern that is fixed
    parts = Path(pattern).expanduser().parts
    count = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    root, rest = Path(*parts[:count]), str(Path(*parts[count:]))
    images = sorted(path for path in root.glob(rest) if layout.is_image(path))
    if not images:
        message = "this pattern matches no image"
        raise DataError(Problem(message, file=pattern))
    for path in images:
        yield Input((path,), path.parent.relative_to(root))


def _in_table(table: Path, layout: FileLayout) -> Iterator[Input]:
    candidates = (*layout.columns, ("image",))
    header = read_csv(table, ()).column_names
    columns = next((names for names in candidates if set(names) <= set(header)), None)
    if columns is None:
        wanted = " nor ".join(listed(names) for names in dict.fromkeys(candidates))
        message = f"this table has no column {wanted}, but {', '.join(header)}"
        raise DataError(Problem(message, file=str(table)))
    cells = read_csv(table, header)
    rows = {name: texts_of(cells, name) for name in header}
    if not rows[columns[0]]:
        message = "this table has a header and no rows: list the images, one to a line"
        raise DataError(Problem(message, file=str(table)))
    missing: list[Problem] = []
    for line, row in enumerate(zip(*(rows[name] for name in columns), strict=True), 2):
        names = [name.strip() for cell in row for name in (cell or "").split(CHANNELS)]
        paths = tuple(table.parent / Path(name).expanduser() for name in names)
        absent = [
            Problem(f"no such image: {name}" if name else "no image", file=str(table), line=line)
            for name, path in zip(names, paths, strict=True)
            if not (name and path.exists())
        ]
        missing += absent
        if not absent:
            inside = Path(names[0]).parent
            safe = not inside.is_absolute() and ".." not in inside.parts
            named = {name: values[line - 2] for name, values in rows.items()}
            yield Input(paths, inside if safe else Path(), named)
    if missing:
        raise DataError(missing)
