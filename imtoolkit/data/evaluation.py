"""Whole preprocessed images, for validation, test and pictures."""

from __future__ import annotations

from torch.utils.data import Dataset

from imtoolkit.data.cache.dataset import CachedDataset
from imtoolkit.data.degrade import Degrade
from imtoolkit.data.labelling import Labelling
from imtoolkit.data.target_maps import with_maps
from imtoolkit.data.transforms.base import Sample


class WholeImages(Dataset[Sample]):
    """Samples by position; what is random about them is the same each time.

    Args:
        images: The preprocessed images.
        labelling: Adds id, data set, spacing and the other values that are no pixels.
        degrade: Makes the input out of the clean image; left out, image and target are as cached.
    """

    def __init__(
        self, images: CachedDataset, labelling: Labelling, degrade: Degrade | None = None
    ) -> None:
        self.images, self.labelling, self.degrade = images, labelling, degrade or Degrade()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        item = self.images[index]
        self.images.touch(item, sum(array.nbytes for array in item.grids.values()))
        sample: Sample = {**item.grids}
        sample.update(self.labelling(index, item))
        return with_maps(self.degrade.whole(sample), self.images.target)
