"""Block strings: which cells stand at a level of the net, such as ``"L1G1T1"``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

KINDS: Final = {
    "L": "local attention, within windows",
    "G": "global attention, across windows",
    "T": "temporal attention, across frames",
    "V": "ViT attention, across all patches of a frame",
    "C2": "2D convolution",
    "C3": "3D convolution",
}
"""Letter of a cell and what it stands for."""

_CELL: Final = re.compile(r"(C[23]|[LGTV])([01])")
GRAMMAR: Final = (
    "a block is one or more cells; a cell is a kind and 0 (without mixer) or 1 (with mixer): "
    + "; ".join(f"{letter} {meaning}" for letter, meaning in KINDS.items())
    + ". Examples: L1G1T1, C21C31, T1L0V1"
)


@dataclass(frozen=True)
class CellSpec:
    """One cell of a block.

    Attributes:
        kind: A key of `KINDS`.
        mixer: Whether a mixer follows.
    """

    kind: str
    mixer: bool

    def __str__(self) -> str:
        return f"{self.kind}{int(self.mixer)}"


def parse_block_string(text: str) -> tuple[CellSpec, ...]:
    """Read the cells of a block.

    Args:
        text: Cells one after the other: ``L``, ``G``, ``T``, ``V``, ``C2`` or ``C3``, each with
            ``1`` (a mixer follows) or ``0``.

    Raises:
        ValueError: With the grammar, what was read, and where it stopped.

    Example:
        >>> "".join(map(str, parse_block_string("L1G0C31")))
        'L1G0C31'
    """
    cells: list[CellSpec] = []
    place = 0
    while place < len(text):
        found = _CELL.match(text, place)
        if found is None:
            raise ValueError(_stopped(text, place, cells))
        cells.append(CellSpec(found[1], found[2] == "1"))
        place = found.end()
    if not cells:
        raise ValueError(_stopped(text, place, cells))
    return tuple(cells)


def parse_levels(blocks: str | Sequence[str], levels: int) -> list[tuple[CellSpec, ...]]:
    """Read one block string for each level of resolution, finest first.

    Args:
        blocks: One for all levels, or one for each.
        levels: How many levels the net has.

    Raises:
        ValueError: If their number is another, or one of them makes no sense.

    Example:
        >>> [len(cells) for cells in parse_levels(["L1", "L1G1T1"], 2)]
        [1, 3]
    """
    each = [blocks] * levels if isinstance(blocks, str) else list(blocks)
    if len(each) != levels:
        message = (
            f"got {len(each)} block string(s) {each} for {levels} levels of resolution; "
            "give one for all levels, or one for each"
        )
        raise ValueError(message)
    return [parse_block_string(text) for text in each]


def _stopped(text: str, place: int, cells: Sequence[CellSpec]) -> str:
    read = "".join(map(str, cells))
    so_far = f"read '{read}', then stopped" if read else "stopped"
    rest = text[place:]
    at = f"at character {place + 1}, '{rest}'" if rest else "at its end: it is empty"
    hint = ""
    if re.match(r"[LGTV](?![01])|C[23](?![01])", rest):
        hint = " (0 or 1 is missing behind the kind)"
    elif re.match(r"C[01]", rest):
        hint = " (2 or 3 is missing behind C)"
    elif rest and rest != rest.upper():
        hint = " (kinds are capital letters)"
    return f"block string '{text}' makes no sense: {so_far} {at}{hint}. The grammar: {GRAMMAR}"
