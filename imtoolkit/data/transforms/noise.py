"""Noise, blur and lost resolution: what a microscope or a scanner does to a clean image.

In ``data.degrade`` they make the input of a denoiser out of a clean image, in ``data.augment`` they
make a net robust. They change the image alone, never clip it, and work on images and stacks. A
number is used each time; of a range ``[smallest, largest]``, each image gets its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn import functional

from imtoolkit.data.transforms.base import RandomImageTransform
from imtoolkit.data.transforms.fields import (
    for_each_image,
    gaussian,
    generator,
    normal,
    smoothed,
    summed,
    uniform,
)
from imtoolkit.data.transforms.ranges import between, spatial_axes

_SEEDS = 2**31 - 1


class Strength(NamedTuple):
    """What is drawn for an image: how strong, and the seed of its random field."""

    value: float
    seed: int


class WhiteNoise(RandomImageTransform):
    """Add normal noise that is independent in each pixel and channel: ``y = x + std * n``.

    Args:
        std: Standard deviation in the units of the image, a number or a range to draw from: the
            sigma 25 of 8-bit images that were divided by 255 is 0.098.
        prob: How often noise is added.
    """

    def __init__(self, std: float | Sequence[float] = 0.1, prob: float = 1.0) -> None:
        super().__init__(prob)
        self.std = between(std, "std", lowest=0.0)

    def draw(self, shape: tuple[int, ...]) -> Strength:
        """Draw the standard deviation, and the seed of the noise."""
        return Strength(self.R.uniform(*self.std), int(self.R.randint(_SEEDS)))

    def values(self, images: torch.Tensor, drawn: Sequence[Strength]) -> torch.Tensor:
        """Add noise to each image."""
        noise = normal(images, [one.seed for one in drawn])
        return torch.addcmul(images, noise, for_each_image(images, [one.value for one in drawn]))


class _Correlated(NamedTuple):
    std: float
    sigma: float
    seed: int


class CorrelatedNoise(RandomImageTransform):
    """Add normal noise of neighbouring pixels that are alike, as after filtering or demosaicking.

    White noise is filtered with a Gaussian and rescaled, so that every pixel, also at the border,
    has the standard deviation ``std``. Pixels ``d`` apart correlate as ``exp(-d**2 / 4 sigma**2)``.

    Args:
        std: Standard deviation in the units of the image, a number or a range to draw from.
        sigma: Standard deviation of the filter in pixels, a number or a range. 0 is white noise.
        axes: Axes along which pixels are alike; all when left out. ``[Y, X]`` makes the planes of a
            stack independent.
        prob: How often noise is added.
    """

    def __init__(
        self,
        std: float | Sequence[float] = 0.1,
        sigma: float | Sequence[float] = 1.0,
        axes: Sequence[str] | None = None,
        prob: float = 1.0,
    ) -> None:
        super().__init__(prob)
        self.std = between(std, "std", lowest=0.0)
        self.sigma = between(sigma, "sigma", lowest=0.0)
        self.axes = spatial_axes(axes)

    def draw(self, shape: tuple[int, ...]) -> _Correlated:
        """Draw both standard deviations, and the seed of the noise."""
        std, sigma = self.R.uniform(*self.std), self.R.uniform(*self.sigma)
        return _Correlated(std, sigma, int(self.R.randint(_SEEDS)))

    def values(self, images: torch.Tensor, drawn: Sequence[_Correlated]) -> torch.Tensor:
        """Add noise to each image."""
        out = torch.empty_like(images)
        for image, one, target in zip(images, drawn, out, strict=True):
            torch.add(image, self._noise(image, one), alpha=one.std, out=target)
        return out

    def _noise(self, image: torch.Tensor, one: _Correlated) -> torch.Tensor:
        weights = gaussian(one.sigma).to(image.device)[None]
        radius = weights.shape[1] - 1
        dims = image.ndim - 1
        axes = [axis for axis in self.axes if axis >= -dims]
        # drawn beyond the border: filtering then needs no rule for what lies there
        sides = [
            side + 2 * radius * (axis - dims in axes) for axis, side in enumerate(image.shape[1:])
        ]
        noise = torch.empty((1, len(image), *sides), device=image.device)
        noise.normal_(generator=generator(one.seed, image.device))
        for axis in axes:
            noise = summed(noise, weights, axis)
        power = 2 * (weights**2).sum() - weights[0, 0] ** 2  # variance that is left, each axis
        return noise[0] / power ** (len(axes) / 2)


class PoissonNoise(RandomImageTransform):
    """Count photons: ``y = Poisson(x / full * photons) / photons * full``.

    The mean stays, and the variance is ``x * full / photons``. What lies below 0 has no photons and
    stays as it is.

    Args:
        photons: Photons that a pixel of value ``full`` gets on average, a number or a range; drawn
            evenly in the logarithm.
        full: Value of a fully exposed pixel.
        prob: How often it is done.
    """

    def __init__(
        self, photons: float | Sequence[float] = (20.0, 500.0), full: float = 1.0, prob: float = 1.0
    ) -> None:
        super().__init__(prob)
        low, high = between(photons, "photons", lowest=0.0)
        if low == 0 or full <= 0:
            message = f"got photons={photons}, full={full}; expected numbers above 0"
            raise ValueError(message)
        self.low, self.high, self.full = math.log(low), math.log(high), float(full)

    def draw(self, shape: tuple[int, ...]) -> Strength:
        """Draw the number of photons, and the seed of the counting."""
        return Strength(math.exp(self.R.uniform(self.low, self.high)), int(self.R.randint(_SEEDS)))

    def values(self, images: torch.Tensor, drawn: Sequence[Strength]) -> torch.Tensor:
        """Count the photons of each image."""
        gain = for_each_image(images, [one.value / self.full for one in drawn])
        bright = images.clamp(min=0)
        counts = torch.stack(
            [
                torch.poisson(rate, generator=generator(one.seed, images.device))
                for rate, one in zip(bright * gain, drawn, strict=True)
            ]
        )
        return counts / gain + (images - bright)


class SaltAndPepper(RandomImageTransform):
    """Replace single pixels by the largest or the smallest value: dead and hot pixels.

    Args:
        fraction: Fraction of the pixels that are replaced, a number or a range to draw from.
        salt: Share of them that become the largest value.
        low: What pepper is; left out, the smallest value of the image.
        high: What salt is; left out, the largest value of the image.
        prob: How often it is done.
    """

    def __init__(
        self,
        fraction: float | Sequence[float] = (0.0, 0.02),
        salt: float = 0.5,
        low: float | None = None,
        high: float | None = None,
        prob: float = 1.0,
    ) -> None:
        super().__init__(prob)
        self.fraction = between(fraction, "fraction", lowest=0.0, highest=1.0)
        if not 0 <= salt <= 1:
            message = f"got salt={salt}; expected a share between 0 and 1"
            raise ValueError(message)
        self.salt, self.low, self.high = salt, low, high

    def draw(self, shape: tuple[int, ...]) -> Strength:
        """Draw the fraction, and the seed of the places."""
        return Strength(self.R.uniform(*self.fraction), int(self.R.randint(_SEEDS)))

    def values(self, images: torch.Tensor, drawn: Sequence[Strength]) -> torch.Tensor:
        """Replace pixels of each image."""
        chance = uniform(images, [one.seed for one in drawn])
        fraction = for_each_image(images, [one.value for one in drawn])
        inner = tuple(range(1, images.ndim))
        low = images.amin(inner, keepdim=True) if self.low is None else self.low
        high = images.amax(inner, keepdim=True) if self.high is None else self.high
        salted = torch.where(chance < fraction * self.salt, high, images)
        # the other end of the same draw, so that no pixel is both
        return torch.where(chance >= 1 - fraction * (1 - self.salt), low, salted)


class RandomBlur(RandomImageTransform):
    """Filter with a Gaussian: out of focus, or a smaller aperture.

    Args:
        sigma: Standard deviation of the filter in pixels, a number or a range to draw from.
        axes: Axes that are blurred; all when left out.
        prob: How often it is done.
    """

    def __init__(
        self,
        sigma: float | Sequence[float] = (0.0, 1.5),
        axes: Sequence[str] | None = None,
        prob: float = 0.3,
    ) -> None:
        super().__init__(prob)
        self.sigma, self.axes = between(sigma, "sigma", lowest=0.0), spatial_axes(axes)

    def draw(self, shape: tuple[int, ...]) -> float:
        """Draw the standard deviation."""
        return float(self.R.uniform(*self.sigma))

    def values(self, images: torch.Tensor, drawn: Sequence[float]) -> torch.Tensor:
        """Blur each image."""
        axes = [axis for axis in self.axes if axis >= 2 - images.ndim]
        return smoothed(images, drawn, axes)


class ReduceResolution(RandomImageTransform):
    """Sample the image more coarsely and interpolate it back to its grid.

    A coarse pixel is the mean of those below it, as on a camera with larger pixels, and the way
    back is linear; ``sampling: nearest`` picks every n-th pixel, as a scanner with larger steps.

    Args:
        factor: How many pixels become one along each axis, a number from 1 on or a range to draw
            from, even and odd and in between.
        axes: Axes that are reduced; all when left out. ``[Z]`` makes the slices of a stack thicker.
        sampling: ``mean`` or ``nearest``.
        prob: How often it is done.
    """

    def __init__(
        self,
        factor: float | Sequence[float] = (1.0, 3.0),
        axes: Sequence[str] | None = None,
        sampling: str = "mean",
        prob: float = 1.0,
    ) -> None:
        super().__init__(prob)
        self.factor, self.axes = between(factor, "factor", lowest=1.0), spatial_axes(axes)
        if sampling not in ("mean", "nearest"):
            message = f"got sampling={sampling!r}; expected 'mean' or 'nearest'"
            raise ValueError(message)
        self.sampling = sampling

    def draw(self, shape: tuple[int, ...]) -> float:
        """Draw the factor."""
        return float(self.R.uniform(*self.factor))

    def values(self, images: torch.Tensor, drawn: Sequence[float]) -> torch.Tensor:
        """Reduce each image."""
        pairs = zip(images, drawn, strict=True)
        return torch.stack([self._reduced(image, factor) for image, factor in pairs])

    def _reduced(self, image: torch.Tensor, factor: float) -> torch.Tensor:
        sides = image.shape[1:]
        coarse = [
            max(round(side / factor), 1) if axis - len(sides) in self.axes else side
            for axis, side in enumerate(sides)
        ]
        if coarse == list(sides):
            return image
        down = "area" if self.sampling == "mean" else "nearest-exact"
        up = "bilinear" if len(sides) == 2 else "trilinear"
        small = functional.interpolate(image[None], size=coarse, mode=down)
        return functional.interpolate(small, size=list(sides), mode=up, align_corners=False)[0]
