"""Features of several branches made one: beside each other, or combined number by number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from imtoolkit.core.errors import ComponentError, did_you_mean, listed

from .features import Features
from .resizing import resized


def _difference(parts: Sequence[Tensor]) -> Tensor:
    return (parts[0] - parts[1]).abs()


def _both(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([*parts, _difference(parts)], dim=1)


JOINS: Final[dict[str, Callable[[Sequence[Tensor]], Tensor]]] = {
    "concat": lambda parts: torch.cat(list(parts), dim=1),
    "sum": lambda parts: torch.stack(list(parts)).sum(0),
    "mean": lambda parts: torch.stack(list(parts)).mean(0),
    "max": lambda parts: torch.stack(list(parts)).amax(0),
    "difference": _difference,
    "both": _both,
}
"""Name -> how tensors of several branches become one; ``both`` is concat and difference."""

PAIRS: Final = ("difference", "both")
"""Those that take exactly two branches."""


def check_join(join: str, count: int) -> str:
    """Return the name of a join.

    Raises:
        ComponentError: If it is unknown, or does not take this number of branches.
    """
    if join not in JOINS:
        message = f"unknown join '{join}'.{did_you_mean(join, JOINS)} Known: {listed(list(JOINS))}"
        raise ComponentError(message)
    if join in PAIRS and count != 2:
        message = f"join '{join}' takes two branches, got {count}. Take concat, sum, mean or max"
        raise ComponentError(message)
    return join


def joined_channels(channels: int, join: str, count: int) -> int:
    """Return how many channels a join of equal branches gives.

    Example:
        >>> joined_channels(8, "both", 2), joined_channels(8, "sum", 3)
        (24, 8)
    """
    factor = {"concat": count, "both": count + 1}.get(join, 1)
    return channels * factor


def joined(branches: Sequence[Features], join: str) -> Features:
    """Join the features of branches, level by level where they are lists of maps.

    Maps of other sizes than the first branch's are resampled to its size.

    Args:
        branches: One for each branch: all tensors, or all lists of equal length.
        join: Name in `JOINS`.

    Raises:
        ComponentError: If the branches do not match.

    Example:
        >>> pair = [torch.ones(1, 2, 4, 4), torch.ones(1, 2, 4, 4)]
        >>> joined(pair, "concat").shape, float(joined(pair, "difference").sum())
        (torch.Size([1, 4, 4, 4]), 0.0)
    """
    lists = [branch if isinstance(branch, list) else [branch] for branch in branches]
    if len({len(items) for items in lists}) > 1:
        counts = listed([str(len(items)) for items in lists])
        message = f"the branches give {counts} feature maps; take nets that give equally many"
        raise ComponentError(message)
    made = [_level(parts, join) for parts in zip(*lists, strict=True)]
    return made if isinstance(branches[0], list) else made[0]


def _level(parts: Sequence[Tensor], join: str) -> Tensor:
    first = parts[0]
    if any(part.ndim != first.ndim for part in parts):
        shapes = listed([str(list(part.shape[1:])) for part in parts])
        message = f"the branches give {shapes}: vectors and maps cannot be joined"
        raise ComponentError(message)
    size = tuple(first.shape[2:])
    same = [resized(part, size) for part in parts]
    if join != "concat" and len({part.shape[1] for part in same}) > 1:
        widths = listed([str(part.shape[1]) for part in same])
        message = f"the branches give {widths} channels, which '{join}' cannot join; take concat"
        raise ComponentError(message)
    return JOINS[join](same)
