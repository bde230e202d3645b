"""The loss of a task: a weighted sum of named terms, each of which may set in later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every reader of torch code knows
from torch import Tensor, nn

from imtoolkit.core.batch import WEIGHT
from imtoolkit.core.errors import ComponentError, listed

Raw = Tensor | Mapping[str, Tensor]


@dataclass(frozen=True)
class Term:
    """One term of the sum.

    Attributes:
        name: Name under which it is logged.
        loss: ``loss(prediction, target, weight=None)`` that returns a scalar.
        weight: Factor in the sum.
        warmup_steps: Optimizer steps during which the term counts as zero.
        prediction: Name of the output it reads, where the net returns several.
        target: Key of the batch it compares with.
    """

    name: str
    loss: nn.Module
    weight: float = 1.0
    warmup_steps: int = 0
    prediction: str | None = None
    target: str = "target"


class WeightedSum(nn.Module):
    r""":math:`\sum_k w_k [s \ge s_k] L_k`, with the number of optimizer steps :math:`s`.

    During its warm-up a term is multiplied by zero and not left out: it is still logged, its graph
    stays whole (distributed training needs a gradient for each weight, also where the term is the
    only one), and a NaN in it is seen.

    Args:
        terms: The terms; their names differ.

    Example:
        >>> from imtoolkit.losses.dice import DiceLoss
        >>> total = WeightedSum([Term("dice", DiceLoss(), weight=2.0)])
        >>> batch = {"target": torch.randint(2, (1, 1, 8, 8))}
        >>> loss, terms = total(torch.randn(1, 2, 8, 8), batch)
        >>> torch.equal(loss, 2 * terms["dice"])
        True
    """

    def __init__(self, terms: Iterable[Term]) -> None:
        super().__init__()
        self.terms = tuple(terms)
        if not self.terms:
            message = "got no term; expected at least one loss"
            raise ValueError(message)
        self.parts = nn.ModuleList([term.loss for term in self.terms])

    def forward(
        self, raw: Raw, batch: Mapping[str, Any], step: int | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum, and each term without its weight.

        Args:
            raw: Output of the net: ``(B, K, [Z,] Y, X)``, or named ones.
            batch: Holds the targets, and the cost map under ``weight``.
            step: Optimizer steps done so far; ``None`` (validation) counts every term in full.

        Raises:
            ComponentError: If the output or the key that a term reads is not there.
        """
        values: dict[str, Tensor] = {}
        total: Tensor | None = None
        for term in self.terms:
            value = term.loss(_picked(raw, term), _target_of(batch, term), weight=batch.get(WEIGHT))
            waits = step is not None and step < term.warmup_steps
            share = value * (0.0 if waits else term.weight)
            total = share if total is None else total + share
            values[term.name] = value.detach()
        assert total is not None  # there is at least one term
        return total, values


class DeepSupervision(nn.Module):
    r"""The loss of outputs of several resolutions, each counting half of the one above it.

    :math:`\sum_i 2^{-i} L_i / \sum_i 2^{-i}`, as in nnU-Net (Isensee et al., Nature Methods 2021);
    targets and cost maps are resized with the nearest neighbour. A single output passes through.

    Args:
        loss: Applied to each output.
    """

    def __init__(self, loss: WeightedSum) -> None:
        super().__init__()
        self.loss = loss

    def forward(
        self, outputs: Sequence[Tensor] | Raw, batch: Mapping[str, Any], step: int | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted loss and terms; ``outputs`` has the main output first."""
        if isinstance(outputs, (Tensor, Mapping)):
            return self._of_one(outputs, batch, step)
        read = {WEIGHT, *(term.target for term in self.loss.terms)}
        maps = {key: value for key, value in batch.items() if key in read}
        factors = [0.5**level for level in range(len(outputs))]
        results = [self._of_one(output, _resized(maps, output), step) for output in outputs]
        shares = [factor / sum(factors) for factor in factors]
        total = torch.stack([s * loss for s, (loss, _) in zip(shares, results, strict=True)]).sum()
        terms = {
            name: torch.stack(
                [s * t[name] for s, (_, t) in zip(shares, results, strict=True)]
            ).sum()
            for name in results[0][1]
        }
        return total, terms

    def _of_one(
        self, raw: Raw, batch: Mapping[str, Any], step: int | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        result: tuple[Tensor, dict[str, Tensor]] = self.loss(raw, batch, step)
        return result


def _resized(batch: Mapping[str, Any], like: Tensor) -> dict[str, Any]:
    """Bring every spatial tensor of a batch to the size of an output, by the nearest neighbour."""
    size = like.shape[2:]
    return {
        key: _nearest(value, size)
        if isinstance(value, Tensor) and value.ndim == like.ndim and value.shape[2:] != size
        else value
        for key, value in batch.items()
    }


def _nearest(image: Tensor, size: Sequence[int]) -> Tensor:
    # interpolation wants floats; float64 holds every label exactly
    exact = image if image.is_floating_point() else image.double()
    return F.interpolate(exact, tuple(size), mode="nearest-exact").to(image.dtype)


def _picked(raw: Raw, term: Term) -> Tensor:
    if isinstance(raw, Tensor):
        if term.prediction is None:
            return raw
        message = (
            f"loss term '{term.name}' reads the output '{term.prediction}', but the net returns "
            "one tensor: leave 'prediction' out"
        )
        raise ComponentError(message)
    if term.prediction is not None and term.prediction in raw:
        return raw[term.prediction]
    message = (
        f"loss term '{term.name}' reads the output {term.prediction!r}, but the net returns "
        f"{listed(list(raw))}: set 'prediction' to one of them"
    )
    raise ComponentError(message)


def _target_of(batch: Mapping[str, Any], term: Term) -> Tensor:
    target = batch.get(term.target)
    if isinstance(target, Tensor):
        return target
    message = (
        f"loss term '{term.name}' compares with '{term.target}', but the batch holds "
        f"{listed(list(batch))}: set 'target' to one of them"
    )
    raise ComponentError(message)
