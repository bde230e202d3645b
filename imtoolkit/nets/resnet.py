"""Residual networks in 2D and 3D, with a stem for small images, as classifiers and backbones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from monai.networks.nets.resnet import ResNet as MonaiResNet
from torch import Tensor, nn

from imtoolkit.core.errors import ComponentError

DEPTHS: Final[dict[int, tuple[str, list[int]]]] = {
    10: ("basic", [1, 1, 1, 1]),
    18: ("basic", [2, 2, 2, 2]),
    34: ("basic", [3, 4, 6, 3]),
    50: ("bottleneck", [3, 4, 6, 3]),
    101: ("bottleneck", [3, 4, 23, 3]),
    152: ("bottleneck", [3, 8, 36, 3]),
}
"""Depth -> kind of block, blocks in each of the four stages."""

SMALL: Final = 64
"""Images with a side up to this many pixels get the small stem where it is chosen by size."""


class ResNet(MonaiResNet):  # type: ignore[misc]
    """ResNet on MONAI's blocks: gives logits, or the maps of its four stages, finest first.

    The stem ``imagenet`` is a 7x7 convolution of stride 2 and a max pool, so that the first map has
    a quarter of the image's sides. The stem ``small`` is a 3x3 convolution of stride 1 without
    pool: the first map has the image's sides, as for the 32x32 images of CIFAR.

    Args:
        in_channels: Channels of the image.
        spatial_dims: 2 or 3.
        out_channels: Numbers to give for an image; left out, the net gives its feature maps.
        depth: 10, 18, 34, 50, 101 or 152.
        stem: ``imagenet``, ``small``, or ``auto``: small for sides up to 64 pixels.
        width: Channels of the first stage; each further one doubles them.
        norm: As MONAI names it.
        dropout: Probability before the last layer.
        image_size: Spatial size of the images, for ``auto``; filled in from the data.

    He et al., Deep residual learning for image recognition, CVPR 2016.

    Example:
        >>> import torch
        >>> net = ResNet(1, 2, width=4, stem="small")
        >>> [tuple(level.shape[1:]) for level in net(torch.zeros(1, 1, 28, 28))]
        [(4, 28, 28), (8, 14, 14), (16, 7, 7), (32, 4, 4)]
        >>> net.feature_channels, net.reductions
        ((4, 8, 16, 32), (1, 2, 4, 8))
    """

    def __init__(
        self,
        in_channels: int,
        spatial_dims: int,
        out_channels: int | None = None,
        depth: int = 18,
        stem: Literal["auto", "imagenet", "small"] = "auto",
        width: int = 64,
        norm: str | tuple[str, dict[str, Any]] = "batch",
        dropout: float = 0.0,
        image_size: Sequence[int] | None = None,
    ) -> None:
        if depth not in DEPTHS:
            message = f"depth is one of {', '.join(map(str, DEPTHS))}, got {depth}"
            raise ComponentError(message)
        if stem not in ("auto", "imagenet", "small"):
            message = f"stem is auto, imagenet or small, got '{stem}'"
            raise ComponentError(message)
        if stem == "auto":
            stem = "small" if image_size is not None and min(image_size) <= SMALL else "imagenet"
        block, counts = DEPTHS[depth]
        # MONAI sets the weights of all norms, which an instance norm has where it is affine
        self._norm = norm = ("instance", {"affine": True}) if norm == "instance" else norm
        super().__init__(
            block,
            counts,
            [width * 2**stage for stage in range(4)],
            spatial_dims=spatial_dims,
            n_input_channels=in_channels,
            conv1_t_size=3 if stem == "small" else 7,
            conv1_t_stride=1 if stem == "small" else 2,
            no_max_pool=stem == "small",
            num_classes=out_channels or 1,
            feed_forward=out_channels is not None,
            bias_downsample=False,
            norm=norm,
        )
        factor = 4 if block == "bottleneck" else 1
        first = 1 if stem == "small" else 4
        self.feature_channels = tuple(width * 2**stage * factor for stage in range(4))
        self.reductions = tuple(first * 2**stage for stage in range(4))
        self.dropout = nn.Dropout(dropout)

    def _make_layer(self, *args: Any, **kwargs: Any) -> nn.Sequential:
        # MONAI hands the norm to the stem alone
        made: nn.Sequential = super()._make_layer(*args, **{"norm": self._norm, **kwargs})
        return made

    def forward(self, x: Tensor) -> Any:
        """Return logits ``(B, K)``, or the maps of the stages, for ``(B, C, [Z,] Y, X)``."""
        x = self.act(self.bn1(self.conv1(x)))
        if not self.no_max_pool:
            x = self.maxpool(x)
        maps = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        if not isinstance(self.fc, nn.Linear):
            return maps
        return self.fc(self.dropout(self.avgpool(x).flatten(1)))
