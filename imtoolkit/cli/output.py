"""What a command prints: text for people, one JSON object for scripts, or nothing.

`imtoolkit.cli.main` makes the `Output` of a call from ``--quiet`` and ``--json``; a command asks
for it with `out`, and for the dotted overrides of its command line with `overrides`.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass
class Output:
    """Prints for people, for scripts, or not at all.

    Attributes:
        quiet: Print nothing but errors, warnings and what was asked for by `show`.
        json: Print one JSON object, made of all that `result` was given, when the command ends.
    """

    quiet: bool = False
    json: bool = False
    _result: dict[str, Any] = field(default_factory=dict)

    @property
    def talks(self) -> bool:
        """Whether text for people is wanted."""
        return not (self.quiet or self.json)

    def say(self, text: str = "") -> None:
        """Print a line about what happens."""
        if self.talks:
            print(text, flush=True)

    def show(self, text: str) -> None:
        """Print what the command was asked for; ``--quiet`` prints it too."""
        if not self.json:
            print(text, flush=True)

    def read(self, what: str, path: str | Path) -> None:
        """Tell which file or folder was read."""
        self.say(f"read   {what}: {path}")

    def wrote(self, what: str, path: str | Path) -> None:
        """Tell which file or folder was written."""
        self.say(f"wrote  {what}: {path}")

    def warn(self, text: str) -> None:
        """Print a warning to the error stream."""
        print(f"warning: {text}", file=sys.stderr, flush=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> None:
        """Print a table; numbers are aligned to the right."""
        if self.talks:
            print(format_table(columns, rows, title), flush=True)

    def result(self, **values: Any) -> None:
        """Add values to the JSON object that ``--json`` prints."""
        self._result.update(values)

    def progress(self, items: Iterable[T], what: str, total: int | None = None) -> Iterable[T]:
        """Show a progress bar while items are used, where a terminal is attached."""
        if not self.talks or not sys.stderr.isatty():
            return items
        from rich.console import Console
        from rich.progress import track

        return track(items, description=what, total=total, console=Console(stderr=True))

    def finish(self) -> None:
        """Print the JSON object, if that is wanted."""
        if self.json:
            print(json.dumps(plain(self._result), indent=2, ensure_ascii=False), flush=True)


def plain(value: Any) -> Any:
    """Turn a value into what JSON can hold: NaN and infinity become null, arrays become lists."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def format_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> str:
    """Return a table as text.

    Example:
        >>> print(format_table(["class", "dice"], [["nucleus", 0.91234], ["all", 0.9]]))
        class     dice
        nucleus  0.912
        all      0.900
    """
    cells = [list(columns), *([_cell(value) for value in row] for row in rows)]
    rows_of_values = [list(row) for row in cells[1:]]
    widths = [max(len(row[number]) for row in cells) for number in range(len(columns))]
    right = [
        bool(rows_of_values) and all(_looks_numeric(row[number]) for row in rows_of_values)
        for number in range(len(columns))
    ]
    lines = [
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in cells
    ]
    return "\n".join([title, *lines] if title else lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _looks_numeric(text: str) -> bool:
    return text == "-" or text[:1].isdigit() or text[:2].lstrip("-+")[:1].isdigit() or text == "nan"


_current = Output()
_overrides: list[str] = []


def start(output: Output, words: Sequence[str]) -> None:
    """Set the output and the overrides of this call; `imtoolkit.cli.main` does it."""
    global _current
    _current = output
    _overrides[:] = words


def out() -> Output:
    """Return the output of this call."""
    return _current


def overrides() -> list[str]:
    """Return the words of the dotted overrides, such as ``["--trainer.max_epochs", "5"]``."""
    return list(_overrides)
