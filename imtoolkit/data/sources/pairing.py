"""Which target belongs to which image, told by their names.

Keys are what the wildcards of the globs stood for. Where they differ, parts that all names of one
side share are left out: ``cell_001_raw`` and ``cell_001_seg`` meet in ``001``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imtoolkit.core.errors import DataError, Problem
from imtoolkit.data.sources.base import MOST, shortened
from imtoolkit.data.sources.listing import Found


def pair(images: Found, others: Found, what: str, *, complete: bool = True) -> list[str | None]:
    """Find the file of ``others`` for each image.

    Args:
        images: Files of the images.
        others: Files of the targets, or of the weights.
        what: Word for the others in messages: ``target`` or ``weight``.
        complete: Whether an image without partner is an error.

    Returns:
        For each image a path, or ``None``.

    Raises:
        DataError: If a file has no partner or several, all of them at once.
    """
    exact = _Pairing(images.keys, others.keys)
    chosen = exact
    if exact.unmatched:
        trimmed = _Pairing(without_affixes(images.keys), without_affixes(others.keys))
        if trimmed.unique and trimmed.unmatched < exact.unmatched:
            chosen = trimmed
    table = dict(zip(chosen.other_keys, others.paths, strict=True))
    found = [table.get(key) for key in chosen.image_keys]
    alone = [path for path, other in zip(images.paths, found, strict=True) if other is None]
    known = set(chosen.image_keys)
    stray = [
        path for path, key in zip(others.paths, chosen.other_keys, strict=True) if key not in known
    ]
    problems = [
        *shortened(_doubles(others, chosen.other_keys, what), MOST // 2),
        *shortened(
            [Problem(f"image without {what}: {path}") for path in alone * complete], MOST // 2
        ),
        *shortened([Problem(f"{what} without image: {path}") for path in stray], MOST // 2),
    ]
    if problems:
        raise DataError([*problems, _remedy(chosen, images, others, what)])
    return found


def without_affixes(keys: Sequence[str]) -> list[str]:
    """Leave out the beginning and the end that all keys share, up to a separator.

    Digits are never cut, so that ``img_001`` and ``img_002`` become ``001`` and ``002``.

    Example:
        >>> without_affixes(["img_001_raw", "img_002_raw"])
        ['001', '002']
    """
    if len(keys) < 2:
        return list(keys)
    head = _shared_beginning(keys)
    rest = [key[head:] for key in keys]
    tail = _shared_beginning([key[::-1] for key in rest])
    return [key[: len(key) - tail] for key in rest]


class _Pairing:
    """Two lists of keys and how well they meet."""

    def __init__(self, image_keys: list[str], other_keys: list[str]) -> None:
        self.image_keys, self.other_keys = image_keys, other_keys
        images, others = set(image_keys), set(other_keys)
        self.unmatched = len(images ^ others)
        self.unique = len(images) == len(image_keys) and len(others) == len(other_keys)


def _shared_beginning(keys: Sequence[str]) -> int:
    """Return the length of the beginning that all keys share, cut back to the end of a word."""
    first, last = min(keys), max(keys)
    count = 0
    while count < min(len(first), len(last)) and first[count] == last[count]:
        count += 1
    while count and not all(_is_word_end(key, count) for key in keys):
        count -= 1
    return count


def _is_word_end(key: str, at: int) -> bool:
    """Tell whether a word or a separator ends after the first ``at`` characters."""
    if key[at - 1].isdigit():
        return False
    return not key[at - 1].isalpha() or not key[at : at + 1].isalpha()


def _doubles(found: Found, keys: Sequence[str], what: str) -> list[Problem]:
    files: dict[str, list[str]] = {}
    for key, path in zip(keys, found.paths, strict=True):
        files.setdefault(key, []).append(path)
    return [
        Problem(f"several {what}s for '{key}': {', '.join(paths)}")
        for key, paths in files.items()
        if len(paths) > 1
    ]


def _remedy(pairing: _Pairing, images: Found, others: Found, what: str) -> Problem:
    matched = len(set(pairing.image_keys) & set(pairing.other_keys))
    image = Path(images.paths[0]).name if images.paths else "none"
    other = Path(others.paths[0]).name if others.paths else "none"
    return Problem(
        f"{matched} of {len(images)} images and {len(others)} {what}s fit together by name (first "
        f"image '{image}', first {what} '{other}'). Add or remove the files above, or change the "
        f"globs: what '*' stands for in 'image' must be the same in '{what}', as in image: "
        f"img_*.tif, {what}: mask_*.tif"
    )
