"""Which classes may touch and which must lie inside which, as a regulariser."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every reader of torch code knows
from torch import Tensor, nn

from .images import check_choice, mean_of
from .labels import prepared


class TopologicalInteractionLoss(nn.Module):
    r"""Cross-entropy of the pixels where the predicted classes touch though they must not.

    Gupta et al., "Learning topological interactions for multi-class medical image segmentation",
    ECCV 2022. Two classes that must not touch are critical where the dilation of one predicted
    mask meets the other; an inner class must touch its outer one and no other class. With the
    critical pixels :math:`V` and the cost map :math:`w`:

    .. math:: L = \frac{\sum_i w_i V_i (-\log p_{i, t_i})}{\sum_i w_i}

    A regulariser: weigh it low beside a loss such as ``dice_ce``, and let it set in later.

    Args:
        exclusions: Pairs of classes that must not touch.
        inclusions: Pairs ``[inner, outer]``: the inner class may touch nothing but the outer one.
        distance: How near counts as touching, in pixels.
        connectivity: ``full`` (diagonal neighbours touch) or ``face``.

    Shape:
        logits ``(B, K, [Z,] Y, X)``, target ``(B, 1, [Z,] Y, X)`` of integers, weight
        ``(B, 1, [Z,] Y, X)`` or ``None``; returns a scalar, 0 where nothing touches wrongly.

    Example:
        >>> row = torch.tensor([0, 1, 2, 2, 0]).reshape(1, 1, 1, 5)  # 1 and 2 touch once
        >>> loss = TopologicalInteractionLoss(exclusions=[[1, 2]])
        >>> loss.critical(row, classes=3).flatten().long().tolist()
        [0, 1, 1, 0, 0]
    """

    of_pixels = True
    takes_logits = True

    def __init__(
        self,
        *,
        exclusions: Sequence[Sequence[int]] = (),
        inclusions: Sequence[Sequence[int]] = (),
        distance: int = 1,
        connectivity: str = "full",
    ) -> None:
        super().__init__()
        pairs = [*exclusions, *inclusions]
        if not pairs or any(len(pair) != 2 or pair[0] == pair[1] for pair in pairs):
            message = (
                f"got exclusions {list(exclusions)}, inclusions {list(inclusions)}; expected pairs "
                "of different class numbers, such as exclusions: [[1, 2]]"
            )
            raise ValueError(message)
        if distance < 1:
            message = f"got distance {distance}; expected 1 pixel or more"
            raise ValueError(message)
        self.exclusions = [tuple(pair) for pair in exclusions]
        self.inclusions = [tuple(pair) for pair in inclusions]
        self.distance = distance
        self.connectivity = check_choice("connectivity", connectivity, ("full", "face"))

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """See the class."""
        logits, labels, weight = prepared(logits, target, weight)
        found = logits.argmax(1, keepdim=True)
        if weight is not None:
            found = torch.where(weight > 0, found, -1)
        critical = self.critical(found, logits.shape[1])
        cost = F.cross_entropy(logits, labels[:, 0], reduction="none")[:, None]
        return mean_of(cost * critical, weight)

    def critical(self, labels: Tensor, classes: int) -> Tensor:
        """Return where classes touch that must not, as 0 and 1.

        Args:
            labels: ``(B, 1, [Z,] Y, X)`` of integers; what is negative touches nothing.
            classes: Number of classes.

        Raises:
            ValueError: If a pair names a class that is not there.
        """
        named = [number for pair in (*self.exclusions, *self.inclusions) for number in pair]
        if min(named) < 0 or max(named) >= classes:
            message = f"got pairs of the classes {sorted(set(named))}; expected 0 to {classes - 1}"
            raise ValueError(message)
        found = torch.zeros_like(labels, dtype=torch.bool)
        for first, second in self.exclusions:
            found |= self._contact(labels == first, labels == second)
        for inner, outer in self.inclusions:
            found |= self._contact(labels == inner, self._others(labels, inner, outer))
        return found.float()

    def _others(self, labels: Tensor, inner: int, outer: int) -> Tensor:
        return (labels >= 0) & (labels != inner) & (labels != outer)

    def _contact(self, first: Tensor, second: Tensor) -> Tensor:
        return (self._dilated(first) & second) | (self._dilated(second) & first)

    def _dilated(self, mask: Tensor) -> Tensor:
        dims = mask.ndim - 2
        pool = F.max_pool2d if dims == 2 else F.max_pool3d
        image = mask.float()
        if self.connectivity == "full":
            return pool(image, 2 * self.distance + 1, 1, self.distance) > 0
        for _ in range(self.distance):
            sides = [[3 if axis == own else 1 for axis in range(dims)] for own in range(dims)]
            grown = [pool(image, side, 1, [size // 2 for size in side]) for side in sides]
            image = torch.stack(grown).amax(0)
        return image > 0
