"""Random changes of the image's values for training; the target stays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from imtoolkit.core.batch import IMAGE
from imtoolkit.data.transforms.base import RandomSampleTransform, Sample, plain


class GaussianNoise(RandomSampleTransform):
    """Add normal noise.

    Args:
        std: Largest standard deviation, in the units of the normalised image; drawn between 0 and
            this.
        prob: How often noise is added.
    """

    def __init__(self, std: float = 0.1, prob: float = 0.2) -> None:
        super().__init__(prob)
        if std < 0:
            message = f"got std={std}; expected 0 or more"
            raise ValueError(message)
        self.std = std

    def change(self, sample: Sample) -> None:
        """Add noise to the image."""
        image = plain(sample[IMAGE])
        std = self.R.random_sample() * self.std
        # torch draws normal numbers several times faster than the legacy generator of numpy
        generator = torch.Generator().manual_seed(int(self.R.randint(2**31 - 1)))
        sample[IMAGE] = image + std * torch.randn(image.shape, generator=generator)


class BrightnessContrast(RandomSampleTransform):
    """Shift the values and stretch them around their mean, each channel by itself.

    Args:
        brightness: Largest shift, in the units of the normalised image.
        contrast: Largest relative stretch: 0.2 is 0.8 to 1.2.
        prob: How often it is done.
    """

    def __init__(self, brightness: float = 0.1, contrast: float = 0.2, prob: float = 0.5) -> None:
        super().__init__(prob)
        if brightness < 0 or not 0 <= contrast < 1:
            message = (
                f"got brightness={brightness}, contrast={contrast}; "
                "expected brightness >= 0 and contrast in [0, 1)"
            )
            raise ValueError(message)
        self.brightness, self.contrast = brightness, contrast

    def change(self, sample: Sample) -> None:
        """Change brightness and contrast of the image."""
        image = plain(sample[IMAGE])
        draws = self.R.uniform(-1, 1, (2, image.shape[0])).astype(np.float32)
        ones = [1] * (image.ndim - 1)
        factor = torch.from_numpy(1 + self.contrast * draws[0]).reshape(-1, *ones)
        shift = torch.from_numpy(self.brightness * draws[1]).reshape(-1, *ones)
        mean = image.mean(dim=tuple(range(1, image.ndim)), keepdim=True)
        sample[IMAGE] = (image - mean) * factor + mean + shift


class Gamma(RandomSampleTransform):
    """Bend the values by a power, keeping the smallest and the largest.

    Args:
        gamma: Smallest and largest exponent; drawn evenly in the logarithm.
        prob: How often it is done.
    """

    def __init__(self, gamma: Sequence[float] = (0.7, 1.5), prob: float = 0.3) -> None:
        super().__init__(prob)
        if len(gamma) != 2 or not 0 < gamma[0] <= gamma[1]:
            message = f"got gamma={list(gamma)}; expected two exponents, 0 < smallest <= largest"
            raise ValueError(message)
        self.low, self.high = (float(value) for value in np.log(np.asarray(gamma, dtype=float)))

    def change(self, sample: Sample) -> None:
        """Bend the values of the image."""
        image = plain(sample[IMAGE])
        exponent = float(np.exp(self.R.uniform(self.low, self.high)))
        low, high = image.min(), image.max()
        if bool(high > low):
            sample[IMAGE] = ((image - low) / (high - low)) ** exponent * (high - low) + low
