"""Transformer over patches of an image of any size, or over a sequence (one spatial dimension)."""

from __future__ import annotations

from typing import Any

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn
from torch.nn import functional

from imtoolkit.core.errors import ComponentError


class PatchTransformer(nn.Module):
    """Patches as tokens with fixed positions, and transformer blocks over them.

    Unlike `imtoolkit.nets.vit` it is made for no one size: positions are sines and cosines of the
    patch's place along each axis, and images are padded at their ends to whole patches.

    Args:
        in_channels: Channels of the image.
        spatial_dims: 1, 2 or 3.
        out_channels: Numbers to give for an image, read from a class token; left out, the net
            gives the tokens as a map.
        patch_size: Side of a patch.
        hidden_size: Width of a token; a multiple of ``num_heads`` and of ``2 * spatial_dims``.
        num_layers: Number of blocks.
        num_heads: Attention heads.
        mlp_ratio: Width of the layers between attentions, as a multiple of the token's.
        dropout: Probability in the blocks.

    Vaswani et al., Attention is all you need, NeurIPS 2017.

    Example:
        >>> net = PatchTransformer(1, 2, hidden_size=16, num_heads=2, num_layers=1)
        >>> net(torch.zeros(1, 1, 20, 33)).shape
        torch.Size([1, 16, 3, 5])
    """

    def __init__(
        self,
        in_channels: int,
        spatial_dims: int,
        out_channels: int | None = None,
        patch_size: int = 8,
        hidden_size: int = 192,
        num_layers: int = 6,
        num_heads: int = 6,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if hidden_size % num_heads or hidden_size % (2 * spatial_dims):
            message = (
                f"hidden_size {hidden_size} must be a multiple of num_heads ({num_heads}) and of "
                f"{2 * spatial_dims}, twice the number of axes"
            )
            raise ComponentError(message)
        self.patch_size = patch_size
        self.embed = Conv[Conv.CONV, spatial_dims](
            in_channels, hidden_size, kernel_size=patch_size, stride=patch_size
        )
        block = nn.TransformerEncoderLayer(
            hidden_size,
            num_heads,
            dim_feedforward=int(hidden_size * mlp_ratio),
            dropout=dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.blocks = nn.TransformerEncoder(block, num_layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(hidden_size)
        self.class_token: nn.Parameter | None = None
        self.out: nn.Linear | None = None
        if out_channels is not None:
            self.class_token = nn.Parameter(torch.zeros(1, 1, hidden_size))
            self.out = nn.Linear(hidden_size, out_channels)
        self.feature_channels = (hidden_size,)
        self.reductions = (patch_size,)

    def forward(self, x: Tensor) -> Any:
        """Return logits ``(B, K)``, or a map ``(B, C, [Z,] Y, X)``, one pixel for each patch."""
        x = self.embed(_padded(x, self.patch_size))
        grid = tuple(x.shape[2:])
        tokens = x.flatten(2).transpose(1, 2)  # (B, N, C)
        tokens = tokens + positions(grid, tokens.shape[2], tokens.device).to(tokens)
        if self.class_token is not None:
            tokens = torch.cat([self.class_token.expand(len(tokens), -1, -1), tokens], dim=1)
        tokens = self.norm(self.blocks(tokens))
        if self.out is not None:
            return self.out(tokens[:, 0])
        return tokens.transpose(1, 2).reshape(len(tokens), -1, *grid)


def positions(grid: tuple[int, ...], width: int, device: torch.device | str = "cpu") -> Tensor:
    """Return ``(N, width)``: sines and cosines of each axis' place, an equal part for each axis.

    Example:
        >>> positions((2, 3), 8).shape, positions((1,), 4)[0].tolist()
        (torch.Size([6, 8]), [0.0, 0.0, 1.0, 1.0])
    """
    part = width // len(grid)
    rates = 10000.0 ** (-torch.arange(part // 2, device=device) / max(part // 2, 1))
    axes = []
    lines = (torch.arange(length, device=device) for length in grid)
    for place in torch.meshgrid(*lines, indexing="ij"):
        angles = place.flatten()[:, None] * rates
        axes += [angles.sin(), angles.cos()]
    return torch.cat(axes, dim=1)


def _padded(x: Tensor, multiple: int) -> Tensor:
    missing = [-length % multiple for length in x.shape[2:]]
    if not any(missing):
        return x
    return functional.pad(x, [amount for side in reversed(missing) for amount in (0, side)])
