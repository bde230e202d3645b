"""Generators of image translation: residual ones, and the coarse-to-fine one of pix2pixHD.

All of them keep the size of the image, return as many channels as they are asked for without an
activation at the end, and pad by reflection, so that borders look like what is beside them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F  # noqa: N812 - the name that every reader of torch code knows
from monai.networks.layers.factories import Conv, Dropout
from monai.networks.layers.utils import get_norm_layer
from torch import Tensor, nn

UPSAMPLING = ("resize", "transposed")
NormName = str | Sequence[object] | None


class ResNetGenerator(nn.Module):
    """Convolutions down, residual blocks at low resolution, and up again.

    Johnson et al., "Perceptual losses for real-time style transfer and super-resolution", ECCV
    2016, as CycleGAN (Zhu et al., ICCV 2017) and pix2pix take it: two halvings, 9 blocks for
    images of 256 pixels and 6 for smaller ones.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Channels of the result.
        channels: Width at full resolution; doubled by each halving.
        blocks: Number of residual blocks; 0 leaves a plain encoder and decoder.
        depth: How often the size is halved.
        norm: Norm after each convolution, ``None`` for none. ``"instance"`` is that of the papers,
            for whole images; of an image that is predicted in tiles it sees one at a time, which
            leaves seams: take ``"batch"`` there.
        dropout: Probability of dropout inside the blocks.
        upsampling: ``"resize"``: enlarge to the nearest pixel, then a convolution, which makes no
            checkerboards (Odena et al., Distill 2016); ``"transposed"``: as in the papers.

    Raises:
        ValueError: If a number is too small, or the upsampling is unknown.

    Shape:
        ``(B, in_channels, [Z,] Y, X)`` to ``(B, out_channels, [Z,] Y, X)``; sides are multiples of
        ``2 ** depth`` and above 3.

    Example:
        >>> import torch
        >>> net = ResNetGenerator(2, 1, 3, channels=4, blocks=1)
        >>> net(torch.zeros(1, 1, 16, 20)).shape
        torch.Size([1, 3, 16, 20])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: int = 64,
        blocks: int = 9,
        depth: int = 2,
        norm: str | Sequence[object] | None = "instance",
        dropout: float = 0.0,
        upsampling: str = "resize",
    ) -> None:
        super().__init__()
        _check(upsampling, channels=channels, blocks=blocks + 1, depth=depth + 1)
        self.spatial_dims = spatial_dims
        self.features = nn.Sequential(
            *_block(spatial_dims, in_channels, channels, 7, norm),
            *_down(spatial_dims, channels, depth, norm),
            *_residuals(spatial_dims, channels * 2**depth, blocks, norm, dropout),
            *_up(spatial_dims, channels, depth, norm, upsampling),
        )
        self.final = nn.Sequential(*_plain(spatial_dims, channels, out_channels, 7))

    def forward(self, image: Tensor) -> Tensor:
        """Return the translated image."""
        result: Tensor = self.final(self.features(image))
        return result


class EncoderDecoderGenerator(ResNetGenerator):
    """Convolutions down to a narrow middle and up again, without skip connections.

    The encoder-decoder that pix2pix (Isola et al., CVPR 2017) compares its U-Net with: everything
    passes through the bottleneck.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Channels of the result.
        channels: Width at full resolution; doubled by each halving.
        depth: How often the size is halved.
        norm: See `ResNetGenerator`.
        upsampling: See `ResNetGenerator`.

    Shape:
        As `ResNetGenerator`.

    Example:
        >>> import torch
        >>> net = EncoderDecoderGenerator(3, 1, 1, channels=2, depth=3)
        >>> net(torch.zeros(1, 1, 8, 16, 16)).shape
        torch.Size([1, 1, 8, 16, 16])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: int = 32,
        depth: int = 4,
        norm: str | Sequence[object] | None = "instance",
        upsampling: str = "resize",
    ) -> None:
        super().__init__(
            *(spatial_dims, in_channels, out_channels, channels),
            blocks=0,
            depth=depth,
            norm=norm,
            upsampling=upsampling,
        )


class Pix2PixHDGenerator(nn.Module):
    r"""A global generator at low resolution, refined by local enhancers at higher ones.

    Wang et al., "High-resolution image synthesis and semantic manipulation with conditional GANs"
    (pix2pixHD), CVPR 2018. The image is averaged down once for each enhancer; the global generator
    (`ResNetGenerator` without its last convolution) works on the smallest. Each enhancer halves
    its image to features, adds those that come from below, and processes and enlarges the sum.
    All are trained together. (The paper trains the global one first: train a run with
    ``enhancers: 0`` and twice the channels on images of half the size, and start from it; its
    weights have the names that they have here.)

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Channels of the result.
        channels: Width of the finest features.
        global_blocks: Residual blocks of the global generator.
        local_blocks: Residual blocks of each enhancer.
        depth: How often the global generator halves its image.
        enhancers: Number of enhancers; 0 leaves the global generator alone.
        norm: See `ResNetGenerator`.
        upsampling: See `ResNetGenerator`.

    Shape:
        ``(B, in_channels, [Z,] Y, X)`` to ``(B, out_channels, [Z,] Y, X)``; sides are multiples of
        ``2 ** (depth + enhancers)``.

    Example:
        >>> import torch
        >>> net = Pix2PixHDGenerator(2, 1, 1, channels=4, global_blocks=1, local_blocks=1, depth=2)
        >>> net(torch.zeros(1, 1, 32, 32)).shape
        torch.Size([1, 1, 32, 32])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: int = 32,
        global_blocks: int = 9,
        local_blocks: int = 3,
        depth: int = 3,
        enhancers: int = 1,
        norm: str | Sequence[object] | None = "instance",
        upsampling: str = "resize",
    ) -> None:
        super().__init__()
        _check(
            upsampling,
            channels=channels,
            depth=depth,
            global_blocks=global_blocks,
            local_blocks=local_blocks,
            enhancers=enhancers + 1,
        )
        dims = self.spatial_dims = spatial_dims
        widths = [channels * 2**level for level in range(enhancers + 1)]
        whole = ResNetGenerator(
            *(dims, in_channels, out_channels, widths[-1], global_blocks, depth, norm),
            upsampling=upsampling,
        )
        self.coarse = whole.features
        self.enhancers = nn.ModuleList(
            _Enhancer(dims, in_channels, width, local_blocks, norm, upsampling)
            for width in reversed(widths[:-1])
        )
        self.final = nn.Sequential(*_plain(dims, channels, out_channels, 7))

    def forward(self, image: Tensor) -> Tensor:
        """Return the translated image."""
        scales = [image]
        for _ in self.enhancers:
            scales.append(_halved(scales[-1]))
        features: Tensor = self.coarse(scales.pop())
        for enhancer in self.enhancers:
            features = enhancer(scales.pop(), features)
        result: Tensor = self.final(features)
        return result


class _Enhancer(nn.Module):
    """Features of one resolution, from the image there and from features of half its size."""

    def __init__(
        self,
        dims: int,
        in_channels: int,
        width: int,
        blocks: int,
        norm: NormName,
        upsampling: str,
    ) -> None:
        super().__init__()
        self.before = nn.Sequential(
            *_block(dims, in_channels, width, 7, norm), *_down(dims, width, 1, norm)
        )
        self.after = nn.Sequential(
            *_residuals(dims, 2 * width, blocks, norm, 0.0), *_up(dims, width, 1, norm, upsampling)
        )

    def forward(self, image: Tensor, below: Tensor) -> Tensor:
        """Return features ``(B, width, [Z,] Y, X)``; ``below`` has twice as many at half size."""
        result: Tensor = self.after(self.before(image) + below)
        return result


class _Residual(nn.Module):
    """Two convolutions whose result is added to what they are given."""

    def __init__(self, dims: int, width: int, norm: NormName, dropout: float) -> None:
        super().__init__()
        inner = [Dropout[Dropout.DROPOUT, dims](dropout)] if dropout > 0 else []
        self.chain = nn.Sequential(
            *_block(dims, width, width, 3, norm),
            *inner,
            *_block(dims, width, width, 3, norm)[:-1],
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape."""
        result: Tensor = features + self.chain(features)
        return result


def _plain(dims: int, before: int, width: int, kernel: int, *, stride: int = 1) -> list[nn.Module]:
    """Return a convolution that keeps the size, or halves it by its stride, and reflects."""
    made = Conv[Conv.CONV, dims]
    half = kernel // 2
    return [made(before, width, kernel, stride=stride, padding=half, padding_mode="reflect")]


def _block(dims: int, before: int, width: int, kernel: int, norm: NormName) -> list[nn.Module]:
    return [*_plain(dims, before, width, kernel), *_normed(dims, width, norm), nn.ReLU()]


def _down(dims: int, width: int, times: int, norm: NormName) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for _ in range(times):
        layers += _plain(dims, width, 2 * width, 3, stride=2)
        width *= 2
        layers += [*_normed(dims, width, norm), nn.ReLU()]
    return layers


def _residuals(
    dims: int, width: int, count: int, norm: NormName, dropout: float
) -> list[nn.Module]:
    return [_Residual(dims, width, norm, dropout) for _ in range(count)]


def _up(dims: int, width: int, times: int, norm: NormName, upsampling: str) -> list[nn.Module]:
    """Return layers that double the size and halve the channels, down to ``width``."""
    layers: list[nn.Module] = []
    for level in reversed(range(times)):
        before, after = width * 2 ** (level + 1), width * 2**level
        if upsampling == "resize":
            layers += [nn.Upsample(scale_factor=2, mode="nearest")]
            layers += _plain(dims, before, after, 3)
        else:
            made = Conv[Conv.CONVTRANS, dims]
            layers.append(made(before, after, 3, stride=2, padding=1, output_padding=1))
        layers += [*_normed(dims, after, norm), nn.ReLU()]
    return layers


def _normed(dims: int, width: int, norm: NormName) -> list[nn.Module]:
    if norm is None:
        return []
    given = norm if isinstance(norm, str) else (norm[0], norm[1])
    return [get_norm_layer(given, dims, width)]


def _halved(image: Tensor) -> Tensor:
    pool = F.avg_pool2d if image.ndim == 4 else F.avg_pool3d
    return pool(image, 3, stride=2, padding=1, count_include_pad=False)


def _check(upsampling: str, **numbers: int) -> None:
    if upsampling not in UPSAMPLING:
        message = f"got upsampling '{upsampling}'; expected {' or '.join(UPSAMPLING)}"
        raise ValueError(message)
    small = {name: number for name, number in numbers.items() if number < 1}
    if small:
        message = f"got too small numbers: {', '.join(small)}"
        raise ValueError(message)
