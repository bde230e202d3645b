"""Losses that compare images pixel by pixel, and numbers one by one, with a cost map."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every reader of torch code knows
from torch import Tensor

from .forms import mean_over
from .images import ImageLoss, check_range, mean_of, mean_of_images, range_of


class PixelLoss(ImageLoss):
    r"""A mean over pixels: :math:`\sum_i w_i e_i / \sum_i w_i`, with the cost map :math:`w`.

    Args:
        complex_channels: Channels are pairs of real and imaginary part; magnitudes are compared.

    Shape:
        prediction and target ``(B, C, [Z,] Y, X)``, weight ``(B, 1, [Z,] Y, X)`` or ``None``; or
        numbers of whole images, ``(B, n)`` both, of which targets that are NaN do not count.
        Returns a scalar, 0 where nothing counts.
    """

    of_pixels = False

    def compare(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        """See `ImageLoss`."""
        if prediction.ndim > 2:
            return self.finish(mean_of(self.each(prediction, target), weight))
        # an unknown number is NaN by contract; a pixel that is NaN is a mistake and shall be seen
        known = ~target.isnan()
        each = self.each(prediction, torch.where(known, target, prediction.detach()))
        return self.finish(mean_over(each, known.to(each.dtype)))

    @abstractmethod
    def each(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the cost of each entry, in the shape of the prediction."""

    def finish(self, mean: Tensor) -> Tensor:
        """Return the loss of the mean."""
        return mean


class MSELoss(PixelLoss):
    r"""Mean squared error.

    :math:`e_i = (p_i - t_i)^2`; for complex images that is half of :math:`|p_i - t_i|^2`, channel
    by channel.

    Args:
        complex_channels: Channels are pairs of real and imaginary part; magnitudes are compared.

    Shape:
        As `PixelLoss`.

    Example:
        >>> p, t = torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
        >>> torch.allclose(MSELoss()(p, t, torch.ones(2, 1, 8, 8)), F.mse_loss(p, t))
        True
    """

    def each(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `PixelLoss`."""
        return (prediction - target) ** 2


class RMSELoss(MSELoss):
    r"""Root of the mean squared error of the batch.

    :math:`\sqrt{L_\mathrm{MSE}}`

    Args:
        complex_channels: Channels are pairs of real and imaginary part; magnitudes are compared.

    Shape:
        As `PixelLoss`.

    Example:
        >>> p, t = torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
        >>> torch.allclose(RMSELoss()(p, t) ** 2, MSELoss()(p, t))
        True
    """

    def finish(self, mean: Tensor) -> Tensor:
        """See `PixelLoss`."""
        return (mean + 1e-12).sqrt()  # the root has no slope at 0


class L1Loss(PixelLoss):
    r"""Mean absolute error.

    :math:`e_i = |p_i - t_i|`

    Args:
        complex_channels: Channels are pairs of real and imaginary part; magnitudes are compared.

    Shape:
        As `PixelLoss`.

    Example:
        >>> p, t = torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
        >>> torch.allclose(L1Loss()(p, t), F.l1_loss(p, t))
        True
    """

    def each(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `PixelLoss`."""
        return (prediction - target).abs()


class CharbonnierLoss(PixelLoss):
    r"""A smooth L1.

    :math:`e_i = \sqrt{(p_i - t_i)^2 + \epsilon^2}`; Charbonnier et al., ICIP 1994; Lai et al.,
    "Deep Laplacian pyramid networks", CVPR 2017.

    Args:
        eps: Where the slope sets in, in units of the image.
        complex_channels: Channels are pairs of real and imaginary part; magnitudes are compared.

    Shape:
        As `PixelLoss`.

    Example:
        >>> p, t = torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
        >>> torch.allclose(CharbonnierLoss(eps=1e-7)(p, t), L1Loss()(p, t))
        True
    """

    def __init__(self, eps: float = 1e-3, *, complex_channels: bool = False) -> None:
        super().__init__(complex_channels=complex_channels)
        self.eps = _positive("eps", eps)

    def each(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `PixelLoss`."""
        return ((prediction - target) ** 2 + self.eps**2).sqrt()


class HuberLoss(PixelLoss):
    r"""Squared for small and absolute for large errors.

    Huber, Annals of Statistics 1964, with :math:`d = |p_i - t_i|`:

    .. math:: e_i = d^2 / 2 \text{ where } d \le \delta, \quad \delta (d - \delta / 2) \text{ else}

    Args:
        delta: Error at which the square ends, in units of the image.
        complex_channels: Channels are pairs of real and imaginary part; magnitudes are compared.

    Shape:
        As `PixelLoss`.

    Example:
        >>> p, t = torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
        >>> torch.allclose(HuberLoss(delta=10.0)(p, t), MSELoss()(p, t) / 2)
        True
    """

    def __init__(self, delta: float = 1.0, *, complex_channels: bool = False) -> None:
        super().__init__(complex_channels=complex_channels)
        self.delta = _positive("delta", delta)

    def each(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `PixelLoss`."""
        return F.huber_loss(prediction, target, reduction="none", delta=self.delta)


class SmoothL1Loss(PixelLoss):
    r"""Squared for small and absolute for large errors, with slopes up to 1.

    The Huber loss divided by its :math:`\delta`, here called ``beta``; Girshick,
    "Fast R-CNN", ICCV 2015.

    Args:
        beta: Error at which the square ends, in units of the image.
        complex_channels: Channels are pairs of real and imaginary part; magnitudes are compared.

    Shape:
        As `PixelLoss`.

    Example:
        >>> p, t = torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
        >>> torch.allclose(SmoothL1Loss(0.5)(p, t), HuberLoss(0.5)(p, t) / 0.5)
        True
    """

    def __init__(self, beta: float = 1.0, *, complex_channels: bool = False) -> None:
        super().__init__(complex_channels=complex_channels)
        self.beta = _positive("beta", beta)

    def each(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `PixelLoss`."""
        return F.smooth_l1_loss(prediction, target, reduction="none", beta=self.beta)


class PSNRLoss(ImageLoss):
    r"""Minus the peak signal-to-noise ratio in decibel, averaged over images.

    .. math:: L = - \frac{1}{B} \sum_b 10 \log_{10} \frac{R^2}{\mathrm{MSE}_b}

    Args:
        data_range: :math:`R`, largest minus smallest value that an image can have. Left out, it is
            that of the targets in the batch.
        complex_channels: Channels are pairs of real and imaginary part; magnitudes are compared.

    Shape:
        prediction and target ``(B, C, [Z,] Y, X)``, weight ``(B, 1, [Z,] Y, X)`` or ``None``; a
        scalar. An image that is equal to its target counts as 120 dB.

    Example:
        >>> target = torch.rand(2, 1, 8, 8)
        >>> round(PSNRLoss(data_range=1.0)(target + 0.1, target).item(), 3)
        -20.0
    """

    def __init__(self, data_range: float | None = None, *, complex_channels: bool = False) -> None:
        super().__init__(complex_channels=complex_channels)
        self.data_range = check_range(data_range)

    def compare(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        """See `ImageLoss`."""
        span = range_of(target, self.data_range)
        errors, counted = mean_of_images(((prediction - target) / span) ** 2, weight)
        return mean_over((errors + 1e-12).log() * (10 / math.log(10)), counted)


def _positive(name: str, value: float) -> float:
    if not value > 0:
        message = f"got {name} {value}; expected a number above 0"
        raise ValueError(message)
    return value
