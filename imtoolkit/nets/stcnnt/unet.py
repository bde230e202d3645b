"""The spatio-temporal U-Net: cells of attention and convolution at each level, long skips."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .cells import Block
from .grammar import parse_levels
from .layers import frame_conv
from .net import SpatioTemporalNet


class STCNNTEncoder(SpatioTemporalNet):
    """The way down of the U-Net alone: a backbone.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        channels: Channels of each level, finest first.
        blocks: Block string of each level, or one for all.
        options: See `imtoolkit.nets.stcnnt.net.SpatioTemporalNet`.

    Shape:
        ``(B, C, [T,] Y, X)`` to feature maps, finest first.

    Example:
        >>> made = STCNNTEncoder(2, 1, channels=(8, 16), blocks="L1", window=4, heads=2)
        >>> [tuple(found.shape) for found in made(torch.zeros(1, 1, 16, 16))]
        [(1, 8, 16, 16), (1, 16, 8, 8)]
    """

    main_map = -1

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        channels: Sequence[int] = (32, 64, 128),
        blocks: str | Sequence[str] = "L1G1T1",
        **options: Any,
    ) -> None:
        super().__init__(spatial_dims, in_channels, channels, blocks, **options)
        self.encoders = nn.ModuleList(
            Block(width, level.specs, level.options)
            for width, level in zip(channels, self.levels, strict=True)
        )
        self.downs = nn.ModuleList(
            nn.Conv3d(fine, coarse, step, step)
            for (fine, coarse), step in zip(itertools.pairwise(channels), self.steps, strict=True)
        )

    def maps(self, frames: Tensor) -> list[Tensor]:
        """See `SpatioTemporalNet`."""
        found = [self.encoders[0](frames)]
        for down, block in zip(self.downs, self.encoders[1:], strict=True):
            found.append(block(down(found[-1])))
        return found


class STCNNTUNet(STCNNTEncoder):
    """U-Net whose levels are block strings of attention and convolution.

    Convolutions of 2 pixels and the same stride lead down; transposed ones lead up, where the long
    skip is joined and a convolution of 1 pixel brings both to the channels of the level.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Channels of the result; ``None`` returns the feature maps of the way up.
        channels: Channels of each level, finest first.
        blocks: Block string of each level of the way down, or one for all.
        decoder_blocks: The same for the way up, which has one level less; that of the way down
            where it is left out.
        options: See `imtoolkit.nets.stcnnt.net.SpatioTemporalNet`.

    Shape:
        ``(B, C, [T,] Y, X)`` to ``(B, out_channels, [T,] Y, X)``, or to feature maps, finest first.

    Example:
        >>> made = STCNNTUNet(3, 1, 2, channels=(8, 16), blocks=["C31", "L1T1"], window=4, heads=2)
        >>> made(torch.zeros(1, 1, 3, 16, 16)).shape
        torch.Size([1, 2, 3, 16, 16])
    """

    main_map = 0

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int | None = None,
        channels: Sequence[int] = (32, 64, 128),
        blocks: str | Sequence[str] = "L1G1T1",
        decoder_blocks: str | Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(spatial_dims, in_channels, channels, blocks, **options)
        pairs = list(zip(itertools.pairwise(channels), self.steps, strict=True))
        self.ups = nn.ModuleList(
            nn.ConvTranspose3d(coarse, fine, step, step) for (fine, coarse), step in pairs
        )
        self.joins = nn.ModuleList(frame_conv(2 * fine, fine) for (fine, _), _ in pairs)
        specs = [level.specs for level in self.levels[:-1]]
        if decoder_blocks is not None:
            specs = parse_levels(decoder_blocks, len(pairs))
            self.fitting = self.fitting.also(specs)
        self.decoders = nn.ModuleList(
            Block(width, cells, level.options)
            for width, cells, level in zip(channels[:-1], specs, self.levels[:-1], strict=True)
        )
        if out_channels is not None:
            self.last = self.finishing(channels[0], out_channels)

    def maps(self, frames: Tensor) -> list[Tensor]:
        """See `SpatioTemporalNet`."""
        found = super().maps(frames)
        for place in reversed(range(len(self.ups))):
            raised = self.ups[place](found[place + 1])
            joined = self.joins[place](torch.cat((found[place], raised), dim=1))
            found[place] = self.decoders[place](joined)
        return found
