"""Feature maps brought to another size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch.nn.functional as F  # noqa: N812 - the name that every reader of torch code knows
from torch import Tensor

LINEAR: Final = {1: "linear", 2: "bilinear", 3: "trilinear"}
"""Number of spatial axes -> torch's word for linear interpolation."""


def resized(features: Tensor, size: Sequence[int]) -> Tensor:
    """Bring features ``(B, C, [Z,] Y, X)`` to a spatial size by linear interpolation.

    Example:
        >>> import torch
        >>> resized(torch.zeros(1, 2, 4, 4), (8, 6)).shape
        torch.Size([1, 2, 8, 6])
    """
    if tuple(features.shape[2:]) == tuple(size):
        return features
    return F.interpolate(features, tuple(size), mode=LINEAR[len(size)], align_corners=False)
