"""Samples listed in a table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from imtoolkit.core.errors import DataError, did_you_mean, listed
from imtoolkit.data.references import files_of, join_channels
from imtoolkit.data.sources.base import (
    Source,
    absolute,
    ids_of,
    relative_path,
    require_files,
    require_unique,
    split_name,
)
from imtoolkit.data.sources.listing import nearest_existing
from imtoolkit.data.table import Manifest
from imtoolkit.io.names import is_image

OPTIONAL: Final = ("target", "weight", "id", "split", "group")
"""Columns that are used where the table has them; all others are kept as the user's."""


class CsvSource(Source):
    """Samples from a CSV file, with any columns.

    Commas, semicolons and tabs separate columns. Relative paths start at ``root``. The values of
    the target column are files where they look like images (``masks/a.png``), and classes or
    numbers for the whole image elsewhere. Columns that have no meaning here are kept, so that
    ``split.group_by``, ``split.stratify_by``, ``loader.balance_by`` and the reports can use them.

    Args:
        path: The table, with a header line.
        image: Column of the images, or a list of columns: one file for each channel.
        target: Column of the targets; left out, ``target`` where the table has it. A list of
            columns holds several annotations of one image, a file in each.
        weight: Column of the cost maps; left out, ``weight`` where the table has it.
        id: Column that names the samples; left out, ``id``, or else the stems of the images.
        split: Column with ``train``, ``val``, ``test`` or ``naive``; left out, ``split`` where
            there is one. An empty value leaves the sample to ``data.split``.
        group: Column whose equal values never part; left out, ``group`` where there is one.
        root: Folder where relative paths start; left out, that of the table.

    Raises:
        DataError: If the table, a column or a file is missing, or an id occurs twice.
    """

    def __init__(
        self,
        path: str,
        image: str | Sequence[str] = "image",
        target: str | Sequence[str] | None = None,
        weight: str | None = None,
        id: str | None = None,  # noqa: A002 the name of the column it stands for
        split: str | None = None,
        group: str | None = None,
        root: str | None = None,
    ) -> None:
        self.path = absolute(path)
        self.root = self.path.parent if root is None else absolute(root)
        self.image = [image] if isinstance(image, str) else list(image)
        self.annotations = [] if target is None or isinstance(target, str) else list(target)
        one = target if isinstance(target, str) else None
        self.given = {"target": one, "weight": weight, "id": id, "split": split, "group": group}

    def samples(self) -> Manifest:
        """Read the table, in its order."""
        header = self._header()
        used = self._used(header)
        table = read_csv(self.path, [*self.image, *self.annotations, *used.values()])
        images = self._images(table)
        columns: dict[str, Any] = {"image": images}
        if self.annotations:
            columns["target"] = self._annotated(table)
        elif "target" in used:
            columns["target"] = self._targets(texts_of(table, used["target"]))
        if "weight" in used:
            columns["weight"] = self._weights(texts_of(table, used["weight"]), used["weight"])
        if "group" in used:
            columns["group"] = texts_of(table, used["group"])
        if "split" in used:
            columns["split"] = self._splits(texts_of(table, used["split"]), used["split"])
        columns["id"] = self._ids(table, used, images)
        self._check_files(columns)
        return Manifest.from_columns({**self._typed(columns), **self._others(table, used, images)})

    def _header(self) -> list[str]:
        if not self.path.is_file():
            message = f"table '{self.path}' does not exist. {nearest_existing(self.path)}"
            raise DataError(message)
        try:
            with self.path.open(encoding="utf-8-sig") as stream:
                line = stream.readline().rstrip("\r\n")
        except UnicodeDecodeError as error:
            message = f"table '{self.path}' is not text in UTF-8: save it as 'CSV UTF-8'"
            raise DataError(message) from error
        if not line:
            message = (
                f"table '{self.path}' is empty: expected a header line with the column 'image'"
            )
            raise DataError(message)
        return [name.strip().strip('"') for name in line.split(delimiter_of(self.path))]

    def _used(self, header: list[str]) -> dict[str, str]:
        """Return the column of the table for each meaning that it has."""
        used = {name: self.given[name] or name for name in OPTIONAL}
        named = (name for name in self.given.values() if name is not None)
        wanted = [*self.image, *self.annotations, *named]
        missing = [name for name in wanted if name not in header]
        if missing:
            hints = "".join(did_you_mean(name, header) for name in missing)
            message = (
                f"table '{self.path}' has no column {listed(missing)}, but "
                f"{listed(header, 20)}.{hints} "
                "Name the columns in the source's params, such as image: source_path"
            )
            raise DataError(message)
        if self.annotations:
            del used["target"]
        return {name: column for name, column in used.items() if column in header}

    def _images(self, table: Any) -> list[str]:
        parts = [texts_of(table, name) for name in self.image]
        images: list[str] = []
        for line, cells in enumerate(zip(*parts, strict=True), start=2):
            paths = [self._absolute(cell) for cell in cells]
            if None in paths:
                message = f"{self.path}:{line}: no image in column {listed(self.image)}"
                raise DataError(message)
            images.append(join_channels([path for path in paths if path is not None]))
        if not images:
            message = f"table '{self.path}' has a header and no samples"
            raise DataError(message)
        return images

    def _annotated(self, table: Any) -> list[str | None]:
        """Return for each image the files of all its annotations, joined."""
        parts = [texts_of(table, name) for name in self.annotations]
        found: list[str | None] = []
        for line, cells in enumerate(zip(*parts, strict=True), start=2):
            paths = [self._absolute(cell) for cell in cells if cell is not None]
            if paths and (len(paths) < len(cells) or not all(map(is_image, filter(None, cells)))):
                lacking = [name for name, cell in zip(self.annotations, cells, strict=True)
                           if cell is None or not is_image(cell)]  # fmt: skip
                message = (
                    f"{self.path}:{line}: no annotation in column {listed(lacking)}. Each image "
                    "has a file in each of these columns; where readers differ from image to "
                    "image, give each annotation a line of its own, with an 'id', and the image "
                    "as group"
                )
                raise DataError(message)
            found.append(join_channels([path for path in paths if path]) if paths else None)
        return found

    def _targets(self, values: list[str | None]) -> list[str | None]:
        if any(value is not None and is_image(value) for value in values):
            return [self._absolute(value) for value in values]
        return values

    def _weights(self, values: list[str | None], column: str) -> list[str | None]:
        known = [value for value in values if value is not None]
        if known and not any(map(is_image, known)):
            message = (
                f"column '{column}' of '{self.path}' stands for cost maps, which are files, but "
                f"holds '{known[0]}'. Rename it, for example to 'body_{column}', or name the "
                "column of the cost maps with params.weight"
            )
            raise DataError(message)
        return [self._absolute(value) for value in values]

    def _absolute(self, value: str | None) -> str | None:
        return None if value is None else str(self.root / Path(value).expanduser())

    def _splits(self, values: list[str | None], column: str) -> list[str | None]:
        unknown = sorted({value for value in values if value and split_name(value) is None})
        if unknown:
            message = (
                f"column '{column}' of '{self.path}' holds {listed(unknown)}: expected train, val, "
                "test or naive, or nothing"
            )
            raise DataError(message)
        return [split_name(value) if value else None for value in values]

    def _ids(self, table: Any, used: dict[str, str], images: list[str]) -> list[str]:
        if "id" not in used:
            first = [files_of(image)[0] for image in images]
            ids = ids_of(first, self.root)
        else:
            ids = [value or "" for value in texts_of(table, used["id"])]
            if "" in ids:
                message = f"{self.path}:{ids.index('') + 2}: no id in column '{used['id']}'"
                raise DataError(message)
        require_unique(
            ids, images, f"Give each line of '{self.path}' an image or an id of its own."
        )
        return ids

    def _check_files(self, columns: dict[str, Any]) -> None:
        targets = columns.get("target", [])
        are_files = any(value is not None and is_image(value) for value in targets)
        cells = [*columns["image"], *columns.get("weight", []), *(targets if are_files else [])]
        remedy = f"Relative paths start at '{self.root}'; set 'root' to start elsewhere."
        require_files(cells, remedy)

    def _typed(self, columns: dict[str, Any]) -> dict[str, Any]:
        return {name: pa.array(values, pa.string()) for name, values in columns.items()}

    def _others(self, table: Any, used: dict[str, str], images: list[str]) -> dict[str, Any]:
        taken = {*self.image, *self.annotations, *used.values(), "dataset", "image", *OPTIONAL}
        others = {name: table.column(name) for name in table.column_names if name not in taken}
        # what a column meant is kept under its own name too: 'patient' as well as 'group'
        for name, column in used.items():
            if column not in (name, "dataset", "image", *OPTIONAL) and name in ("group", "target"):
                others[column] = table.column(column)
        # a path object for each folder, not for each image: these are many more
        folders = [os.path.split(files_of(image)[0])[0] for image in images]
        names = {path: relative_path(path, self.root).as_posix() for path in set(folders)}
        parents = [names[path] for path in folders]
        return {"parent": pa.array(parents, pa.string()), **others}


def delimiter_of(path: Path) -> str:
    """Return what separates the columns of a table: a comma, a semicolon or a tab."""
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        line = stream.readline()
    return max((",", ";", "\t"), key=line.count)


def read_csv(path: Path, as_text: Sequence[str]) -> Any:
    """Read a CSV file into an Arrow table; the columns ``as_text`` are not guessed to be numbers.

    Raises:
        DataError: If it is no table.
    """
    from pyarrow import csv

    try:
        return csv.read_csv(
            path,
            parse_options=csv.ParseOptions(delimiter=delimiter_of(path), newlines_in_values=True),
            # ids such as 007 and groups such as 1e5 are names, not numbers
            convert_options=csv.ConvertOptions(column_types=dict.fromkeys(as_text, pa.string())),
        )
    except (pa.ArrowInvalid, OSError) as error:
        message = f"table '{path}' cannot be read: {error}"
        raise DataError(message) from error


def texts_of(table: Any, name: str) -> list[str | None]:
    """Return a column as text without blanks at the ends, ``None`` where nothing is left."""
    texts = pc.utf8_trim_whitespace(table.column(name).cast(pa.string()))
    return [value or None for value in texts.to_pylist()]
