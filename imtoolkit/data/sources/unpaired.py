"""Two sets of images that do not belong together, for translation from one to the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from imtoolkit.core.batch import DOMAIN
from imtoolkit.core.errors import DataError, listed
from imtoolkit.data.references import check_path
from imtoolkit.data.sources.base import (
    Source,
    absolute,
    relative_stem,
    require_folder,
    require_unique,
)
from imtoolkit.data.sources.listing import Found, find, require_found, subfolders
from imtoolkit.data.table import Manifest


class UnpairedSource(Source):
    """Images of two domains, each row one image with ``A`` or ``B`` in the column ``domain``.

    There are no targets. Splits are drawn from each domain alike. Where ``a`` and ``b`` are left
    out, the folders ``trainA``, ``trainB``, ``valA``, ``testA``, ... of CycleGAN's data sets are
    used, and decide the split; ``A`` and ``B`` alone work as well.

    Args:
        root: Folder where ``a`` and ``b`` start.
        a: Folder, or glob, of the images of domain A.
        b: The same for domain B.

    Raises:
        DataError: If a folder is missing or holds no images.
    """

    has_targets = False

    def __init__(self, root: str = ".", a: str | None = None, b: str | None = None) -> None:
        self.root = absolute(root)
        self.a, self.b = a, b

    def samples(self) -> Manifest:
        """List the images of both domains, sorted by id."""
        require_folder(self.root, "Set 'root' to the folder that holds both sets.")
        columns: dict[str, list[str | None]] = {
            name: [] for name in ("id", "image", "split", DOMAIN)
        }
        for domain, pattern, split in self._parts():
            found = self._find(domain, pattern)
            columns["image"] += found.paths
            columns["id"] += [self._id(path, found, domain, split) for path in found.paths]
            columns["split"] += [split] * len(found)
            columns[DOMAIN] += [domain] * len(found)
        paths = [path for path in columns["image"] if path is not None]
        for path in paths:
            check_path(path)
        _require_apart(paths, columns[DOMAIN])
        ids = [name for name in columns["id"] if name is not None]
        require_unique(ids, paths, "Narrow the globs so that they find each image once.")
        typed = {name: pa.array(values, pa.string()) for name, values in columns.items()}
        return Manifest.from_columns(typed).sorted_by_id()

    def _parts(self) -> list[tuple[str, str, str | None]]:
        """Return (domain, folder or glob, split)."""
        if (self.a is None) != (self.b is None):
            message = "source 'unpaired' needs both 'a' and 'b', or neither"
            raise DataError(message)
        if self.a is not None and self.b is not None:
            return [("A", self.a, None), ("B", self.b, None)]
        names = subfolders(self.root)
        parts: list[tuple[str, str, str | None]] = [
            (domain, f"{split}{domain}", split)
            for split in ("train", "val", "test")
            for domain in "AB"
            if f"{split}{domain}" in names
        ]
        parts += [(domain, domain, None) for domain in "AB" if domain in names]
        if {domain for domain, *_ in parts} != {"A", "B"}:
            message = (
                f"no folders trainA and trainB (or A and B) in '{self.root}', which holds "
                f"{', '.join(names) or 'no folders'}. Name the two sets with 'a' and 'b'"
            )
            raise DataError(message)
        return parts

    def _find(self, domain: str, pattern: str) -> Found:
        folder = self.root / Path(pattern).expanduser()
        if folder.is_dir():
            pattern = f"{pattern.rstrip('/')}/**/*"
        found = find(self.root, pattern)
        require_found(found, self.root, pattern, domain.lower())
        return found

    def _id(self, path: str, found: Found, domain: str, split: str | None) -> str:
        return "/".join(part for part in (split, domain, relative_stem(path, found.base)) if part)


def _require_apart(paths: Sequence[str], domains: Sequence[str | None]) -> None:
    """Refuse images that are of both domains: there is no way from a set of images to itself."""
    first = {path for path, domain in zip(paths, domains, strict=True) if domain == "A"}
    both = sorted(
        path for path, domain in zip(paths, domains, strict=True) if domain == "B" and path in first
    )
    if both:
        message = (
            f"{len(both)} images are of both domains, such as {listed(both, 3)}: name two sets "
            "with 'a' and 'b' that have none in common"
        )
        raise DataError(message)
