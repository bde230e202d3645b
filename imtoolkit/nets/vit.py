"""Vision Transformer for images of one size, as a classifier and as a backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.networks.nets.vit import ViT as MonaiViT
from torch import Tensor

from imtoolkit.core.errors import ComponentError

from .features import tokens_to_map
from .idle import freeze_idle


class VisionTransformer(MonaiViT):  # type: ignore[misc]
    """MONAI's ViT that gives logits, or its tokens as feature maps.

    Args:
        in_channels: Channels of the image.
        image_size: Spatial size of the images; filled in from the data.
        spatial_dims: 2 or 3.
        out_channels: Numbers to give for an image; left out, the net gives maps.
        patch_size: Sides of the patches that become tokens.
        hidden_size: Width of a token.
        mlp_dim: Width of the layers between attentions; left out, four times the token's.
        num_layers: Number of transformer blocks.
        num_heads: Attention heads.
        maps: Blocks, counted from 1, whose tokens are given as maps, for heads that take several;
            left out, the last alone, normalised.
        dropout: Probability in the blocks.
        qkv_bias: Whether the attention has biases.

    Dosovitskiy et al., An image is worth 16x16 words, ICLR 2021.

    Example:
        >>> import torch
        >>> net = VisionTransformer(1, (32, 32), 2, hidden_size=12, num_heads=2, num_layers=1)
        >>> net(torch.zeros(1, 1, 32, 32)).shape
        torch.Size([1, 12, 4, 4])
    """

    def __init__(
        self,
        in_channels: int,
        image_size: Sequence[int],
        spatial_dims: int,
        out_channels: int | None = None,
        patch_size: int | Sequence[int] = 8,
        hidden_size: int = 384,
        mlp_dim: int | None = None,
        num_layers: int = 6,
        num_heads: int = 6,
        maps: Sequence[int] = (),
        dropout: float = 0.0,
        qkv_bias: bool = True,
    ) -> None:
        size = tuple(image_size)
        sides = (patch_size,) * len(size) if isinstance(patch_size, int) else tuple(patch_size)
        if len(sides) != len(size) or any(a % b for a, b in zip(size, sides, strict=True)):
            message = (
                f"patches of {list(sides)} do not divide images of {list(size)}: change "
                "patch_size, or data.patch.size"
            )
            raise ComponentError(message)
        beyond = [block for block in maps if not 1 <= block <= num_layers]
        if beyond:
            message = f"maps names block {beyond[0]}; there are {num_layers}, counted from 1"
            raise ComponentError(message)
        super().__init__(
            in_channels=in_channels,
            img_size=size,
            patch_size=sides,
            hidden_size=hidden_size,
            mlp_dim=mlp_dim or 4 * hidden_size,
            num_layers=num_layers,
            num_heads=num_heads,
            classification=out_channels is not None,
            num_classes=out_channels or 1,
            dropout_rate=dropout,
            spatial_dims=spatial_dims,
            post_activation="none",
            qkv_bias=qkv_bias,
        )
        freeze_idle(self)
        self.maps = tuple(maps)
        self.feature_channels = (hidden_size,) * (len(self.maps) or 1)
        self.reductions = (max(sides),) * (len(self.maps) or 1)

    def forward(self, x: Tensor) -> Any:
        """Return logits ``(B, K)``, a map ``(B, C, [Z,] Y, X)``, or several."""
        size = tuple(x.shape[2:])
        logits_or_tokens, hidden = super().forward(x)
        if self.classification:
            return logits_or_tokens
        if not self.maps:
            return tokens_to_map(logits_or_tokens, size)
        return [tokens_to_map(hidden[block - 1], size) for block in self.maps]
