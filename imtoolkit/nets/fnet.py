"""fnet: the U-Net of label-free prediction."""

from __future__ import annotations

import itertools

import torch
from monai.networks.layers.factories import Conv, Norm
from torch import Tensor, nn


class FNet(nn.Module):
    """The U-Net that predicts fluorescence from transmitted light.

    Two convolutions of 3 pixels with batch norm and ReLU at each level; strided convolutions of 2
    pixels lead down and transposed ones up, each with batch norm and ReLU as well; channels double
    from level to level.

    Paper: Ounkomol et al., "Label-free prediction of three-dimensional fluorescence images from
    transmitted-light microscopy", Nature Methods 2018.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Channels of the result.
        width: Channels of the finest level.
        depth: How often the resolution is halved.

    Shape:
        ``(B, in_channels, [Z,] Y, X)`` to ``(B, out_channels, [Z,] Y, X)``; sides are multiples of
        ``2 ** depth``.

    Example:
        >>> FNet(3, 1, 1, width=2, depth=2)(torch.zeros(1, 1, 8, 8, 4)).shape
        torch.Size([1, 1, 8, 8, 4])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        width: int = 32,
        depth: int = 4,
    ) -> None:
        super().__init__()
        if width < 1 or depth < 0:
            message = f"got width={width}, depth={depth}; expected width >= 1 and depth >= 0"
            raise ValueError(message)
        conv, turned = Conv[Conv.CONV, spatial_dims], Conv[Conv.CONVTRANS, spatial_dims]
        widths = [width * 2**level for level in range(depth + 1)]
        inputs = [in_channels, *widths[1:]]  # what leads down widens already
        self.encoders = nn.ModuleList(
            _twice(spatial_dims, into, width) for into, width in zip(inputs, widths, strict=True)
        )
        self.downs = nn.ModuleList(
            _then_norm(conv(fine, coarse, 2, stride=2), spatial_dims, coarse)
            for fine, coarse in itertools.pairwise(widths)
        )
        self.ups = nn.ModuleList(
            _then_norm(turned(coarse, fine, 2, stride=2), spatial_dims, fine)
            for fine, coarse in itertools.pairwise(widths)
        )
        self.decoders = nn.ModuleList(_twice(spatial_dims, 2 * fine, fine) for fine in widths[:-1])
        self.last = conv(width, out_channels, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Return the predicted image."""
        found = self.encoders[0](image)
        skips = []
        for down, encoder in zip(self.downs, self.encoders[1:], strict=True):
            skips.append(found)
            found = encoder(down(found))
        for level in reversed(range(len(skips))):
            joined = torch.cat((skips[level], self.ups[level](found)), dim=1)
            found = self.decoders[level](joined)
        predicted: Tensor = self.last(found)
        return predicted


def _then_norm(layer: nn.Module, spatial_dims: int, width: int) -> nn.Sequential:
    return nn.Sequential(layer, Norm[Norm.BATCH, spatial_dims](width), nn.ReLU())


def _twice(spatial_dims: int, into: int, width: int) -> nn.Sequential:
    conv = Conv[Conv.CONV, spatial_dims]
    return nn.Sequential(
        *_then_norm(conv(into, width, 3, padding=1), spatial_dims, width),
        *_then_norm(conv(width, width, 3, padding=1), spatial_dims, width),
    )
