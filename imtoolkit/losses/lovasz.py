"""Lovász losses: the Jaccard index itself, made convex."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .forms import divisor, nothing_of
from .labels import prepared


class LovaszLoss(nn.Module):
    r"""The Lovász extension of one minus the Jaccard index, over the errors of each class.

    Berman et al., "The Lovász-softmax loss", CVPR 2018. With the errors :math:`m` of a class, from
    the largest to the smallest, and the Jaccard loss :math:`\Delta_j` when the first :math:`j`
    pixels are wrong:

    .. math:: L = \sum_j m_j (\Delta_j - \Delta_{j-1})

    Errors are :math:`|t - p|` of softmax probabilities, averaged over the classes; for logits of
    one channel they are the hinge :math:`\max(0, 1 - (2 t - 1) z)`. Pixels count in the Jaccard
    index by the cost map.

    Args:
        include_background: Whether class 0 counts.
        per_image: Average over classes of images, instead of one index for the whole batch.
        only_present: Leave out classes that are not in the target.

    Shape:
        logits ``(B, K, [Z,] Y, X)``, target ``(B, 1, [Z,] Y, X)`` of integers, weight
        ``(B, 1, [Z,] Y, X)`` or ``None``; returns a scalar, 0 where nothing counts.

    Example:
        For predictions without doubt it is one minus the mean Jaccard index:

        >>> target = torch.tensor([0, 0, 1, 1]).reshape(1, 1, 2, 2)
        >>> guess = torch.tensor([0, 1, 1, 1]).reshape(1, 1, 2, 2)
        >>> logits = torch.zeros(1, 2, 2, 2).scatter_(1, guess, 100.0)
        >>> round(LovaszLoss()(logits, target).item(), 4)  # 1 - (1 / 2 + 2 / 3) / 2
        0.4167
    """

    takes_logits = True

    def __init__(
        self,
        *,
        include_background: bool = True,
        per_image: bool = False,
        only_present: bool = True,
    ) -> None:
        super().__init__()
        self.first = 0 if include_background else 1
        self.per_image = per_image
        self.only_present = only_present

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """See the class."""
        logits, labels, weight = prepared(logits, target, weight)
        errors, truth = self._errors(logits, labels)  # (B, K, ...)
        counts = torch.ones_like(errors[:, :1]) if weight is None else weight
        rows = [self._rows(image) for image in (errors, truth, counts.expand_as(errors))]
        errors, truth, counts = rows
        each = _extension(errors, truth, counts)
        used = (counts > 0).any(1)
        if self.only_present:
            used = ((truth > 0) & (counts > 0)).any(1)
        kept = used.to(each.dtype)
        # `nothing_of` keeps the graph where no class counts
        return (each * kept).sum() / kept.sum().clamp_min(1) + nothing_of(logits)

    def _rows(self, image: Tensor) -> Tensor:
        """Return one row for each class, or for each class of each image: ``(rows, pixels)``."""
        if self.per_image:
            return image.flatten(2).flatten(0, 1)
        return image.transpose(0, 1).flatten(1)

    def _errors(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if logits.shape[1] == 1:
            truth = labels.to(logits.dtype)
            return (1 - (2 * truth - 1) * logits).relu(), truth
        likely = logits.softmax(1)
        truth = torch.zeros_like(likely).scatter_(1, labels, 1.0)
        return (truth - likely).abs()[:, self.first :], truth[:, self.first :]


def _extension(errors: Tensor, truth: Tensor, counts: Tensor) -> Tensor:
    """Return the Lovász extension of each row ``(rows, pixels)``."""
    # pixels that do not count come last, where they change nothing
    order = torch.where(counts > 0, errors, -1.0).argsort(1, descending=True)
    errors, truth, counts = (image.gather(1, order) for image in (errors, truth, counts))
    inside, outside = counts * truth, counts * (1 - truth)
    total = inside.sum(1, keepdim=True)
    intersection = total - inside.cumsum(1)
    union = total + outside.cumsum(1)
    loss = 1 - intersection / divisor(union)
    loss = torch.where(union > 0, loss, 0.0)
    steps = torch.diff(loss, dim=1, prepend=torch.zeros_like(loss[:, :1]))
    return (errors * torch.where(counts > 0, steps, 0.0)).sum(1)


def lovasz_of_groups(
    errors: Tensor, truth: Tensor, counts: Tensor, group: Tensor, groups: int
) -> Tensor:
    """Return the Lovász extension of groups of unequal size, ``(groups,)``, 0 where one is empty.

    Args:
        errors: The error of each entry, ``(M,)``.
        truth: 1 for what belongs to the set, 0 for others, ``(M,)``.
        counts: Positive weights, ``(M,)``.
        group: The group of each entry, ``(M,)``.
        groups: How many there are.

    Example:
        Two right, one missed, one too many: one minus 2 / 4.

        >>> errors, truth = torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([1.0, 1.0, 1.0, 0.0])
        >>> lovasz_of_groups(errors, truth, torch.ones(4), torch.tensor([0, 0, 0, 0]), 2).tolist()
        [0.5, 0.0]
    """
    if not len(errors):
        return errors.new_zeros(groups) + nothing_of(errors)
    with torch.no_grad():
        order, steps = _steps_of_groups(errors.detach(), truth, counts, group, groups)
    each = errors.gather(0, order) * steps
    return errors.new_zeros(groups).scatter_add(0, group[order], each)


def _steps_of_groups(
    errors: Tensor, truth: Tensor, counts: Tensor, group: Tensor, groups: int
) -> tuple[Tensor, Tensor]:
    """Return the order of groups and falling errors, and the factor of each error."""
    # one sort of exact numbers: groups lie farther apart than any two errors
    apart = 1 + errors.max().double() - errors.min().double()
    order = (group.double() * apart - errors.double()).argsort()
    truth, counts, group = truth[order], counts[order].double(), group[order]
    inside, outside = counts * truth, counts * (1 - truth)
    totals = counts.new_zeros(groups).scatter_add(0, group, inside)
    sizes = torch.bincount(group, minlength=groups)
    first = sizes.cumsum(0) - sizes
    union = totals[group] + _running(outside, first, sizes)
    loss = 1 - (totals[group] - _running(inside, first, sizes)) / divisor(union)
    before = torch.cat((loss.new_zeros(1), loss[:-1]))
    before[first[sizes > 0]] = 0.0
    return order, (loss - before).to(errors.dtype)


def _running(values: Tensor, first: Tensor, sizes: Tensor) -> Tensor:
    """Return the running sum within each group."""
    total = values.cumsum(0)
    begins = torch.cat((total.new_zeros(1), total))[first]
    return total - torch.repeat_interleave(begins, sizes)
