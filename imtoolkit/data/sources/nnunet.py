"""Data laid out as nnU-Net's raw folder, or as the Medical Segmentation Decathlon."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from imtoolkit.core.errors import DataError, Problem
from imtoolkit.data.references import join_channels
from imtoolkit.data.sources.base import MOST, Source, absolute, require_folder, shortened
from imtoolkit.data.sources.datalist import read_json
from imtoolkit.data.sources.listing import describe, find
from imtoolkit.data.table import Manifest
from imtoolkit.io.names import strip_suffix

CHANNEL_NUMBER: Final = re.compile(r"(.+)_(\d{4})")
"""The stem of a file that holds one channel: name of the case, number of the channel."""


class NnunetSource(Source):
    """Samples from ``imagesTr``, ``labelsTr``, ``imagesTs``, ``labelsTs`` and ``dataset.json``.

    ``case_0000.nii.gz`` and ``case_0001.nii.gz`` are two channels of one image; without such
    numbers, as in the decathlon, each file is an image. ``imagesTs`` is the test set. Test images
    without a label are listed without target, and serve for prediction only.

    Args:
        root: Folder that holds ``imagesTr``.

    Attributes:
        channel_names: Names of the channels from ``dataset.json``, empty where it does not tell.
        classes: Names of the classes in the order of their labels, empty where it does not tell.

    Raises:
        DataError: If folders, labels or channels are missing; all cases at once.
    """

    def __init__(self, root: str) -> None:
        self.root = absolute(root)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels, in their order."""
        content = self._description()
        names = content.get("channel_names") or content.get("modality") or {}
        return tuple(str(names[key]) for key in sorted(names, key=int))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, background first; region-based labels (lists) give none."""
        labels = self._description().get("labels") or {}
        if all(str(key).isdigit() for key in labels):  # the decathlon writes {"0": "background"}
            labels = {name: int(number) for number, name in labels.items()}
        if not all(isinstance(number, int) for number in labels.values()):
            return ()
        return tuple(
            sorted((name for name in labels if name != "ignore"), key=lambda name: labels[name])
        )

    def samples(self) -> Manifest:
        """List the cases, sorted by id."""
        require_folder(self.root, "Set 'root' to the folder that holds imagesTr.")
        require_folder(self.root / "imagesTr", "An nnU-Net data set has imagesTr and labelsTr.")
        columns: dict[str, list[str | None]] = {"id": [], "image": [], "target": [], "split": []}
        problems: list[Problem] = []
        for images, labels, split in (
            ("imagesTr", "labelsTr", "train"),
            ("imagesTs", "labelsTs", "test"),
        ):
            self._add(columns, problems, images, labels, split)
        if problems:
            raise DataError(problems)
        typed = {name: pa.array(values, pa.string()) for name, values in columns.items()}
        return Manifest.from_columns(typed).sorted_by_id()

    def _add(
        self,
        columns: dict[str, list[str | None]],
        problems: list[Problem],
        images: str,
        labels: str,
        split: str,
    ) -> None:
        cases = self._cases(images, problems)
        targets = dict(_files(self.root / labels))
        missing = (
            [name for name in cases if name not in targets] if targets or split == "train" else []
        )
        stray = [path for name, path in targets.items() if name not in cases]
        wrong = [
            Problem(f"image without target: case '{name}' has no file in {labels}")
            for name in missing
        ]
        wrong_targets = [Problem(f"target without image: {path}") for path in stray]
        problems += [*shortened(wrong, MOST // 2), *shortened(wrong_targets, MOST // 2)]
        for name, files in cases.items():
            columns["id"].append(name)
            columns["image"].append(join_channels(files))
            columns["target"].append(targets.get(name))
            columns["split"].append(split)

    def _cases(self, folder: str, problems: list[Problem]) -> dict[str, list[str]]:
        """Return the files of each case in the order of the channels."""
        files = _files(self.root / folder)
        if not files and folder == "imagesTr":
            message = f"no images in imagesTr. {describe(self.root / folder)}"
            raise DataError(message)
        parts = [CHANNEL_NUMBER.fullmatch(name) for name, _ in files]
        if not all(parts):
            return {name: [path] for name, path in files}
        cases: dict[str, dict[int, str]] = defaultdict(dict)
        for part, (_, path) in zip(parts, files, strict=True):
            if part is not None:
                cases[part[1]][int(part[2])] = path
        known = len(self.channel_names)
        channels = (
            set(range(known)) if known else {number for case in cases.values() for number in case}
        )
        uneven = [
            Problem(
                f"case '{name}' in {folder} has the channels {sorted(found)}, expected "
                f"{sorted(channels)}"
            )
            for name, found in sorted(cases.items())
            if set(found) != channels
        ]
        problems += shortened(uneven)
        return {name: [case[number] for number in sorted(case)] for name, case in cases.items()}

    def _description(self) -> dict[str, Any]:
        path = self.root / "dataset.json"
        return read_json(path) if path.is_file() else {}


def _files(folder: Path) -> list[tuple[str, str]]:
    if not folder.is_dir():
        return []
    return [(strip_suffix(path)[0], path) for path in find(folder, "*").paths]
