"""UPerNet's decoder: a pyramid of pooled views on top of a feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from monai.networks.blocks import Convolution
from monai.networks.layers.factories import Conv, Pool
from torch import Tensor, nn

from .resizing import resized


class UPerHead(nn.Module):
    """Decoder of UPerNet, from feature maps to a dense result.

    The coarsest map is joined with means of itself over grids of several sizes (pyramid pooling);
    from there each finer map adds what the coarser ones have seen (feature pyramid). All levels,
    raised to the finest, are fused.

    Paper: Xiao et al., "Unified Perceptual Parsing for Scene Understanding", ECCV 2018.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the feature maps, finest first.
        out_channels: Channels of the result.
        width: Channels of all levels of the pyramid; the paper has 512.
        pools: Sides of the grids that the coarsest map is averaged over.
        norm: Norm of the convolutions, a name of MONAI's. Pooled views have none: the mean of an
            image is one number, of which a batch of one has no spread.
        dropout: Share of the features that is left out before the last layer.

    Raises:
        ValueError: If there is no feature map or no grid.

    Shape:
        List of ``(B, C, [Z,] Y, X)``, finest first, to ``(B, out_channels, [Z,] Y, X)`` in the size
        of the finest, or in ``size`` where it is given.

    Example:
        >>> maps = [torch.zeros(1, 4, 16, 16), torch.zeros(1, 8, 5, 5)]
        >>> UPerHead(2, [4, 8], 3, width=8)(maps, size=(64, 64)).shape
        torch.Size([1, 3, 64, 64])
    """

    takes_maps = True

    def __init__(
        self,
        spatial_dims: int,
        in_channels: Sequence[int],
        out_channels: int,
        width: int = 64,
        pools: Sequence[int] = (1, 2, 3, 6),
        norm: str = "batch",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if not in_channels or not pools or min(pools) < 1 or width < 1:
            message = (
                f"got in_channels={list(in_channels)}, pools={list(pools)}, width={width}; "
                "expected one feature map or more, and grids and a width of at least 1"
            )
            raise ValueError(message)

        def layer(into: int, kernel: int) -> nn.Module:
            return cast(
                nn.Module,
                Convolution(
                    spatial_dims, into, width, kernel_size=kernel, norm=norm, act="relu", bias=False
                ),
            )

        *finer, coarsest = in_channels
        conv, pool = Conv[Conv.CONV, spatial_dims], Pool[Pool.ADAPTIVEAVG, spatial_dims]
        self.pooled = nn.ModuleList(
            nn.Sequential(pool(side), conv(coarsest, width, 1), nn.ReLU()) for side in pools
        )
        self.top = layer(coarsest + width * len(pools), 3)
        self.laterals = nn.ModuleList(layer(into, 1) for into in finer)
        self.smooth = nn.ModuleList(layer(width, 3) for _ in finer)
        self.fuse = layer(width * len(in_channels), 3)
        self.last = nn.Sequential(nn.Dropout(dropout), conv(width, out_channels, 1))

    def forward(self, maps: Sequence[Tensor], size: Sequence[int] | None = None) -> Tensor:
        """Return the result.

        Args:
            maps: Feature maps, finest first.
            size: Spatial size of the result, reached by linear interpolation.
        """
        *finer, coarsest = maps
        views = [resized(view(coarsest), coarsest.shape[2:]) for view in self.pooled]
        seen = self.top(torch.cat((coarsest, *views), dim=1))
        levels = [seen]
        smooths = list(self.smooth)
        for place in reversed(range(len(finer))):
            lateral = self.laterals[place](finer[place])
            seen = lateral + resized(seen, lateral.shape[2:])
            levels.append(smooths[place](seen))
        raised = [resized(level, maps[0].shape[2:]) for level in reversed(levels)]
        result = cast(Tensor, self.last(self.fuse(torch.cat(raised, dim=1))))
        return result if size is None else resized(result, size)
