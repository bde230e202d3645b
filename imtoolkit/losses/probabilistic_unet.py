"""The evidence lower bound of a net with latent numbers: reconstruction and divergence.

Kohl et al., "A probabilistic U-Net for segmentation of ambiguous images", NeurIPS 2018; the factor
``beta`` is that of Higgins et al., "beta-VAE", ICLR 2017.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from imtoolkit.core.batch import WEIGHT

from .forms import divisor
from .weighted_sum import WeightedSum

RECONSTRUCTION: Final = "reconstruction"
KL: Final = "kl"
REDUCTIONS: Final = ("mean", "sum")


def kl_divergence(
    mean: Tensor, log_std: Tensor, prior_mean: Tensor, prior_log_std: Tensor
) -> Tensor:
    r"""Divergence of a Gaussian from another, both in independent numbers, for each image.

    .. math::
        D(q \| p) = \sum_l \ln \frac{\sigma_p}{\sigma_q}
            + \frac{\sigma_q^2 + (\mu_q - \mu_p)^2}{2 \sigma_p^2} - \frac{1}{2}

    Args:
        mean: Means of ``q`` ``(B, L)``.
        log_std: Logarithms of its standard deviations ``(B, L)``.
        prior_mean: Means of ``p``.
        prior_log_std: Logarithms of its standard deviations.

    Returns:
        ``(B,)`` in nats.

    Example:
        >>> zero, one = torch.zeros(1, 2), torch.ones(1, 2)
        >>> kl_divergence(zero, zero, zero, zero).item()
        0.0
        >>> kl_divergence(one, zero, zero, zero).item()  # half of the squared distance
        1.0
    """
    wider = prior_log_std - log_std
    # of the ratio, since the squares of small deviations may vanish
    terms = wider + 0.5 * (
        (-2 * wider).exp() + ((mean - prior_mean) / prior_log_std.exp()) ** 2 - 1
    )
    return terms.sum(1)


class EvidenceLowerBound(nn.Module):
    r"""Minus the evidence lower bound, of which the reconstruction may be any loss.

    With :math:`R` the reconstruction, a mean over pixels, :math:`D` the divergence of posterior
    from prior in nats, and :math:`n` the pixels of an image that count:

    .. math:: L_\mathrm{mean} = R + \frac{\beta}{n} D, \qquad L_\mathrm{sum} = n R + \beta D

    Both have one minimum; with cross-entropy and :math:`\beta = 1` it is that of minus the evidence
    lower bound. The mean is as large as the loss of a segmentation, the sum is what the paper
    writes. Images whose cost map is zero everywhere have no divergence.

    Args:
        reconstruction: Named losses of the logits.
        beta: Factor of the divergence.
        reduction: ``mean`` or ``sum`` over the pixels of an image.

    Attributes:
        last_terms: The terms of the last call.
    """

    def __init__(
        self, reconstruction: WeightedSum, beta: float = 1.0, reduction: str = "mean"
    ) -> None:
        super().__init__()
        if reduction not in REDUCTIONS or beta < 0:
            message = (
                f"got reduction '{reduction}' and beta {beta}; expected mean or sum, 0 or more"
            )
            raise ValueError(message)
        self.reconstruction = reconstruction
        self.beta = beta
        self.reduction = reduction
        self.last_terms: dict[str, Tensor] = {}

    def forward(
        self, logits: Tensor, divergence: Tensor, batch: Mapping[str, Any], step: int | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its terms.

        Args:
            logits: ``(B, K, [Z,] Y, X)``, of a latent that was drawn from the posterior.
            divergence: Of the posterior from the prior, ``(B,)``, see `kl_divergence`.
            batch: Holds the target, and the cost map under ``weight``.
            step: Optimizer steps done so far; ``None`` in validation.

        Returns:
            The loss, and ``reconstruction`` (the weighted sum of its losses, a mean over pixels)
            and ``kl`` in nats; of several losses each by its name.
        """
        reconstruction, own = self.reconstruction(logits, batch, step)
        counts, pixels = _counted(batch.get(WEIGHT), logits)
        kl = (divergence.float() * counts).sum() / divisor(counts.sum())
        loss = reconstruction + self.beta * kl / pixels
        if self.reduction == "sum":
            loss = loss * pixels
        terms = {RECONSTRUCTION: reconstruction.detach(), KL: kl.detach()}
        self.last_terms = terms | (own if len(own) > 1 else {})
        return loss, dict(self.last_terms)


def _counted(weight: Tensor | None, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return which images count ``(B,)``, and how many pixels of one of them do, on average."""
    every = float(math.prod(logits.shape[2:]))
    if weight is None:
        return logits.new_ones(len(logits), dtype=torch.float32), logits.new_tensor(every).float()
    pixels = weight.float().flatten(1).sum(1)
    counts = (pixels > 0).float()
    return counts, divisor((pixels * counts).sum() / divisor(counts.sum()))
