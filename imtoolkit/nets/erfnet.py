"""ERFNet, a fast net for a value at each pixel, and its form with two decoders for embeddings."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import torch
from monai.networks.layers.factories import Conv, Dropout, Norm, Pool
from torch import Tensor, nn

Stride = int | Sequence[int]

_EPS: Final = 1e-3  # of the norms, as published


class ERFNet(nn.Module):
    """Factorised convolutions with residuals: few weights, a wide view, and fast on a CPU.

    Each halving joins a strided convolution with a pooled copy; blocks convolve along one axis at a
    time, those of the coarsest level with growing dilation. The decoder doubles the size by
    transposed convolutions; there are no skip connections.

    Paper: Romera et al., "ERFNet: Efficient Residual Factorized ConvNet for Real-Time Semantic
    Segmentation", IEEE Transactions on Intelligent Transportation Systems 2018.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Channels of the result.
        channels: Channels of each level, the finest (half the size of the image) first.
        blocks: Blocks of each level after the first.
        dilations: Dilation of the blocks of the coarsest level, in turns.
        decoder_blocks: Blocks of each level of the decoder.
        strides: By how much each level is coarser than the one before, a number or one for each
            axis; left out, 2. For stacks of few slices ``[1, 2, 2]`` keeps these.
        dropout: How often a channel of the coarsest level is left out in training, and ten times as
            rarely one of the other levels.

    Shape:
        ``(B, in_channels, [Z,] Y, X)`` to ``(B, out_channels, [Z,] Y, X)``; sides are multiples of
        the product of the strides: 8.

    Example:
        >>> net = ERFNet(3, 1, 2, channels=(2, 4), blocks=(1,), strides=([1, 2, 2], 2))
        >>> net(torch.zeros(1, 1, 6, 8, 12)).shape
        torch.Size([1, 2, 6, 8, 12])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (16, 64, 128),
        blocks: Sequence[int] = (5, 8),
        dilations: Sequence[int] = (2, 4, 8, 16),
        decoder_blocks: int = 2,
        strides: Sequence[int | Sequence[int]] | None = None,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        strides = (2,) * len(channels) if strides is None else strides
        _check(channels, blocks, strides, dilations)
        self.encoder = _encoder(
            spatial_dims, in_channels, channels, blocks, strides, dilations, dropout
        )
        self.decoder = _decoder(spatial_dims, out_channels, channels, strides, decoder_blocks)

    def forward(self, image: Tensor) -> Tensor:
        """Return the values at each pixel."""
        found: Tensor = self.decoder(self.encoder(image))
        return found


class BranchedERFNet(nn.Module):
    """ERFNet with one encoder and two decoders: for offsets and scales, and for seeds.

    Papers: Neven et al., "Instance Segmentation by Jointly Optimizing Spatial Embeddings and
    Clustering Bandwidth", CVPR 2019; Lalit et al., "EmbedSeg: Embedding-based Instance Segmentation
    for Biomedical Microscopy Data", Medical Image Analysis 2022 (with the 3D form).

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Channels of both decoders together, those of the seeds last.
        seed_channels: Channels of the second decoder.
        channels: See `ERFNet`.
        blocks: See `ERFNet`.
        dilations: See `ERFNet`.
        decoder_blocks: See `ERFNet`.
        strides: See `ERFNet`.
        dropout: See `ERFNet`.

    Shape:
        As `ERFNet`.

    Example:
        Two offsets, two scales, a seed:

        >>> net = BranchedERFNet(2, 1, 5, channels=(2, 4, 8), blocks=(1, 1))
        >>> net(torch.zeros(1, 1, 16, 24)).shape
        torch.Size([1, 5, 16, 24])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        seed_channels: int = 1,
        channels: Sequence[int] = (16, 64, 128),
        blocks: Sequence[int] = (5, 8),
        dilations: Sequence[int] = (2, 4, 8, 16),
        decoder_blocks: int = 2,
        strides: Sequence[int | Sequence[int]] | None = None,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        if not 0 < seed_channels < out_channels:
            message = (
                f"got seed_channels={seed_channels} of out_channels={out_channels}; expected at "
                "least one channel for each decoder"
            )
            raise ValueError(message)
        strides = (2,) * len(channels) if strides is None else strides
        _check(channels, blocks, strides, dilations)
        self.encoder = _encoder(
            spatial_dims, in_channels, channels, blocks, strides, dilations, dropout
        )
        self.decoders = nn.ModuleList(
            _decoder(spatial_dims, count, channels, strides, decoder_blocks)
            for count in (out_channels - seed_channels, seed_channels)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return what both decoders make of the image, the seeds last."""
        features = self.encoder(image)
        return torch.cat([decoder(features) for decoder in self.decoders], dim=1)


class FactorisedBlock(nn.Module):
    """Two convolutions of 3 pixels, each along one axis after the other, beside the identity.

    Args:
        spatial_dims: 2 or 3.
        channels: Channels in and out.
        dilation: Distance of the pixels that the second convolution sees.
        dropout: How often a channel is left out in training.
    """

    def __init__(
        self, spatial_dims: int, channels: int, dilation: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        norm = Norm[Norm.BATCH, spatial_dims]
        self.change = nn.Sequential(
            *_factorised(spatial_dims, channels, 1),
            norm(channels, eps=_EPS),
            nn.ReLU(),
            *_factorised(spatial_dims, channels, dilation),
            norm(channels, eps=_EPS),
            Dropout[Dropout.DROPOUT, spatial_dims](dropout) if dropout else nn.Identity(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return the changed features."""
        return torch.relu(features + self.change(features))


class DownBlock(nn.Module):
    """A coarser level: a strided convolution and a pooled copy of the input, side by side.

    Args:
        spatial_dims: 2 or 3.
        into: Channels of the features.
        out: Channels of the result; where they are no more than ``into``, all are convolved.
        stride: By how much the result is coarser, a number or one for each axis.
    """

    def __init__(self, spatial_dims: int, into: int, out: int, stride: Stride = 2) -> None:
        super().__init__()
        self.pools = out > into
        new = out - into if self.pools else out
        self.convolve = Conv[Conv.CONV, spatial_dims](into, new, 3, stride=stride, padding=1)
        self.pool = Pool[Pool.MAX, spatial_dims](stride, stride)
        self.norm = Norm[Norm.BATCH, spatial_dims](out, eps=_EPS)

    def forward(self, features: Tensor) -> Tensor:
        """Return the coarser features."""
        found = self.convolve(features)
        if self.pools:
            found = torch.cat((found, self.pool(features)), dim=1)
        return torch.relu(self.norm(found))


def _encoder(
    spatial_dims: int,
    in_channels: int,
    channels: Sequence[int],
    blocks: Sequence[int],
    strides: Sequence[Stride],
    dilations: Sequence[int],
    dropout: float,
) -> nn.Sequential:
    parts: list[nn.Module] = [DownBlock(spatial_dims, in_channels, channels[0], strides[0])]
    last = len(blocks) - 1
    for level, count in enumerate(blocks):
        fine, coarse = channels[level], channels[level + 1]
        parts.append(DownBlock(spatial_dims, fine, coarse, strides[level + 1]))
        steps = itertools.cycle(dilations if level == last else (1,))
        drop = dropout if level == last else dropout / 10
        parts += [FactorisedBlock(spatial_dims, coarse, next(steps), drop) for _ in range(count)]
    return nn.Sequential(*parts)


def _decoder(
    spatial_dims: int,
    out_channels: int,
    channels: Sequence[int],
    strides: Sequence[Stride],
    blocks: int,
) -> nn.Sequential:
    turned = Conv[Conv.CONVTRANS, spatial_dims]
    parts: list[nn.Module] = []
    for level in range(len(channels) - 1, 0, -1):
        coarse, fine, stride = channels[level], channels[level - 1], strides[level]
        more = [side - 1 for side in _sides(stride, spatial_dims)]  # exactly as large as before
        parts += [
            turned(coarse, fine, 3, stride=stride, padding=1, output_padding=more),
            Norm[Norm.BATCH, spatial_dims](fine, eps=_EPS),
            nn.ReLU(),
            *(FactorisedBlock(spatial_dims, fine) for _ in range(blocks)),
        ]
    stride = _sides(strides[0], spatial_dims)
    return nn.Sequential(*parts, turned(channels[0], out_channels, stride, stride=stride))


def _factorised(spatial_dims: int, channels: int, dilation: int) -> list[nn.Module]:
    """Return a convolution along each axis, each with ReLU but the last."""
    conv = Conv[Conv.CONV, spatial_dims]
    parts: list[nn.Module] = []
    for axis in range(spatial_dims):
        kernel, spread = [1] * spatial_dims, [1] * spatial_dims
        kernel[axis], spread[axis] = 3, dilation
        padding = [dilation if other == axis else 0 for other in range(spatial_dims)]
        parts += [
            conv(channels, channels, kernel, padding=padding, dilation=spread),
            nn.ReLU(),
        ]
    return parts[:-1]


def _sides(stride: Stride, spatial_dims: int) -> list[int]:
    return [stride] * spatial_dims if isinstance(stride, int) else list(stride)


def _check(
    channels: Sequence[int],
    blocks: Sequence[int],
    strides: Sequence[Stride],
    dilations: Sequence[int],
) -> None:
    fits = len(channels) == len(strides) == len(blocks) + 1 and len(blocks) > 0
    if fits and min(channels) >= 1 and min(blocks) >= 0 and dilations and min(dilations) >= 1:
        return
    message = (
        f"got channels={list(channels)}, blocks={list(blocks)}, strides={list(strides)}, "
        f"dilations={list(dilations)}; expected at least two levels: a number of channels and a "
        "stride for each, blocks for each after the first, such as channels=[16, 64, 128], "
        "blocks=[5, 8], and dilations of 1 or more"
    )
    raise ValueError(message)
