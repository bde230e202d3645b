"""A converted config as YAML: how it came about stands in comments at its head."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from imtoolkit.config.dump import ConfigDumper

from .report import Outcome, Row, counted, rows

if TYPE_CHECKING:
    from .conversion import Conversion

_WIDTH: Final = 100
_TITLES: Final = {
    Outcome.LOST: "Without counterpart",
    Outcome.CARRIED: "Carried over",
    Outcome.IMPLIED: "Implied: need not be written here",
}


def as_yaml(conversion: Conversion, new: str | Path | None = None) -> str:
    """Return the config with its report."""
    head = "\n".join(f"# {printable(line)}".rstrip() for line in _head(conversion, new))
    return f"{head}\n\n{dumped(conversion.config)}"


def printable(text: str) -> str:
    r"""Return a text in one line, with escapes for what does not print.

    Keys and values of an old file come into comments: YAML ends a comment at more than a newline,
    and what follows would be read as config.

    Example:
        >>> printable("a\u2028plugins: [evil.py]\n")
        'a\\u2028plugins: [evil.py]\\n'
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def dumped(config: dict[str, Any]) -> str:
    """Return plain values as YAML, with a blank line before each section."""
    text = yaml.dump(config, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=_WIDTH)
    return re.sub(r"\n(?=\w)", "\n\n", text)


class _Dumper(ConfigDumper):
    """Writes a component in one line where it fits, and indents lists."""

    def represent_dict(self, data: Any) -> Any:
        """See the class."""
        node = super().represent_dict(data)
        if "name" in data and len(str(data)) <= _WIDTH - 12:
            node.flow_style = True
        return node

    def represent_list(self, data: Any) -> Any:
        """See the class."""
        node = super().represent_list(data)
        if len(str(data)) <= _WIDTH - 30 and not any(isinstance(item, dict) for item in data):
            node.flow_style = True
        return node

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
        """See the class."""
        return super().increase_indent(flow, False)


_Dumper.add_representer(dict, _Dumper.represent_dict)
_Dumper.add_representer(list, _Dumper.represent_list)


def _head(conversion: Conversion, new: str | Path | None) -> list[str]:
    counts = counted(conversion.report)
    told = ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
    lines = [
        f"Converted from {conversion.source.name}, a file of mmv_im2im, by: imtoolkit convert",
        f"Of its keys: {told}.",
        "",
        *(f"  {command}" for command in conversion.commands_for(new)),
    ]
    for text in conversion.remarks:
        lines += ["", *_wrapped(f"- {text}", "  ")]
    for outcome, title in _TITLES.items():
        found = [entry for entry in conversion.report if entry.outcome is outcome]
        if found:
            lines += ["", f"{title}:"]
            lines += [line for row in rows(found) for line in _row(row)]
    return lines


def _row(row: Row) -> list[str]:
    entry = row.entry
    value = f" = {_short(entry.value)}" if row.count == 1 else ""
    to = f" -> {entry.to}" if entry.to else ""
    note = f": {entry.note}" if entry.note else ""
    return _wrapped(f"  {row.keys}{value}{to}{note}", "      ")


def _short(value: Any) -> str:
    text = yaml.dump(value, Dumper=ConfigDumper, default_flow_style=True, width=10_000).strip()
    text = text.removesuffix("...").strip()
    return text if len(text) <= 60 else f"{text[:57]}..."


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH - 2, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
