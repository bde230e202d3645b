"""Images in folders, with targets and cost maps found by name."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from imtoolkit.core.errors import DataError, listed
from imtoolkit.data.references import check_path
from imtoolkit.data.sources.base import (
    Source,
    absolute,
    relative_path,
    relative_stem,
    require_folder,
    require_unique,
    shortest_unique,
    split_name,
)
from imtoolkit.data.sources.listing import Found, describe, find, require_found, subfolders
from imtoolkit.data.sources.pairing import pair
from imtoolkit.data.table import Manifest
from imtoolkit.io.names import strip_suffix

log = logging.getLogger(__name__)

IMAGE_FOLDERS: Final = (
    *("images", "image", "imgs", "img", "im", "raw", "input", "inputs", "source", "x"),
)
"""Names that the folder of the images goes by, in lower case, where no glob says it."""
TARGET_FOLDERS: Final = (
    *("labels", "label", "masks", "mask", "targets", "target", "gt", "groundtruth", "ground_truth"),
    *("annotations", "annotation", "segmentations", "segmentation", "output", "outputs", "y"),
)
"""The same for the targets."""
WEIGHT_FOLDERS: Final = ("weights", "weight", "costmaps", "costmap", "cost_maps", "cost_map", "cm")
"""The same for the cost maps."""
KNOWN_PAIRS: Final = (
    ("noisy", "clean"),
    ("low", "high"),
    ("low_snr", "high_snr"),
    ("brightfield", "fluorescence"),
)
"""Folders of image and target that always go together."""


class FolderSource(Source):
    """Images below a folder, matched with their targets by name.

    With globs, ``*`` must stand for the same text in all of them: ``images/*.tif`` and
    ``labels/*.png``, ``*_raw.tif`` and ``*_seg.tif``, ``*/image.nii.gz`` and ``*/label.nii.gz``.
    Where that does not meet, what all names of one side share is left out (``img_001`` and
    ``mask_001``). ``**`` spans folders and ``{tif,png}`` lists alternatives. Files that a target or
    weight glob finds are no images, unless ``target`` is the glob of the images itself: the target
    is then made of other channels of the file, see ``data.target_channels``.

    Without ``image``, the layout is found out: ``X_IM``, ``X_GT`` and ``X_CM`` in one folder;
    sub-folders with equal names, such as ``images`` and ``labels`` (or ``masks``, ``gt``, ...) and
    ``weights``; or only images. Either may stand below ``train``, ``val`` and ``test`` folders,
    with or without globs; they then decide the split.

    The id of a sample is the stem of its image, or more of its path where stems are not unique.

    Args:
        root: Folder where the globs start.
        image: Glob of the images.
        target: Glob of the targets; left out with ``image`` given, there are none.
        weight: Glob of the cost maps. An image without one counts everywhere alike.

    Raises:
        DataError: If the folder is missing, a glob finds nothing, or files have no partner.
    """

    def __init__(
        self,
        root: str,
        image: str | None = None,
        target: str | None = None,
        weight: str | None = None,
    ) -> None:
        self.root = absolute(root)
        self.image, self.target, self.weight = image, target, weight

    def samples(self) -> Manifest:
        """List the images with their partners, sorted by id."""
        require_folder(self.root, "Set 'root' to the folder of the images.")
        if self.image is None and (self.target or self.weight):
            message = "'target' and 'weight' need 'image', the glob of the images, as well"
            raise DataError(message)
        here = _Part(self.root, None, self._layout(self.root))
        if _holds_images(here):
            return _manifest(self.root, [here])
        parts = [
            _Part(self.root / name, split, self._layout(self.root / name))
            for name, split in _split_folders(self.root)
        ]
        if not any(map(_holds_images, parts)):
            return _manifest(self.root, [here])  # tells what is wrong
        # a split folder whose images lie elsewhere must not be passed over; an empty one may
        used = [part for part in parts if _holds_images(part) or len(find(part.folder, "**/*"))]
        return _manifest(self.root, used)

    def _layout(self, folder: Path) -> _Layout:
        if self.image is not None:
            return _Layout(self.image, self.target, self.weight)
        return _discover(folder)


@dataclass(frozen=True)
class _Layout:
    """Globs of a folder; ``image`` is ``None`` where nothing was recognised."""

    image: str | None
    target: str | None = None
    weight: str | None = None
    ids_from_keys: bool = False


@dataclass(frozen=True)
class _Part:
    """A folder, the split that its name tells, and the globs in it."""

    folder: Path
    split: str | None
    layout: _Layout


def _holds_images(part: _Part) -> bool:
    return part.layout.image is not None and len(find(part.folder, part.layout.image)) > 0


def _split_folders(root: Path) -> list[tuple[str, str]]:
    named = [(name, split_name(name)) for name in subfolders(root)]
    return [(name, split) for name, split in named if split is not None]


def _discover(folder: Path) -> _Layout:
    if len(find(folder, "*_IM.*")):
        return _by_suffix(folder)
    lower = {name.lower(): name for name in subfolders(folder)}
    for image, target in KNOWN_PAIRS:
        if image in lower and target in lower:
            return _in_folders(lower, lower[image], lower[target])
    image_folder = next((lower[name] for name in IMAGE_FOLDERS if name in lower), None)
    if image_folder is not None:
        target_folder = next((lower[name] for name in TARGET_FOLDERS if name in lower), None)
        return _in_folders(lower, image_folder, target_folder)
    return _Layout("*" if len(find(folder, "*")) else None)


def _by_suffix(folder: Path) -> _Layout:
    target = "*_GT.*" if len(find(folder, "*_GT.*")) else None
    weight = "*_CM.*" if len(find(folder, "*_CM.*")) else None
    return _Layout("*_IM.*", target, weight, ids_from_keys=True)


def _in_folders(lower: dict[str, str], image: str, target: str | None) -> _Layout:
    weight = next((lower[name] for name in WEIGHT_FOLDERS if name in lower), None)
    return _Layout(
        f"{image}/**/*", f"{target}/**/*" if target else None, f"{weight}/**/*" if weight else None
    )


def _manifest(root: Path, parts: Sequence[_Part]) -> Manifest:
    columns: dict[str, list[str | None]] = {
        name: [] for name in ("image", "target", "weight", "split", "parent")
    }
    keys: list[str] = []
    for part in parts:
        found = _files(part)
        columns["image"] += found.images.paths
        columns["target"] += found.targets
        columns["weight"] += found.weights
        guessed = _splits_by_folder(root, part, found.images.paths)
        columns["split"] += guessed
        columns["parent"] += [
            _with_split(_parent(path, found.images.base), part.split) for path in found.images.paths
        ]
        keys += [_with_split(key, part.split) for key in found.images.keys]
    paths = [path for path in columns["image"] if path is not None]
    ids = _ids(root, paths, keys, from_keys=any(part.layout.ids_from_keys for part in parts))
    for path in (
        *paths,
        *(path for name in ("target", "weight") for path in columns[name] if path),
    ):
        check_path(path)
    return Manifest.from_columns({"id": ids, **_typed(columns)}).sorted_by_id()


@dataclass(frozen=True)
class _Files:
    images: Found
    targets: list[str | None]
    weights: list[str | None]


def _files(part: _Part) -> _Files:
    """Find the images of a folder and their partners."""
    layout = part.layout
    if layout.image is None:
        message = (
            f"no images were recognised in '{part.folder}'. {describe(part.folder)} Say where they "
            "are, as in image: images/*.tif, target: labels/*.tif"
        )
        raise DataError(message)
    targets = _found(part.folder, layout.target, "target")
    weights = _found(part.folder, layout.weight, "weight")
    # with the same glob, targets are other channels of the images
    others = set() if layout.target == layout.image else set(targets.paths)
    images = find(part.folder, layout.image).without({*others, *weights.paths})
    require_found(images, part.folder, layout.image, "image")
    nothing: list[str | None] = [None] * len(images)
    return _Files(
        images,
        pair(images, targets, "target") if layout.target else nothing,
        pair(images, weights, "weight", complete=False) if layout.weight else list(nothing),
    )


def _found(folder: Path, pattern: str | None, what: str) -> Found:
    if pattern is None:
        return Found()
    found = find(folder, pattern)
    require_found(found, folder, pattern, what)
    return found


def _splits_by_folder(root: Path, part: _Part, paths: Sequence[str]) -> list[str | None]:
    """Return the split of each image: that of its folder, or the one that a wildcard ran over."""
    first = (part.layout.image or "").split("/")[0]
    if part.split is not None or "*" not in first or "/" not in (part.layout.image or ""):
        return [part.split] * len(paths)
    splits = [split_name(relative_path(path, root).parts[0]) for path in paths]
    known = {split for split in splits if split}
    if None in splits or len(known) < 2:
        return [None] * len(paths)
    log.info("the folders %s below '%s' decide the split", listed(sorted(known)), root)
    return splits


def _ids(root: Path, paths: list[str], keys: list[str], *, from_keys: bool) -> list[str]:
    stems = [strip_suffix(path)[0] for path in paths]
    relative = [relative_stem(path, root) for path in paths]
    ids = shortest_unique(*([] if from_keys else [stems]), keys, relative)
    require_unique(ids, paths, "Narrow the glob 'image' so that it finds each image once.")
    return ids


def _with_split(key: str, split: str | None) -> str:
    return f"{split}/{key}".removesuffix("/.") if split else key


def _parent(path: str, base: Path) -> str:
    return relative_path(path, base).parent.as_posix()


def _typed(columns: dict[str, list[str | None]]) -> dict[str, object]:
    import pyarrow as pa

    return {name: pa.array(values, pa.string()) for name, values in columns.items()}
