"""Images for classification: the folder of an image names its class."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from imtoolkit.core.errors import DataError, Problem, listed
from imtoolkit.data.references import check_path
from imtoolkit.data.sources.base import (
    Source,
    absolute,
    ids_of,
    relative_path,
    require_folder,
    require_unique,
    split_name,
)
from imtoolkit.data.sources.listing import describe, find, subfolders
from imtoolkit.data.table import Manifest


class ClassFoldersSource(Source):
    """Images in one folder for each class, possibly below ``train``, ``val`` and ``test`` folders.

    The column ``target`` holds the name of the class.

    Args:
        root: Folder of the class folders.
        image: Glob of the images within a class folder; ``**/*`` looks into sub-folders as well.
        classes: Class folders to use; left out, all.

    Raises:
        DataError: If there are no class folders, or one of them holds no images.
    """

    def __init__(
        self, root: str, image: str = "**/*", classes: Sequence[str] | None = None
    ) -> None:
        self.root = absolute(root)
        self.image = image
        self.classes = None if classes is None else list(classes)

    def samples(self) -> Manifest:
        """List the images with the names of their classes, sorted by id."""
        require_folder(self.root, "Set 'root' to the folder that holds one folder for each class.")
        names = subfolders(self.root)
        splits = [(name, split_name(name)) for name in names]
        if names and all(split for _, split in splits):
            parts = [
                (name, split, folder)
                for name, split in splits
                for folder in subfolders(self.root / name)
            ]
        else:
            parts = [("", None, folder) for folder in names]
        columns: dict[str, list[str | None]] = {"image": [], "target": [], "split": []}
        problems: list[Problem] = []
        for parent, split, folder in parts:
            if self.classes is not None and folder not in self.classes:
                continue
            found = find(self.root / parent / folder, self.image)
            if not found.paths:
                where = describe(self.root / parent / folder)
                problems.append(
                    Problem(f"no images of class '{folder}' match '{self.image}'. {where}")
                )
            columns["image"] += found.paths
            columns["target"] += [folder] * len(found)
            columns["split"] += [split] * len(found)
        self._check(columns["target"], problems)
        return self._manifest(columns)

    def _check(self, targets: Sequence[str | None], problems: list[Problem]) -> None:
        lacking = sorted(set(self.classes or ()) - set(targets))
        if lacking and not problems:
            problems.append(
                Problem(f"no folder for the classes {listed(lacking)}. {describe(self.root)}")
            )
        if not targets and not problems:
            problems.append(Problem(f"no class folders in '{self.root}'. {describe(self.root)}"))
        if problems:
            raise DataError(problems)

    def _manifest(self, columns: dict[str, list[str | None]]) -> Manifest:
        paths = [path for path in columns["image"] if path is not None]
        for path in paths:
            check_path(path)
        ids = ids_of(paths, self.root)
        require_unique(ids, paths, "Narrow the glob 'image' so that it finds each image once.")
        parents = [relative_path(path, self.root).parent.as_posix() for path in paths]
        typed = {name: pa.array(values, pa.string()) for name, values in columns.items()}
        return Manifest.from_columns({"id": ids, **typed, "parent": parents}).sorted_by_id()
