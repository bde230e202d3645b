"""Numbers of components and holes that a segmentation must have, by persistent homology."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from imtoolkit.core.errors import MissingPackageError

from .forms import nothing_of
from .labels import prepared


class PersistentHomologyLoss(nn.Module):
    r"""Makes as many components and holes certain as there shall be, and the others vanish.

    The features of the probability map of a class - components, loops (2D: holes; 3D: tunnels),
    in 3D cavities - are born at a probability :math:`b` and die at a smaller one :math:`d` as the
    threshold falls. With the wanted numbers :math:`\beta_m` (Betti numbers), the :math:`\beta_m`
    most persistent features of dimension :math:`m` shall have :math:`b = 1, d = 0`, and the others
    shall have :math:`b = d`:

    .. math:: L = \frac{1}{B K'} \sum_{b, k, m} \Big( \sum_{j \le \beta_m} (1 - b_j)^2 + d_j^2
              + \sum_{j > \beta_m} \tfrac{1}{2} (b_j - d_j)^2 \Big)

    With the numbers of the target it is Hu et al., "Topology-preserving deep image segmentation",
    NeurIPS 2019, whose matching of a binary target picks the most persistent features; with
    numbers known beforehand it is that of Clough et al., "A topological loss function", IEEE TPAMI
    2022. Pixels touch at corners. The features are found on the processor, in time that grows a
    little faster than the number of pixels: take small patches, and let it set in late.

    Args:
        betti: Wanted numbers ``[components, holes]``, in 3D ``[components, tunnels, cavities]``,
            the same for every patch; counted in the target when left out.
        foreground: Numbers of the classes that count; all but 0 when left out.
        dimensions: Dimensions of the features that count; all when left out.

    Shape:
        logits ``(B, K, [Z,] Y, X)``, target ``(B, 1, [Z,] Y, X)`` of integers; returns a scalar.
        It takes no cost map, since a component belongs to no pixel.

    Raises:
        MissingPackageError: If the package ``gudhi`` is not installed.

    Example:
        >>> ring = torch.zeros(1, 1, 7, 7, dtype=torch.long)
        >>> ring[..., 1:6, 1:6], ring[..., 2:5, 2:5] = 1, 0
        >>> logits = torch.cat([-20 * (ring - 0.5), 20 * (ring - 0.5)], 1)
        >>> loss = PersistentHomologyLoss(betti=[1, 1])  # one component with one hole
        >>> round(loss(logits, ring).item(), 4)
        0.0
    """

    of_pixels = True
    takes_logits = True

    def __init__(
        self,
        *,
        betti: Sequence[int] | None = None,
        foreground: Sequence[int] | None = None,
        dimensions: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        _gudhi()
        if betti is not None and (len(betti) not in (2, 3) or min(betti) < 0):
            message = (
                f"got betti {list(betti)}; expected 2 numbers of 0 or more for images (components, "
                "holes), and 3 for volumes (components, tunnels, cavities)"
            )
            raise ValueError(message)
        self.betti = None if betti is None else tuple(betti)
        self.foreground = None if foreground is None else tuple(foreground)
        self.dimensions = None if dimensions is None else tuple(dimensions)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """See the class."""
        logits, labels, _ = prepared(logits, target, None)
        single = logits.shape[1] == 1
        likely = torch.cat([1 - logits.sigmoid(), logits.sigmoid()], 1) if single else None
        likely = logits.softmax(1) if likely is None else likely
        chosen = self._chosen(likely.shape[1], logits.ndim - 2)
        costs = [
            self._cost(likely[image, number], labels[image, 0] == number)
            for image in range(len(likely))
            for number in chosen
        ]
        return torch.stack(costs).mean() + nothing_of(logits)

    def _chosen(self, classes: int, dims: int) -> Sequence[int]:
        chosen = tuple(range(1, classes)) if self.foreground is None else self.foreground
        if any(not 0 <= number < classes for number in chosen):
            message = f"got foreground {list(chosen)}; expected classes from 0 to {classes - 1}"
            raise ValueError(message)
        if self.betti is not None and len(self.betti) != dims:
            message = f"got betti {list(self.betti)} for {dims}D images; expected {dims} numbers"
            raise ValueError(message)
        if any(not 0 <= dimension < dims for dimension in self.dimensions or ()):
            message = f"got dimensions {list(self.dimensions or ())}; expected 0 to {dims - 1}"
            raise ValueError(message)
        return chosen

    def _cost(self, likely: Tensor, mask: Tensor) -> Tensor:
        total = likely.new_zeros(())
        found = features(likely)
        if self.betti is None:
            truth = features(mask.to(likely.dtype))
            wanted = [int(((birth - death) > 0.5).sum()) for birth, death in truth]
        else:
            wanted = list(self.betti)
        for dimension, (birth, death) in enumerate(found):
            if self.dimensions is not None and dimension not in self.dimensions:
                continue
            order = (birth - death).detach().argsort(descending=True)
            kept, rest = order[: wanted[dimension]], order[wanted[dimension] :]
            total = total + ((1 - birth[kept]) ** 2 + death[kept] ** 2).sum()
            total = total + ((birth[rest] - death[rest]) ** 2).sum() / 2
        return total


def features(likely: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return the features of a map of probabilities, with a graph to the pixels that make them.

    Args:
        likely: ``([Z,] Y, X)``.

    Returns:
        For each dimension, components first, the probabilities at which features are born and
        those at which they die, ``(n,)`` each; what never dies does at 0.
    """
    values = 1 - likely.detach().cpu().numpy().astype(np.float64)
    complex_: Any = _gudhi().CubicalComplex(top_dimensional_cells=values)
    complex_.compute_persistence()
    pairs, endless = complex_.cofaces_of_persistence_pairs()
    # gudhi counts pixels with the first axis fastest
    flat = likely.permute(*reversed(range(likely.ndim))).flatten()
    found = []
    for dimension in range(likely.ndim):
        ends = pairs[dimension] if dimension < len(pairs) else np.empty((0, 2))
        stays = endless[dimension] if dimension < len(endless) else np.empty(0)
        ends = torch.as_tensor(np.asarray(ends, np.int64).reshape(-1, 2), device=likely.device)
        stays = torch.as_tensor(np.asarray(stays, np.int64).reshape(-1), device=likely.device)
        birth = torch.cat([flat[ends[:, 0]], flat[stays]])
        death = torch.cat([flat[ends[:, 1]], flat.new_zeros(len(stays))])
        found.append((birth, death))
    return found


def _gudhi() -> ModuleType:
    try:
        import gudhi
    except ImportError as error:
        name, extra = "gudhi", "topology"
        raise MissingPackageError(name, extra, "the loss 'persistent_homology'") from error
    module: ModuleType = gudhi
    return module
