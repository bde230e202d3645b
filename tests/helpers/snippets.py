"""The fenced blocks of a Markdown page, and how each of them is run.

A comment on the line before a block may change what happens to it:

    <!-- snippet: file my_net.py -->      the block is written to this file first
    <!-- snippet: not run, because ... -->  nothing is done with it

Otherwise a ``yaml`` block is loaded as a config: as it is when it has ``data`` and ``task``, and
merged over a small complete config when it shows only a part. ``python`` blocks of a page run one
after the other in one namespace. ``bash`` blocks run line by line. ``text`` blocks show output.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

KNOWN = {"yaml", "python", "bash", "text", "csv", ""}
_COMMENT = re.compile(r"^\s*<!-- snippet: (?P<what>.*?) -->\s*$")
_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>```+)(?P<language>\w*)(?P<options>.*)$")


@dataclass(frozen=True)
class Snippet:
    """One fenced block.

    Attributes:
        language: The word after the backticks.
        text: What stands between the fences, without the fence's indentation.
        line: Line of the opening fence, counted from 1.
        file: Name of the file it is written to first.
        skipped: Why it is not run; empty when it is.
    """

    language: str
    text: str
    line: int
    file: str = ""
    skipped: str = ""


def snippets(page: Path) -> list[Snippet]:
    """Return the fenced blocks of a page in order.

    Raises:
        ValueError: If a block has an unknown language or no end, or its comment says nothing.
    """
    lines = page.read_text(encoding="utf-8").splitlines()
    found, i = [], 0
    while i < len(lines):
        fence = _FENCE.match(lines[i])
        if fence is None:
            i += 1
            continue
        end = _end(page, lines, i, fence["indent"] + fence["ticks"])
        if fence["language"] not in KNOWN:
            message = f"{page.name}:{i + 1}: nobody runs a block of language '{fence['language']}'"
            raise ValueError(message)
        text = "\n".join(line.removeprefix(fence["indent"]) for line in lines[i + 1 : end]) + "\n"
        file, skipped = _told(page, i, lines[i - 1] if i else "")
        found.append(Snippet(fence["language"], text, i + 1, file, skipped))
        i = end + 1
    return found


def _end(page: Path, lines: list[str], start: int, fence: str) -> int:
    for i in range(start + 1, len(lines)):
        if lines[i].rstrip() == fence:
            return i
    message = f"{page.name}:{start + 1}: the block is not closed"
    raise ValueError(message)


def _told(page: Path, line: int, before: str) -> tuple[str, str]:
    comment = _COMMENT.match(before)
    if comment is None:
        return "", ""
    what = comment["what"]
    if what.startswith("file "):
        return what.removeprefix("file ").strip(), ""
    if what.startswith("not run, "):
        return "", what.removeprefix("not run, ")
    message = f"{page.name}:{line}: 'snippet: {what}' is neither 'file NAME' nor 'not run, because'"
    raise ValueError(message)


def command_lines(text: str) -> list[str]:
    """Return the commands of a bash block, continued lines joined, without comments."""
    joined = re.sub(r"\\\n\s*", " ", text)
    lines = (
        re.sub(r"\s+#.*$", "", line).removeprefix("$ ").strip() for line in joined.splitlines()
    )
    return [line for line in lines if line and not line.startswith("#")]
