"""Inception-ResNet v2, in 2D and 3D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from monai.networks.layers.factories import Conv, Norm, Pool
from torch import Tensor, nn

Branch = Sequence[tuple[int, int | Sequence[int]]]
"""Channels and kernel of each convolution of a branch, in order."""

_FIRST: Final[list[Branch]] = [
    [(96, 1)],
    [(48, 1), (64, 5)],
    [(64, 1), (96, 3), (96, 3)],
]
_FINE: Final[list[Branch]] = [[(32, 1)], [(32, 1), (32, 3)], [(32, 1), (48, 3), (64, 3)]]
_MIDDLE: Final[list[Branch]] = [[(192, 1)], [(128, 1), (160, 7), (192, 7)]]
_COARSE: Final[list[Branch]] = [[(192, 1)], [(192, 1), (224, 3), (256, 3)]]
_DOWN1: Final[list[Branch]] = [[(384, 3)], [(256, 1), (256, 3), (384, 3)]]
_DOWN2: Final[list[Branch]] = [
    [(256, 1), (384, 3)],
    [(256, 1), (288, 3)],
    [(256, 1), (288, 3), (320, 3)],
]


class InceptionResNetV2(nn.Module):
    """Inception-ResNet v2, for classification or as a backbone.

    Branches of several kernels whose joined result is added, scaled, to what they were given. All
    convolutions are padded, so that small images fit as well (the paper's are not, for 299 pixels);
    in 3D a kernel of 1x7 and 7x1 pixels becomes one for each axis.

    Paper: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on
    Learning", AAAI 2017.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Number of classes or numbers; left out, or 0, the net gives its feature maps,
            finest first.
        blocks: Residual blocks at the three scales; the paper's net has ``(5, 10, 5)``, the
            published one ``(10, 20, 10)``.
        width: Factor of all channels.
        scale: How much of a block's result is added at the three scales.
        dropout: Share of the features that is left out before the last layer.

    Shape:
        ``(B, in_channels, [Z,] Y, X)`` to ``(B, out_channels)``, or to three feature maps whose
        channels and reductions are ``feature_channels`` and ``reductions``.

    Example:
        >>> net = InceptionResNetV2(2, 1, 3, blocks=(1, 1, 1), width=0.125).eval()
        >>> net(torch.zeros(2, 1, 64, 64)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int | None = None,
        blocks: Sequence[int] = (10, 20, 10),
        width: float = 1.0,
        scale: Sequence[float] = (0.17, 0.1, 0.2),
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if len(blocks) != 3 or len(scale) != 3 or min(blocks) < 1 or width <= 0:
            message = (
                f"got blocks={list(blocks)}, scale={list(scale)}, width={width}; expected three "
                "numbers of at least 1, three factors, and a width above 0"
            )
            raise ValueError(message)

        made = _Maker(spatial_dims, width)
        self.stem = Stem(made, in_channels)
        first = self.stem.out_channels
        self.scale1 = _blocks(made, first, _FINE, scale[0], blocks[0])
        self.down1 = Reduction(made, first, _DOWN1)
        second = self.down1.out_channels
        self.scale2 = _blocks(made, second, _split(_MIDDLE, spatial_dims), scale[1], blocks[1])
        self.down2 = Reduction(made, second, _DOWN2)
        third = self.down2.out_channels
        self.scale3 = _blocks(made, third, _split(_COARSE, spatial_dims), scale[2], blocks[2])
        self.feature_channels = (first, second, third)
        self.reductions = (8, 16, 32)
        self.head: nn.Sequential | None = None
        if out_channels:
            last = made.wide(1536)
            self.head = nn.Sequential(
                made.conv(third, last, 1),
                Pool[Pool.ADAPTIVEAVG, spatial_dims](1),
                nn.Flatten(),
                nn.Dropout(dropout),
                nn.Linear(last, out_channels),
            )

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Return the logits, or the feature maps where the net has no output of its own."""
        fine = self.scale1(self.stem(image))
        middle = self.scale2(self.down1(fine))
        coarse = self.scale3(self.down2(middle))
        if self.head is None:
            return [fine, middle, coarse]
        logits: Tensor = self.head(coarse)
        return logits


class _Maker:
    """Makes layers of one dimension and width."""

    def __init__(self, spatial_dims: int, width: float) -> None:
        self.dims, self.width = spatial_dims, width

    def wide(self, channels: int) -> int:
        return max(1, round(channels * self.width))

    def conv(
        self, into: int, out: int, kernel: int | Sequence[int], stride: int = 1
    ) -> nn.Sequential:
        sides = [kernel] * self.dims if isinstance(kernel, int) else list(kernel)
        made = Conv[Conv.CONV, self.dims](
            into, out, sides, stride=stride, padding=[side // 2 for side in sides], bias=False
        )
        return nn.Sequential(made, Norm[Norm.BATCH, self.dims](out), nn.ReLU())

    def branch(self, into: int, layers: Branch, stride: int = 1) -> tuple[nn.Sequential, int]:
        """Return the convolutions of a branch, of which the last has the stride, and its width."""
        made: list[nn.Module] = []
        for place, (channels, kernel) in enumerate(layers):
            out = self.wide(channels)
            made.append(self.conv(into, out, kernel, stride if place == len(layers) - 1 else 1))
            into = out
        return nn.Sequential(*made), into


class ResidualInception(nn.Module):
    """Branches, joined by a convolution of 1 pixel without norm and added: ``relu(x + s f(x))``.

    Args:
        made: Makes the layers.
        channels: Channels of the features.
        branches: The convolutions of each.
        scale: Factor of what is added; deep nets of this kind do not train without.
    """

    def __init__(
        self, made: _Maker, channels: int, branches: Sequence[Branch], scale: float
    ) -> None:
        super().__init__()
        built = [made.branch(channels, layers) for layers in branches]
        self.branches = nn.ModuleList(branch for branch, _ in built)
        self.join = Conv[Conv.CONV, made.dims](sum(width for _, width in built), channels, 1)
        self.scale = scale

    def forward(self, features: Tensor) -> Tensor:
        """Return the changed features, in their shape."""
        joined = torch.cat([branch(features) for branch in self.branches], dim=1)
        return torch.relu(features + self.scale * self.join(joined))


class Reduction(nn.Module):
    """Half the resolution: strided branches beside the largest value of 3 pixels.

    Args:
        made: Makes the layers.
        channels: Channels of the features.
        branches: The convolutions of each; the last one has the stride.
    """

    def __init__(self, made: _Maker, channels: int, branches: Sequence[Branch]) -> None:
        super().__init__()
        built = [made.branch(channels, layers, stride=2) for layers in branches]
        self.branches = nn.ModuleList(branch for branch, _ in built)
        self.pool = Pool[Pool.MAX, made.dims](3, stride=2, padding=1)
        self.out_channels = channels + sum(width for _, width in built)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of half the size."""
        return torch.cat([self.pool(features), *(b(features) for b in self.branches)], dim=1)


class Stem(nn.Module):
    """From the image to features of an eighth of its size.

    Args:
        made: Makes the layers.
        in_channels: Channels of the image.
    """

    def __init__(self, made: _Maker, in_channels: int) -> None:
        super().__init__()
        pool = Pool[Pool.MAX, made.dims]
        narrow, wide, last = made.wide(32), made.wide(80), made.wide(192)
        self.first = nn.Sequential(
            made.conv(in_channels, narrow, 3, stride=2),
            made.conv(narrow, narrow, 3),
            made.conv(narrow, made.wide(64), 3),
            pool(3, stride=2, padding=1),
            made.conv(made.wide(64), wide, 1),
            made.conv(wide, last, 3),
            pool(3, stride=2, padding=1),
        )
        built = [made.branch(last, layers) for layers in _FIRST]
        self.branches = nn.ModuleList(branch for branch, _ in built)
        self.pooled = nn.Sequential(
            Pool[Pool.AVG, made.dims](3, stride=1, padding=1), made.conv(last, made.wide(64), 1)
        )
        self.out_channels = sum(width for _, width in built) + made.wide(64)

    def forward(self, image: Tensor) -> Tensor:
        """Return features of an eighth of the size."""
        found = self.first(image)
        return torch.cat([*(b(found) for b in self.branches), self.pooled(found)], dim=1)


def _blocks(
    made: _Maker, channels: int, branches: Sequence[Branch], scale: float, count: int
) -> nn.Sequential:
    return nn.Sequential(
        *(ResidualInception(made, channels, branches, scale) for _ in range(count))
    )


def _split(branches: Sequence[Branch], spatial_dims: int) -> list[Branch]:
    """Replace the wide kernels of the last branch by one along each axis.

    Example:
        >>> _split([[(8, 1)], [(4, 1), (6, 7), (8, 7)]], 2)
        [[(8, 1)], [(4, 1), (6, (1, 7)), (8, (7, 1))]]
    """
    first, *middle, last = branches[-1]
    inner, side = middle[0]
    assert isinstance(side, int)  # as the tables above have it
    kernels = [
        tuple(side if axis == place else 1 for place in range(spatial_dims))
        for axis in reversed(range(spatial_dims))
    ]
    widths = [inner] * (spatial_dims - 1) + [last[0]]
    return [*branches[:-1], [first, *zip(widths, kernels, strict=True)]]
