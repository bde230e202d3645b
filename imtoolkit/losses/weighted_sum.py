"""The loss of a task: a weighted sum of named terms, each of which may set in later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from imtoolkit.core.batch import WEIGHT

from .term import Raw, Term, nearest

__all__ = ["DeepSupervision", "Raw", "Term", "WeightedSum"]


class WeightedSum(nn.Module):
    r""":math:`\sum_k w_k [s \ge s_k] L_k`, with the number of optimizer steps :math:`s`.

    During its warm-up a term is multiplied by zero and not left out: it is still logged, its graph
    stays whole (distributed training needs a gradient for each weight, also where the term is the
    only one), and a NaN in it is seen. Terms are computed in float32, also under autocast.

    Args:
        terms: The terms; their names differ.

    Attributes:
        last_terms: The terms of the last call, which tell which one a bad loss comes from.

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
        self.last_terms: dict[str, Tensor] = {}

    def forward(
        self, raw: Raw, batch: Mapping[str, Any], step: int | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum, and each term without its weight.

        A loss of parts tells them by its ``last_parts``; they stand after it as ``term/part``.

        Args:
            raw: Output of the net: ``(B, K, [Z,] Y, X)`` or ``(B, K)``, or named ones.
            batch: Holds the targets, and the cost map under ``weight``.
            step: Optimizer steps done so far; ``None`` (validation) counts every term in full.
                There a number that the net computed in training, and that is not there, is left
                out: images are predicted tile by tile.

        Raises:
            ComponentError: If the output or the key that a term reads is not there, or does not
                fit its loss.
        """
        first = raw if isinstance(raw, Tensor) else next(iter(raw.values()))
        total, values = first.new_zeros((), dtype=torch.float32), {}
        with torch.autocast(first.device.type, enabled=False):
            for term in self.terms:
                if step is None and term.is_absent(raw):
                    continue
                value = term.value(raw, batch)
                waits = step is not None and step < term.warmup_steps
                total = total + value * (0.0 if waits else term.weight)
                values[term.name] = value.detach()
                values |= {f"{term.name}/{part}": own for part, own in _parts(term.loss).items()}
        self.last_terms = values
        return total, dict(values)


class DeepSupervision(nn.Module):
    r"""The loss of outputs of several resolutions, each counting half of the one above it.

    :math:`\sum_i 2^{-i} L_i / \sum_i 2^{-i}`, as in nnU-Net (Isensee et al., Nature Methods 2021);
    targets and cost maps are resized with the nearest neighbour. A single output passes through.

    Args:
        loss: Applied to each output.

    Attributes:
        last_terms: See `WeightedSum`.
    """

    def __init__(self, loss: WeightedSum) -> None:
        super().__init__()
        self.loss = loss
        self.last_terms: dict[str, Tensor] = {}

    def forward(
        self, outputs: Sequence[Tensor] | Raw, batch: Mapping[str, Any], step: int | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted loss and terms; ``outputs`` has the main output first."""
        if isinstance(outputs, (Tensor, Mapping)):
            total, terms = self._of_one(outputs, batch, step)
        else:
            total, terms = self._of_several(outputs, batch, step)
        self.last_terms = terms
        return total, dict(terms)

    def _of_several(
        self, outputs: Sequence[Tensor], batch: Mapping[str, Any], step: int | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        read = {WEIGHT, *(term.target for term in self.loss.terms)}
        # where a target is absent, the message names what there is
        whole = any(term.target not in batch for term in self.loss.terms)
        maps = {key: value for key, value in batch.items() if whole or key in read}
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


def _parts(loss: nn.Module | None) -> dict[str, Tensor]:
    """Return the parts of the last value of a loss, or of the one that it wraps."""
    while loss is not None:
        if hasattr(loss, "last_parts"):
            parts: Any = loss.last_parts
            return dict(parts)
        loss = getattr(loss, "loss", None)
    return {}


def _resized(batch: Mapping[str, Any], like: Tensor) -> dict[str, Any]:
    """Bring every spatial tensor of a batch to the size of an output, by the nearest neighbour."""
    return {
        key: nearest(value, like.shape[2:])
        if isinstance(value, Tensor) and value.ndim == like.ndim > 2
        else value
        for key, value in batch.items()
    }
