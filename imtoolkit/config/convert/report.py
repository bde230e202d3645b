"""What became of each key of an old file: carried over, implied here, or without counterpart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Any, Final

from .old import Leaf


class Outcome(StrEnum):
    """What became of a key."""

    CARRIED = "carried over"
    IMPLIED = "implied"
    LOST = "no counterpart"


@dataclass(frozen=True)
class Entry:
    """What became of one key of an old file.

    Attributes:
        key: The key, written with dots; entries of lists are numbered from 0.
        value: What it held.
        outcome: What became of it.
        to: The key of the new config that holds it now, where there is one.
        note: Why, what differs, or what to do.
        line: Its line in the old file.
    """

    key: str
    value: Any
    outcome: Outcome
    to: str = ""
    note: str = ""
    line: int | None = None


UNKNOWN: Final = (
    "the converter does not know this key. Look for what it did with: imtoolkit explain"
)


class Ledger:
    """Keeps account of every value of an old file; whoever speaks of a value first decides.

    Args:
        leaves: All values of the old file, in its order.
    """

    def __init__(self, leaves: Iterable[Leaf]) -> None:
        self._leaves = {leaf.key: leaf for leaf in leaves}
        self._entries: dict[str, Entry] = {}

    def carried(self, key: str, to: str, note: str = "") -> None:
        """Tell that a key, or all that is left below it, stands in the new config."""
        self._settle(key, Outcome.CARRIED, to, note)

    def implied(self, key: str, why: str, to: str = "") -> None:
        """Tell that a key need not be written: it is so anyway, or follows from something else."""
        self._settle(key, Outcome.IMPLIED, to, why)

    def lost(self, key: str, why: str) -> None:
        """Tell that a key has no counterpart, why, and what to do."""
        self._settle(key, Outcome.LOST, "", why)

    def left(self, key: str = "") -> list[str]:
        """Return the keys at or below a key that nothing was said about yet."""
        return [name for name in self._below(key) if name not in self._entries]

    def entries(self) -> tuple[Entry, ...]:
        """Return one entry for each value, in the order of the file."""
        for key in self.left():
            self._settle(key, Outcome.LOST, "", UNKNOWN)
        return tuple(self._entries[key] for key in self._leaves)

    def _settle(self, key: str, outcome: Outcome, to: str, note: str) -> None:
        for name in self.left(key):
            leaf = self._leaves[name]
            written = leaf.written or name
            self._entries[name] = Entry(written, leaf.value, outcome, to, note, leaf.line)

    def _below(self, key: str) -> list[str]:
        start = f"{key}."
        return [name for name in self._leaves if not key or name == key or name.startswith(start)]


@dataclass(frozen=True)
class Row:
    """Neighbouring keys of which the same is to be said.

    Attributes:
        keys: What they are called together: the one key, or ``beginning.*``.
        entry: The first of them.
        count: How many they are.
    """

    keys: str
    entry: Entry
    count: int


def rows(entries: Sequence[Entry]) -> list[Row]:
    """Join neighbouring entries of one component of which the same is to be said.

    Example:
        >>> entries = [Entry(f"data.preprocess.0.{k}", 0, Outcome.IMPLIED, note="x") for k in "ab"]
        >>> [row.keys for row in rows(entries)]
        ['data.preprocess.0.*']
    """
    found = []
    for _, group in groupby(entries, key=_same):
        same = list(group)
        found.append(Row(_named(same), same[0], len(same)))
    return found


def _same(entry: Entry) -> tuple[str, ...]:
    return (entry.outcome, entry.to, entry.note, _component(entry.key))


def _component(key: str) -> str:
    """Return the part of a key up to the number in a list, or its section."""
    parts = key.split(".")
    for place, part in enumerate(parts):
        if part.isdecimal():
            return ".".join(parts[: place + 1])
    return ".".join(parts[:-1])


def _named(entries: Sequence[Entry]) -> str:
    if len(entries) == 1:
        return entries[0].key
    start = _shared([entry.key.split(".") for entry in entries])
    named = next((item.value for item in entries if item.key.endswith(".func_name")), None)
    return f"{start}.*" + (f" ({named})" if named else "")


def _shared(paths: Sequence[Sequence[str]]) -> str:
    shared: list[str] = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return ".".join(shared)


def counted(entries: Sequence[Entry]) -> dict[str, int]:
    """Return how many keys had each outcome.

    Example:
        >>> counted([Entry("mode", "train", Outcome.IMPLIED)])
        {'carried over': 0, 'implied': 1, 'no counterpart': 0}
    """
    return {str(outcome): sum(item.outcome is outcome for item in entries) for outcome in Outcome}
