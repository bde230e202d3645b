"""Random changes of the image's values for training; the target stays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from imtoolkit.data.transforms.base import RandomImageTransform
from imtoolkit.data.transforms.fields import for_each_image, normal
from imtoolkit.data.transforms.ranges import between


class GaussianNoise(RandomImageTransform):
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

    def draw(self, shape: tuple[int, ...]) -> tuple[float, int]:
        """Draw the standard deviation, and the seed of the noise."""
        return self.R.random_sample() * self.std, int(self.R.randint(2**31 - 1))

    def values(self, images: torch.Tensor, drawn: Sequence[tuple[float, int]]) -> torch.Tensor:
        """Add noise to each image."""
        return images + for_each_image(images, [std for std, _ in drawn]) * normal(
            images, [seed for _, seed in drawn]
        )


class BrightnessContrast(RandomImageTransform):
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

    def draw(self, shape: tuple[int, ...]) -> np.ndarray:
        """Draw stretch and shift of each channel, ``(2, C)``."""
        draws = self.R.uniform(-1, 1, (2, shape[0]))
        return np.stack([1 + self.contrast * draws[0], self.brightness * draws[1]])

    def values(self, images: torch.Tensor, drawn: Sequence[np.ndarray]) -> torch.Tensor:
        """Change brightness and contrast of each image."""
        factor, shift = for_each_image(images, np.stack(drawn, axis=1))
        mean = images.mean(dim=tuple(range(2, images.ndim)), keepdim=True)
        changed: torch.Tensor = (images - mean) * factor + mean + shift
        return changed


class Gamma(RandomImageTransform):
    """Bend the values by a power, keeping the smallest and the largest.

    Args:
        gamma: Smallest and largest exponent; drawn evenly in the logarithm.
        prob: How often it is done.
    """

    def __init__(self, gamma: float | Sequence[float] = (0.7, 1.5), prob: float = 0.3) -> None:
        super().__init__(prob)
        low, high = between(gamma, "gamma", lowest=0.0)
        if low == 0:
            message = f"got gamma={gamma!r}; expected exponents above 0"
            raise ValueError(message)
        self.low, self.high = float(np.log(low)), float(np.log(high))

    def draw(self, shape: tuple[int, ...]) -> float:
        """Draw the exponent."""
        return float(np.exp(self.R.uniform(self.low, self.high)))

    def values(self, images: torch.Tensor, drawn: Sequence[float]) -> torch.Tensor:
        """Bend the values of each image."""
        inner = tuple(range(1, images.ndim))
        low, high = images.amin(inner, keepdim=True), images.amax(inner, keepdim=True)
        span = high - low
        # a constant image stays as it is: 0 over 1 is 0 to any power
        scaled = (images - low) / torch.where(span > 0, span, torch.ones_like(span))
        bent: torch.Tensor = scaled ** for_each_image(images, drawn) * span + low
        return bent
