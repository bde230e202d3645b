"""Discriminators that judge patches of an image: PatchGAN, at one scale and at several."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F  # noqa: N812 - the name that every reader of torch code knows
from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_norm_layer
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

_KERNEL = 4
_MOST = 8  # times the first width, as in the paper


class PatchDiscriminator(nn.Module):
    """Tells of each patch of an image whether it is real: a PatchGAN.

    ``depth`` convolutions of 4 pixels that halve the size, then two that keep it; each output sees
    a patch of 16, 34, 70, 142 or 286 pixels for a depth of 1 to 5. Isola et al., "Image-to-image
    translation with conditional adversarial networks" (pix2pix), CVPR 2017, take 70.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of what is judged: of image and target together where the
            discriminator is conditional.
        out_channels: Channels of the logits.
        channels: Width of the first layer; doubled in each further one, up to eightfold.
        depth: How often the size is halved.
        norm: Norm of the inner layers, such as ``"instance"`` or ``"batch"``; ``None`` for none.
        spectral: Divide each weight by its largest singular value (Miyato et al., ICLR 2018).

    Raises:
        ValueError: If a number is too small.

    Shape:
        ``(B, in_channels, [Z,] Y, X)`` to a list of the features of each layer, the logits last.

    Example:
        >>> import torch
        >>> net = PatchDiscriminator(2, 2, channels=4, depth=2)
        >>> [tuple(layer.shape) for layer in net(torch.zeros(1, 2, 32, 32))]
        [(1, 4, 16, 16), (1, 8, 8, 8), (1, 16, 7, 7), (1, 1, 6, 6)]
        >>> PatchDiscriminator(2, 1, depth=3).seen
        70
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int = 1,
        channels: int = 64,
        depth: int = 3,
        norm: str | Sequence[object] | None = "instance",
        *,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        if channels < 1 or depth < 1:
            message = f"got channels={channels}, depth={depth}; expected at least 1 of each"
            raise ValueError(message)
        self.spatial_dims, self.depth = spatial_dims, depth
        widths = [channels * min(2**level, _MOST) for level in range(depth + 1)]
        strides = [2] * depth + [1]
        layers: list[nn.Module] = []
        before = in_channels
        for level, (width, stride) in enumerate(zip(widths, strides, strict=True)):
            normed = norm if level else None
            layers.append(_layer(spatial_dims, before, width, stride, normed, spectral=spectral))
            before = width
        layers.append(_convolution(spatial_dims, before, out_channels, 1, spectral=spectral))
        self.layers = nn.ModuleList(layers)

    @property
    def seen(self) -> int:
        """Side of the patch that each output judges, in pixels."""
        side = 1
        for stride in (1, 1, *[2] * self.depth):
            side = (side - 1) * stride + _KERNEL
        return side

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the features of each layer, and last the logits ``(B, 1, [Z,] Y', X')``."""
        found: list[Tensor] = []
        for layer in self.layers:
            image = layer(image)
            found.append(image)
        return found


class MultiscaleDiscriminator(nn.Module):
    """Patch discriminators at several scales of an image, each with weights of its own.

    Each scale sees the image averaged down to half the size of the one before. Wang et al.,
    pix2pixHD, CVPR 2018, take three.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of what is judged.
        out_channels: Channels of the logits.
        scales: Number of scales.
        channels: See `PatchDiscriminator`.
        depth: See `PatchDiscriminator`.
        norm: See `PatchDiscriminator`.
        spectral: See `PatchDiscriminator`.

    Shape:
        ``(B, in_channels, [Z,] Y, X)`` to a list, finest scale first, of lists of layers.

    Example:
        >>> import torch
        >>> net = MultiscaleDiscriminator(2, 2, scales=2, channels=4, depth=1)
        >>> [tuple(layers[-1].shape) for layers in net(torch.zeros(1, 2, 32, 32))]
        [(1, 1, 14, 14), (1, 1, 6, 6)]
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int = 1,
        scales: int = 3,
        channels: int = 64,
        depth: int = 3,
        norm: str | Sequence[object] | None = "instance",
        *,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        if scales < 1:
            message = f"got scales={scales}; expected at least 1"
            raise ValueError(message)
        self.spatial_dims = spatial_dims
        self.scales = nn.ModuleList(
            PatchDiscriminator(
                spatial_dims, in_channels, out_channels, channels, depth, norm, spectral=spectral
            )
            for _ in range(scales)
        )

    def forward(self, image: Tensor) -> list[list[Tensor]]:
        """Return the layers of each scale, finest first."""
        pool = F.avg_pool2d if self.spatial_dims == 2 else F.avg_pool3d
        found = []
        for number, scale in enumerate(self.scales):
            if number:
                image = pool(image, 3, stride=2, padding=1, count_include_pad=False)
            found.append(scale(image))
        return found


def _layer(
    dims: int,
    before: int,
    width: int,
    stride: int,
    norm: str | Sequence[object] | None,
    *,
    spectral: bool,
) -> nn.Sequential:
    parts = [_convolution(dims, before, width, stride, spectral=spectral)]
    if norm is not None:
        given = norm if isinstance(norm, str) else (norm[0], norm[1])
        parts.append(get_norm_layer(given, dims, width))
    return nn.Sequential(*parts, nn.LeakyReLU(0.2))


def _convolution(dims: int, before: int, width: int, stride: int, *, spectral: bool) -> nn.Module:
    made: nn.Module = Conv[Conv.CONV, dims](before, width, _KERNEL, stride, padding=1)
    return spectral_norm(made) if spectral else made
