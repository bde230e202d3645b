"""Deterministic changes of label targets."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform

from imtoolkit.core.batch import TARGET
from imtoolkit.core.errors import DataError
from imtoolkit.data.transforms.base import Sample, like, plain
from imtoolkit.labels import connected_parts, relabel


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


class ConnectedComponents(MapTransform):  # type: ignore[misc]
    """Number the connected parts of a mask, or of each label by itself: objects out of classes.

    Objects that touch and have one label become one; parts of different labels stay apart.

    Args:
        diagonal: Whether pixels that touch at a corner (in 3D also at an edge) are connected.
        min_size: Parts of fewer pixels become background.

    Example:
        >>> mask = torch.tensor([[[1, 1, 0, 1, 0, 2]]])
        >>> ConnectedComponents()({"target": mask})["target"].tolist()
        [[[1, 1, 0, 2, 0, 3]]]
        >>> ConnectedComponents(min_size=2)({"target": mask})["target"].tolist()
        [[[1, 1, 0, 0, 0, 0]]]
    """

    def __init__(self, diagonal: bool = False, min_size: int = 0) -> None:
        super().__init__((TARGET,), allow_missing_keys=True)
        if min_size < 0:
            message = f"got min_size={min_size}; expected a number of pixels, 0 to keep all parts"
            raise ValueError(message)
        self.diagonal, self.min_size = diagonal, min_size

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        """Return the sample with the parts of its target numbered from 1."""
        sample = dict(data)
        for key in self.key_iterator(sample):
            labels = plain(sample[key])
            if torch.is_floating_point(labels):
                message = (
                    "connected_components: the target holds fractions, such as probabilities; put "
                    "binarize_target with its threshold before it"
                )
                raise DataError(message)
            parts = np.stack([self._numbered(channel) for channel in labels.numpy()])
            sample[key] = like(torch.from_numpy(parts), sample[key])
        return sample

    def _numbered(self, labels: np.ndarray) -> np.ndarray:
        parts = connected_parts(labels, diagonal=self.diagonal)
        if self.min_size > 1:
            small = np.bincount(parts.ravel()) < self.min_size
            parts, _ = relabel(np.where(small[parts], 0, parts))
        return parts.astype(np.int32)


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
