"""One label image out of those of overlapping blocks, for images that are too large at once.

Where two blocks overlap, both have seen the same pixels: objects that agree there are one. Each
block decides on the pixels that lie deeper in it than in its neighbours, and on the objects most of
whose pixels do, since near its border a block sees less.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .numbering import as_labels, relabel
from .overlaps import overlap as overlapping

Labels = NDArray[np.integer[Any]]
Box = tuple[slice, ...]
_SLAB: Final = 1 << 22  # pixels that are renumbered at a time


@dataclass(frozen=True, eq=False)
class Stitched:
    """What came of the blocks.

    Attributes:
        labels: Labels ``([Z,] Y, X)``, ``1 .. count``; 0 is background.
        count: How many objects there are.
        cut: How many of them no block has seen as a whole: they are longer than the overlap.
    """

    labels: Labels
    count: int
    cut: int


def plan_blocks(
    shape: Sequence[int], block: Sequence[int], overlap: Sequence[int] | int
) -> list[Box]:
    """Cover an image with blocks of equal size, evenly spread, the last axis fastest.

    Args:
        shape: Shape of the image.
        block: Shape of a block; along axes where the image is shorter, that of the image.
        overlap: Pixels that neighbours share at least, a number or one for each axis.

    Raises:
        ValueError: If the lengths differ, or the overlap is not smaller than the block along an
            axis that needs several.

    Example:
        >>> plan_blocks((10, 4), (6, 6), 2)
        [(slice(0, 6, None), slice(0, 4, None)), (slice(4, 10, None), slice(0, 4, None))]
    """
    shared = [overlap] * len(shape) if isinstance(overlap, int) else list(overlap)
    if not len(shape) == len(block) == len(shared):
        message = f"got a block {list(block)} and an overlap {shared} for an image {list(shape)}"
        raise ValueError(message)
    axes = []
    for side, length, common in zip(shape, block, shared, strict=True):
        if side > length and not 0 <= common < length:
            message = f"got an overlap of {common} for a block of {length}; expected less"
            raise ValueError(message)
        length = min(side, length)
        count = 1 + max(0, math.ceil((side - length) / max(1, length - common)))
        starts = [round(i * (side - length) / max(1, count - 1)) for i in range(count)]
        axes.append([slice(start, start + length) for start in starts])
    return list(itertools.product(*axes))


def stitch(
    label_block: Callable[[Box], Labels],
    shape: Sequence[int],
    *,
    block: Sequence[int],
    overlap: Sequence[int] | int,
    min_iou: float = 0.5,
    out: Labels | None = None,
) -> Stitched:
    """Label an image block by block, and join the objects that blocks share.

    Objects of two blocks are one where the intersection over union of what both have seen of them
    is above ``min_iou``. An object that no longer than half the overlap comes out as the block that
    sees most of it has it; a longer one is joined from parts. Two objects that one block has seen
    side by side are never joined. Memory holds one block beside the output.

    Args:
        label_block: Returns the labels of a block, given its place in the image; called once for
            each block.
        shape: Shape of the image.
        block: Shape of a block, see `plan_blocks`.
        overlap: Pixels that neighbours share at least: twice the length of an object is safe.
        min_iou: Agreement from which two objects are one.
        out: Where the labels go, such as a memory map of integers; left out, an int32 array.

    Raises:
        ValueError: If a block gets labels of another shape, or ``out`` has another, or cannot hold
            the numbers of all objects before they are joined.

    Example:
        >>> image = np.array([[0, 1, 1, 1, 0, 2, 2, 3, 3, 0]])
        >>> stitch(lambda box: image[box], image.shape, block=(1, 6), overlap=2).labels.tolist()
        [[0, 1, 1, 1, 0, 2, 2, 3, 3, 0]]
    """
    labels = np.zeros(tuple(shape), np.int32) if out is None else out
    if labels.shape != tuple(shape):
        message = f"got an output of {labels.shape} for an image of {tuple(shape)}"
        raise ValueError(message)
    if out is not None:
        labels[...] = 0
    blocks = plan_blocks(shape, block, overlap)
    seam = _Seam(labels, blocks, min_iou)
    for number, box in enumerate(blocks):
        found = label_block(box)
        expected = tuple(part.stop - part.start for part in box)
        if np.shape(found) != expected:
            message = f"got labels of {np.shape(found)} for a block of {expected}"
            raise ValueError(message)
        seam.add(number, as_labels(found))
    return seam.finished()


class _Seam:
    """The output as far as blocks were added, and what is known of the objects in it.

    Attributes:
        count: Objects that there have been, and 1 for the background; arrays may be longer.
        same: Object -> the one that it was joined to, itself where none.
        size: Pixels of each object in the output.
        whole: Whether a block has seen it from end to end.
    """

    def __init__(self, labels: Labels, blocks: Sequence[Box], min_iou: float) -> None:
        self.labels = labels
        self.blocks = blocks
        self.min_iou = min_iou
        self.count = 1  # the background
        self.same = np.zeros(1, np.int64)
        self.size = np.zeros(1, np.int64)
        self.whole = np.zeros(1, bool)
        self._numbers = {_ends(box): number for number, box in enumerate(blocks)}
        axes = zip(*map(_ends, blocks), strict=True)
        self._parts = [sorted(set(parts)) for parts in axes]  # where blocks lie along each axis

    def add(self, number: int, found: Labels) -> None:
        """Take the labels of a block into the output."""
        box = self.blocks[number]
        own, _ = relabel(found)
        bands = self._bands(box)
        before, known = relabel(self.same[self.labels[box]])
        partners = self._partners(own, before, bands)
        table = self._numbered(own, known, partners, number)
        result = self._merged(own, before, known, table, partners, bands)
        counted = np.bincount(before.ravel(), minlength=len(known))
        np.subtract.at(self.size, known, counted)
        after, there = relabel(result)
        np.add.at(self.size, there, np.bincount(after.ravel(), minlength=len(there)))
        self.labels[box] = result

    def finished(self) -> Stitched:
        """Number the objects that are left from 1."""
        self.same, self.size, self.whole = (
            array[: self.count] for array in (self.same, self.size, self.whole)
        )
        self.size[0] = 0
        self.same = np.where(self.size[self.same] > 0, self.same, 0)
        alive = np.unique(self.same)[1:]
        table = np.zeros(len(self.same), self.labels.dtype)
        table[alive] = np.arange(1, len(alive) + 1)
        table = table[self.same]
        rows = max(1, _SLAB // max(1, math.prod(self.labels.shape[1:])))
        for start in range(0, self.labels.shape[0], rows):
            slab = slice(start, start + rows)
            self.labels[slab] = table[self.labels[slab]]
        return Stitched(self.labels, len(alive), int((~self.whole[alive]).sum()))

    def _bands(self, box: Box) -> list[tuple[int, int]]:
        """Return for each axis how many first slices an earlier block has seen, and half of it."""
        found = []
        for part, parts in zip(box, self._parts, strict=True):
            earlier = [stop for start, stop in parts if start < part.start]
            seen = max(earlier, default=part.start) - part.start
            found.append((max(seen, 0), (max(seen, 0) + 1) // 2))
        return found

    def _partners(
        self, own: Labels, before: Labels, bands: Sequence[tuple[int, int]]
    ) -> dict[int, list[int]]:
        """Return for each object of a block the earlier ones that it agrees with, best first."""
        pairs: dict[tuple[int, int], int] = {}
        for axis, (seen, _) in enumerate(bands):
            band = (slice(None),) * axis + (slice(0, seen),)
            shared = overlapping(own[band], before[band])
            agree = shared.iou() > self.min_iou
            mine = shared.first_ids[shared.first[agree]].tolist()
            theirs = shared.second_ids[shared.second[agree]].tolist()
            for one, other, pixels in zip(mine, theirs, shared.pixels[agree].tolist(), strict=True):
                pairs[one, other] = max(pairs.get((one, other), 0), pixels)
        found: dict[int, list[int]] = {}
        taken: set[int] = set()
        for one, other in sorted(pairs, key=lambda pair: (-pairs[pair], pair)):
            if other not in taken:  # a block that sees two objects is right
                taken.add(other)
                found.setdefault(one, []).append(other)
        return found

    def _numbered(
        self, own: Labels, known: Labels, partners: dict[int, list[int]], number: int
    ) -> NDArray[np.int64]:
        """Return the number in the output of each object of a block, with new ones for new ones."""
        count = int(own.max()) if own.size else 0
        first, self.count = self.count, self.count + count
        table = np.concatenate(([0], np.arange(first, self.count)))
        self.same, self.size, self.whole = (
            _roomy(array, self.count) for array in (self.same, self.size, self.whole)
        )
        self.same[first : self.count] = np.arange(first, self.count)
        if self.count - 1 > np.iinfo(self.labels.dtype).max:
            message = (
                f"the output holds numbers of {self.labels.dtype}, and the blocks have "
                f"{self.count - 1} objects before they are joined: give one of int64 or uint32"
            )
            raise ValueError(message)
        for one, others in partners.items():
            table[one] = known[others[0]]
            for other in others[1:]:
                self._join(int(table[one]), int(known[other]), number)
        self.whole[table] |= ~np.isin(np.arange(count + 1), self._at_border(own, number))
        return table

    def _join(self, kept: int, joined: int, number: int) -> None:
        """Make two objects one, unless an earlier block has seen them side by side."""
        kept, joined = int(self.same[kept]), int(self.same[joined])
        views = [self.same[self.labels[other]] for other in self._earlier_neighbours(number)]
        if any((view == kept).any() and (view == joined).any() for view in views):
            return
        self.same[self.same == joined] = kept
        self.size[kept] += self.size[joined]
        self.size[joined] = 0
        self.whole[kept] |= self.whole[joined]

    def _earlier_neighbours(self, number: int) -> list[Box]:
        """Return the blocks before this one that share pixels with it."""
        near = itertools.product(
            *(
                [ends for ends in parts if ends[0] < part.stop and part.start < ends[1]]
                for part, parts in zip(self.blocks[number], self._parts, strict=True)
            )
        )
        numbers = sorted(self._numbers[ends] for ends in near)
        return [self.blocks[other] for other in numbers if other < number]

    def _at_border(self, own: Labels, number: int) -> NDArray[Any]:
        """Return the objects that touch a border of a block where the image goes on."""
        found = [np.zeros(1, own.dtype)]
        for axis, part in enumerate(self.blocks[number]):
            faces = [0] if part.start > 0 else []
            faces += [-1] if part.stop < self.labels.shape[axis] else []
            found += [np.unique(own.take(face, axis)) for face in faces]
        return np.concatenate(found)

    def _merged(
        self,
        own: Labels,
        before: Labels,
        known: Labels,
        table: NDArray[np.int64],
        partners: dict[int, list[int]],
        bands: Sequence[tuple[int, int]],
    ) -> NDArray[np.int64]:
        """Return what the output holds in a block after it was added."""
        core = tuple(slice(half, None) for _, half in bands)
        matched = np.isin(np.arange(len(table)), list(partners))
        inside = np.bincount(own[core].ravel(), minlength=len(table))
        total = np.bincount(own.ravel(), minlength=len(table))
        accepted = matched | (2 * inside > total)
        others = [other for found in partners.values() for other in found]
        confirmed = np.isin(np.arange(len(known)), others)
        deeper = np.bincount(before[core].ravel(), minlength=len(known))
        kept = ~confirmed & (2 * deeper <= self.size[known])
        gone = ~confirmed & ~kept
        gone[0] = kept[0] = accepted[0] = False
        old = self.same[np.where(gone, 0, known)]
        self.same[known[gone]] = 0  # also where it lies beyond the block
        mine, theirs = np.where(accepted, table, 0), old[before]
        mine = self.same[mine]
        result = theirs.copy()
        # new objects are written whole, others up to the middle of what was seen twice
        fresh = np.where(matched, 0, mine)[own]
        result = np.where((theirs == 0) & (fresh > 0), fresh, result)
        claimed = mine[own[core]]
        held = np.where(kept, old, 0)[before[core]]
        result[core] = np.where(claimed > 0, claimed, held)
        return result


def _ends(box: Box) -> tuple[tuple[int, int], ...]:
    """Return the first pixel of a block along each axis, and the first one behind it."""
    return tuple((part.start, part.stop) for part in box)


def _roomy(array: NDArray[Any], length: int) -> NDArray[Any]:
    """Return an array of at least a length, filled up with zeros; grown seldom, since by half."""
    if length <= len(array):
        return array
    grown = np.zeros(max(length, len(array) * 3 // 2), array.dtype)
    grown[: len(array)] = array
    return grown
