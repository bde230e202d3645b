"""Multi-layer perceptron on the pixels of an image, on tabular data, or on features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from imtoolkit.core.batch import IMAGE, TABULAR
from imtoolkit.core.errors import ComponentError

from .global_pool import layers

_KINDS = {"image": (IMAGE,), "tabular": (TABULAR,), "both": (IMAGE, TABULAR)}


class MLP(nn.Module):
    """Linear layers with activations on everything that an image (or a vector) holds.

    Args:
        in_channels: Channels of the image, or length of the vector.
        out_channels: Numbers to give; left out, the last hidden layer is what the net gives.
        hidden: Widths of the hidden layers.
        reads: ``image``, ``tabular`` (the columns of ``data.tabular`` alone), or ``both``.
        image_size: Spatial size of the image; filled in from the data.
        tabular_features: Number of encoded columns; filled in from the data.
        act: Activation, as MONAI names it.
        dropout: Probability before each layer.

    Example:
        >>> MLP(1, 3, hidden=[16], image_size=(8, 8))(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        hidden: Sequence[int] = (256, 128),
        reads: Literal["image", "tabular", "both"] = "image",
        image_size: Sequence[int] | None = None,
        tabular_features: int | None = None,
        act: str | tuple[str, dict[str, Any]] = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if reads not in _KINDS:
            message = f"reads is image, tabular or both, got '{reads}'"
            raise ComponentError(message)
        if not hidden and out_channels is None:
            message = "without hidden layers and out_channels there is nothing to compute"
            raise ComponentError(message)
        self.inputs = _KINDS[reads]
        if TABULAR in self.inputs and not tabular_features:
            message = f"reads: {reads} needs columns of the table: list them under data.tabular"
            raise ComponentError(message)
        self.tabular_features = (tabular_features or 0) if TABULAR in self.inputs else 0
        self.shape = (in_channels, *(image_size or ())) if IMAGE in self.inputs else ()
        width = math.prod(self.shape) if self.shape else 0
        widths = [width + self.tabular_features, *hidden]
        self.hidden = layers(widths, act, dropout)
        self.dropout = nn.Dropout(dropout)
        self.out = None if out_channels is None else nn.Linear(widths[-1], out_channels)

    def forward(self, *values: Tensor) -> Tensor:
        """Return ``(B, K)`` for the values under ``inputs``."""
        if IMAGE in self.inputs and tuple(values[0].shape[1:]) != self.shape:
            message = (
                f"this MLP is made for {list(self.shape)} (channels first), and got "
                f"{list(values[0].shape[1:])}. Set data.patch.size, so that all images agree"
            )
            raise ComponentError(message)
        flat = torch.cat([value.flatten(1).to(values[0].dtype) for value in values], dim=1)
        made: Tensor = self.hidden(flat)
        return made if self.out is None else self.out(self.dropout(made))
