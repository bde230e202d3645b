"""What the spatio-temporal nets share: their options, and images that become frames and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from .fitting import Fitting, Level
from .grammar import parse_levels
from .layers import frame_conv, norm_of
from .options import CellOptions


class SpatioTemporalNet(nn.Module, ABC):
    """A net of levels of resolution, each with a block string.

    Args:
        spatial_dims: 2 for ``(Y, X)``, 3 for ``(Z, Y, X)`` or ``(T, Y, X)``.
        in_channels: Channels of the image.
        channels: Channels of each level, finest first: multiples of the heads.
        blocks: Block string of each level, finest first, or one for all; see
            `parse_block_string`.
        window: Side of a window in pixels of the level, one for all levels or one for each. A
            window larger than the map is the map.
        patch: Side of the patches that are tokens, one for all levels or one for each.
        heads: Heads of the attention, one for all levels or one for each.
        kernel: Side of the convolutions in pixels, odd.
        projection: How query, key, value and output are made: ``conv`` or ``linear``.
        mixer: The two layers of a mixer: ``conv`` or ``linear``.
        mixer_ratio: Width of a mixer, as a multiple of the channels.
        norm: ``layer``, ``rms``, ``batch`` or ``instance`` (of a frame).
        cosine: Attention by the cosine of query and key, with a learned temperature.
        relative_bias: A learned bias for each offset between two tokens.
        bias_reach: Offset in tokens from which on ``G``, ``T`` and ``V`` share one bias.
        causal: A frame sees itself and the frames before it.
        time_stride: Stride in Y and X of query and key in ``T``.
        parallel: Attention and mixer of a cell side by side, instead of one after the other.
        dropout: Share of what a cell adds that is left out.
        attention_dropout: Share of the attention weights that is left out.
        halve_depth: The levels halve Z (or time) as well; refused with ``causal``.
        stem: How much coarser than the image, in Y and X, the first level is; 2 makes a net about
            four times as fast. The result has the size of the image all the same.

    Raises:
        ValueError: If a block string, or another value, makes no sense.
    """

    main_map = 0
    """The feature map that a dense head takes: the finest."""

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        channels: Sequence[int],
        blocks: str | Sequence[str],
        *,
        window: int | Sequence[int] = 8,
        patch: int | Sequence[int] = 1,
        heads: int | Sequence[int] = 8,
        kernel: int = 3,
        projection: str = "conv",
        mixer: str = "conv",
        mixer_ratio: float = 4.0,
        norm: str = "layer",
        cosine: bool = False,
        relative_bias: bool = False,
        bias_reach: int = 16,
        causal: bool = False,
        time_stride: int = 1,
        parallel: bool = False,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        halve_depth: bool = False,
        stem: int = 1,
    ) -> None:
        super().__init__()
        _check_dimensions(spatial_dims, channels, stem, causal=causal, halve_depth=halve_depth)
        count = len(channels)
        sides = (("window", window), ("patch", patch), ("heads", heads))
        each = [_for_levels(name, value, count) for name, value in sides]
        specs = parse_levels(blocks, count)
        self.spatial_dims = spatial_dims
        self.last: nn.Module | None = None  # what makes the result of a net that has one
        self.steps = ((2, 2, 2) if halve_depth else (1, 2, 2),) * (count - 1)
        self.levels = tuple(
            Level(
                factor=stem * 2**place,
                depth_factor=2**place if halve_depth else 1,
                specs=specs[place],
                options=CellOptions(
                    window=one_window,
                    patch=one_patch,
                    heads=one_heads,
                    kernel=kernel,
                    projection=projection,
                    mixer=mixer,
                    mixer_ratio=mixer_ratio,
                    norm=norm,
                    cosine=cosine,
                    relative_bias=relative_bias,
                    bias_reach=bias_reach,
                    causal=causal,
                    time_stride=time_stride,
                    parallel=parallel,
                    dropout=dropout,
                    attention_dropout=attention_dropout,
                ),
            )
            for place, (one_window, one_patch, one_heads) in enumerate(zip(*each, strict=True))
        )
        self.fitting = Fitting(self.levels)
        self.feature_channels = tuple(channels)
        self.reductions = tuple(level.factor for level in self.levels)
        self.stem = (
            frame_conv(in_channels, channels[0], kernel)
            if stem == 1
            else nn.Conv3d(in_channels, channels[0], (1, stem, stem), (1, stem, stem))
        )

    @abstractmethod
    def maps(self, frames: Tensor) -> list[Tensor]:
        """Return the feature maps ``(B, C, T, Y, X)``, finest first, of what the stem gave."""

    def dense(self, maps: list[Tensor]) -> Tensor:
        """Return the result ``(B, out_channels, T, Y, X)`` of a net that has `last`."""
        assert self.last is not None
        return cast(Tensor, self.last(maps[0]))

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Return the result in the size of the image, or the feature maps.

        Args:
            image: ``(B, C, Y, X)`` or ``(B, C, T, Y, X)``, whatever ``spatial_dims``.

        Raises:
            ValueError: If windows do not divide the image, with sizes that fit.
        """
        self.fitting.check(image.shape[2:])
        still = image.ndim == 4
        maps = self.maps(self.stem(image.unsqueeze(2) if still else image))
        if self.last is None:
            return [one.squeeze(2) for one in maps] if still else maps
        result = self.dense(maps)
        return result.squeeze(2) if still else result

    def finishing(self, channels: int, out_channels: int) -> nn.Sequential:
        """Return the last layers: a norm, for cells normalise only what they take, and a conv.

        Behind a stem that makes the image coarser it is a transposed one, back to its size.
        """
        options, factor = self.levels[0].options, self.levels[0].factor
        step = (1, factor, factor)
        return nn.Sequential(
            norm_of(options.norm, channels),
            frame_conv(channels, out_channels, options.kernel)
            if factor == 1
            else nn.ConvTranspose3d(channels, out_channels, step, step),
        )


def _for_levels(name: str, value: int | Sequence[int], count: int) -> list[int]:
    each = [value] * count if isinstance(value, int) else list(value)
    if len(each) != count:
        message = f"got {name}={each} for {count} levels; give one number, or one for each level"
        raise ValueError(message)
    return each


def _check_dimensions(
    spatial_dims: int, channels: Sequence[int], stem: int, *, causal: bool, halve_depth: bool
) -> None:
    if spatial_dims not in (2, 3) or not channels or min(channels) < 1 or stem < 1:
        message = (
            f"got spatial_dims={spatial_dims}, channels={list(channels)}, stem={stem}; expected 2 "
            "or 3, channels of at least one level, and a stem of at least 1"
        )
        raise ValueError(message)
    if halve_depth and (causal or spatial_dims == 2):
        reason = "two frames become one, and the past would see the future" if causal else "no Z"
        message = (
            f"got halve_depth=True with {'causal=True' if causal else 'spatial_dims=2'}: "
            f"{reason}. Leave one of them out"
        )
        raise ValueError(message)
