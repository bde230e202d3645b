"""What our transforms share: which keys of a sample they touch, and how."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform, RandomizableTransform

from imtoolkit.core.batch import IMAGE, TARGET, WEIGHT

Sample = dict[Any, Any]
Array = Any
"""A numpy array or a torch tensor, ``(C, [Z,] Y, X)``."""


def grids(data: Mapping[Any, Any]) -> list[str]:
    """Return the keys of a sample, or of a batch, that lie on the image's pixel grid."""
    dims = data[IMAGE].ndim
    return [
        key
        for key in (IMAGE, TARGET, WEIGHT)
        if key in data and getattr(data[key], "ndim", 0) == dims
    ]


def is_labels(array: Array) -> bool:
    """Tell whether the values are labels (integers), which must never be interpolated."""
    if isinstance(array, np.ndarray):
        return array.dtype.kind in "iub"
    return not torch.is_floating_point(array)


def plain(array: Array) -> torch.Tensor:
    """Return an array as a plain tensor, without MONAI's metadata."""
    return array.as_tensor() if isinstance(array, MetaTensor) else torch.as_tensor(array)


def like(values: torch.Tensor, origin: Array) -> torch.Tensor:
    """Give new values the metadata (affine, applied transforms) of what they come from."""
    if not isinstance(origin, MetaTensor):
        return values
    out: torch.Tensor = MetaTensor(values).copy_meta_from(origin)
    return out


def along_channels(values: Array, image: torch.Tensor) -> torch.Tensor:
    """Shape one value for each channel so that it broadcasts over ``(C, [Z,] Y, X)``."""
    flat = torch.as_tensor(values, dtype=image.dtype)
    return flat.reshape(-1, *[1] * (image.ndim - 1))


class ImageTransform(MapTransform):  # type: ignore[misc]
    """A deterministic change of the image's values; subclasses write `change`.

    Args:
        keys: What is changed; an image target may be listed as well.
    """

    def __init__(self, keys: str | tuple[str, ...] = (IMAGE,)) -> None:
        super().__init__(keys, allow_missing_keys=True)

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        """Return the sample with its images changed."""
        sample = dict(data)
        for key in self.key_iterator(sample):
            image = plain(sample[key]).to(torch.float32)
            sample[key] = like(self.change(image), sample[key])
        return sample

    def change(self, image: torch.Tensor) -> torch.Tensor:
        """Return the new values of one image ``(C, [Z,] Y, X)``."""
        raise NotImplementedError


class RandomSampleTransform(RandomizableTransform, MapTransform):  # type: ignore[misc]
    """A random change of a sample in two steps: what is drawn, and what is done with it.

    `drawn` needs no pixels, so that the same draws serve one sample here and a whole batch in
    `imtoolkit.data.batched`. Subclasses write `draw`, with random numbers from ``self.R`` only, and
    `change`.

    Args:
        prob: How often the change is made.
    """

    views = False
    """Whether it makes views of numpy arrays, so that the sample need not be copied before."""

    def __init__(self, prob: float = 1.0) -> None:
        if not 0 <= prob <= 1:
            message = f"got prob={prob}; expected a probability between 0 and 1"
            raise ValueError(message)
        MapTransform.__init__(self, (IMAGE, TARGET, WEIGHT), allow_missing_keys=True)
        RandomizableTransform.__init__(self, prob)

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        """Return the sample, changed with probability ``prob``."""
        sample = dict(data)
        drawn = self.drawn(tuple(sample[IMAGE].shape))
        if drawn is not None:
            self.change(sample, drawn)
        return sample

    def drawn(self, shape: tuple[int, ...]) -> Any:
        """Draw for an image ``(C, [Z,] Y, X)``; ``None`` where it shall stay as it is."""
        if self.prob < 1 and self.R.random_sample() >= self.prob:
            return None
        return self.draw(shape)

    def draw(self, shape: tuple[int, ...]) -> Any:
        """Draw what the change needs to know."""
        raise NotImplementedError

    def change(self, sample: Sample, drawn: Any) -> None:
        """Change the sample in place (its entries, not the arrays behind them)."""
        raise NotImplementedError


class RandomImageTransform(RandomSampleTransform):
    """A random change of the image's values alone; subclasses write `draw` and `values`."""

    def change(self, sample: Sample, drawn: Any) -> None:
        """Change the image of the sample."""
        image = plain(sample[IMAGE]).to(torch.float32)
        sample[IMAGE] = self.values(image[None], [drawn])[0]

    def values(self, images: torch.Tensor, drawn: Sequence[Any]) -> torch.Tensor:
        """Return new values of images ``(B, C, [Z,] Y, X)``, for each what was drawn for it."""
        raise NotImplementedError
