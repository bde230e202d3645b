"""Omnivore: one Swin Transformer for images, videos and volumes, in its published sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every reader of torch code knows
from monai.networks.blocks.patchembedding import PatchEmbed
from monai.networks.nets.swin_unetr import BasicLayer, PatchMergingV2
from torch import Tensor, nn


@dataclass(frozen=True)
class SwinSize:
    """What makes a size of the Swin Transformer.

    Attributes:
        width: Channels of the first stage; each stage has twice those of the one before.
        depths: Blocks of each stage.
        heads: Heads of each stage.
        window: Sides of a window in tokens, ``(T, Y, X)``.
        drop_path: Largest share of blocks that are skipped in training.
    """

    width: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: tuple[int, int, int] = (8, 7, 7)
    drop_path: float = 0.3


SIZES: Final = {
    "tiny": SwinSize(96, (2, 2, 6, 2), (3, 6, 12, 24), drop_path=0.2),
    "small": SwinSize(96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "base": SwinSize(128, (2, 2, 18, 2), (4, 8, 16, 32), window=(16, 7, 7)),
    "large": SwinSize(192, (2, 2, 18, 2), (6, 12, 24, 48)),
}
"""The published sizes."""


class Omnivore(nn.Module):
    """Swin Transformer over ``(T, Y, X)`` with shifted windows; a 2D image has T = 1.

    The same weights take images, videos and volumes. Patches become tokens; stages of blocks with
    attention in windows follow, and between them 2 x 2 tokens merge into one. The windows, masks
    and shifts are MONAI's; what does not fill a window or a patch is padded, so any size fits.

    Papers: Girdhar et al., "Omnivore: A Single Model for Many Visual Modalities", CVPR 2022; Liu et
    al., "Video Swin Transformer", CVPR 2022.

    Args:
        spatial_dims: 2 for ``(Y, X)``, 3 for ``(Z, Y, X)`` or ``(T, Y, X)``.
        in_channels: Channels of the image.
        out_channels: Number of classes or numbers, from the mean over the coarsest map; ``None``
            returns the feature maps, finest first.
        size: ``tiny``, ``small``, ``base``, ``large``, or ``custom``.
        width: Channels of the first stage; for ``custom``, as are depths and heads.
        depths: Blocks of each stage.
        heads: Heads of each stage.
        patch: Sides of a patch in pixels, ``(T, Y, X)``.
        window: Sides of a window in tokens, ``(T, Y, X)``; those of the size where left out.
        drop_path: Largest share of blocks that are skipped in training, rising from 0 with depth.
        dropout: Share of the features that is left out in the blocks.
        halve_depth: Merge 2 x 2 x 2 tokens, as for volumes with pixels as deep as they are wide.
        checkpointing: Compute the blocks again in the backward pass, to save memory.

    Raises:
        ValueError: If the size is unknown, or parts of a custom size are missing or given in vain.

    Shape:
        ``(B, C, [T,] Y, X)`` to feature maps ``(B, width * 2**i, [T / 2,] Y / 4 / 2**i, ...)``, or
        to ``(B, out_channels)``.

    Example:
        >>> made = Omnivore(2, 1, size="custom", width=8, depths=[1, 1], heads=[2, 2])
        >>> [tuple(found.shape) for found in made(torch.zeros(1, 1, 32, 32))]
        [(1, 8, 8, 8), (1, 16, 4, 4)]
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int | None = None,
        size: str = "tiny",
        width: int | None = None,
        depths: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
        patch: Sequence[int] = (2, 4, 4),
        window: Sequence[int] | None = None,
        drop_path: float | None = None,
        dropout: float = 0.0,
        *,
        halve_depth: bool = False,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        made = _size_of(size, width, depths, heads)
        sides = tuple(made.window if window is None else window)
        if len(patch) != 3 or len(sides) != 3 or min(*patch, *sides) < 1:
            message = (
                f"got patch={list(patch)} and window={list(sides)}; expected three sides each, "
                "(T, Y, X), also for 2D images, whose T is 1"
            )
            raise ValueError(message)
        self.patch = tuple(patch)
        self.embed = PatchEmbed(
            self.patch, in_channels, made.width, norm_layer=nn.LayerNorm, spatial_dims=3
        )
        widths = [made.width * 2**stage for stage in range(len(made.depths))]
        rates = _rising(made.drop_path if drop_path is None else drop_path, sum(made.depths))
        self.stages = nn.ModuleList()
        for stage, (channels, depth) in enumerate(zip(widths, made.depths, strict=True)):
            self.stages.append(
                BasicLayer(
                    dim=channels,
                    depth=depth,
                    num_heads=made.heads[stage],
                    window_size=sides,
                    drop_path=[rates.pop(0) for _ in range(depth)],
                    qkv_bias=True,
                    drop=dropout,
                    use_checkpoint=checkpointing,
                )
            )
        merging = PatchMergingV2 if halve_depth else PlaneMerging
        self.merges = nn.ModuleList(merging(channels) for channels in widths[:-1])
        self.head: nn.Linear | None = None
        outputs = widths if out_channels is None else widths[-1:]
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for channels in outputs)
        if out_channels is not None:
            self.head = nn.Linear(widths[-1], out_channels)
        self.feature_channels = tuple(widths)
        self.reductions = tuple(self.patch[1] * 2**stage for stage in range(len(widths)))
        step = (2, 2, 2) if halve_depth else (1, 2, 2)
        self.steps = (self.patch, *(step for _ in self.merges))

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Return the feature maps, or the outputs for the whole image.

        Args:
            image: ``(B, C, Y, X)`` or ``(B, C, T, Y, X)``, whatever ``spatial_dims``.
        """
        still = image.ndim == 4
        found = self.embed(image.unsqueeze(2) if still else image)
        maps = [self.stages[0](found)]
        for merge, stage in zip(self.merges, self.stages[1:], strict=True):
            merged = merge(maps[-1].movedim(1, -1)).movedim(-1, 1)
            maps.append(stage(merged.contiguous()))
        if self.head is not None:
            means = self.norms[0](maps[-1].movedim(1, -1)).mean((1, 2, 3))
            return cast(Tensor, self.head(means))
        normed = [
            norm(one.movedim(1, -1)).movedim(-1, 1)
            for norm, one in zip(self.norms, maps, strict=True)
        ]
        return [one.squeeze(2) for one in normed] if still else normed


class PlaneMerging(nn.Module):
    """2 x 2 neighbouring tokens of a frame become one of twice the channels.

    Args:
        channels: Channels of the tokens.

    Shape:
        ``(B, T, Y, X, C)`` to ``(B, T, Y / 2, X / 2, 2 C)``, sides rounded up.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the merged tokens."""
        high, wide = tokens.shape[2:4]
        padded = F.pad(tokens, (0, 0, 0, wide % 2, 0, high % 2))
        corners = [padded[:, :, y::2, x::2] for x in (0, 1) for y in (0, 1)]
        return cast(Tensor, self.reduction(self.norm(torch.cat(corners, dim=-1))))


def _size_of(
    name: str,
    width: int | None,
    depths: Sequence[int] | None,
    heads: Sequence[int] | None,
) -> SwinSize:
    own = {"width": width, "depths": depths, "heads": heads}
    if name == "custom":
        missing = [key for key, value in own.items() if value is None]
        if missing or width is None or depths is None or heads is None:
            message = f"size 'custom' needs {' and '.join(missing)}"
            raise ValueError(message)
        if len(depths) != len(heads) or not depths or min(*depths, *heads, width) < 1:
            message = (
                f"got width={width}, depths={list(depths)}, heads={list(heads)}; expected numbers "
                "of at least 1, and as many heads as depths"
            )
            raise ValueError(message)
        if any(width * 2**stage % count for stage, count in enumerate(heads)):
            widths = [width * 2**stage for stage in range(len(heads))]
            message = f"heads={list(heads)} do not divide the channels {widths} of the stages"
            raise ValueError(message)
        return SwinSize(width, tuple(depths), tuple(heads), drop_path=0.2)
    if name not in SIZES:
        message = f"got size='{name}'; expected one of {', '.join(SIZES)}, custom"
        raise ValueError(message)
    given = [key for key, value in own.items() if value is not None]
    if given:
        message = f"size '{name}' has its own {' and '.join(given)}; set size: custom to choose"
        raise ValueError(message)
    return SIZES[name]


def _rising(last: float, count: int) -> list[float]:
    return [last * place / max(1, count - 1) for place in range(count)]
