"""The fully convolutional net of suggestive annotation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every reader of torch code knows
from monai.networks.layers.factories import Conv, Norm
from torch import Tensor, nn


class SuggestiveNet(nn.Module):
    """Residual bottlenecks going down, and all scales brought up and looked at together.

    Each scale has a residual bottleneck module; the features of every scale are brought to the size
    of the image by themselves and joined, so that the result sees all of them at once. It is small,
    so that several can be trained on few images, which the paper does to find out what to annotate
    next.

    Paper: Yang et al., "Suggestive Annotation: A Deep Active Learning Framework for Biomedical
    Image Segmentation", MICCAI 2017.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Channels of the result.
        channels: Channels at each scale, finest first; each scale halves the one before.
        blocks: Residual modules at each scale.
        width: Channels that each scale contributes to the joined features.

    Shape:
        ``(B, in_channels, [Z,] Y, X)`` to ``(B, out_channels, [Z,] Y, X)``, any size of at least
        ``2 ** (len(channels) - 1)``.

    Example:
        >>> SuggestiveNet(2, 1, 2, channels=(4, 8), width=4)(torch.zeros(1, 1, 17, 12)).shape
        torch.Size([1, 2, 17, 12])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (32, 64, 128, 256, 512),
        blocks: int = 1,
        width: int = 32,
    ) -> None:
        super().__init__()
        if not channels or min(channels) < 1 or blocks < 1 or width < 1:
            message = (
                f"got channels={list(channels)}, blocks={blocks}, width={width}; expected >= 1"
            )
            raise ValueError(message)
        conv, norm = Conv[Conv.CONV, spatial_dims], Norm[Norm.BATCH, spatial_dims]
        self.stem = nn.Sequential(
            conv(in_channels, channels[0], 3, padding=1, bias=False), norm(channels[0]), nn.ReLU()
        )
        self.scales = nn.ModuleList()
        into = channels[0]
        for level, out in enumerate(channels):
            parts = [BottleneckModule(spatial_dims, into, out, stride=1 if level == 0 else 2)]
            parts += [BottleneckModule(spatial_dims, out, out) for _ in range(blocks - 1)]
            self.scales.append(nn.Sequential(*parts))
            into = out
        self.narrow = nn.ModuleList(conv(wide, width, 1) for wide in channels)
        joined = width * len(channels)
        self.last = nn.Sequential(
            conv(joined, width, 3, padding=1, bias=False),
            norm(width),
            nn.ReLU(),
            conv(width, out_channels, 1),
        )
        self._mode = "bilinear" if spatial_dims == 2 else "trilinear"

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits at the size of the image."""
        found, seen = self.stem(image), []
        for scale, narrow in zip(self.scales, self.narrow, strict=True):
            found = scale(found)
            part = narrow(found)
            seen.append(F.interpolate(part, image.shape[2:], mode=self._mode, align_corners=False))
        logits: Tensor = self.last(torch.cat(seen, dim=1))
        return logits


class BottleneckModule(nn.Module):
    """A residual module: fewer channels, a convolution of 3 pixels, and back; norm and ReLU first.

    Paper: He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016.

    Args:
        spatial_dims: 2 or 3.
        into: Channels of the features.
        out: Channels of the result; a quarter of them in between.
        stride: Step of the convolution.
    """

    def __init__(self, spatial_dims: int, into: int, out: int, stride: int = 1) -> None:
        super().__init__()
        conv, norm = Conv[Conv.CONV, spatial_dims], Norm[Norm.BATCH, spatial_dims]
        inner = max(out // 4, 1)
        self.change = nn.Sequential(
            norm(into),
            nn.ReLU(),
            conv(into, inner, 1, bias=False),
            norm(inner),
            nn.ReLU(),
            conv(inner, inner, 3, stride=stride, padding=1, bias=False),
            norm(inner),
            nn.ReLU(),
            conv(inner, out, 1, bias=False),
        )
        same = into == out and stride == 1
        self.keep = nn.Identity() if same else conv(into, out, 1, stride=stride, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return the changed features."""
        changed: Tensor = self.keep(features) + self.change(features)
        return changed
