"""Structural similarity as a loss, at one scale and at several, in 2D and 3D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every reader of torch code knows
from torch import Tensor

from .filters import gaussian, separable
from .forms import mean_over
from .images import ImageLoss, check_range, mean_of_images, range_of, slices

SCALE_WEIGHTS: Final = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of the five scales in Wang et al. 2003, finest first."""
_K1, _K2 = 0.01, 0.03
_SMALL = 0.05  # a power below 1 has no finite slope at 0, and none for negative numbers


class SSIMLoss(ImageLoss):
    r"""One minus the structural similarity.

    Wang et al., "Image quality assessment", IEEE TIP 2004. With means :math:`\mu`, variances
    :math:`\sigma^2` and covariance in a Gaussian window, :math:`C_1 = (0.01 R)^2`,
    :math:`C_2 = (0.03 R)^2`:

    .. math:: \mathrm{SSIM} = \frac{(2 \mu_p \mu_t + C_1)(2 \sigma_{pt} + C_2)}
              {(\mu_p^2 + \mu_t^2 + C_1)(\sigma_p^2 + \sigma_t^2 + C_2)}

    averaged over the windows that lie inside the image, channels and images. An axis that is
    shorter than the window, such as a few slices, gets the longest odd window that fits.

    Args:
        data_range: :math:`R`, largest minus smallest value that an image can have. Left out, it is
            that of the targets in the batch.
        window: Odd size of the window in pixels.
        sigma: Width of the Gaussian in pixels.
        per_slice: Take volumes slice by slice, with a window in the plane.
        complex_channels: Channels are pairs of real and imaginary part; magnitudes are compared.

    Shape:
        prediction and target ``(B, C, [Z,] Y, X)``, weight of the windows by their centres
        ``(B, 1, [Z,] Y, X)`` or ``None``; returns a scalar.

    Example:
        >>> from monai.losses import SSIMLoss as Reference
        >>> p, t = torch.rand(2, 1, 24, 24), torch.rand(2, 1, 24, 24)
        >>> torch.allclose(SSIMLoss(1.0)(p, t), Reference(spatial_dims=2)(p, t), atol=1e-5)
        True
    """

    def __init__(
        self,
        data_range: float | None = None,
        *,
        window: int = 11,
        sigma: float = 1.5,
        per_slice: bool = False,
        complex_channels: bool = False,
    ) -> None:
        super().__init__(complex_channels=complex_channels)
        if window < 1 or window % 2 == 0 or not sigma > 0:
            message = f"got window {window}, sigma {sigma}; expected an odd size and a width"
            raise ValueError(message)
        self.data_range = check_range(data_range)
        self.window = window
        self.sigma = sigma
        self.per_slice = per_slice

    def compare(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        """See `ImageLoss`."""
        span = range_of(target, self.data_range)
        if self.per_slice:
            prediction, target = slices(prediction), slices(target)
            weight = None if weight is None else slices(weight)
        values, counted = self.similarity(prediction, target, weight, span)
        return mean_over(1 - values, counted)

    def similarity(
        self, prediction: Tensor, target: Tensor, weight: Tensor | None, span: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the similarity of each image ``(B,)``, and 1 for those that count."""
        both, _, inner = self.maps(prediction, target, weight, span)
        return mean_of_images(both, inner)

    def maps(
        self, prediction: Tensor, target: Tensor, weight: Tensor | None, span: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the maps of SSIM and of contrast times structure, and the weights of both."""
        sizes = [min(self.window, n - 1 + n % 2) for n in prediction.shape[2:]]
        kernels = [gaussian(self.sigma, size) for size in sizes]
        c1, c2 = (_K1 * span) ** 2, (_K2 * span) ** 2
        # variances do not depend on an offset, but small differences of large squares lose digits
        offset = target.flatten(2).mean(2).reshape(*target.shape[:2], *[1] * (target.ndim - 2))
        p, t = prediction - offset, target - offset
        moments = separable(torch.cat([p, t, p * p, t * t, p * t], 1), kernels)
        mean_p, mean_t, square_p, square_t, product = moments.chunk(5, 1)
        covariance = product - mean_p * mean_t
        variances = (square_p - mean_p**2) + (square_t - mean_t**2)
        contrast = (2 * covariance + c2) / (variances + c2)
        mean_p, mean_t = mean_p + offset, mean_t + offset
        luminance = (2 * mean_p * mean_t + c1) / (mean_p**2 + mean_t**2 + c1)
        return luminance * contrast, contrast, _inner(weight, sizes)


class MultiScaleSSIMLoss(SSIMLoss):
    r"""One minus the structural similarity at several scales.

    Wang et al., "Multiscale structural similarity", Asilomar 2003: the image is halved again and
    again; of all scales but the coarsest only contrast and structure count:

    .. math:: \mathrm{MS\text{-}SSIM} = \mathrm{SSIM}_M^{w_M} \prod_{j<M} (c_j s_j)^{w_j}

    with means over the windows of a scale. Below 0.05 the power goes on as an exponential of the
    same slope, so that images that are nothing alike have a gradient. An axis is halved only as
    long as the window still fits, so that thin volumes are halved in the plane.

    Args:
        data_range: See `SSIMLoss`.
        scale_weights: :math:`w`, finest scale first. Left out, the five of the paper, or as many of
            them as fit into the image, scaled to the same sum.
        window: See `SSIMLoss`.
        sigma: See `SSIMLoss`.
        per_slice: See `SSIMLoss`.
        complex_channels: Channels are pairs of real and imaginary part; magnitudes are compared.

    Shape:
        As `SSIMLoss`.

    Example:
        >>> t = torch.rand(2, 1, 24, 24)
        >>> p = t + 0.1 * torch.rand(2, 1, 24, 24)
        >>> torch.allclose(MultiScaleSSIMLoss(1.0, scale_weights=[1.0])(p, t), SSIMLoss(1.0)(p, t))
        True
    """

    def __init__(
        self,
        data_range: float | None = None,
        *,
        scale_weights: Sequence[float] | None = None,
        window: int = 11,
        sigma: float = 1.5,
        per_slice: bool = False,
        complex_channels: bool = False,
    ) -> None:
        super().__init__(
            data_range,
            window=window,
            sigma=sigma,
            per_slice=per_slice,
            complex_channels=complex_channels,
        )
        if scale_weights is not None and not (scale_weights and min(scale_weights) > 0):
            message = f"got scale_weights {list(scale_weights)}; expected numbers above 0"
            raise ValueError(message)
        self.scale_weights = None if scale_weights is None else tuple(scale_weights)

    def similarity(
        self, prediction: Tensor, target: Tensor, weight: Tensor | None, span: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `SSIMLoss`."""
        factors = self._factors(prediction.shape[2:])
        product = prediction.new_ones(len(prediction))
        counted = torch.ones_like(product)
        for level, factor in enumerate(factors):
            both, contrast, inner = self.maps(prediction, target, weight, span)
            last = level == len(factors) - 1
            values, seen = mean_of_images(both if last else contrast, inner)
            product, counted = product * _power(values, factor), counted * seen
            if not last:
                prediction, target = self._halved(prediction), self._halved(target)
                weight = None if weight is None else self._halved(weight)
        return product, counted

    def _factors(self, shape: Sequence[int]) -> Sequence[float]:
        """Return the weights of the scales that fit into the plane."""
        fits, size = 1, min(shape[-2:])
        while size // 2 >= self.window:
            fits, size = fits + 1, size // 2
        if self.scale_weights is not None:
            if len(self.scale_weights) > fits:
                message = (
                    f"got images of {tuple(shape)} for {len(self.scale_weights)} scales with a "
                    f"window of {self.window}; expected at most {fits}: shorten scale_weights, or "
                    "leave it out"
                )
                raise ValueError(message)
            return self.scale_weights
        kept = SCALE_WEIGHTS[:fits]
        return [weight * sum(SCALE_WEIGHTS) / sum(kept) for weight in kept]

    def _halved(self, image: Tensor) -> Tensor:
        steps = [2 if size // 2 >= self.window else 1 for size in image.shape[2:]]
        pool = F.avg_pool2d if len(steps) == 2 else F.avg_pool3d
        return pool(image, steps)


def _power(values: Tensor, factor: float) -> Tensor:
    """Return ``values ** factor``, continued below a small value by an exponential."""
    power = values.clamp_min(_SMALL) ** factor
    below: Tensor = (factor * (values.clamp_max(_SMALL) - _SMALL) / _SMALL).exp()
    return power * below


def _inner(weight: Tensor | None, sizes: Sequence[int]) -> Tensor | None:
    """Return the weights of the pixels whose window lies inside the image."""
    if weight is None:
        return None
    for axis, size in enumerate(sizes, start=2):
        weight = weight.narrow(axis, size // 2, weight.shape[axis] - size + 1)
    return weight
