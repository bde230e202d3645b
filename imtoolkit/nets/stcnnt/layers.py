"""Layers on ``(B, C, T, Y, X)`` that treat each frame, or each pixel, by itself."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F  # noqa: N812 - the name that every reader of torch code knows
from monai.networks.layers.factories import Norm
from torch import Tensor, nn

from .options import CellOptions


def frame_conv(into: int, out: int, kernel: int = 1, stride: int = 1) -> nn.Conv3d:
    """Return a 2D convolution of each frame: one of volumes whose kernel is one frame deep."""
    half = kernel // 2
    return nn.Conv3d(into, out, (1, kernel, kernel), (1, stride, stride), (0, half, half))


class PixelLinear(nn.Linear):
    """A linear layer over the channels of each pixel."""

    def forward(self, frames: Tensor) -> Tensor:
        """Map ``(B, C, T, Y, X)`` to ``(B, D, T, Y, X)``."""
        return super().forward(frames.movedim(1, -1)).movedim(-1, 1)


class CausalConv(nn.Conv3d):
    """A 3D convolution that sees a frame and the frames before it.

    Args:
        channels: Channels of features and result.
        kernel: Side in pixels and frames, odd.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        half = kernel // 2
        super().__init__(channels, channels, kernel, padding=(0, half, half))

    def forward(self, frames: Tensor) -> Tensor:
        """Return features of the same shape."""
        past = self.kernel_size[0] - 1
        return super().forward(F.pad(frames, (0, 0, 0, 0, past, 0)))


class PixelNorm(nn.Module):
    """A norm of the last axis, such as ``nn.LayerNorm``, over the channels of each pixel.

    Args:
        norm: Takes channels last.
    """

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, frames: Tensor) -> Tensor:
        """Return normalised features, in their shape."""
        return cast(Tensor, self.norm(frames.movedim(1, -1)).movedim(-1, 1))


class FrameNorm(nn.Module):
    """Instance norm of each frame by itself, so that none sees another.

    Args:
        channels: Channels of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = Norm[Norm.INSTANCE, 2](channels, affine=True)

    def forward(self, frames: Tensor) -> Tensor:
        """Return normalised features, in their shape."""
        batch, _, time = frames.shape[:3]
        normed = self.norm(frames.transpose(1, 2).flatten(0, 1))
        return cast(Tensor, normed.unflatten(0, (batch, time)).transpose(1, 2))


def projection(into: int, out: int, options: CellOptions, stride: int = 1) -> nn.Module:
    """Return what makes queries, keys, values or outputs: a convolution or a linear layer."""
    if options.projection == "linear":
        return PixelLinear(into, out)
    return frame_conv(into, out, options.kernel, stride)


def norm_of(name: str, channels: int) -> nn.Module:
    """Return a norm by its name, see `CellOptions.norm`."""
    if name == "layer":
        return PixelNorm(nn.LayerNorm(channels))
    if name == "rms":
        return PixelNorm(nn.RMSNorm(channels, eps=1e-6))
    return nn.BatchNorm3d(channels) if name == "batch" else FrameNorm(channels)


def mixer_of(channels: int, options: CellOptions) -> nn.Sequential:
    """Return two layers with a GELU between them, the first widened by `mixer_ratio`."""
    wide = max(1, round(channels * options.mixer_ratio))

    def layer(into: int, out: int) -> nn.Module:
        if options.mixer == "linear":
            return PixelLinear(into, out)
        return frame_conv(into, out, options.kernel)

    return nn.Sequential(
        layer(channels, wide),
        nn.GELU(),
        nn.Dropout(options.dropout),
        layer(wide, channels),
        nn.Dropout(options.dropout),
    )


class ConvolutionPair(nn.Module):
    """What stands in a cell for the attention where it is ``C2`` or ``C3``: ``conv, GELU, conv``.

    Args:
        channels: Channels of features and result.
        options: Its kernel, and whether 3D convolutions are causal.
        deep: 3D instead of 2D.
    """

    def __init__(self, channels: int, options: CellOptions, *, deep: bool) -> None:
        super().__init__()
        side = options.kernel

        def layer() -> nn.Module:
            if not deep:
                return frame_conv(channels, channels, side)
            if options.causal:
                return CausalConv(channels, side)
            return nn.Conv3d(channels, channels, side, padding=side // 2)

        self.layers = nn.Sequential(layer(), nn.GELU(), layer(), nn.Dropout(options.dropout))

    def forward(self, frames: Tensor) -> Tensor:
        """Return features of the same shape."""
        return cast(Tensor, self.layers(frames))
