"""A residual U-Net without norms for image restoration."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch.nn.functional as F  # noqa: N812 - the name that every reader of torch code knows
from monai.networks.layers.factories import Conv
from monai.networks.utils import pixelshuffle, pixelunshuffle
from torch import Tensor, nn


class DRUNet(nn.Module):
    """U-Net of residual blocks: several scales, sums as skips, neither norms nor dropout.

    Norms would make the result depend on the brightness of what lies around. With ``fold: 2`` the
    image is folded into channels of half the size first, which is several times as fast on a
    processor.

    Paper: Zhang et al., "Plug-and-Play Image Restoration with Deep Denoiser Prior", IEEE TPAMI 2022
    (four scales of 64 to 512 channels and four blocks at each).

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Channels of the result.
        channels: Channels at each scale, finest first.
        blocks: Residual blocks at each scale, on the way down and up.
        fold: Side of the block of pixels that becomes channels; 1 keeps the resolution.
        residual: Add the output to the image; needs as many channels out as in.

    Raises:
        ValueError: If ``residual`` is asked for and the channels differ.

    Shape:
        ``(B, in_channels, [Z,] Y, X)`` to ``(B, out_channels, [Z,] Y, X)``; sides are multiples of
        ``fold * 2 ** (len(channels) - 1)``.

    Example:
        >>> import torch
        >>> image = torch.rand(1, 1, 16, 16)
        >>> net = DRUNet(2, 1, 1, channels=(4, 8), blocks=1, residual=True)
        >>> torch.equal(net(image), image)  # before training, nothing is changed
        True
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (64, 128, 256, 512),
        blocks: int = 4,
        fold: int = 1,
        *,
        residual: bool = False,
    ) -> None:
        super().__init__()
        if residual and in_channels != out_channels:
            message = (
                f"got {in_channels} channels in and {out_channels} out with residual=True; they "
                "must agree: set residual to false"
            )
            raise ValueError(message)
        if not channels or min(channels) < 1 or blocks < 1 or fold < 1:
            message = f"got channels={list(channels)}, blocks={blocks}, fold={fold}; expected >= 1"
            raise ValueError(message)
        self.spatial_dims, self.fold, self.residual = spatial_dims, fold, residual
        conv, turned = Conv[Conv.CONV, spatial_dims], Conv[Conv.CONVTRANS, spatial_dims]
        block = fold**spatial_dims
        steps = list(itertools.pairwise(channels))
        self.head = conv(in_channels * block, channels[0], 3, padding=1)
        self.encoders = nn.ModuleList(_stage(spatial_dims, width, blocks) for width in channels)
        self.downs = nn.ModuleList(conv(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.ups = nn.ModuleList(turned(coarse, fine, 2, stride=2) for fine, coarse in steps)
        self.decoders = nn.ModuleList(_stage(spatial_dims, fine, blocks) for fine, _ in steps)
        self.tail = conv(channels[0], out_channels * block, 3, padding=1)
        if residual:  # what is not learnt yet is best left as it is
            nn.init.zeros_(self.tail.weight)
            nn.init.zeros_(self.tail.bias)

    def forward(self, image: Tensor) -> Tensor:
        """Return the restored image."""
        folded = pixelunshuffle(image, self.spatial_dims, self.fold) if self.fold > 1 else image
        found = self.encoders[0](self.head(folded))
        skips = []
        for down, encoder in zip(self.downs, self.encoders[1:], strict=True):
            skips.append(found)
            found = encoder(down(found))
        for level in reversed(range(len(skips))):
            found = self.decoders[level](self.ups[level](found) + skips[level])
        found = self.tail(found)
        if self.fold > 1:
            found = pixelshuffle(found, self.spatial_dims, self.fold)
        restored: Tensor = image + found if self.residual else found
        return restored


class ResidualBlock(nn.Module):
    """Two convolutions whose result is added to what they were given; the identity at first.

    Args:
        spatial_dims: 2 or 3.
        width: Channels.
    """

    def __init__(self, spatial_dims: int, width: int) -> None:
        super().__init__()
        conv = Conv[Conv.CONV, spatial_dims]
        self.first = conv(width, width, 3, padding=1)
        self.second = conv(width, width, 3, padding=1)
        # deep chains without norms train from the identity at large learning rates
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return the changed features, in their shape."""
        changed: Tensor = self.second(F.relu(self.first(features)))
        return features + changed


def _stage(spatial_dims: int, width: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(spatial_dims, width) for _ in range(blocks)))
