"""What the net sees in training: patches cut from cached images and changed at random.

The order of work keeps a patch cheap: cut a view of the memory map, zoom it where that is asked
for, flip and turn the view, copy once. Everything random is a function of (seed, epoch, sample,
patch): one RandomState is shared by all transforms and re-seeded for each patch, so the number of
workers or ranks changes nothing. What is drawn later, for whole batches on the device, is seeded by
the key ``draw`` of the sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from monai.transforms import Transform
from torch.utils.data import Dataset

from imtoolkit.config import plugins as plugin_modules
from imtoolkit.config.sections import PatchConfig
from imtoolkit.core.batch import DRAW, IMAGE, TARGET, WEIGHT
from imtoolkit.core.errors import DataError
from imtoolkit.core.facts import TargetKind
from imtoolkit.core.schedules import NumberSchedule
from imtoolkit.core.seeding import mix
from imtoolkit.data.cache.dataset import CachedDataset, Item
from imtoolkit.data.degrade import Degrade
from imtoolkit.data.labelling import Labelling
from imtoolkit.data.randomised import apply_random
from imtoolkit.data.samplers import Visit
from imtoolkit.data.scheduled import belongs, components_at
from imtoolkit.data.target_maps import mirrors, with_maps
from imtoolkit.data.transforms.base import Sample
from imtoolkit.data.transforms.build import build_augment, share_random_state
from imtoolkit.data.zoom import drawn_zoom, size_to_cut, zoomed

_DEGRADE, _DEVICE = (1,), (2,)  # what else a patch's seed is for


class PatchDataset(Dataset[Sample]):
    """Training samples by `Visit`.

    Args:
        images: The preprocessed images.
        labelling: Adds id, data set, spacing and the other values that are no pixels.
        patch: Size and choice of patches.
        augment: Components of ``data.augment``.
        degrade: Makes the input out of the clean patch; left out, image and target are as cached.
        blank: Channels of the empty target, with a cost map of zeros, that a sample without a
            target gets; 0 leaves it without.
        seed: Seed of everything random.
        plugins: The trusted plugins that transforms may come from.
        schedules: Numbers of ``data.augment`` and ``data.degrade`` that change with the epochs.
    """

    def __init__(
        self,
        images: CachedDataset,
        labelling: Labelling,
        patch: PatchConfig,
        augment: Sequence[Any] = (),
        *,
        degrade: Degrade | None = None,
        blank: int = 0,
        seed: int = 0,
        plugins: Sequence[str] = (),
        schedules: Mapping[str, NumberSchedule] | None = None,
    ) -> None:
        self.schedules = dict(schedules or {})
        self._epoch: int | None = None
        self.degrade, self.blank = degrade or Degrade(), blank
        self._degrade = self.degrade
        self.images, self.labelling, self.patch = images, labelling, patch
        self.size = tuple(patch.size) if patch.size is not None else None
        self.augment, self.seed, self.plugins = tuple(augment), seed, tuple(plugins)
        self._built: tuple[list[Transform], np.random.RandomState] | None = None
        self._mirrors = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_built": None}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, visit: Visit) -> Sample:
        self._enter(visit.epoch)
        transforms, state = self._transforms()
        item = self.images[visit.sample]
        state.seed(self._seed(visit))
        sample: Sample = {**self._cut(item, visit, state)}
        if self.blank and TARGET not in sample:
            sample.update(_blank(sample[IMAGE], self.blank, self.images.target.kind))
        sample.update(self.labelling(visit.sample, item))
        sample[DRAW] = self._seed(visit, *_DEVICE, bits=63)
        before = self._instances(item, sample)
        sample = apply_random(sample, transforms, state, "data.augment")
        sample = with_maps(sample, self.images.target, before)
        if not self.degrade:
            return sample
        return self.degrade.patch(sample, self._seed(visit, *_DEGRADE))

    def _seed(self, visit: Visit, *use: int, bits: int = 32) -> int:
        return mix(self.seed, visit.epoch, visit.sample, visit.patch, *use, bits=bits)

    def _instances(self, item: Item, sample: Sample) -> np.ndarray | None:
        """Return the labels before padding, where that or a transform may mirror objects."""
        if self.images.target.kind is not TargetKind.INSTANCES or TARGET not in item.grids:
            return None
        shape = item.grids[IMAGE].shape[1:]
        if any(side < size for side, size in zip(shape, self.size or shape, strict=True)):
            return item.grids[TARGET]
        return np.asarray(sample[TARGET]) if self._mirrors else None

    def _enter(self, epoch: int) -> None:
        """Forget transforms whose numbers have another value in this epoch."""
        if epoch == self._epoch or not self.schedules:
            return
        self._epoch = epoch
        if belongs(self.schedules, "data.augment"):
            self._built = None
        if belongs(self.schedules, "data.degrade"):
            # whole images are degraded by the original, in the same way in every epoch
            self.degrade = self._degrade.with_components(
                components_at(self._degrade.components, self.schedules, epoch, "data.degrade")
            )

    def _transforms(self) -> tuple[list[Transform], np.random.RandomState]:
        if self._built is None:
            plugin_modules.load(list(self.plugins))
            # the seed is set before every use: this one is never drawn from
            state = np.random.RandomState(0)
            augment = components_at(self.augment, self.schedules, self._epoch or 0)
            transforms = build_augment(augment)
            share_random_state(transforms, state)
            self._mirrors = mirrors(transforms)
            self._built = transforms, state
        return self._built

    def _cut(self, item: Item, visit: Visit, state: np.random.RandomState) -> dict[str, np.ndarray]:
        image = item.grids[IMAGE]
        if self.size is None:
            self.images.touch(item, sum(array.nbytes for array in item.grids.values()))
            return item.grids
        shape = image.shape[1:]
        if len(shape) != len(self.size):
            message = (
                f"the image has {len(shape)} dimensions, patch.size {list(self.size)} does not"
            )
            raise DataError(message)
        size = self.size
        if self.patch.zoom is not None:
            zoomed_at, draw = state.random_sample(2)
            if zoomed_at < self.patch.zoom_prob:
                size = size_to_cut(size, shape, drawn_zoom(self.patch.zoom, draw))
        start = choose_start(item, size, self.patch, visit, state)
        window = (
            slice(None),
            *(slice(at, at + side) for at, side in zip(start, size, strict=True)),
        )
        # whole rows are mapped, whatever part of them is read
        rows = math.prod(size[:-1]) * shape[-1]
        self.images.touch(item, rows * sum(a.itemsize * len(a) for a in item.grids.values()))
        patch = {key: array[window] for key, array in item.grids.items()}
        if any(side < part for side, part in zip(shape, size, strict=True)):
            patch = {key: pad_to(array, size) for key, array in patch.items()}
        return patch if size == self.size else zoomed(patch, self.size)


def choose_start(
    item: Item,
    size: Sequence[int],
    patch: PatchConfig,
    visit: Visit,
    state: np.random.RandomState,
) -> list[int]:
    """Choose the corner of a patch.

    A fraction ``patch.foreground`` of an image's patches, spread evenly over its visits, is centred
    on a labelled pixel, the classes that occur in the image in turn, or its objects in turn,
    whatever their size; the others lie anywhere. A patch never reaches over the border, so one near
    it is moved inwards.

    Args:
        item: The image.
        size: Size of the patch.
        patch: The section ``data.patch``.
        visit: Which patch it is.
        state: Where random numbers come from.
    """
    shape = item.grids[IMAGE].shape[1:]
    free = [max(side - part, 0) for side, part in zip(shape, size, strict=True)]
    draws = state.random_sample(len(size) + 1)
    turn = foreground_turn(patch.foreground, visit, patch.per_image) if item.foreground else None
    if turn is None:
        return [int(draw * (room + 1)) for draw, room in zip(draws, free, strict=False)]
    pixels = item.foreground[turn % len(item.foreground)]
    if pixels.ndim > 1:  # of instances: a row for each object
        pixels = pixels[turn % len(pixels)]
    place = int(pixels[int(draws[-1] * len(pixels))])
    start = [0] * len(size)
    for axis in range(len(size) - 1, -1, -1):
        place, at = divmod(place, shape[axis])
        start[axis] = min(max(at - size[axis] // 2, 0), free[axis])
    return start


def foreground_turn(fraction: float, visit: Visit, per_image: int) -> int | None:
    """Return which foreground patch of its image this is, counted from 0; ``None`` if it is none.

    Example:
        >>> [foreground_turn(0.5, Visit(0, 2, patch), 4) for patch in range(4)]
        [None, 0, None, 1]
    """
    if fraction <= 0:
        return None
    number = visit.epoch * per_image + visit.patch
    # images start at different points of the rhythm, so that small fractions reach all of them
    phase = (visit.sample * 0.6180339887498949) % 1.0
    before, after = (
        math.floor(number * fraction + phase),
        math.floor((number + 1) * fraction + phase),
    )
    return before if after > before else None


def pad_to(array: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Pad an image that is smaller than the patch, half on each side.

    Image, labels and cost map are mirrored alike, so that the border is a valid example. An
    instance that is shown twice is two objects afterwards, see `with_maps`.
    """
    missing = [max(part - side, 0) for side, part in zip(array.shape[1:], size, strict=True)]
    widths = [(0, 0), *((gap // 2, gap - gap // 2) for gap in missing)]
    return np.pad(array, widths, mode="symmetric")


def _blank(image: np.ndarray, channels: int, kind: TargetKind) -> dict[str, np.ndarray]:
    """Return a target for a sample that has none, and the cost map that ignores all of it."""
    shape = image.shape[1:]
    dtype = np.float32 if kind is TargetKind.IMAGE else np.uint8
    return {
        TARGET: np.zeros((channels, *shape), dtype),
        WEIGHT: np.zeros((1, *shape), np.float32),
    }
