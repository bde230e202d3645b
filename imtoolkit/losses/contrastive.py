"""Contrastive losses of embeddings: alike images near each other, others apart."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every reader of torch code knows
from torch import Tensor, nn

from imtoolkit.core.batch import MISSING_CLASS

from .forms import nothing_of


class SupervisedContrastiveLoss(nn.Module):
    r"""Embeddings of one class, or of one image, are nearer to each other than to all others.

    Khosla et al., "Supervised contrastive learning", NeurIPS 2020 (:math:`L_\mathrm{out}`). With
    unit embeddings :math:`z`, the others :math:`A(i)` of the batch and those of the same class
    :math:`P(i)`, averaged over the embeddings that have any:

    .. math:: L_i = \frac{-1}{|P(i)|} \sum_{j \in P(i)}
              \log \frac{e^{z_i \cdot z_j / \tau}}{\sum_{a \in A(i)} e^{z_i \cdot z_a / \tau}}

    Without labels (or for images whose label is unknown) the views of an image are each other's
    only positives: that is SimCLR's NT-Xent, or InfoNCE (Chen et al., ICML 2020; van den Oord et
    al., 2018). Only the embeddings of one process are compared.

    Args:
        temperature: :math:`\tau`.

    Shape:
        embeddings ``(B, D)``, or ``(B, V, D)`` for several views of each image; target ``(B,)`` of
        integers with `MISSING_CLASS` where unknown, or ``None``. Returns a scalar, 0 where no
        embedding has a positive.

    Example:
        >>> views = torch.randn(4, 2, 8)
        >>> loss = SupervisedContrastiveLoss(temperature=0.5)
        >>> torch.allclose(loss(views), loss(views, torch.arange(4)))  # each image its own class
        True
    """

    needs_target = False
    own_form = True

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        if not temperature > 0:
            message = f"got temperature {temperature}; expected a number above 0"
            raise ValueError(message)
        self.temperature = temperature

    def forward(self, embeddings: Tensor, target: Tensor | None = None) -> Tensor:
        """See the class."""
        views = embeddings[:, None] if embeddings.ndim == 2 else embeddings  # (B, V, D)
        if views.ndim != 3:
            message = (
                f"got embeddings {tuple(embeddings.shape)}; expected (B, D), or (B, V, D) for "
                "several views of an image"
            )
            raise ValueError(message)
        count = views.shape[1]
        labels = _labels(views, target).repeat_interleave(count)
        with torch.autocast(views.device.type, enabled=False):
            unit = F.normalize(views.float().flatten(0, 1), dim=1)  # (B V, D)
            alike = unit @ unit.T / self.temperature
            own = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
            logs = alike - alike.masked_fill(own, -torch.inf).logsumexp(1, keepdim=True)
            positive = (labels[:, None] == labels[None]) & ~own
            number = positive.sum(1)
            if not bool((number > 0).any()):
                return nothing_of(views.float())
            each = torch.where(positive, logs, 0.0).sum(1) / number.clamp_min(1)
            return -each[number > 0].mean()


def _labels(views: Tensor, target: Tensor | None) -> Tensor:
    """Return a label for each image; those without one get one of their own."""
    alone = -1 - torch.arange(len(views), device=views.device)
    if target is None:
        return alone
    labels = target.reshape(len(target), -1)
    if labels.shape != (len(views), 1) or labels.is_floating_point():
        message = (
            f"got a target {tuple(target.shape)} of {target.dtype}; expected a class number for "
            f"each of {len(views)} images"
        )
        raise ValueError(message)
    found = labels[:, 0].long().to(views.device)
    return torch.where(found == MISSING_CLASS, alone, found)
