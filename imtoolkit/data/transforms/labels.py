"""Deterministic changes of label targets."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.transforms import MapTransform

from imtoolkit.core.batch import TARGET
from imtoolkit.core.errors import DataError
from imtoolkit.data.transforms.base import Sample, like, plain


class BinarizeTarget(MapTransform):  # type: ignore[misc]
    """Make every label above a threshold 1 and the others 0: objects or 255 become a class.

    Args:
        threshold: Largest value that counts as background.

    Example:
        >>> BinarizeTarget()({"target": torch.tensor([[0, 7, 255]])})["target"].tolist()
        [[0, 1, 1]]
    """

    def __init__(self, threshold: float = 0) -> None:
        super().__init__((TARGET,), allow_missing_keys=True)
        self.threshold = threshold

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        """Return the sample with a target of 0 and 1."""
        sample = dict(data)
        for key in self.key_iterator(sample):
            labels = plain(sample[key])
            sample[key] = like((labels > self.threshold).to(torch.uint8), sample[key])
        return sample


class MapLabels(MapTransform):  # type: ignore[misc]
    """Replace labels by others.

    Args:
        mapping: New label for each old one, such as ``{0: 0, 128: 1, 255: 2}``.
        other: New label for all that the mapping does not name; left out, such a label is an error.

    Example:
        >>> MapLabels({0: 0, 255: 1})({"target": torch.tensor([[0, 255]])})["target"].tolist()
        [[0, 1]]
    """

    def __init__(self, mapping: dict[int, int], other: int | None = None) -> None:
        super().__init__((TARGET,), allow_missing_keys=True)
        try:
            self.mapping = {int(old): int(new) for old, new in mapping.items()}
        except (AttributeError, TypeError, ValueError) as error:
            message = f"got mapping={mapping!r}; expected old and new label as whole numbers"
            raise ValueError(message) from error
        self.other = other

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        """Return the sample with its labels replaced."""
        sample = dict(data)
        for key in self.key_iterator(sample):
            sample[key] = like(self._replace(plain(sample[key])), sample[key])
        return sample

    def _replace(self, labels: torch.Tensor) -> torch.Tensor:
        found, place = torch.unique(labels, return_inverse=True)
        unknown = [int(label) for label in found.tolist() if int(label) not in self.mapping]
        if unknown and self.other is None:
            message = (
                f"map_labels: the target holds the labels {unknown[:8]}, which the mapping "
                f"{self.mapping} does not name. Add them, or say with 'other' what the rest becomes"
            )
            raise DataError(message)
        new = torch.tensor([self.mapping.get(int(label), self.other) for label in found.tolist()])
        return new.to(torch.int32)[place].reshape(labels.shape)
