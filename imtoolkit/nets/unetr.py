"""UNETR's decoder: feature maps raised step by step, each joined with the finer one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from monai.networks.blocks.unetr_block import UnetrBasicBlock
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from .resizing import resized

Step = int | Sequence[int]


class UNETRHead(nn.Module):
    """Decoder of UNETR, from feature maps to a dense result.

    Each map passes a residual block of two convolutions; from the coarsest on, a transposed
    convolution raises it to the size of the next, to which it is joined for another such block.

    Paper: Hatamizadeh et al., "UNETR: Transformers for 3D Medical Image Segmentation", WACV 2022.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the feature maps, finest first.
        out_channels: Channels of the result; ``None`` returns the raised maps, finest first.
        channels: Channels of the way up at each map, finest first; 16 and doubling where left out.
        strides: How much coarser each map is than the one before it: one number for all, or for
            each step a number or one for each axis.
        norm: Norm of the blocks, a name of MONAI's.

    Raises:
        ValueError: If the numbers of channels, maps and strides do not agree.

    Shape:
        List of ``(B, C, [Z,] Y, X)``, finest first, to ``(B, out_channels, [Z,] Y, X)`` in the size
        of the finest, or in ``size`` where it is given.

    Example:
        >>> maps = [torch.zeros(1, 4, 16, 16), torch.zeros(1, 8, 8, 8)]
        >>> UNETRHead(2, [4, 8], 3, channels=[4, 8])(maps, size=(32, 32)).shape
        torch.Size([1, 3, 32, 32])
    """

    takes_maps = True

    def __init__(
        self,
        spatial_dims: int,
        in_channels: Sequence[int],
        out_channels: int | None,
        channels: Sequence[int] | None = None,
        strides: int | Sequence[Step] = 2,
        norm: str = "instance",
    ) -> None:
        super().__init__()
        count = len(in_channels)
        widths = [16 * 2**level for level in range(count)] if channels is None else list(channels)
        steps: Sequence[Step] = [strides] * (count - 1) if isinstance(strides, int) else strides
        if not count or len(widths) != count or len(steps) != count - 1:
            message = (
                f"got {count} feature map(s), channels={widths} and strides={list(steps)}; "
                "expected as many channels as maps, and one stride less"
            )
            raise ValueError(message)
        self.strides = tuple(_for_axes(step, spatial_dims) for step in steps)
        self.feature_channels = tuple(widths)
        self.skips = nn.ModuleList(
            UnetrBasicBlock(spatial_dims, into, width, 3, 1, norm, res_block=True)
            for into, width in zip(in_channels, widths, strict=True)
        )
        self.ups = nn.ModuleList(
            Conv[Conv.CONVTRANS, spatial_dims](coarse, fine, step, step)
            for fine, coarse, step in zip(widths[:-1], widths[1:], self.strides, strict=True)
        )
        self.joins = nn.ModuleList(
            UnetrBasicBlock(spatial_dims, 2 * fine, fine, 3, 1, norm, res_block=True)
            for fine in widths[:-1]
        )
        self.last: nn.Module | None = None
        if out_channels is not None:
            self.last = Conv[Conv.CONV, spatial_dims](widths[0], out_channels, 1)

    def forward(
        self, maps: Sequence[Tensor], size: Sequence[int] | None = None
    ) -> Tensor | list[Tensor]:
        """Return the result, or the raised maps.

        Args:
            maps: Feature maps, finest first.
            size: Spatial size of the result, reached by linear interpolation.

        Raises:
            ValueError: If the maps do not lie the strides apart, with the shapes on both sides.
        """
        found = [skip(one) for skip, one in zip(self.skips, maps, strict=True)]
        for level in reversed(range(len(self.ups))):
            raised = self._raised(level, found)
            found[level] = self.joins[level](torch.cat((raised, found[level]), dim=1))
        if self.last is None:
            return found
        result = cast(Tensor, self.last(found[0]))
        return result if size is None else resized(result, size)

    def _raised(self, level: int, found: list[Tensor]) -> Tensor:
        """Raise a map to the size of the finer one; what rounding up had added is cut off."""
        fine, coarse = found[level].shape[2:], found[level + 1].shape[2:]
        steps = zip(fine, coarse, self.strides[level], strict=True)
        if not all(less * step - step < side <= less * step for side, less, step in steps):
            fitting = [round(side / less) for side, less in zip(fine, coarse, strict=True)]
            message = (
                f"feature map {level} is {list(fine)} and map {level + 1} is {list(coarse)}; "
                f"the decoder has strides of {list(self.strides[level])} between them, where "
                f"{fitting} would fit. Set strides to how much coarser each map is than the one "
                "before it"
            )
            raise ValueError(message)
        raised = cast(Tensor, self.ups[level](found[level + 1]))
        kept: tuple[slice, ...] = (slice(None), slice(None), *map(slice, fine))
        return raised[kept]


def _for_axes(step: Step, spatial_dims: int) -> tuple[int, ...]:
    each = (step,) * spatial_dims if isinstance(step, int) else tuple(step)
    if len(each) != spatial_dims or min(each) < 1:
        message = f"got a stride of {step} for {spatial_dims} axes; give a number, or one for each"
        raise ValueError(message)
    return each
