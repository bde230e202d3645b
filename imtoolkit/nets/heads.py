"""Heads behind a backbone: image-level ones that pool, dense ones with an output for each pixel.

The image-level heads and the convolutional ones follow FMImaging's post modules in what they do.
Dense outputs are brought to the size of the image by the composed net.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from monai.networks.blocks import Convolution
from monai.networks.layers.factories import Conv, Dropout
from monai.networks.layers.utils import get_norm_layer
from torch import Tensor, nn

from .global_pool import GlobalPooling, Pooling
from .resizing import resized

Layer = str | tuple[str, dict[str, Any]]


class NormPoolLinear(nn.Module):
    """Normalise, pool over the pixels, and a linear layer: ``W pool(norm(x)) + b``.

    Args:
        in_channels: Channels of the features.
        out_channels: Classes, or numbers to predict.
        spatial_dims: 1, 2 or 3.
        norm: ``layer`` (over the channels of each pixel, as Vision Transformers do it), or a norm
            as MONAI names it: ``batch``, ``instance``, ``["group", {num_groups: 8}]``.
        pool: See `imtoolkit.nets.global_pool.GlobalPooling`.

    Example:
        >>> NormPoolLinear(8, 2, 2)(torch.zeros(4, 8, 6, 5)).shape
        torch.Size([4, 2])
    """

    pools: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        spatial_dims: int,
        norm: Layer = "layer",
        pool: Pooling = "avg",
    ) -> None:
        super().__init__()
        self.norm = (
            ChannelNorm(in_channels)
            if norm == "layer"
            else get_norm_layer(norm, spatial_dims=spatial_dims, channels=in_channels)
        )
        self.pooling = GlobalPooling(in_channels, pool)
        self.out = nn.Linear(self.pooling.out_channels, out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """Return ``(B, K)`` for ``(B, C, [Z,] Y, X)``."""
        logits: Tensor = self.out(self.pooling(self.norm(features)))
        return logits


class ConvPoolLinear(nn.Module):
    """Convolution with norm and activation, pooling over the pixels, and a linear layer.

    Args:
        in_channels: Channels of the features.
        out_channels: Classes, or numbers to predict.
        spatial_dims: 1, 2 or 3.
        channels: Channels of the convolution; left out, those of the features.
        kernel_size: Of the convolution.
        norm: As MONAI names it.
        act: As MONAI names it.
        pool: See `imtoolkit.nets.global_pool.GlobalPooling`.
        dropout: Probability before the linear layer.
    """

    pools: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        spatial_dims: int,
        channels: int | None = None,
        kernel_size: int = 3,
        norm: Layer = "batch",
        act: Layer = "relu",
        pool: Pooling = "avg",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        width = channels or in_channels
        self.conv = _convolution(spatial_dims, in_channels, width, kernel_size, norm, act)
        self.pooling = GlobalPooling(width, pool)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(self.pooling.out_channels, out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """Return ``(B, K)`` for ``(B, C, [Z,] Y, X)``."""
        logits: Tensor = self.out(self.dropout(self.pooling(self.conv(features))))
        return logits


class SimpleConv(nn.Module):
    """One convolution on one feature map.

    Args:
        in_channels: Channels of the map.
        out_channels: Channels of the output.
        spatial_dims: 1, 2 or 3.
        kernel_size: Of the convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, spatial_dims: int, kernel_size: int = 3
    ) -> None:
        super().__init__()
        self.conv = _plain(spatial_dims, in_channels, out_channels, kernel_size)

    def forward(self, features: Tensor) -> Tensor:
        """Return ``(B, K, [Z,] Y, X)`` for ``(B, C, [Z,] Y, X)``."""
        output: Tensor = self.conv(features)
        return output


class SimpleMultidepthConv(nn.Module):
    """All feature maps, brought to one width and to the finest size, then a convolution.

    Args:
        in_channels: Channels of each map, finest first.
        out_channels: Channels of the output.
        spatial_dims: 1, 2 or 3.
        channels: Width to which each map is brought by a 1x1 convolution.
        kernel_size: Of the last convolution.
        norm: As MONAI names it.
        act: As MONAI names it.
    """

    takes_maps: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        spatial_dims: int,
        channels: int = 64,
        kernel_size: int = 3,
        norm: Layer = "instance",
        act: Layer = "relu",
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            _plain(spatial_dims, width, channels, 1) for width in in_channels
        )
        total = channels * len(in_channels)
        self.mix = _convolution(spatial_dims, total, channels, kernel_size, norm, act)
        self.out = _plain(spatial_dims, channels, out_channels, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return ``(B, K, [Z,] Y, X)`` in the size of the finest map."""
        same = [
            resized(level(one), maps[0].shape[2:])
            for level, one in zip(self.levels, maps, strict=True)
        ]
        output: Tensor = self.out(self.mix(torch.cat(same, dim=1)))
        return output


class DenseHead(nn.Module):
    """Convolutions with norm and activation, then a 1x1 convolution: an output for each pixel.

    Args:
        in_channels: Channels of the features.
        out_channels: Classes, or channels of an image.
        spatial_dims: 1, 2 or 3.
        hidden: Channels of the convolutions.
        kernel_size: Of the convolutions.
        norm: As MONAI names it.
        act: As MONAI names it.
        dropout: Probability of dropping whole channels before the last convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        spatial_dims: int,
        hidden: Sequence[int] = (64,),
        kernel_size: int = 3,
        norm: Layer = "instance",
        act: Layer = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        widths = [in_channels, *hidden]
        self.convs = nn.Sequential(
            *(
                _convolution(spatial_dims, before, after, kernel_size, norm, act)
                for before, after in zip(widths, hidden, strict=False)
            )
        )
        self.dropout = Dropout[Dropout.DROPOUT, spatial_dims](dropout)
        self.out = _plain(spatial_dims, widths[-1], out_channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return ``(B, K, [Z,] Y, X)`` for ``(B, C, [Z,] Y, X)``."""
        output: Tensor = self.out(self.dropout(self.convs(features)))
        return output


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel of ``(B, C, ...)``; vectors as well."""

    def forward(self, features: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        return super().forward(features.movedim(1, -1)).movedim(-1, 1)


def _convolution(
    dims: int, before: int, after: int, kernel_size: int, norm: Layer, act: Layer
) -> nn.Module:
    made: nn.Module = Convolution(dims, before, after, kernel_size=kernel_size, norm=norm, act=act)
    return made


def _plain(dims: int, before: int, after: int, kernel_size: int) -> nn.Module:
    conv: nn.Module = Conv[Conv.CONV, dims](
        before, after, kernel_size=kernel_size, padding=kernel_size // 2
    )
    return conv
