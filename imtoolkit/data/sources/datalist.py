"""Samples listed in a JSON file, as MONAI and the Medical Segmentation Decathlon write them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from imtoolkit.core.errors import DataError, Problem, listed
from imtoolkit.data.references import files_of, join_channels
from imtoolkit.data.sources.base import (
    Source,
    absolute,
    ids_of,
    relative_path,
    require_files,
    require_unique,
    shortened,
    split_name,
)
from imtoolkit.data.sources.listing import nearest_existing
from imtoolkit.data.table import Manifest
from imtoolkit.io.names import is_image


class DatalistSource(Source):
    """Samples from a ``dataset.json`` with the lists ``training``, ``validation`` and ``test``.

    An entry is a mapping such as ``{"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}``
    or, in the lists without targets, a path alone. A list of paths is an image with one file for
    each channel. Other values of an entry, such as ``fold``, become columns. A list decides the
    split of its samples; where there is no validation list, validation is drawn from the training
    list.

    Args:
        path: The JSON file.
        image: Key of the image in an entry.
        target: Key of the target; a path, or a class or number for the whole image.
        weight: Key of the cost map.
        root: Folder where relative paths start; left out, that of the file.

    Raises:
        DataError: If the file is no such list, or images are missing.
    """

    def __init__(
        self,
        path: str,
        image: str = "image",
        target: str = "label",
        weight: str = "weight",
        root: str | None = None,
    ) -> None:
        self.path = absolute(path)
        self.root = self.path.parent if root is None else absolute(root)
        self.keys = {"image": image, "target": target, "weight": weight}

    def samples(self) -> Manifest:
        """List the samples, sorted by id."""
        entries, splits = self._entries()
        problems: list[Problem] = []
        columns: dict[str, list[str | None]] = {"image": [], "target": [], "weight": []}
        for number, entry in enumerate(entries):
            if not entry.get(self.keys["image"]):
                known = listed(sorted(entry))
                problems.append(
                    Problem(
                        f"entry {number} has no '{self.keys['image']}', but {known}",
                        file=str(self.path),
                    )
                )
            for name, key in self.keys.items():
                columns[name].append(self._reference(entry.get(key)))
        if problems:
            raise DataError(shortened(problems))
        images = [path or "" for path in columns["image"]]
        first = [files_of(image)[0] for image in images]
        ids = ids_of(first, self.root)
        require_unique(
            ids, images, f"'{self.path}' lists a sample more than once: remove one of them."
        )
        remedy = f"Relative paths start at '{self.root}'; set 'root' to start elsewhere."
        files = [
            value for values in columns.values() for value in values if value and _is_path(value)
        ]
        require_files(files, remedy)
        parents = [relative_path(path, self.root).parent.as_posix() for path in first]
        typed = {name: pa.array(values, pa.string()) for name, values in columns.items()}
        texts = {"id": ids, "split": pa.array(splits, pa.string()), "parent": parents}
        return Manifest.from_columns({**typed, **texts, **self._others(entries)}).sorted_by_id()

    def _entries(self) -> tuple[list[Mapping[str, Any]], list[str]]:
        content = read_json(self.path)
        entries: list[Mapping[str, Any]] = []
        splits: list[str] = []
        for name, items in content.items():
            split = split_name(name)
            if split is None or not isinstance(items, list):
                continue
            for item in items:
                entries.append(item if isinstance(item, Mapping) else {self.keys["image"]: item})
                splits.append(split)
        if not entries:
            message = (
                f"'{self.path}' lists no samples: expected a list under 'training', 'validation' "
                f"or 'test', but it holds {listed(sorted(content))}"
            )
            raise DataError(message)
        return entries, splits

    def _reference(self, value: Any) -> str | None:
        if value is None or isinstance(value, bool):
            return None if value is None else str(int(value))
        if isinstance(value, Sequence) and not isinstance(value, str):
            return join_channels([str(self.root / str(item)) for item in value]) if value else None
        if isinstance(value, str) and _is_path(value):
            return join_channels([str(self.root / value)])
        return str(value)

    def _others(self, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        taken = {
            *self.keys.values(),
            "id",
            "image",
            "target",
            "weight",
            "dataset",
            "split",
            "parent",
        }
        names = dict.fromkeys(key for entry in entries for key in entry if key not in taken)
        columns = {}
        for name in names:
            values = [_plain(entry.get(name)) for entry in entries]
            try:
                columns[name] = pa.array(values)
            except (pa.ArrowInvalid, pa.ArrowTypeError):
                columns[name] = pa.array([None if item is None else str(item) for item in values])
        return columns


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        DataError: If it is missing or is none.
    """
    if not path.is_file():
        message = f"file '{path}' does not exist. {nearest_existing(path)}"
        raise DataError(message)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        message = f"'{path}' is no JSON: {error}"
        raise DataError(message) from error
    if not isinstance(content, dict):
        message = (
            f"'{path}' holds a JSON {type(content).__name__}, expected an object with named lists"
        )
        raise DataError(message)
    return content


def _is_path(value: str) -> bool:
    return is_image(value) or "/" in value


def _plain(value: Any) -> Any:
    return (
        value if value is None or isinstance(value, (str, int, float, bool)) else json.dumps(value)
    )
