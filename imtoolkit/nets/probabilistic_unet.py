"""Probabilistic U-Net: a U-Net, and a few latent numbers that choose one of many segmentations.

Kohl et al., "A probabilistic U-Net for segmentation of ambiguous images", NeurIPS 2018. The
numbers ``z`` follow an axis-aligned Gaussian that a net reads off the image (the prior) or, in
training, off image and annotation (the posterior); 1x1 convolutions join them with the features of
the U-Net, so that one ``z`` decides the whole image.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from monai.networks.layers.factories import Conv, Pool
from monai.networks.nets.unet import UNet
from torch import Tensor, nn

from imtoolkit.core.errors import ConfigError, Problem, listed

from . import refusals
from .filling import fill_net, signature_of

if TYPE_CHECKING:
    from .assembling import Assembler, Slot

NAME: Final = "probabilistic_unet"
_OF_UNET: Final = ("num_res_units", "norm", "dropout")
_WIDEST: Final = 10.0
"""Bound of the logarithm of a standard deviation, so that nothing overflows."""


@dataclass(frozen=True)
class DiagonalGaussian:
    """A Gaussian in independent numbers, float32.

    Attributes:
        mean: ``(B, L)``.
        log_std: Logarithm of the standard deviations ``(B, L)``.
    """

    mean: Tensor
    log_std: Tensor

    def at(self, noise: Tensor) -> Tensor:
        """Return the point ``(B, L)`` that standard normal noise of this shape leads to."""
        return self.mean + self.log_std.exp() * noise.to(self.mean)


class LatentNet(nn.Module, ABC):
    """What the task `probabilistic_unet` needs of a net; an own one derives from it.

    Attributes:
        latent: Number of latent numbers ``L``.
    """

    latent: int

    @abstractmethod
    def prior(self, image: Tensor) -> DiagonalGaussian:
        """Return what the image ``(B, C, [Z,] Y, X)`` says of the latent numbers."""

    @abstractmethod
    def posterior(self, image: Tensor, annotation: Tensor) -> DiagonalGaussian:
        """Return what image and annotation say of them.

        Args:
            image: ``(B, C, [Z,] Y, X)``.
            annotation: Classes one-hot ``(B, K, [Z,] Y, X)``; zeros where a pixel does not count.
        """

    @abstractmethod
    def features(self, image: Tensor) -> Tensor:
        """Return what of the segmentation no latent number decides ``(B, W, [Z,] Y, X)``."""

    @abstractmethod
    def decode(self, features: Tensor, latent: Tensor) -> Tensor:
        """Return logits ``(B, K, [Z,] Y, X)`` of features and latent numbers ``(B or 1, L)``."""

    def forward(self, image: Tensor, latent: Tensor | None = None) -> Tensor:
        """Return logits; without latent numbers those of the mean of the prior."""
        chosen = self.prior(image).mean if latent is None else latent
        return self.decode(self.features(image), chosen)


class GaussianEncoder(nn.Module):
    """Convolutions and poolings, the mean over all pixels, and from it a Gaussian.

    There are no norms, as in the paper: those of each image would take from the mean over the
    pixels what it shall tell.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of its input.
        channels: Width of each level.
        strides: Pooling between the levels, a number or one for each axis.
        latent: Latent numbers ``L``.
        convs: Convolutions of a level.

    Example:
        >>> gaussian = GaussianEncoder(2, 1, (4, 8), (2,), latent=6)(torch.zeros(3, 1, 16, 16))
        >>> gaussian.mean.shape
        torch.Size([3, 6])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        channels: Sequence[int],
        strides: Sequence[Any],
        latent: int,
        convs: int = 2,
    ) -> None:
        super().__init__()
        conv, pool = Conv[Conv.CONV, spatial_dims], Pool[Pool.AVG, spatial_dims]
        layers: list[nn.Module] = []
        before = in_channels
        for level, width in enumerate(channels):
            if level:
                step = strides[level - 1]
                size = step if isinstance(step, int) else tuple(step)
                layers.append(pool(size, size, ceil_mode=True))
            for _ in range(convs):
                layers += [conv(before, width, 3, padding=1), nn.ReLU(inplace=True)]
                before = width
        self.layers = nn.Sequential(*layers)
        self.gaussian = nn.Linear(before, 2 * latent)
        for layer in self.layers:
            if isinstance(layer, (nn.Conv2d, nn.Conv3d)):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        # every Gaussian begins near the standard one, so that prior and posterior begin as equals
        nn.init.normal_(self.gaussian.weight, std=0.01)
        nn.init.zeros_(self.gaussian.bias)

    def forward(self, image: Tensor) -> DiagonalGaussian:
        """Return the Gaussian of images ``(B, C, [Z,] Y, X)``."""
        means = self.layers(image).flatten(2).mean(2)  # (B, W)
        mean, log_std = self.gaussian(means).float().chunk(2, 1)
        return DiagonalGaussian(mean, log_std.clamp(-_WIDEST, _WIDEST))


class ProbabilisticUNet(LatentNet):
    """See the module.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Classes.
        channels: Width of each level of the U-Net and, without ``encoder_channels``, of the nets of
            prior and posterior.
        strides: Step between the levels, a number or one for each axis; left out, 2.
        latent: Latent numbers.
        width: Channels of the features that the latent numbers join, and of the 1x1 convolutions.
        combine: How many 1x1 convolutions join them.
        encoder_channels: Width of each level of the nets of prior and posterior.
        backbone: Another net for the features: it is given ``width`` as its output channels.
            ``channels`` and ``strides`` are those of prior and posterior then.
        num_res_units: Residual units in each level of the U-Net; 0 for plain convolutions.
        norm: Norm of the U-Net, as MONAI names it.
        dropout: Probability of its dropout layers.

    Example:
        >>> net = ProbabilisticUNet(2, 1, 2, channels=(4, 8), latent=3, width=4)
        >>> image = torch.zeros(2, 1, 16, 16)
        >>> net(image).shape, net(image, torch.ones(1, 3)).shape
        (torch.Size([2, 2, 16, 16]), torch.Size([2, 2, 16, 16]))
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (32, 64, 128, 192),
        strides: Sequence[int | Sequence[int]] | None = None,
        latent: int = 6,
        width: int = 32,
        combine: int = 3,
        encoder_channels: Sequence[int] | None = None,
        backbone: nn.Module | None = None,
        num_res_units: int = 2,
        norm: str | tuple[str, dict[str, Any]] = "instance",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        steps = list(strides) if strides is not None else [2] * (len(channels) - 1)
        encoder = tuple(encoder_channels or channels)
        _check(channels, steps, encoder, latent, width, combine)
        self.latent, self.classes = latent, out_channels
        self.backbone = backbone or UNet(
            spatial_dims=spatial_dims,
            in_channels=in_channels,
            out_channels=width,
            channels=tuple(channels),
            strides=[step if isinstance(step, int) else tuple(step) for step in steps],
            num_res_units=num_res_units,
            norm=norm,
            dropout=dropout,
        )
        self.prior_net = GaussianEncoder(spatial_dims, in_channels, encoder, steps, latent)
        self.posterior_net = GaussianEncoder(
            spatial_dims, in_channels + out_channels, encoder, steps, latent
        )
        conv = Conv[Conv.CONV, spatial_dims]
        layers: list[nn.Module] = [conv(width + latent, width, 1), nn.ReLU(inplace=True)]
        for _ in range(combine - 1):
            layers += [conv(width, width, 1), nn.ReLU(inplace=True)]
        self.combine = nn.Sequential(*layers, conv(width, out_channels, 1))

    @classmethod
    def assemble(cls, params: Mapping[str, Any], slot: Slot, make: Assembler) -> nn.Module:
        """Build the backbone, where one is given, for the width of the features."""
        inner = {key: value for key, value in params.items() if key != "backbone"}
        known = fill_net(cls, inner, slot.facts, slot.out_channels, where=slot.where)
        if params.get("backbone") is not None:
            useless = [name for name in _OF_UNET if name in params]
            if useless:
                message = (
                    "belongs to the U-Net, and another backbone is given: leave "
                    f"{listed(useless)} out"
                )
                raise ConfigError(Problem(message, where=f"{slot.where}.params.{useless[0]}"))
            width = known.get("width", signature_of(cls)["width"].default)
            known["backbone"] = make.part(
                params["backbone"], slot.below("backbone", width), last=True
            )
        return refusals.made(NAME, known, slot.facts, slot.where, keeps_size=True)

    def prior(self, image: Tensor) -> DiagonalGaussian:
        """See `LatentNet`."""
        found: DiagonalGaussian = self.prior_net(image)
        return found

    def posterior(self, image: Tensor, annotation: Tensor) -> DiagonalGaussian:
        """See `LatentNet`."""
        found: DiagonalGaussian = self.posterior_net(torch.cat([image, annotation.to(image)], 1))
        return found

    def features(self, image: Tensor) -> Tensor:
        """See `LatentNet`."""
        found: Tensor = self.backbone(image)
        return found

    def decode(self, features: Tensor, latent: Tensor) -> Tensor:
        """See `LatentNet`."""
        count, _, *size = features.shape
        spread = latent.to(features).reshape(*latent.shape, *[1] * len(size))
        joined = torch.cat([features, spread.expand(count, -1, *size)], 1)
        logits: Tensor = self.combine(joined)
        return logits


def _check(
    channels: Sequence[int],
    strides: Sequence[Any],
    encoder: Sequence[int],
    latent: int,
    width: int,
    combine: int,
) -> None:
    if min(latent, width, combine) < 1:
        message = f"got latent {latent}, width {width} and combine {combine}; expected at least 1"
        raise ValueError(message)
    for name, levels in (("channels", channels), ("encoder_channels", encoder)):
        if len(levels) != len(strides) + 1:
            message = (
                f"got {len(levels)} {name} and {len(strides)} strides; expected one stride between "
                "two levels each"
            )
            raise ValueError(message)
