"""Head that turns feature maps into numbers for the whole image: classes, or a regression."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from monai.networks.layers.utils import get_act_layer
from torch import Tensor, nn

from imtoolkit.core.batch import IMAGE, TABULAR
from imtoolkit.core.errors import ComponentError

Pooling = Literal["avg", "max", "avgmax", "attention"]


class GlobalPooling(nn.Module):
    """Pool a map ``(B, C, ...)`` over all its pixels; vectors ``(B, C)`` pass.

    Args:
        channels: Channels of the map.
        pool: ``avg``, ``max``, ``avgmax`` (both, one behind the other), or ``attention``: the mean
            weighted by ``softmax(w . tanh(V x))`` over the pixels.

    Ilse et al., Attention-based deep multiple instance learning, ICML 2018.

    Example:
        >>> GlobalPooling(3, "avgmax")(torch.ones(2, 3, 4, 4)).shape
        torch.Size([2, 6])
    """

    def __init__(self, channels: int, pool: Pooling = "avg") -> None:
        super().__init__()
        if pool not in ("avg", "max", "avgmax", "attention"):
            message = f"unknown pool '{pool}'. Known: avg, max, avgmax, attention"
            raise ComponentError(message)
        self.pool = pool
        self.out_channels = channels * (2 if pool == "avgmax" else 1)
        self.score: nn.Module | None = None
        if pool == "attention":
            width = max(channels // 4, 1)
            self.score = nn.Sequential(nn.Linear(channels, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Return ``(B, C)``, or ``(B, 2 C)`` for ``avgmax``."""
        pixels = features.flatten(2) if features.ndim > 2 else features[..., None]  # (B, C, N)
        if self.score is not None:
            weights = self.score(pixels.transpose(1, 2)).softmax(1)  # (B, N, 1)
            weighted: Tensor = (pixels @ weights)[..., 0]
            return weighted
        pooled = [] if self.pool == "max" else [pixels.mean(2)]
        if self.pool != "avg":
            pooled.append(pixels.amax(2))
        return torch.cat(pooled, dim=1)


class GlobalPoolHead(nn.Module):
    """Pooling, hidden layers, and a linear layer; tabular data may be joined in.

    The table goes through layers of its own and is concatenated with the pooled features.

    Args:
        in_channels: Channels of the features: a map of 1, 2 or 3 spatial dimensions, or a vector.
        out_channels: Classes, or numbers to predict.
        pool: See `GlobalPooling`.
        hidden: Widths of hidden layers between pooling and output.
        dropout: Probability before each linear layer behind the pooling.
        act: Activation of hidden layers, as MONAI names them.
        tabular: Whether the columns of ``data.tabular`` are joined in.
        tabular_features: Number of encoded columns; filled in from the data.
        tabular_hidden: Widths of the layers that the table goes through.

    Example:
        >>> GlobalPoolHead(8, 2)(torch.zeros(4, 8, 6, 5)).shape
        torch.Size([4, 2])
    """

    pools: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        pool: Pooling = "avg",
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
        act: str | tuple[str, dict[str, float]] = "relu",
        tabular: bool = False,
        tabular_features: int | None = None,
        tabular_hidden: Sequence[int] = (32,),
    ) -> None:
        super().__init__()
        if tabular and not tabular_features:
            message = (
                "tabular: true joins columns of the table in, and the data have none: list them "
                "under data.tabular"
            )
            raise ComponentError(message)
        self.tabular_features = (tabular_features or 0) if tabular else 0
        self.inputs = (IMAGE, TABULAR) if tabular else (IMAGE,)
        self.pooling = GlobalPooling(in_channels, pool)
        width = self.pooling.out_channels
        self.table: nn.Module | None = None
        if tabular:
            self.table = layers([self.tabular_features, *tabular_hidden], act)
            width += tabular_hidden[-1] if tabular_hidden else self.tabular_features
        self.hidden = layers([width, *hidden], act, dropout)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden[-1] if hidden else width, out_channels)

    def forward(self, features: Tensor, tabular: Tensor | None = None) -> Tensor:
        """Return ``(B, K)`` for features ``(B, C, ...)`` and a table ``(B, F)``."""
        vector = self.pooling(features)
        if self.table is not None:
            assert tabular is not None
            vector = torch.cat([vector, self.table(tabular.to(vector.dtype))], dim=1)
        logits: Tensor = self.out(self.dropout(self.hidden(vector)))
        return logits


def layers(
    widths: Sequence[int], act: str | tuple[str, dict[str, float]] = "relu", dropout: float = 0.0
) -> nn.Sequential:
    """Return linear layers with activations between widths; none for a single width.

    Example:
        >>> len(layers([4])), layers([4, 8])(torch.zeros(1, 4)).shape
        (0, torch.Size([1, 8]))
    """
    made: list[nn.Module] = []
    for before, after in pairwise(widths):
        made += [nn.Dropout(dropout)] if dropout else []
        made += [nn.Linear(before, after), get_act_layer(act)]
    return nn.Sequential(*made)
