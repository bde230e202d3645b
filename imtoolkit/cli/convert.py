"""``imtoolkit convert``: YAML files of mmv_im2im become configs, with an account of each key."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Optional

import typer

from imtoolkit.core.errors import ConfigError, ImtoolkitError, Problem

from .output import out

if TYPE_CHECKING:
    from imtoolkit.config.convert import Conversion

_WIDE: Final = 140
"""Width of the table where no terminal tells its own."""

_SUFFIXES: Final = (".yaml", ".yml")
_COLOURS: Final = {"carried over": "green", "implied": "dim", "no counterpart": "yellow"}


def convert(
    files: Annotated[
        list[str],
        typer.Argument(help="OLD.yaml [NEW.yaml], or several old files and folders of them."),
    ],
    output: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it at run time
        typer.Option("--output", "-o", help="Folder for the new files; left out, beside the old."),
    ] = None,
    inference: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--with", help="Inference file that belongs to the training file OLD."),
    ] = None,
    category: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--category", help="Category of the task, where the guess is wrong."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite new files that are there already.")
    ] = False,
) -> None:
    """Convert YAML files of mmv_im2im, and tell what became of each of their keys."""
    from imtoolkit.config.convert import convert_config

    pairs = _pairs(files, output, force=force)
    if inference is not None and len(pairs) > 1:
        message = f"--with belongs to one training file, and there are {len(pairs)}"
        raise ConfigError(message)
    done: list[dict[str, object]] = []
    problems: list[Problem] = []
    for old, new in pairs:
        try:
            _require_other(old, new)
            conversion = convert_config(old, category=category, inference=inference)
            conversion.write(new, overwrite=force)
        except ImtoolkitError as error:
            problems += getattr(error, "problems", [Problem(str(error), file=str(old))])
            continue
        _show(conversion, old, new)
        done.append({"output": new, **conversion.to_dict()})
        problems += [
            Problem(f"{problem.message} (from {old})", problem.where, str(new))
            for problem in conversion.problems
        ]
    out().result(**(done[0] if len(pairs) == 1 and done else {"conversions": done}))
    if problems:
        raise ConfigError(problems)


def _require_other(old: Path, new: Path) -> None:
    if old.resolve() == new.resolve():
        message = "is the old file itself: choose another name for the new one"
        raise ConfigError(Problem(message, file=str(new)))


def _pairs(words: list[str], output: Path | None, *, force: bool) -> list[tuple[Path, Path]]:
    """Return (old file, new file) for what stands on the command line."""
    if len(words) == 2 and output is None and _is_target(Path(words[1]), force=force):
        return [(Path(words[0]), Path(words[1]))]
    olds = [file for word in words for file in _files(Path(word))]
    if not olds:
        message = f"no files ending in .yaml or .yml in {', '.join(words)}"
        raise ConfigError(message)
    pairs = [(old, _beside(old) if output is None else output / old.name) for old in olds]
    names = [str(new) for _, new in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        message = f"several old files would become {', '.join(twice)}: convert them one by one"
        raise ConfigError(message)
    return pairs


def _is_target(path: Path, *, force: bool) -> bool:
    """Tell whether the second of two files is the new one."""
    if path.is_dir():
        return False
    if not path.exists() or force:
        return True
    # a config of ours that is there already is refused as such, not read as an old file
    return "\ntask:" in path.read_text(encoding="utf-8", errors="replace")


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = (item for item in sorted(path.rglob("*")) if item.suffix.lower() in _SUFFIXES)
    return [item for item in found if not item.stem.endswith("_imtoolkit")]


def _beside(old: Path) -> Path:
    return old.with_name(f"{old.stem}_imtoolkit.yaml")


def _show(conversion: Conversion, old: Path, new: Path) -> None:
    from imtoolkit.config.convert.writing import printable

    output = out()
    output.read("old file", old)
    if output.talks:
        _table(conversion)
    for text in conversion.remarks:
        output.say(f"note   {printable(text)}")
    output.wrote("config", new)
    for line in conversion.commands_for(new):
        output.say(f"       {printable(line)}")


def _table(conversion: Conversion) -> None:
    from rich.console import Console
    from rich.table import Table

    from imtoolkit.config.convert.report import counted, rows
    from imtoolkit.config.convert.writing import printable

    table = Table(title=None, show_edge=False, pad_edge=False)
    for name, ratio in (("old key", 3), ("becomes", 3), ("why, or what differs", 5)):
        table.add_column(name, ratio=ratio, overflow="fold")
    for row in rows(conversion.report):
        entry = row.entry
        becomes = entry.to or str(entry.outcome)
        cells = (printable(text) for text in (row.keys, becomes, entry.note))
        table.add_row(*cells, style=_COLOURS[str(entry.outcome)])
    width = None if sys.stdout.isatty() else _WIDE
    console = Console(file=sys.stdout, highlight=False, markup=False, width=width)
    console.print(table)
    counts = counted(conversion.report)
    told = ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
    out().say(f"{conversion.category}: of {sum(counts.values())} keys {told}")
