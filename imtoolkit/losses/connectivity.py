"""Whether neighbouring pixels belong together, as a regulariser of broken and merged objects."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn

from .forms import divisor
from .images import check_choice
from .labels import prepared


class ConnectivityLoss(nn.Module):
    r"""Binary cross-entropy of the connection of neighbouring pixels.

    In the manner of Yang et al., "BiconNet: an edge-preserved connectivity-based approach for
    salient object detection", Pattern Recognition 2022, where a pair of pixels is connected if both
    belong to the object, and the two pixels vote for it together. Their net has a channel for each
    direction; here the vote is made from the probabilities of any net, so that no net has to
    change: with the foreground class :math:`k`, neighbours :math:`i, j` and the cost map
    :math:`w`,

    .. math:: c_{ij} = p_{ik} p_{jk}, \quad y_{ij} = t_{ik} t_{jk}, \quad
              L = \frac{\sum_{k, ij} w_{ij} \, \mathrm{BCE}(c_{ij}, y_{ij})}{\sum_{k, ij} w_{ij}},
              \quad w_{ij} = \min(w_i, w_j)

    Args:
        include_background: Whether the connections of class 0 count.
        connectivity: ``full`` (8 neighbours, 26 in 3D) or ``face`` (4, 6).

    Shape:
        logits ``(B, K, [Z,] Y, X)``, target ``(B, 1, [Z,] Y, X)`` of integers, weight
        ``(B, 1, [Z,] Y, X)`` or ``None``; returns a scalar. Logits of one channel are those of
        class 1 against class 0.

    Example:
        Without any idea, each pixel has probability 1/2 and each pair 1/4:

        >>> target = torch.ones(1, 1, 4, 4, dtype=torch.long)
        >>> round(ConnectivityLoss()(torch.zeros(1, 2, 4, 4), target).exp().item(), 4)
        4.0
    """

    of_pixels = True
    takes_logits = True

    def __init__(self, *, include_background: bool = False, connectivity: str = "full") -> None:
        super().__init__()
        self.first = 0 if include_background else 1
        self.connectivity = check_choice("connectivity", connectivity, ("full", "face"))

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """See the class."""
        logits, labels, weight = prepared(logits, target, weight)
        inside, outside, truth = self._classes(logits, labels)
        counts = torch.ones_like(inside[:, :1]) if weight is None else weight
        total, norm = inside.new_zeros(()), inside.new_zeros(())
        for offset in self._offsets(logits.ndim - 2):
            (p, r), (q, s), (here, there), (w, v) = (
                _pair(image, offset) for image in (inside, outside, truth, counts)
            )
            # in logarithms: p r, and 1 - p r = (1 - p) + p (1 - r), which never round to 0
            cost = -torch.where(here * there > 0, p + r, torch.logaddexp(q, p + s))
            both = torch.minimum(w, v).expand_as(cost)
            total, norm = total + (cost * both).sum(), norm + both.sum()
        return total / divisor(norm)

    def _classes(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logarithms of p and of 1 - p, and the truth, of the classes that count."""
        if logits.shape[1] == 1:
            sigmoid = nn.functional.logsigmoid
            return sigmoid(logits), sigmoid(-logits), labels.to(logits.dtype)
        logs = logits.log_softmax(1)
        truth = torch.zeros_like(logs).scatter_(1, labels, 1.0)
        chosen = range(self.first, logs.shape[1])
        others = [
            torch.cat([logs[:, :k], logs[:, k + 1 :]], 1).logsumexp(1, keepdim=True) for k in chosen
        ]
        return logs[:, self.first :], torch.cat(others, 1), truth[:, self.first :]

    def _offsets(self, dims: int) -> list[tuple[int, ...]]:
        """Return one of each two opposite directions."""
        steps = [step for step in product((-1, 0, 1), repeat=dims) if step > (0,) * dims]
        if self.connectivity == "face":
            steps = [step for step in steps if sum(map(abs, step)) == 1]
        return steps


def _pair(image: Tensor, offset: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return an image and its shifted self, both cut to where they overlap."""
    first, second = image, image
    for axis, step in enumerate(offset, start=2):
        size = image.shape[axis] - abs(step)
        first = first.narrow(axis, max(0, -step), max(0, size))
        second = second.narrow(axis, max(0, step), max(0, size))
    return first, second
