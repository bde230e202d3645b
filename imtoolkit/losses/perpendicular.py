"""A loss for complex images that treats magnitude and phase alike."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .images import as_complex, check_choice, mean_of, prepared_pair, without_ignored


class PerpendicularLoss(nn.Module):
    r"""The distance of the target from the direction of the prediction, plus that of magnitudes.

    Terpstra et al., "⊥-loss: a symmetric loss function for magnetic resonance imaging
    reconstruction and image registration with deep learning", Medical Image Analysis 2022. With
    the complex prediction :math:`p`, the target :math:`t`, and the angle :math:`\varphi` between
    them:

    .. math:: P = \frac{|\Re p \Im t - \Im p \Re t|}{|p|} = |t| |\sin \varphi|, \quad
              e = \begin{cases} P & |\varphi| \le \pi / 2 \\ 2 |t| - P & \text{else} \end{cases}

    and :math:`L = \mathrm{mean}(e + \left| |p| - |t| \right|^q)`. The plain distance of real and
    imaginary part rewards magnitudes that are too small, this one does not.

    Args:
        magnitude: ``l1`` (:math:`q = 1`), ``l2`` (:math:`q = 2`), or ``none`` for the phase alone,
            beside another term such as SSIM with ``complex_channels``.
        eps: Added to :math:`|p|` where it divides, in units of the image.

    Shape:
        prediction and target ``(B, 2 C, [Z,] Y, X)``: real and imaginary part of the first channel,
        then of the next; weight ``(B, 1, [Z,] Y, X)`` or ``None``; returns a scalar.

    Example:
        >>> target = torch.tensor([3.0, 4.0]).reshape(1, 2, 1, 1)  # 3 + 4i
        >>> turned = torch.tensor([-4.0, 3.0]).reshape(1, 2, 1, 1)  # by 90 degrees
        >>> [round(PerpendicularLoss()(p, target).item(), 2) for p in (target, turned, -target)]
        [0.0, 5.0, 10.0]
    """

    of_labels = False
    of_pixels = True

    def __init__(self, magnitude: str = "l1", *, eps: float = 1e-3) -> None:
        super().__init__()
        self.magnitude = check_choice("magnitude", magnitude, ("l1", "l2", "none"))
        if not eps > 0:
            message = f"got eps {eps}; expected a number above 0"
            raise ValueError(message)
        self.eps = eps

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """See the class."""
        with torch.autocast(prediction.device.type, enabled=False):
            prediction, target = prepared_pair(prediction, target)
            if weight is not None:
                prediction, target, weight = without_ignored(prediction, target, weight)
            p, t = as_complex(prediction), as_complex(target)
            return mean_of(self._phase(p, t) + self._sizes(p, t), weight)

    def _phase(self, p: Tensor, t: Tensor) -> Tensor:
        product = p * t.conj()  # |p| |t| (cos + i sin)
        aside = product.imag.abs() / (p.abs() + self.eps)
        return torch.where(product.real >= 0, aside, 2 * t.abs() - aside)

    def _sizes(self, p: Tensor, t: Tensor) -> Tensor:
        difference = (p.abs() - t.abs()).abs()
        if self.magnitude == "none":
            return torch.zeros_like(difference)
        return difference if self.magnitude == "l1" else difference**2
