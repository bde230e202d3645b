"""Mixed UNETR: a transformer on the way down, convolutions on the way up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from imtoolkit.nets.omnivore import SIZES, Omnivore
from imtoolkit.nets.unetr import UNETRHead

from .unet import STCNNTEncoder


class MixedUNETR(nn.Module):
    """UNETR's decoder behind an encoder of block strings, or behind a Swin Transformer.

    The image itself, in full resolution, is the finest of the skips.

    Paper: Hatamizadeh et al., "UNETR: Transformers for 3D Medical Image Segmentation", WACV 2022.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Channels of the result; ``None`` returns the feature maps of the way up.
        encoder: ``blocks``, or the size of an `Omnivore`: ``tiny``, ``small``, ``base``, ``large``.
            For one with other options compose ``omnivore`` with ``unetr_head``.
        width: Channels of the way up at full resolution; the skips double them level by level.
        stem: How much coarser than the image the first level of ``blocks`` is; 2 where left out.
        options: Of ``blocks``: see `STCNNTEncoder` and
            `imtoolkit.nets.stcnnt.net.SpatioTemporalNet`.

    Raises:
        ValueError: If the encoder is unknown, or its options make no sense.

    Shape:
        ``(B, C, [Z,] Y, X)`` to ``(B, out_channels, [Z,] Y, X)``, or to feature maps, finest first.

    Example:
        >>> import torch
        >>> made = MixedUNETR(2, 1, 2, width=4, channels=(8, 16), blocks="V1", heads=2, patch=2)
        >>> made(torch.zeros(1, 1, 16, 16)).shape
        torch.Size([1, 2, 16, 16])
    """

    main_map = 0

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int | None = None,
        encoder: str = "blocks",
        width: int = 16,
        stem: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if encoder != "blocks" and encoder not in SIZES:
            message = f"got encoder='{encoder}'; expected one of blocks, {', '.join(SIZES)}"
            raise ValueError(message)
        steps: list[Sequence[int]]
        if encoder == "blocks":
            factor = 2 if stem is None else stem
            made = STCNNTEncoder(spatial_dims, in_channels, stem=factor, **options)
            if made.levels[0].options.causal:
                message = "got causal=True; the convolutions of the way up see the future"
                raise ValueError(message)
            steps = [(1, factor, factor), *made.steps]
            self.encoder: STCNNTEncoder | Omnivore = made
        else:
            if options or stem is not None:
                message = (
                    f"encoder '{encoder}' is a Swin Transformer and takes none of the options of "
                    "blocks; for others compose omnivore with unetr_head"
                )
                raise ValueError(message)
            self.encoder = Omnivore(spatial_dims, in_channels, None, encoder)
            steps = list(self.encoder.steps)
        channels = [in_channels, *self.encoder.feature_channels]
        self.decoder = UNETRHead(
            spatial_dims,
            channels,
            out_channels,
            channels=[width * 2**level for level in range(len(channels))],
            strides=[list(step)[-spatial_dims:] for step in steps],
        )
        self.feature_channels = self.decoder.feature_channels
        self.reductions = (1, *self.encoder.reductions)

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Return the result in the size of the image, or the feature maps.

        Raises:
            ValueError: If windows do not divide the image, with sizes that fit.
        """
        found: Tensor | list[Tensor] = self.decoder([image, *self.encoder(image)])
        return found
