"""Difference of two images in frequency and wavelet space."""

from __future__ import annotations

import math
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every reader of torch code knows
from torch import Tensor, nn

from .forms import divisor
from .images import ImageLoss, as_complex, check_choice, prepared_pair, without_ignored

_ROOT3: Final = math.sqrt(3)
WAVELETS: Final[dict[str, tuple[float, ...]]] = {
    "haar": (1 / math.sqrt(2), 1 / math.sqrt(2)),
    "db2": tuple(
        factor / (4 * math.sqrt(2)) for factor in (1 + _ROOT3, 3 + _ROOT3, 3 - _ROOT3, 1 - _ROOT3)
    ),
    "db4": (
        *(0.230377813308855, 0.714846570552542, 0.630880767929590, -0.0279837694169839),
        *(-0.187034811718881, 0.0308413818359870, 0.0328830116669829, -0.0105974017849973),
    ),
}
"""Low-pass filters of Daubechies' orthogonal wavelets (1988), with 1, 2 and 4 vanishing moments."""


class SpectralLoss(nn.Module):
    r"""Mean difference of the Fourier transforms of two images.

    With the unitary transform :math:`\mathcal F` over the spatial axes:

    .. math:: L = \mathrm{mean} \left| \mathcal F(p) - \mathcal F(t) \right|^q
              \quad \text{or} \quad
              \mathrm{mean} \left| \log(1 + |\mathcal F(p)|) - \log(1 + |\mathcal F(t)|) \right|^q

    Args:
        compare: ``complex`` (magnitude and phase) or ``log_magnitude`` (blind to shifts).
        norm: ``l1`` (:math:`q = 1`) or ``l2`` (:math:`q = 2`).
        complex_channels: Channels are pairs of real and imaginary part, transformed as one.

    Shape:
        prediction and target ``(B, C, [Z,] Y, X)``; returns a scalar. A weight
        ``(B, 1, [Z,] Y, X)`` multiplies the difference before it is transformed, such that pixels
        of weight 2 count as two; log-magnitudes belong to no pixel, and take none.

    Example:
        >>> p, t = torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
        >>> torch.allclose(SpectralLoss(norm="l2")(p, t), F.mse_loss(p, t))  # Parseval
        True
    """

    of_labels = False
    of_pixels = True

    def __init__(
        self, compare: str = "complex", *, norm: str = "l1", complex_channels: bool = False
    ) -> None:
        super().__init__()
        self.compare = check_choice("compare", compare, ("complex", "log_magnitude"))
        self.power = 1 if check_choice("norm", norm, ("l1", "l2")) == "l1" else 2
        self.complex_channels = complex_channels

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """See the class."""
        with torch.autocast(prediction.device.type, enabled=False):
            prediction, target = prepared_pair(prediction, target)
            if self.compare == "complex":
                difference, share = _weighted(prediction, target, weight, self.power)
                return (self._transformed(difference).abs() ** self.power).mean() / share
            if weight is not None:
                message = (
                    "got a cost map; the magnitude of a frequency belongs to all pixels. Set "
                    "compare: complex, or leave the cost maps out of the source"
                )
                raise ValueError(message)
            sizes = [self._transformed(image).abs().log1p() for image in (prediction, target)]
            return ((sizes[0] - sizes[1]).abs() ** self.power).mean()

    def _transformed(self, image: Tensor) -> Tensor:
        values = as_complex(image) if self.complex_channels else image
        found: Tensor = torch.fft.fftn(values, dim=tuple(range(2, image.ndim)), norm="ortho")
        return found


class WaveletLoss(ImageLoss):
    r"""Mean difference of the wavelet coefficients of two images, over several levels.

    With the orthogonal, periodic transform :math:`W` of Mallat (1989):

    .. math:: L = \frac{1}{N} \sum \left| W (p - t) \right|^q

    over all coefficients, of which there are as many as pixels :math:`N`. Axes of odd length are
    continued by their last pixel, and axes shorter than the filter are left as they are.

    Args:
        wavelet: ``haar``, ``db2`` or ``db4``.
        levels: How many times the coarse part is parted again.
        norm: ``l1`` (:math:`q = 1`) or ``l2`` (:math:`q = 2`).
        coarse: Whether the coarse part that is left counts, and not the details alone.
        complex_channels: Channels are pairs of real and imaginary part; magnitudes are compared.

    Shape:
        prediction and target ``(B, C, [Z,] Y, X)``; returns a scalar. A weight
        ``(B, 1, [Z,] Y, X)`` multiplies the difference before it is transformed.

    Example:
        >>> p, t = torch.rand(2, 1, 16, 16), torch.rand(2, 1, 16, 16)
        >>> loss = WaveletLoss("haar", norm="l2")  # orthogonal: lengths are kept
        >>> torch.allclose(loss(p, t), F.mse_loss(p, t))
        True
    """

    def __init__(
        self,
        wavelet: str = "haar",
        *,
        levels: int = 3,
        norm: str = "l1",
        coarse: bool = True,
        complex_channels: bool = False,
    ) -> None:
        super().__init__(complex_channels=complex_channels)
        if levels < 1:
            message = f"got levels {levels}; expected 1 or more"
            raise ValueError(message)
        self.filter = WAVELETS[check_choice("wavelet", wavelet, tuple(WAVELETS))]
        self.levels = levels
        self.power = 1 if check_choice("norm", norm, ("l1", "l2")) == "l1" else 2
        self.coarse = coarse

    def compare(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        """See `ImageLoss`."""
        rest, share = _weighted(prediction, target, weight, self.power)
        total, pixels = rest.new_zeros(()), rest.numel()
        for _ in range(self.levels):
            rest, details = self._parted(rest)
            total = total + sum((band.abs() ** self.power).sum() for band in details)
        if self.coarse:
            total = total + (rest.abs() ** self.power).sum()
        return total / (pixels * share)

    def _parted(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the coarse part, and the details of each combination of axes."""
        bands = [image]
        for axis in range(2, image.ndim):
            if image.shape[axis] >= max(2, len(self.filter)):
                bands = [half for band in bands for half in self._halves(band, axis)]
        return bands[0], bands[1:]

    def _halves(self, image: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        lines = image.movedim(axis, -1)
        if lines.shape[-1] % 2:
            lines = torch.cat([lines, lines[..., -1:]], -1)
        low = lines.new_tensor(self.filter)
        signs = torch.tensor([(-1.0) ** k for k in range(len(low))]).to(low)
        kernels = torch.stack([low, low.flip(0) * signs])[:, None]  # (2, 1, taps)
        around = torch.cat([lines, lines[..., : len(low) - 2]], -1)
        flat = around.reshape(-1, 1, around.shape[-1])
        parts = F.conv1d(flat, kernels, stride=2).reshape(*lines.shape[:-1], 2, -1)
        return parts[..., 0, :].movedim(-1, axis), parts[..., 1, :].movedim(-1, axis)


def _weighted(
    prediction: Tensor, target: Tensor, weight: Tensor | None, power: int
) -> tuple[Tensor, Tensor]:
    """Return the difference times the weight, and the mean weight."""
    if weight is None:
        return prediction - target, prediction.new_ones(())
    prediction, target, weight = without_ignored(prediction, target, weight)
    return (prediction - target) * weight ** (1 / power), divisor(weight.mean())
