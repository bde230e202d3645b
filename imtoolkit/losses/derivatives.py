"""Difference of the derivatives of two smoothed images: edges, at chosen scales."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

import torch
from torch import Tensor

from .filters import gaussian, radius_of, separable
from .images import ImageLoss, check_choice, mean_of


class GaussianDerivativeLoss(ImageLoss):
    r"""Mean difference of Gaussian derivatives, over scales, axes and pixels.

    With the scale-normalised derivatives :math:`\sigma^n \partial^n G_\sigma` of order :math:`n`
    (Lindeberg, IJCV 1998; one for each axis, or pair of axes for the second order):

    .. math:: L = \mathrm{mean}_{\sigma, \partial, i}
              \left| \sigma^n \, \partial^n G_\sigma * (p - t) \right|_i^q

    Args:
        sigmas: Widths of the Gaussians in pixels.
        order: 1 for gradients, 2 for second derivatives.
        norm: ``l1`` (:math:`q = 1`) or ``l2`` (:math:`q = 2`).
        complex_channels: Channels are pairs of real and imaginary part; magnitudes are compared.

    Shape:
        prediction and target ``(B, C, [Z,] Y, X)``, weight ``(B, 1, [Z,] Y, X)`` or ``None``;
        returns a scalar. An axis of one pixel has no derivative and is left out.

    Example:
        >>> target = torch.rand(1, 1, 16, 16)
        >>> loss = GaussianDerivativeLoss()
        >>> torch.allclose(loss(target + 3, target), torch.tensor(0.0), atol=1e-5)  # edges alone
        True
    """

    def __init__(
        self,
        sigmas: Sequence[float] = (1.0, 2.0),
        *,
        order: int = 1,
        norm: str = "l1",
        complex_channels: bool = False,
    ) -> None:
        super().__init__(complex_channels=complex_channels)
        if not sigmas or min(sigmas) <= 0 or order not in (1, 2):
            message = f"got sigmas {list(sigmas)}, order {order}; expected widths and 1 or 2"
            raise ValueError(message)
        self.sigmas = tuple(float(sigma) for sigma in sigmas)
        self.order = order
        self.power = 1 if check_choice("norm", norm, ("l1", "l2")) == "l1" else 2

    def compare(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        """See `ImageLoss`."""
        difference = prediction - target  # derivatives are linear
        axes = [axis for axis, size in enumerate(difference.shape[2:]) if size > 1]
        means = [
            mean_of(self._derivative(difference, sigma, chosen).abs() ** self.power, weight)
            for sigma in self.sigmas
            for chosen in combinations_with_replacement(axes, self.order)
        ]
        return torch.stack(means).mean()

    def _derivative(self, image: Tensor, sigma: float, axes: Sequence[int]) -> Tensor:
        size = 2 * radius_of(sigma) + 1
        kernels = [
            gaussian(sigma, size, axes.count(axis)) * sigma ** axes.count(axis)
            for axis in range(image.ndim - 2)
        ]
        return separable(image, kernels, pad=True)
