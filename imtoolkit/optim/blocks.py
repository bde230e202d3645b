"""The blocks of a net in their order, from its input to its head.

What a block is, is read from how a net is built, not from its name:

- `nn.Sequential`, `nn.ModuleList` and `nn.ModuleDict` are no blocks; what they hold is looked at.
  The entries of a `nn.ModuleDict` (heads, streams) stand side by side: each counts from where the
  dict begins.
- A module around a single other one (as MONAI's `SkipConnection`) is no block either.
- The net itself, and a module that somewhere holds such a container with two or more composed
  parts (the stages of a ResNet, the blocks of a ViT), is looked into.
- Everything else is a block: a residual unit, a transformer block, a convolution with its norm.

Blocks are numbered in the order in which modules were registered, which is the order of the
computation in nearly all nets. Norms and other parts without a weight of two axes belong to the
block before them; weights that a module holds itself, such as a table of positions, to its first
block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from torch import Tensor, nn

_CONTAINERS: Final = (nn.Sequential, nn.ModuleList, nn.ModuleDict)

Block = list[tuple[str, Tensor]]
"""The named weights of a block."""


@dataclass(frozen=True)
class _SideBySide:
    """Branches of a net that are computed from the same, each a row of blocks."""

    branches: Sequence[Iterator[Block | _SideBySide]]


def block_numbers(net: nn.Module) -> dict[str, int]:
    """Return weight name -> number of its block, counted from the input.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1))
        >>> list(block_numbers(net).values())
        [0, 0, 0, 0, 1, 1]
    """
    numbers: dict[str, int] = {}
    _count(_blocks(net, "", top=True), numbers, set(), -1)
    return numbers


def _count(
    blocks: Iterator[Block | _SideBySide], numbers: dict[str, int], seen: set[int], number: int
) -> int:
    """Number the blocks that follow the one with ``number``; return the last number."""
    for item in blocks:
        if isinstance(item, _SideBySide):
            ends = [_count(branch, numbers, seen, number) for branch in item.branches]
            number = max(ends, default=number)
            continue
        weights = dict(item)
        fresh = {name: weight for name, weight in weights.items() if id(weight) not in seen}
        seen.update(id(weight) for weight in fresh.values())
        if not fresh:
            continue  # a part that is used twice counts where it comes first
        if number < 0 or any(weight.ndim > 1 for weight in fresh.values()):
            number += 1
        numbers.update(dict.fromkeys(fresh, number))
    return number


def _blocks(module: nn.Module, path: str, *, top: bool = False) -> Iterator[Block | _SideBySide]:
    """Yield the named weights of each block, and branches that stand side by side."""
    kids = _kids(module)
    own: Block = [
        (_join(path, name), weight) for name, weight in module.named_parameters(recurse=False)
    ]
    inside = type(module) in _CONTAINERS or (len(kids) == 1 and not own) or top or _holds(module)
    if not kids or not inside:
        yield [(_join(path, name), weight) for name, weight in module.named_parameters()]
        return
    rows = [_blocks(kid, _join(path, name)) for name, kid in kids]
    if type(module) is nn.ModuleDict:
        yield _SideBySide(rows)
        return
    for item in chain.from_iterable(rows):
        if isinstance(item, _SideBySide):
            if own:
                yield own
            yield item
        else:
            yield [*own, *item]
        own = []


def _kids(module: nn.Module) -> list[tuple[str, nn.Module]]:
    return [
        (name, kid) for name, kid in module.named_children() if any(True for _ in kid.parameters())
    ]


def _holds(module: nn.Module) -> bool:
    """Tell whether a container of two or more composed parts lies somewhere in a module."""
    for part in module.modules():
        composed = [kid for _, kid in _kids(part) if _kids(kid)]
        if type(part) in _CONTAINERS and len(composed) > 1:
            return True
    return False


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
