"""Cells, and blocks of them: what a block string such as ``"L1G1T1"`` stands for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from .attention import ATTENTIONS
from .grammar import CellSpec
from .layers import ConvolutionPair, mixer_of, norm_of
from .options import CellOptions


class Cell(nn.Module):
    """Attention (or convolutions) and, where asked for, a mixer, each added to what it is given.

    One after the other: ``y = x + attention(norm(x))``, then ``y + mixer(norm(y))``. In parallel
    (Dehghani et al., "Scaling Vision Transformers to 22 Billion Parameters", 2023), with one norm:
    ``x + attention(norm(x)) + mixer(norm(x))``.

    Args:
        channels: Channels of features and result.
        spec: Kind of the attention, and whether a mixer follows.
        options: See `CellOptions`.

    Shape:
        ``(B, C, T, Y, X)`` to the same.
    """

    def __init__(self, channels: int, spec: CellSpec, options: CellOptions) -> None:
        super().__init__()
        self.parallel = options.parallel
        self.norm = norm_of(options.norm, channels)
        self.attention: nn.Module = (
            ATTENTIONS[spec.kind](channels, options)
            if spec.kind in ATTENTIONS
            else ConvolutionPair(channels, options, deep=spec.kind == "C3")
        )
        self.mixer = mixer_of(channels, options) if spec.mixer else None
        own_norm = spec.mixer and not options.parallel
        self.mixer_norm = norm_of(options.norm, channels) if own_norm else None

    def forward(self, frames: Tensor) -> Tensor:
        """Return the changed features."""
        normed = self.norm(frames)
        found: Tensor = frames + self.attention(normed)
        if self.mixer is None:
            return found
        given = normed if self.mixer_norm is None else self.mixer_norm(found)
        return cast(Tensor, found + self.mixer(given))


class Block(nn.Sequential):
    """Cells in a row.

    Args:
        channels: Channels of features and result.
        specs: What `parse_block_string` read.
        options: See `CellOptions`.

    Example:
        >>> import torch
        >>> from .grammar import parse_block_string
        >>> made = Block(8, parse_block_string("L1T0"), CellOptions(window=4, heads=2))
        >>> made(torch.zeros(1, 8, 2, 8, 8)).shape
        torch.Size([1, 8, 2, 8, 8])
    """

    def __init__(self, channels: int, specs: Sequence[CellSpec], options: CellOptions) -> None:
        super().__init__(*(Cell(channels, spec, options) for spec in specs))
