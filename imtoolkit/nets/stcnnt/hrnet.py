"""The spatio-temporal HRNet: streams of several resolutions side by side that tell each other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from imtoolkit.nets.resizing import resized

from .cells import Block
from .layers import frame_conv
from .net import SpatioTemporalNet


class STCNNTHRNet(SpatioTemporalNet):
    """High-resolution net whose streams are block strings of attention and convolution.

    The finest stream runs through the whole net. Each stage runs a block on each of its streams,
    then each stream gets the sum of all, brought to its resolution, and a coarser stream is added.
    The result comes from all streams together, raised to the finest (HRNetV2).

    Paper: Wang et al., "Deep High-Resolution Representation Learning for Visual Recognition", IEEE
    TPAMI 2020; the cells are those of the CNN-transformer.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Channels of the result; ``None`` returns the maps of the streams.
        channels: Channels of each stream, finest first.
        blocks: Block string of each stream, or one for all.
        stages: Number of stages, at least one for each stream; just that where it is left out.
        options: See `imtoolkit.nets.stcnnt.net.SpatioTemporalNet`.

    Shape:
        ``(B, C, [T,] Y, X)`` to ``(B, out_channels, [T,] Y, X)``, or to feature maps, finest first.

    Example:
        >>> made = STCNNTHRNet(2, 1, 2, channels=(8, 16), blocks="L1", window=4, heads=2)
        >>> made(torch.zeros(1, 1, 16, 16)).shape
        torch.Size([1, 2, 16, 16])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int | None = None,
        channels: Sequence[int] = (32, 64, 128),
        blocks: str | Sequence[str] = "L1G1T1",
        stages: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(spatial_dims, in_channels, channels, blocks, **options)
        count = len(channels) if stages is None else stages
        if count < len(channels):
            message = f"got stages={count} for {len(channels)} streams; each stage adds one"
            raise ValueError(message)
        step = self.steps[0] if self.steps else (1, 2, 2)
        self.stages = nn.ModuleList()
        self.fusions = nn.ModuleList()
        for stage in range(count):
            here, there = (min(stage + more, len(channels)) for more in (1, 2))
            self.stages.append(
                nn.ModuleList(
                    Block(channels[place], level.specs, level.options)
                    for place, level in enumerate(self.levels[:here])
                )
            )
            into = here if stage == count - 1 else there
            self.fusions.append(Fusion(channels[:here], channels[:into], step))
        if out_channels is not None:
            every = sum(channels)
            self.last = nn.Sequential(
                frame_conv(every, every), nn.GELU(), *self.finishing(every, out_channels)
            )

    def maps(self, frames: Tensor) -> list[Tensor]:
        """See `SpatioTemporalNet`."""
        found = [frames]
        for blocks, fusion in zip(self.stages, self.fusions, strict=True):
            streams = cast(nn.ModuleList, blocks)
            found = fusion([run(one) for run, one in zip(streams, found, strict=True)])
        return found

    def dense(self, maps: list[Tensor]) -> Tensor:
        """See `SpatioTemporalNet`."""
        assert self.last is not None
        raised = [resized(one, maps[0].shape[2:]) for one in maps]
        return cast(Tensor, self.last(torch.cat(raised, dim=1)))


class Fusion(nn.Module):
    """Each stream gets the sum of all streams, brought to its resolution and channels.

    Strided convolutions lead down, one for each halving; a convolution of 1 pixel and linear
    interpolation lead up.

    Args:
        given: Channels of the streams that come in, finest first.
        wanted: Channels of those that go out; there may be one more.
        step: By how much each stream is coarser than the one before, ``(T, Y, X)``.
    """

    def __init__(
        self, given: Sequence[int], wanted: Sequence[int], step: tuple[int, int, int]
    ) -> None:
        super().__init__()
        self.paths = nn.ModuleList(
            nn.ModuleList(
                _path(list(wanted), into, out, width, step) for into, width in enumerate(given)
            )
            for out in range(len(wanted))
        )

    def forward(self, streams: list[Tensor]) -> list[Tensor]:
        """Return the streams that go out, finest first."""
        fused = []
        for out, paths in enumerate(self.paths):
            brought = [
                path(one) for path, one in zip(cast(nn.ModuleList, paths), streams, strict=True)
            ]
            # a path down, or none, gives the size of the stream that goes out
            size = brought[min(out, len(brought) - 1)].shape[2:]
            first, *others = [resized(one, size) for one in brought]
            fused.append(sum(others, first))
        return fused


def _path(
    wanted: list[int], into: int, out: int, width: int, step: tuple[int, int, int]
) -> nn.Module:
    if into == out:
        return nn.Identity()
    if into > out:
        return frame_conv(width, wanted[out])
    widths = [width, *wanted[into + 1 : out + 1]]
    return nn.Sequential(*(nn.Conv3d(a, b, step, step) for a, b in itertools.pairwise(widths)))
