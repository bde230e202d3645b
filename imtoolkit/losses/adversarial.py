"""Losses of generators and discriminators: adversarial, feature matching, gradient penalty.

A discriminator judges an image at one or several scales, and tells for each the features of its
layers and, last, its logits: ``Judgement`` is a list (scales) of lists (layers) of tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every reader of torch code knows
from torch import Tensor, nn

from .images import check_choice

Judgement = list[list[Tensor]]

KINDS: Final = ("mse", "bce", "hinge")


class AdversarialLoss(nn.Module):
    r"""What a discriminator shall tell apart, and a generator make it mistake.

    With logits :math:`d` of the discriminator, averaged over patches, then over scales, and
    :math:`r = 1 - s` with one-sided label smoothing :math:`s` (Salimans et al., NeurIPS 2016):

    .. math::
        L_D = \tfrac12 \left( \ell(d_\mathrm{real}, r) + \ell(d_\mathrm{fake}, 0) \right), \quad
        L_G = \ell(d_\mathrm{fake}, 1)

    ``bce`` is :math:`\ell(d, y) = -y \log \sigma(d) - (1 - y) \log (1 - \sigma(d))` (Goodfellow et
    al., NeurIPS 2014, with the generator's loss that does not saturate), ``mse`` is
    :math:`\ell(d, y) = (d - y)^2` (LSGAN; Mao et al., ICCV 2017), and ``hinge`` has
    :math:`\ell(d, 1) = \max(0, 1 - d)`, :math:`\ell(d, 0) = \max(0, 1 + d)` and
    :math:`L_G = -d_\mathrm{fake}` (Lim and Ye, 2017). The factor ½ slows the discriminator down, as
    in pix2pix (Isola et al., CVPR 2017).

    Args:
        kind: ``"mse"``, ``"bce"`` or ``"hinge"``.
        label_smoothing: :math:`s` in ``[0, 1)``; ``hinge`` has no labels and takes none.

    Example:
        >>> loss = AdversarialLoss("bce")
        >>> undecided = [[torch.zeros(2, 1, 3, 3)]]
        >>> torch.allclose(loss.discriminator(undecided, undecided), torch.tensor(2.0).log())
        True
        >>> lsgan, certain = AdversarialLoss("mse"), [[torch.ones(2, 1, 3, 3)]]
        >>> lsgan.generator(certain).item(), lsgan.discriminator(certain, certain).item()
        (0.0, 0.5)
    """

    def __init__(self, kind: str = "mse", label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.kind = check_choice("kind", kind, KINDS)
        if not 0 <= label_smoothing < 1 or (label_smoothing and kind == "hinge"):
            message = (
                f"got label_smoothing {label_smoothing} with kind '{kind}'; expected a number from "
                "0 to below 1, and 0 for hinge, which has no labels"
            )
            raise ValueError(message)
        self.label_smoothing = label_smoothing

    def discriminator(self, real: Judgement, fake: Judgement) -> Tensor:
        """Return the loss of the discriminator, from what it says of real and of made images."""
        apart = self._mean(real, self._of_real) + self._mean(fake, self._of_fake)
        return 0.5 * apart

    def generator(self, fake: Judgement) -> Tensor:
        """Return the loss of the generator, from what the discriminator says of its images."""
        if self.kind == "hinge":
            return self._mean(fake, lambda logits: -logits.mean())
        return self._mean(fake, lambda logits: self._compared(logits, 1.0))

    def _of_real(self, logits: Tensor) -> Tensor:
        if self.kind == "hinge":
            return F.relu(1 - logits).mean()
        return self._compared(logits, 1 - self.label_smoothing)

    def _of_fake(self, logits: Tensor) -> Tensor:
        return F.relu(1 + logits).mean() if self.kind == "hinge" else self._compared(logits, 0.0)

    def _compared(self, logits: Tensor, label: float) -> Tensor:
        labels = torch.full_like(logits, label)
        if self.kind == "bce":
            return F.binary_cross_entropy_with_logits(logits, labels)
        return F.mse_loss(logits, labels)

    def _mean(self, judgement: Judgement, each: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.stack([each(layers[-1].float()) for layers in judgement]).mean()


class FeatureMatchingLoss(nn.Module):
    r"""Made images shall look to each layer of the discriminator as real ones do.

    Wang et al., "High-resolution image synthesis and semantic manipulation with conditional GANs"
    (pix2pixHD), CVPR 2018. With the features :math:`f_{kl}` of layer :math:`l` at scale :math:`k`:

    .. math:: L = \operatorname{mean}_{k, l} \; \operatorname{mean} \left|
              f_{kl}(\mathrm{fake}) - f_{kl}(\mathrm{real}) \right|

    The logits do not count, and no gradient goes to the real side.

    Example:
        >>> layers = [[torch.zeros(1, 4, 8, 8), torch.zeros(1, 1, 4, 4)]]
        >>> others = [[torch.ones(1, 4, 8, 8), torch.rand(1, 1, 4, 4)]]
        >>> loss = FeatureMatchingLoss()
        >>> loss(layers, layers).item(), loss(others, layers).item()
        (0.0, 1.0)
    """

    def forward(self, fake: Judgement, real: Judgement) -> Tensor:
        """Return the mean difference; a discriminator without inner features gives an error.

        Raises:
            ValueError: If there is no layer but the logits.
        """
        pairs = [
            (made, true)
            for ours, theirs in zip(fake, real, strict=True)
            for made, true in zip(ours[:-1], theirs[:-1], strict=True)
        ]
        if not pairs:
            message = (
                "got a discriminator that returns its logits alone; expected the features of its "
                "layers as well: take patch_discriminator or multiscale_discriminator"
            )
            raise ValueError(message)
        each = [F.l1_loss(made.float(), true.detach().float()) for made, true in pairs]
        return torch.stack(each).mean()


def gradient_penalty(judge: Callable[[Tensor], Judgement], real: Tensor) -> Tensor:
    r"""Return :math:`\tfrac12 \, \mathbb{E} \, \lVert \nabla_x D(x) \rVert^2` over real images.

    The R1 penalty (Mescheder et al., "Which training methods for GANs do actually converge?", ICML
    2018): it keeps the discriminator flat around the data. :math:`D(x)` is the mean of the logits
    over patches and scales. Computed in float32.

    Args:
        judge: The discriminator, as a function of what it is given.
        real: Real images ``(B, C, [Z,] Y, X)``.

    Example:
        >>> real = torch.randn(2, 1, 4, 4)
        >>> gradient_penalty(lambda x: [[3.0 * x[:, :, :1, :1]]], real).item()
        4.5
    """
    with torch.autocast(real.device.type, enabled=False):
        seen = real.detach().float().requires_grad_(True)
        logits = [layers[-1].flatten(1).mean(1) for layers in judge(seen)]
        said = torch.stack(logits).mean(0).sum()  # each image counts by itself
        (gradient,) = torch.autograd.grad(said, seen, create_graph=True)
    return 0.5 * gradient.flatten(1).square().sum(1).mean()


def judgement_of(raw: Tensor | Sequence[object]) -> Judgement:
    """Bring what a discriminator returns to scales of layers, the logits last.

    Takes one tensor of logits, a list of layers (`imtoolkit.nets.discriminators`, MONAI's
    ``PatchDiscriminator``), a list of such lists, and MONAI's ``MultiScalePatchDiscriminator``,
    which returns all logits and then all features.

    Raises:
        ValueError: If it is none of these.

    Example:
        >>> one = torch.zeros(1)
        >>> [len(judgement_of(raw)) for raw in (one, [one, one], [[one], [one]], ([one], [[one]]))]
        [1, 1, 2, 1]
    """
    if isinstance(raw, Tensor):
        return [[raw]]
    items = list(raw) if isinstance(raw, (list, tuple)) else []
    if items and all(isinstance(item, Tensor) for item in items):
        return [items]
    scales = [item for item in items if isinstance(item, (list, tuple))]
    if len(scales) == 2 and _are_tensors(scales[0]) and not _are_tensors(scales[1]):
        pairs = zip(scales[1], scales[0], strict=True)
        scales = [[*features, logits] for features, logits in pairs]
    if scales and all(map(_are_tensors, scales)):
        return [list(layers) for layers in scales]
    message = (
        f"a discriminator returned {type(raw).__name__}; expected logits, or a list of the "
        "features of its layers with the logits last, or a list of such lists"
    )
    raise ValueError(message)


def _are_tensors(items: Sequence[object]) -> bool:
    return all(isinstance(item, Tensor) for item in items)
