"""Attention over ``(B, C, T, Y, X)``: in windows, across windows, across frames, across patches.

Each kind says which axes of the features are tokens; the rest is shared:
``softmax(q k' / sqrt(d) + bias) v`` for each head, by torch's ``scaled_dot_product_attention``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Final, cast

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every reader of torch code knows
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from .layers import projection
from .options import CellOptions

_WARMEST: Final = 100.0
"""Largest factor of cosines, as in Swin Transformer V2."""


class RelativeBias(nn.Module):
    """A learned number for each head and each offset between two tokens of a grid.

    Offsets beyond ``reach`` count as ``reach``, so that one table serves grids of any size (Shaw et
    al., "Self-Attention with Relative Position Representations", NAACL 2018); with a reach of the
    side of a window less one it is the bias of the Swin Transformer (Liu et al., ICCV 2021).

    Args:
        heads: Heads of the attention.
        reach: Largest offset told apart, for each axis of the grid.
    """

    def __init__(self, heads: int, reach: Sequence[int]) -> None:
        super().__init__()
        self.reach = tuple(reach)
        self.table = nn.Parameter(torch.empty(heads, *(2 * far + 1 for far in reach)))
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(self, grid: Sequence[int]) -> Tensor:
        """Return the bias ``(heads, N, N)`` between the N tokens of a grid, row by row."""
        index = []
        for axis, (side, far) in enumerate(zip(grid, self.reach, strict=True)):
            place = torch.arange(side, device=self.table.device)
            offset = (place[:, None] - place[None, :]).clamp(-far, far) + far
            shape = [1] * (2 * len(grid))
            shape[axis] = shape[axis + len(grid)] = side
            index.append(offset.view(shape))
        places: tuple[slice | Tensor, ...] = (slice(None), *index)
        bias = self.table[places]
        return bias.flatten(1, len(grid)).flatten(2)


class Attention(nn.Module, ABC):
    """What the kinds of attention share.

    Args:
        channels: Channels of features and result, a multiple of the heads.
        options: See `CellOptions`.

    Raises:
        ValueError: If the heads do not divide the channels.

    Shape:
        ``(B, C, T, Y, X)`` to the same.
    """

    axes: ClassVar[str]
    """The features, with the axes that they are taken apart into, as `einops` writes them."""

    tokens: ClassVar[str]
    """The same axes as ``batch heads tokens features``."""

    stride: int = 1

    def __init__(self, channels: int, options: CellOptions) -> None:
        super().__init__()
        heads = options.heads
        if channels % heads:
            fitting = [count for count in range(1, channels + 1) if channels % count == 0]
            message = (
                f"{heads} heads do not divide {channels} channels; {channels} channels can have "
                f"{', '.join(map(str, fitting))} heads"
            )
            raise ValueError(message)
        self.options = options
        self._heads = heads
        self.query_key = projection(channels, 2 * channels, options, self.stride)
        self.value = projection(channels, channels, options)
        self.output = nn.Sequential(
            projection(channels, channels, options), nn.Dropout(options.dropout)
        )
        self.bias: RelativeBias | None = None
        if options.relative_bias:
            self.bias = RelativeBias(heads, self.reach())
        self.temperature: nn.Parameter | None = None
        if options.cosine:
            self.temperature = nn.Parameter(torch.full((heads, 1, 1), 10.0).log())

    @abstractmethod
    def reach(self) -> tuple[int, ...]:
        """Return the largest offset that the relative bias tells apart, for each axis."""

    @abstractmethod
    def lengths(self, shape: Sequence[int]) -> dict[str, int]:
        """Return the lengths of the axes in `axes` that features ``(B, C, T, Y, X)`` have."""

    @abstractmethod
    def grid(self, lengths: dict[str, int]) -> tuple[int, ...]:
        """Return how the tokens lie beside each other."""

    def forward(self, frames: Tensor) -> Tensor:
        """Return what each token gathers from those that it sees."""
        query, key = self.query_key(frames).chunk(2, dim=1)
        value = self.value(frames)
        lengths = self.lengths(frames.shape)
        # a strided query has other lengths in Y and X, which its own shape tells
        query, key, value = map(self._as_tokens, (query, key, value))
        gathered = self._attend(query, key, value, self.grid(lengths))
        outward = f"{self.tokens} -> {self.axes}"
        return cast(Tensor, self.output(rearrange(gathered, outward, h=self._heads, **lengths)))

    def mask(self, grid: tuple[int, ...], like: Tensor) -> Tensor | None:
        """Return what is added to the logits: the relative bias ``(heads, N, N)``."""
        return None if self.bias is None else self.bias(grid).to(like.dtype)

    def _as_tokens(self, found: Tensor) -> Tensor:
        inward = f"{self.axes} -> {self.tokens}"
        return rearrange(found, inward, h=self._heads, **self.lengths(found.shape))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, grid: tuple[int, ...]) -> Tensor:
        scale = None
        if self.temperature is not None:
            factor = self.temperature.exp().clamp(max=_WARMEST)
            query, key = F.normalize(query, dim=-1) * factor, F.normalize(key, dim=-1)
            scale = 1.0
        mask = self.mask(grid, query)
        return scaled_dot_product_attention(
            query.to(value.dtype),
            key.to(value.dtype),
            value,
            attn_mask=None if mask is None else mask.to(value.dtype),
            dropout_p=self.options.attention_dropout if self.training else 0.0,
            is_causal=self._causal and mask is None,
            scale=scale,
        )

    @property
    def _causal(self) -> bool:
        return False


class WindowedAttention(Attention):
    """What attention within and across windows share: how a frame falls into windows."""

    axes = "b (h d) t (ny gy py) (nx gx px)"

    def lengths(self, shape: Sequence[int]) -> dict[str, int]:
        """See `Attention`.

        Raises:
            ValueError: If windows, or patches, do not divide the map.
        """
        patch = self.options.patch
        found = {"b": shape[0], "t": shape[2], "py": patch, "px": patch}
        for name, side in zip("yx", shape[3:], strict=True):
            window = min(self.options.window, side)  # a map smaller than a window is one window
            if side % window or window % patch:
                raise ValueError(misfit(shape[3:], self.options, windows=True))
            found |= {f"n{name}": side // window, f"g{name}": window // patch}
        return found


class LocalAttention(WindowedAttention):
    """`L`: the patches of a window see each other; windows and frames stay apart.

    Example:
        >>> made = LocalAttention(8, CellOptions(window=4, heads=2))
        >>> made(torch.zeros(1, 8, 3, 8, 12)).shape
        torch.Size([1, 8, 3, 8, 12])
    """

    tokens = "(b t ny nx) h (gy gx) (d py px)"

    def reach(self) -> tuple[int, ...]:
        """Return the largest offset within a window."""
        return (self.options.window // self.options.patch - 1,) * 2

    def grid(self, lengths: dict[str, int]) -> tuple[int, ...]:
        """Return the patches of a window."""
        return lengths["gy"], lengths["gx"]


class GlobalAttention(WindowedAttention):
    """`G`: patches at the same place of all windows of a frame see each other.

    With ``patch = window`` each window is one token.
    """

    tokens = "(b t gy gx) h (ny nx) (d py px)"

    def reach(self) -> tuple[int, ...]:
        """Return the reach that the options tell."""
        return (self.options.bias_reach,) * 2

    def grid(self, lengths: dict[str, int]) -> tuple[int, ...]:
        """Return the windows of a frame."""
        return lengths["ny"], lengths["nx"]


class PatchAttention(Attention):
    """`V`: all patches of a frame see each other, as in a vision transformer."""

    axes = "b (h d) t (gy py) (gx px)"
    tokens = "(b t) h (gy gx) (d py px)"

    def reach(self) -> tuple[int, ...]:
        """Return the reach that the options tell."""
        return (self.options.bias_reach,) * 2

    def lengths(self, shape: Sequence[int]) -> dict[str, int]:
        """See `Attention`.

        Raises:
            ValueError: If patches do not divide the map.
        """
        patch, found = self.options.patch, {"b": shape[0], "t": shape[2]}
        for name, side in zip("yx", shape[3:], strict=True):
            if side % patch:
                raise ValueError(misfit(shape[3:], self.options, windows=False))
            found |= {f"g{name}": side // patch, f"p{name}": patch}
        return found

    def grid(self, lengths: dict[str, int]) -> tuple[int, ...]:
        """Return the patches of a frame."""
        return lengths["gy"], lengths["gx"]


class TemporalAttention(Attention):
    """`T`: whole frames are tokens; each gathers from all frames, or from those up to it.

    The logit of two frames is the product of query and key over channels and pixels, so that a
    frame is weighed as a whole; query and key may be strided.
    """

    axes = "b (h d) t y x"
    tokens = "b h t (d y x)"

    def __init__(self, channels: int, options: CellOptions) -> None:
        self.stride = options.time_stride
        super().__init__(channels, options)

    def reach(self) -> tuple[int, ...]:
        """Return the reach that the options tell."""
        return (self.options.bias_reach,)

    def lengths(self, shape: Sequence[int]) -> dict[str, int]:
        """See `Attention`."""
        return {"b": shape[0], "t": shape[2], "y": shape[3], "x": shape[4]}

    def grid(self, lengths: dict[str, int]) -> tuple[int, ...]:
        """Return the frames."""
        return (lengths["t"],)

    def mask(self, grid: tuple[int, ...], like: Tensor) -> Tensor | None:
        """Return the bias, with the future shut out where there is one; torch does it elsewhere."""
        bias = super().mask(grid, like)
        if bias is None or not self._causal:
            return bias
        future = torch.ones(grid[0], grid[0], dtype=torch.bool, device=bias.device).triu(1)
        return bias.masked_fill(future, float("-inf"))

    @property
    def _causal(self) -> bool:
        return self.options.causal


def misfit(size: Sequence[int], options: CellOptions, *, windows: bool) -> str:
    """Say why a map ``(Y, X)`` does not fall into windows or patches, and which sides do."""
    step = options.window if windows else options.patch
    what = f"windows of {step} x {step}" if windows else f"patches of {step} x {step}"
    if windows and options.patch > 1:
        what += f" with patches of {options.patch} x {options.patch}"
    return (
        f"{what} do not divide a map of {size[0]} x {size[1]} (Y x X); sides that fit are "
        f"multiples of {step}" + (f", or multiples of {options.patch} below it" if windows else "")
    )


ATTENTIONS: Final[dict[str, type[Attention]]] = {
    "L": LocalAttention,
    "G": GlobalAttention,
    "T": TemporalAttention,
    "V": PatchAttention,
}
"""Letter of a block string -> attention."""
