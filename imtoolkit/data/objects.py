"""Do labels number objects: what is counted in each image, and what that says of the whole set.

A mask of one class, taken for instances, would be one object for each image; nothing would fail,
and the net would learn nonsense. That is seen by the parts: the same few numbers in every image,
each in many places.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from scipy import ndimage

from imtoolkit.core.errors import DataError, Problem, listed
from imtoolkit.labels import count_parts, relabel

FEW: Final = 8
"""So many different numbers in all images together may be classes."""
SEVERAL: Final = 2
"""Labels of classes lie in so many parts, on average, or in more."""
SPECK: Final = 0.1
"""A part that is smaller than this fraction of its label's largest may be a slip of the brush."""
_EXAMPLES: Final = 3


def count_objects(labels: np.ndarray) -> dict[str, Any]:
    """Count the objects of an image and the connected parts in which they lie.

    Args:
        labels: Objects ``([Z,] Y, X)``; 0 is background.

    Returns:
        Plain values: ``count``; ``parts``, specks left out; the numbers that were found if they are
        few (``few``, else ``None``); ``scattered``, the objects in several parts, specks included;
        and of the one in most parts its number and how many (``worst``), if there is one; and along
        each axis the length of the longest (``extent``).

    Example:
        >>> count_objects(np.array([[1, 0, 1, 0, 2]]))
        {'count': 2, 'parts': 3, 'few': [1, 2], 'scattered': 1, 'worst': [1, 2], 'extent': [1, 3]}
    """
    numbers, parts = count_parts(labels, diagonal=True)
    scattered = int(np.count_nonzero(parts > 1))
    most = int(parts.argmax()) if scattered else 0
    without_specks = np.zeros(0, np.int64)
    if scattered:
        several = np.where(np.isin(labels, numbers[parts > 1]), labels, 0)
        _, without_specks = count_parts(several, diagonal=True, least=SPECK)
    return {
        "count": len(numbers),
        "parts": len(numbers) - scattered + int(without_specks.sum()),
        "few": numbers.tolist() if len(numbers) <= FEW else None,
        "scattered": scattered,
        "worst": [int(numbers[most]), int(parts[most])] if scattered else None,
        "extent": _extent(labels),
    }


class ObjectSummary:
    """What the images of a set say together; it does not grow with their number."""

    def __init__(self) -> None:
        self.objects: Counter[str] = Counter()
        """Objects in each split."""
        self.images: Counter[str] = Counter()
        """Images with a target in each split."""
        self._parts = self._with_objects = self._like_classes = 0
        self._scattered = self._with_scattered = 0
        self._numbers: set[int] | None = set()
        self._examples: dict[str, list[str]] = {"empty": [], "classes": [], "scattered": []}
        self._empty_count = 0
        self._extents: Counter[tuple[int, ...]] = Counter()

    def add(self, name: str, split: str, found: dict[str, Any]) -> None:
        """Take what `count_objects` found in an image into account."""
        self.images[split] += 1
        self.objects[split] += found["count"]
        self._parts += found["parts"]
        if not found["count"]:
            self._empty_count += 1
            self._note("empty", name)
            return
        self._with_objects += 1
        if split == "train":
            self._extents[tuple(found["extent"])] += 1
        if self._numbers is not None:
            self._numbers = None if found["few"] is None else self._numbers | set(found["few"])
            if self._numbers is not None and len(self._numbers) > FEW:
                self._numbers = None
        if found["parts"] >= SEVERAL * found["count"]:
            self._like_classes += 1
            self._note("classes", f"'{name}': {_parts_of(found)}")
        if found["scattered"]:
            self._scattered += found["scattered"]
            self._with_scattered += 1
            self._note("scattered", f"'{name}': {_parts_of(found)}")

    def problems(self) -> list[Problem]:
        """Return why nothing can be learnt from these labels, if so."""
        if self.images["train"] and not self.objects["train"]:
            message = (
                f"none of the {self.images['train']} training images holds an object: all their "
                "labels are 0. Check which files and which channel the targets are read from"
            )
            return [Problem(message, "data.sources")]
        if not self._look_like_classes():
            return []
        shown = ", ".join(map(str, sorted(self._numbers or ())))
        message = (
            f"the labels look like classes, not like objects: in {self._like_classes} of "
            f"{self._with_objects} images the same few numbers ({shown}) lie in many separate "
            f"parts ({'; '.join(self._examples['classes'])}), but the task learns objects, each "
            "with a number of its own. Add connected_components to data.preprocess, which numbers "
            "the parts (objects that touch become one), or use files that number the objects"
        )
        return [Problem(message, "data.sources")]

    def told(self, patch: Sequence[int] | None = None) -> list[str]:
        """Return what the user should know, though training can go on.

        Args:
            patch: Size of the patches in training.
        """
        found = []
        if self._empty_count:
            found.append(
                f"{self._empty_count} of {sum(self.images.values())} images hold no object, such "
                f"as {listed(self._examples['empty'], _EXAMPLES)}"
            )
        if self._scattered:
            found.append(
                f"{self._scattered} of {sum(self.objects.values())} objects, in "
                f"{self._with_scattered} images, lie in several separate parts of one number "
                f"({'; '.join(self._examples['scattered'])}). If the parts are objects of their "
                "own, add connected_components to data.preprocess; if some are specks, give it a "
                "min_size"
            )
        larger = sum(
            count
            for extent, count in self._extents.items()
            if patch is not None and any(map(operator.gt, extent, patch))
        )
        if larger:
            found.append(
                f"in {larger} of {sum(self._extents.values())} training images with objects, some "
                f"are longer than data.patch.size {list(patch or ())}: patches show them in pieces "
                "only, so prefer larger patches, or a coarser pixel size by resample_spacing"
            )
        return found

    def _look_like_classes(self) -> bool:
        mostly = 2 * self._like_classes >= self._with_objects > 0
        return bool(
            mostly
            and self._numbers is not None
            and self._parts >= SEVERAL * sum(self.objects.values())
        )

    def _note(self, what: str, text: str) -> None:
        if len(self._examples[what]) < _EXAMPLES:
            self._examples[what].append(text)


def require_whole_numbers(labels: np.ndarray, name: str) -> np.ndarray:
    """Return labels as integers, where a random transform has made floats of them.

    Raises:
        DataError: If it interpolated them.
    """
    if labels.dtype.kind != "f":
        return labels
    rounded = np.rint(labels)
    if not np.array_equal(rounded, labels):
        message = (
            f"sample '{name}': after data.augment the labels of its objects are fractions: a "
            "transform interpolated them. Give it the mode nearest for the target, or take one of "
            "imtoolkit's own, such as random_affine"
        )
        raise DataError(message)
    whole: np.ndarray = rounded.astype(np.int64)
    return whole


def _extent(labels: np.ndarray) -> list[int]:
    boxes = ndimage.find_objects(relabel(labels)[0]) if labels.size else []
    sides = [[side.stop - side.start for side in box] for box in boxes]
    return np.max(sides, axis=0).tolist() if sides else [0] * labels.ndim


def _parts_of(found: dict[str, Any]) -> str:
    number, parts = found["worst"]
    return f"number {number} in {parts} parts"
