"""DnCNN: a plain chain of convolutions that predicts the noise of an image."""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.layers.factories import Conv, Norm
from monai.networks.utils import pixelshuffle, pixelunshuffle
from torch import Tensor, nn


class DnCNN(nn.Module):
    """DnCNN, at full resolution or on folded pixels.

    ``depth`` convolutions of 3 pixels, each but the first and last followed by a norm; the output
    is taken from the image, so that the chain learns the noise alone. With ``fold: 2`` the image is
    folded into 4 (2D) or 8 (3D) channels of half the size first and unfolded at the end, as FFDNet
    does: nearly as good, and about four times as fast.

    Papers: Zhang et al., "Beyond a Gaussian Denoiser", IEEE TIP 2017 (17 layers for a known noise,
    20 for an unknown one); Zhang et al., "FFDNet", IEEE TIP 2018 (15 layers on folded pixels).

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Channels of the result.
        depth: Number of convolutions, at least 3.
        width: Channels between them.
        fold: Side of the block of pixels that becomes channels; 1 keeps the resolution.
        norm: Norm after the inner convolutions, such as ``"batch"``; ``None`` for none.
        residual: Subtract the output from the image; needs as many channels out as in.

    Raises:
        ValueError: If ``residual`` is asked for and the channels differ, or a number is too small.

    Shape:
        ``(B, in_channels, [Z,] Y, X)`` to ``(B, out_channels, [Z,] Y, X)``; sides are multiples of
        ``fold``.

    Example:
        >>> import torch
        >>> DnCNN(2, 1, 1, depth=3, width=4, fold=2)(torch.zeros(1, 1, 8, 6)).shape
        torch.Size([1, 1, 8, 6])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        depth: int = 17,
        width: int = 64,
        fold: int = 1,
        norm: str | Sequence[object] | None = "batch",
        *,
        residual: bool = True,
    ) -> None:
        super().__init__()
        if residual and in_channels != out_channels:
            message = (
                f"got {in_channels} channels in and {out_channels} out with residual=True; the "
                "noise is taken from the image, so they must agree: set residual to false"
            )
            raise ValueError(message)
        if depth < 3 or width < 1 or fold < 1:
            message = f"got depth={depth}, width={width}, fold={fold}; expected >= 3, >= 1, >= 1"
            raise ValueError(message)
        self.spatial_dims, self.fold, self.residual = spatial_dims, fold, residual
        conv, block = Conv[Conv.CONV, spatial_dims], fold**spatial_dims
        layers: list[nn.Module] = [conv(in_channels * block, width, 3, padding=1), nn.ReLU()]
        for _ in range(depth - 2):
            layers.append(conv(width, width, 3, padding=1, bias=norm is None))
            layers += [_norm(norm, spatial_dims, width)] if norm is not None else []
            layers.append(nn.ReLU())
        last = conv(width, out_channels * block, 3, padding=1)
        self.chain = nn.Sequential(*layers, last)
        for layer in self.chain:
            if isinstance(layer, (nn.Conv2d, nn.Conv3d)):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        # the noise that is not learnt yet is best guessed as none
        nn.init.zeros_(last.weight)

    def forward(self, image: Tensor) -> Tensor:
        """Return the image without its noise."""
        folded = pixelunshuffle(image, self.spatial_dims, self.fold) if self.fold > 1 else image
        found: Tensor = self.chain(folded)
        if self.fold > 1:
            found = pixelshuffle(found, self.spatial_dims, self.fold)
        return image - found if self.residual else found


def _norm(norm: str | Sequence[object], spatial_dims: int, width: int) -> nn.Module:
    name, options = (norm, {}) if isinstance(norm, str) else (norm[0], norm[1])
    made: nn.Module = Norm[name, spatial_dims](width, **options)  # type: ignore[arg-type]
    return made
