"""Whole preprocessed images, for validation, test and pictures."""

from __future__ import annotations

from torch.utils.data import Dataset

from imtoolkit.data.cache.dataset import CachedDataset
from imtoolkit.data.labelling import Labelling
from imtoolkit.data.transforms.base import Sample


class WholeImages(Dataset[Sample]):
    """Samples by position, without anything random.

    Args:
        images: The preprocessed images.
        labelling: Adds id, data set, spacing and the other values that are no pixels.
    """

    def __init__(self, images: CachedDataset, labelling: Labelling) -> None:
        self.images, self.labelling = images, labelling

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        item = self.images[index]
        self.images.touch(item, sum(array.nbytes for array in item.grids.values()))
        sample: Sample = {**item.grids}
        sample.update(self.labelling(index, item))
        return sample
