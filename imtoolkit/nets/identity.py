"""The backbone that does nothing, for a head that works on the image itself."""

from __future__ import annotations

from torch import Tensor, nn


class IdentityBackbone(nn.Module):
    """Gives the image as the only feature map.

    Args:
        in_channels: Channels of the image.

    Shape:
        ``(B, C, [Z,] Y, X)`` to a list of just that.

    Example:
        >>> import torch
        >>> [tuple(found.shape) for found in IdentityBackbone(2)(torch.zeros(1, 2, 8, 8))]
        [(1, 2, 8, 8)]
    """

    main_map = 0
    reductions = (1,)

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.feature_channels = (in_channels,)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the image in a list."""
        return [image]
