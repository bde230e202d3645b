"""Normalisations of an image's values that suit microscopy and medical images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from imtoolkit.core.batch import IMAGE
from imtoolkit.data.transforms.base import ImageTransform, along_channels

_TINY = 1e-8


class NormalizePercentiles(ImageTransform):
    """Map two percentiles of the image to 0 and 1.

    Robust against hot pixels. A constant image becomes 0.

    Args:
        lower: Percentile that becomes 0.
        upper: Percentile that becomes 1.
        clip: Cut the values to ``[0, 1]``.
        channel_wise: Use the percentiles of each channel; otherwise those of all channels together.
        keys: What is normalised; list ``target`` too where it is an image.

    Example:
        >>> image = torch.arange(101.0).reshape(1, 1, 101)
        >>> out = NormalizePercentiles(lower=0, upper=100)({"image": image})["image"]
        >>> float(out.min()), float(out.max())
        (0.0, 1.0)
    """

    def __init__(
        self,
        lower: float = 0.5,
        upper: float = 99.5,
        clip: bool = False,
        channel_wise: bool = True,
        keys: str | Sequence[str] = (IMAGE,),
    ) -> None:
        super().__init__(tuple([keys] if isinstance(keys, str) else keys))
        if not 0 <= lower < upper <= 100:
            message = f"got lower={lower}, upper={upper}; expected 0 <= lower < upper <= 100"
            raise ValueError(message)
        self.lower, self.upper = lower, upper
        self.clip, self.channel_wise = clip, channel_wise

    def change(self, image: torch.Tensor) -> torch.Tensor:
        """Normalise one image ``(C, [Z,] Y, X)``."""
        low, high = _percentiles(image, self.lower, self.upper, channel_wise=self.channel_wise)
        return _stretch(image, low, high, clip=self.clip)


class NormalizeZscore(ImageTransform):
    """Subtract the mean and divide by the standard deviation.

    Args:
        channel_wise: Use mean and deviation of each channel; otherwise those of all together.
        nonzero: Take mean and deviation over the pixels that are not 0, and change only those (MRI
            with a masked background).
        keys: What is normalised.

    Example:
        >>> out = NormalizeZscore()({"image": torch.tensor([[[1.0, 3.0]]])})["image"]
        >>> out.flatten().tolist()
        [-1.0, 1.0]
    """

    def __init__(
        self,
        channel_wise: bool = True,
        nonzero: bool = False,
        keys: str | Sequence[str] = (IMAGE,),
    ) -> None:
        super().__init__(tuple([keys] if isinstance(keys, str) else keys))
        self.channel_wise, self.nonzero = channel_wise, nonzero

    def change(self, image: torch.Tensor) -> torch.Tensor:
        """Normalise one image ``(C, [Z,] Y, X)``."""
        groups = list(image) if self.channel_wise else [image]
        out = torch.stack([self._normalise(group) for group in groups])
        return out.reshape(image.shape)

    def _normalise(self, values: torch.Tensor) -> torch.Tensor:
        chosen = values != 0 if self.nonzero else torch.ones_like(values, dtype=torch.bool)
        if not bool(chosen.any()):
            return values
        # in double precision: a float32 sum over a volume loses digits
        picked = values[chosen].double()
        mean, deviation = picked.mean(), picked.std(correction=0)
        scaled = (values - mean.float()) / deviation.clamp(min=_TINY).float()
        return torch.where(chosen, scaled, values)


class NormalizeRange(ImageTransform):
    """Map a range of values to 0 and 1.

    Args:
        low: Value that becomes 0; the image's smallest when left out.
        high: Value that becomes 1; the image's largest when left out.
        clip: Cut the values to ``[0, 1]``.
        keys: What is normalised.

    Example:
        >>> NormalizeRange(0, 255)({"image": torch.tensor([[[0.0, 51.0]]])})["image"].tolist()
        [[[0.0, 0.2...]]]
    """

    def __init__(
        self,
        low: float | None = None,
        high: float | None = None,
        clip: bool = False,
        keys: str | Sequence[str] = (IMAGE,),
    ) -> None:
        super().__init__(tuple([keys] if isinstance(keys, str) else keys))
        if low is not None and high is not None and low >= high:
            message = f"got low={low}, high={high}; expected low < high"
            raise ValueError(message)
        self.low, self.high, self.clip = low, high, clip

    def change(self, image: torch.Tensor) -> torch.Tensor:
        """Normalise one image ``(C, [Z,] Y, X)``."""
        low = image.min() if self.low is None else self.low
        high = image.max() if self.high is None else self.high
        return _stretch(
            image, along_channels(low, image), along_channels(high, image), clip=self.clip
        )


class Invert(ImageTransform):
    """Turn values over within a range: dark becomes bright, and bright dark.

    For images of normalised values, such as fluorescence that is to look like bright field.

    Args:
        low: Value that becomes ``high``.
        high: Value that becomes ``low``.
        keys: What is inverted.

    Example:
        >>> Invert()({"image": torch.tensor([[[0.0, 0.25, 1.0]]])})["image"].tolist()
        [[[1.0, 0.75, 0.0]]]
    """

    def __init__(
        self, low: float = 0.0, high: float = 1.0, keys: str | Sequence[str] = (IMAGE,)
    ) -> None:
        super().__init__(tuple([keys] if isinstance(keys, str) else keys))
        if not low < high:
            message = f"got low={low}, high={high}; expected low < high"
            raise ValueError(message)
        self.low, self.high = low, high

    def change(self, image: torch.Tensor) -> torch.Tensor:
        """Invert one image ``(C, [Z,] Y, X)``."""
        return self.low + self.high - image


class NormalizeCenterSlice(ImageTransform):
    """Normalise a stack by the slices in focus.

    A microscope's stack has out-of-focus slices above and below, which shift percentiles and means
    of the whole. Only the slices around a centre count: that of the largest contrast (standard
    deviation), or the middle. Two percentiles of them are mapped to 0 and 1, and values are cut
    there; or their mean is subtracted, and the rest divided by their standard deviation. A 2D image
    is its own centre.

    Args:
        slices: Slices around the centre that count.
        lower: Percentile that becomes 0.
        upper: Percentile that becomes 1.
        by: ``percentiles`` or ``zscore``, which needs no ``lower`` and ``upper``.
        centre: ``focus`` or ``middle``.
        keys: What is normalised.

    Example:
        >>> stack = torch.tensor([9.0, 1.0, 3.0, 9.0]).reshape(1, 4, 1, 1)
        >>> step = NormalizeCenterSlice(slices=2, by="zscore", centre="middle")
        >>> step({"image": stack})["image"].flatten().tolist()
        [7.0, -1.0, 1.0, 7.0]
    """

    def __init__(
        self,
        slices: int = 32,
        lower: float = 50.0,
        upper: float = 99.99,
        by: str = "percentiles",
        centre: str = "focus",
        keys: str | Sequence[str] = (IMAGE,),
    ) -> None:
        super().__init__(tuple([keys] if isinstance(keys, str) else keys))
        if slices < 1 or not 0 <= lower < upper <= 100:
            message = (
                f"got slices={slices}, lower={lower}, upper={upper}; "
                "expected slices >= 1 and 0 <= lower < upper <= 100"
            )
            raise ValueError(message)
        if by not in ("percentiles", "zscore") or centre not in ("focus", "middle"):
            message = (
                f"got by={by!r}, centre={centre!r}; expected 'percentiles' or 'zscore', and "
                "'focus' or 'middle'"
            )
            raise ValueError(message)
        self.slices, self.lower, self.upper = slices, lower, upper
        self.by, self.centre = by, centre

    def change(self, image: torch.Tensor) -> torch.Tensor:
        """Normalise one image ``(C, [Z,] Y, X)``, each channel by itself."""
        return torch.stack([self._normalise(channel) for channel in image])

    def _normalise(self, channel: torch.Tensor) -> torch.Tensor:
        focus = self._focus(channel)
        if self.by == "zscore":
            # in double precision: a float32 sum over a volume loses digits
            mean, spread = focus.double().mean(), focus.double().std(correction=0)
            return (channel - mean.float()) / spread.clamp(min=_TINY).float()
        low, high = _percentiles(focus[None], self.lower, self.upper, channel_wise=True)
        return _stretch(channel[None], low, high, clip=True)[0]

    def _focus(self, channel: torch.Tensor) -> torch.Tensor:
        """Return the slices that count, those of a channel ``([Z,] Y, X)``."""
        if channel.ndim < 3 or channel.shape[0] <= self.slices:
            return channel
        contrast = channel.flatten(1).double().std(dim=1)
        centre = int(contrast.argmax()) if self.centre == "focus" else channel.shape[0] // 2
        start = min(max(centre - self.slices // 2, 0), channel.shape[0] - self.slices)
        return channel[start : start + self.slices]


def _percentiles(
    image: torch.Tensor, lower: float, upper: float, *, channel_wise: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    # numpy, because torch.quantile refuses more than 16 million values
    values = np.asarray(image.detach().cpu())
    rows = values.reshape(values.shape[0], -1) if channel_wise else values.reshape(1, -1)
    low, high = np.percentile(rows, [lower, upper], axis=1)
    return along_channels(low, image), along_channels(high, image)


def _stretch(
    image: torch.Tensor, low: torch.Tensor, high: torch.Tensor, *, clip: bool
) -> torch.Tensor:
    out = (image - low) / (high - low).clamp(min=_TINY)
    # where the range is empty there is nothing to stretch, and dividing would blow up rounding
    # errors
    out = torch.where(high - low > _TINY, out, torch.zeros_like(out))
    return out.clamp(0, 1) if clip else out
