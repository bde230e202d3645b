"""DeepLabV3: a residual net whose last stages look far instead of coarsely, and at many sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every reader of torch code knows
from monai.networks.layers.factories import Conv, Norm
from monai.networks.nets.resnet import ResNet, ResNetBlock, ResNetBottleneck
from torch import Tensor, nn

_DEPTHS: Final[dict[int, tuple[type[nn.Module], tuple[int, ...]]]] = {
    18: (ResNetBlock, (2, 2, 2, 2)),
    34: (ResNetBlock, (3, 4, 6, 3)),
    50: (ResNetBottleneck, (3, 4, 6, 3)),
    101: (ResNetBottleneck, (3, 4, 23, 3)),
    152: (ResNetBottleneck, (3, 8, 36, 3)),
}


class DeepLabV3(nn.Module):
    """DeepLabV3 on a ResNet, in 2D and 3D.

    The last stages of the ResNet keep their resolution and use dilated convolutions, so that the
    output stride is 16 or 8. Parallel convolutions of several rates and a mean over the image see
    each place at several sizes; the logits are interpolated to the size of the image.

    Paper: Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Channels of the result.
        depth: Layers of the ResNet: 18, 34, 50, 101 or 152.
        output_stride: 8 or 16.
        rates: Dilations of the pyramid at stride 16; twice as much at stride 8.
        width: Channels of the pyramid.
        dropout: Share of the features that is left out before the last convolution.

    Raises:
        ValueError: If the depth or the stride is none of those.

    Shape:
        ``(B, in_channels, [Z,] Y, X)`` to ``(B, out_channels, [Z,] Y, X)``, any size.

    Example:
        >>> net = DeepLabV3(2, 1, 3, depth=18, width=8).eval()
        >>> net(torch.zeros(1, 1, 40, 56)).shape
        torch.Size([1, 3, 40, 56])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        depth: int = 50,
        output_stride: int = 16,
        rates: Sequence[int] = (6, 12, 18),
        width: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if depth not in _DEPTHS or output_stride not in (8, 16):
            message = (
                f"got depth={depth}, output_stride={output_stride}; expected a depth of "
                f"{', '.join(map(str, _DEPTHS))} and a stride of 8 or 16"
            )
            raise ValueError(message)
        self.encoder = _dilated_resnet(spatial_dims, in_channels, depth, output_stride)
        factor = 16 // output_stride
        channels = 512 * (4 if depth >= 50 else 1)
        self.pyramid = AtrousPyramid(
            spatial_dims, channels, width, [rate * factor for rate in rates], dropout
        )
        conv = Conv[Conv.CONV, spatial_dims]
        self.head = nn.Sequential(
            *_conv_norm(spatial_dims, width, width, 3), conv(width, out_channels, 1)
        )
        self._mode = "bilinear" if spatial_dims == 2 else "trilinear"

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits at the size of the image."""
        net = self.encoder
        found = net.maxpool(net.act(net.bn1(net.conv1(image))))
        for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
            found = stage(found)
        logits = self.head(self.pyramid(found))
        return F.interpolate(logits, image.shape[2:], mode=self._mode, align_corners=False)


class AtrousPyramid(nn.Module):
    """Views of several sizes around each place, joined: atrous spatial pyramid pooling.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the features.
        width: Channels of each view and of the result.
        rates: Dilations of the convolutions of 3 pixels; one of 1 pixel and a mean over the image
            come on top.
        dropout: Share of the features that is left out at the end.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        width: int,
        rates: Sequence[int],
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.views = nn.ModuleList([_conv_norm(spatial_dims, in_channels, width, 1)])
        for rate in rates:
            self.views.append(_conv_norm(spatial_dims, in_channels, width, 3, rate))
        conv = Conv[Conv.CONV, spatial_dims]
        # no norm: the mean of an image is one number, of which a batch of one has no spread
        self.whole = nn.Sequential(conv(in_channels, width, 1), nn.ReLU())
        joined = width * (len(rates) + 2)
        self.join = nn.Sequential(*_conv_norm(spatial_dims, joined, width, 1), nn.Dropout(dropout))

    def forward(self, features: Tensor) -> Tensor:
        """Return the joined views, in the size of the features."""
        axes = tuple(range(2, features.ndim))
        whole = self.whole(features.mean(axes, keepdim=True)).expand(-1, -1, *features.shape[2:])
        joined: Tensor = self.join(torch.cat([*(v(features) for v in self.views), whole], dim=1))
        return joined


def _dilated_resnet(spatial_dims: int, in_channels: int, depth: int, stride: int) -> Any:
    block, layers = _DEPTHS[depth]
    net = ResNet(
        block=block,
        layers=list(layers),
        block_inplanes=[64, 128, 256, 512],
        spatial_dims=spatial_dims,
        n_input_channels=in_channels,
        conv1_t_stride=2,
        feed_forward=False,
    )
    if stride == 8:
        _dilate(net.layer3, 2, before=1)
    _dilate(net.layer4, 32 // stride, before=16 // stride)
    return net


def _dilate(stage: nn.Module, rate: int, *, before: int) -> None:
    """Let a stage keep its resolution and look as far as it would have at the coarser one.

    Its strided convolution still sees the pixels of the stage before, so that the result is that of
    the strided stage at the places which that one keeps.
    """
    for layer in stage.modules():
        if isinstance(layer, (nn.Conv2d, nn.Conv3d)):
            dims = len(layer.kernel_size)
            strided = layer.stride[0] > 1
            layer.stride = (1,) * dims
            if layer.kernel_size[0] == 3:
                layer.dilation = layer.padding = (before if strided else rate,) * dims


def _conv_norm(
    spatial_dims: int, into: int, width: int, kernel: int, rate: int = 1
) -> nn.Sequential:
    conv = Conv[Conv.CONV, spatial_dims]
    padding = rate * (kernel // 2)
    return nn.Sequential(
        conv(into, width, kernel, padding=padding, dilation=rate, bias=False),
        Norm[Norm.BATCH, spatial_dims](width),
        nn.ReLU(),
    )
