"""U-Net as a backbone: the maps of its decoder, and its bottleneck, for dense and global heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.networks.nets.basic_unet import BasicUNet
from torch import Tensor, nn


class UNetFeatures(BasicUNet):  # type: ignore[misc]
    """MONAI's `BasicUNet` that gives logits, or its decoder's maps with the bottleneck last.

    Dense heads take the finest map, heads that pool the bottleneck. Any size works, since each
    level is padded to the one above; sides of at least 16 pixels are needed.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Channels of logits; left out, the net gives its maps.
        features: Channels of the five levels of the encoder and of the finest decoded map.
        act: As MONAI names it.
        norm: As MONAI names it. Norms over each image, such as ``instance``, take from the
            bottleneck the means that a head which pools it would read.
        dropout: Probability in each level.
        upsample: ``deconv``, ``pixelshuffle`` or ``nontrainable``.

    Falk et al., U-Net: deep learning for cell counting, detection, and morphometry, Nature
    Methods 2019.

    Example:
        >>> import torch
        >>> net = UNetFeatures(2, 1, features=(4, 4, 8, 8, 16, 4))
        >>> [tuple(level.shape[1:]) for level in net(torch.zeros(1, 1, 32, 32))]
        [(4, 32, 32), (4, 16, 16), (8, 8, 8), (8, 4, 4), (16, 2, 2)]
    """

    main_map = 0

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int | None = None,
        features: Sequence[int] = (32, 32, 64, 128, 256, 32),
        act: str | tuple[str, dict[str, Any]] = (
            "LeakyReLU",
            {"negative_slope": 0.1, "inplace": True},
        ),
        norm: str | tuple[str, dict[str, Any]] = "batch",
        dropout: float = 0.0,
        upsample: str = "deconv",
    ) -> None:
        super().__init__(
            spatial_dims=spatial_dims,
            in_channels=in_channels,
            out_channels=out_channels or 1,
            features=features,
            act=act,
            norm=norm,
            dropout=dropout,
            upsample=upsample,
        )
        self.gives_logits = out_channels is not None
        if not self.gives_logits:
            self.final_conv = nn.Identity()
        first, *middle, deepest, finest = features
        del first
        self.feature_channels = (finest, *middle, deepest)
        self.reductions = (1, 2, 4, 8, 16)

    def forward(self, x: Tensor) -> Any:
        """Return logits ``(B, K, [Z,] Y, X)``, or five maps, finest first."""
        maps = [self.conv_0(x)]
        for down in (self.down_1, self.down_2, self.down_3, self.down_4):
            maps.append(down(maps[-1]))
        decoded = maps.pop()
        made = [decoded]
        for up in (self.upcat_4, self.upcat_3, self.upcat_2, self.upcat_1):
            decoded = up(decoded, maps.pop())
            made.append(decoded)
        return self.final_conv(decoded) if self.gives_logits else made[::-1]
