"""The command ``imtoolkit``: finds the subcommand, runs it, and turns errors into exit codes.

Nothing heavy is imported before a subcommand is known, so ``--help`` is instant. Exit codes: 0
done, 2 the user can mend it, 1 it failed otherwise, 130 and 143 for signals.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from imtoolkit.core.errors import ConfigError, ImtoolkitError, Problem, did_you_mean
from imtoolkit.core.threads import wait_politely

from . import output as output_room
from .output import Output

if TYPE_CHECKING:
    from typer.core import TyperCommand, TyperGroup

COMMANDS: Final = {
    "train": ("imtoolkit.cli.train:train", "train a model as a config says, or resume a run"),
    "evaluate": ("imtoolkit.cli.evaluate:evaluate", "measure a trained model on held-out images"),
    "predict": ("imtoolkit.cli.predict:predict", "apply a trained model to images"),
    "samples": ("imtoolkit.cli.samples:samples", "draw sample images, or fetch a public data set"),
    "check": ("imtoolkit.cli.check:check", "find the mistakes in a config before training does"),
    "explain": ("imtoolkit.cli.explain:explain", "explain a key of the config"),
    "components": (
        "imtoolkit.cli.components:components",
        "list nets, losses, transforms, ... and their parameters",
    ),
    "schema": ("imtoolkit.cli.schema:schema", "print the JSON Schema of a config, for editors"),
    "convert": ("imtoolkit.cli.convert:convert", "turn YAML files of mmv_im2im into configs"),
    "runs": ("imtoolkit.cli.runs:app", "list, show, compare, resume and delete runs"),
    "cache": ("imtoolkit.cli.cache:app", "list, verify and clear the cache of images"),
}
"""Subcommand -> where it lives (a function, or a typer app of subcommands), and a line of help."""

WITH_OVERRIDES: Final = frozenset({"train", "check"})
"""Subcommands that take dotted overrides; they read them from `imtoolkit.cli.output.overrides`."""

FLAGS: Final = {
    "--quiet": "print nothing but errors",
    "--json": "print the result as one JSON object",
    "--traceback": "show where in the code an error arose",
}
"""Options that every subcommand has."""

TRACEBACK_VARIABLE: Final = "IMTOOLKIT_TRACEBACK"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    flags, words = _take_flags(words)
    output = Output(quiet="--quiet" in flags, json="--json" in flags)
    traceback = "--traceback" in flags or bool(os.environ.get(TRACEBACK_VARIABLE))
    wait_politely()
    _end_on_sigterm()
    try:
        code = _dispatch(words, output)
        output.finish()
        return code
    except BaseException as error:
        if traceback and not isinstance(error, (SystemExit, KeyboardInterrupt)):
            raise
        return report(error, output)


def report(error: BaseException, output: Output) -> int:
    """Tell the user what went wrong and return the exit code for it."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, BrokenPipeError):
        # the reader of our output went away, as `head` does; nothing is left to be told
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    code, message = _explained(error)
    if message:
        prefix = "" if len(_problems(error)) > 1 else "error: "
        told = grouped(_problems(error)) or message
        print(f"{prefix}{told}", file=sys.stderr, flush=True)
    if output.json:
        output.result(error=message, exit_code=code, problems=_problems(error))
        output.finish()
    return code


def grouped(problems: Sequence[Problem], most: int = 20) -> str:
    """Return problems as text; what is wrong with many files in the same way is said once.

    Example:
        >>> print(grouped([Problem("is empty", file=f"{n}.tif") for n in range(5)], most=2))
        is empty (5 files):
          0.tif
          1.tif
          and 3 more
    """
    files: dict[str, list[Problem]] = {}
    for problem in problems:
        # a place in a config is said with its message; a file of images may share it with others
        key = problem.message if problem.file and problem.line is None else str(problem)
        files.setdefault(key, []).append(problem)
    lines: list[str] = []
    for message, same in files.items():
        if len(same) == 1:
            lines.append(str(same[0]))
            continue
        lines.append(f"{message} ({len(same)} files):")
        lines += [f"  {problem.file}" for problem in same[:most]]
        if len(same) > most:
            lines.append(f"  and {len(same) - most} more")
    return "\n".join(lines)


def _problems(error: BaseException) -> list[Problem]:
    return list(getattr(error, "problems", ()))


def _explained(error: BaseException) -> tuple[int, str]:
    if isinstance(error, ImtoolkitError):
        return error.exit_code, str(error)
    if isinstance(error, KeyboardInterrupt):
        return 130, "interrupted"
    if isinstance(error, OSError):
        return 2, _explain_os_error(error)
    usage = getattr(error, "format_message", None)
    if usage is not None and hasattr(error, "exit_code"):  # an error of the options, from typer
        return 2, f"{usage()}{_option_hint(error)}"
    if type(error).__name__ == "Abort":
        return 130, "interrupted"
    if isinstance(error, MemoryError):
        return 1, "out of memory. Use smaller patches or batches, or fewer data.loader.workers"
    return 1, (
        f"{type(error).__name__}: {error}\n"
        "This was not expected. Run the command again with --traceback to see where it arose."
    )


def _explain_os_error(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return f"{place}the disk is full. Free some space, or choose another folder"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            f"{place}no permission: {error.strerror}. Change the permissions, or choose another "
            "folder (tracking.runs, data.cache.root)"
        )
    return f"{place}{error.strerror or error}"


def _option_hint(error: BaseException) -> str:
    """Point from ``--max_epochs`` to ``--trainer.max_epochs``."""
    option = getattr(error, "option_name", None)
    if not option:
        return ""
    from imtoolkit.config.validate import all_keys

    word = str(option).lstrip("-").replace("-", "_")
    hits = [key for key in all_keys() if key.rpartition(".")[2] == word]
    if hits:
        return f". Keys of the config are written out: --{hits[0]}"
    return ". Keys of the config are written out, such as --trainer.max_epochs 5"


def _dispatch(words: list[str], output: Output) -> int:
    if not words or words[0] in ("--help", "-h", "help"):
        print(help_text())
        return 0
    if words[0] == "--version":
        from imtoolkit import __version__

        output.show(f"imtoolkit {__version__}")
        output.result(version=__version__)
        return 0
    name, rest = words[0], words[1:]
    if name not in COMMANDS:
        what = "option" if name.startswith("-") else "command"
        hint = did_you_mean(name, COMMANDS)
        message = f"no such {what} '{name}'.{hint} Commands: {', '.join(COMMANDS)}"
        raise ConfigError(message)
    command = load_command(name)
    found: list[str] = []
    if name in WITH_OVERRIDES:
        found, rest = split_overrides(rest, _options_of(command))
    output_room.start(output, found)
    with _log_on_console(output):
        result = command.main(args=rest, prog_name=f"imtoolkit {name}", standalone_mode=False)
    if result == 130:  # typer turns Ctrl-C into this
        raise KeyboardInterrupt
    return result if isinstance(result, int) and not isinstance(result, bool) else 0


def load_command(name: str) -> TyperCommand | TyperGroup:
    """Import a subcommand and make it a command of typer."""
    import typer

    module, _, attribute = COMMANDS[name][0].partition(":")
    target: Any = getattr(importlib.import_module(module), attribute)
    app = target
    if not isinstance(target, typer.Typer):
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        epilog = "Options of every command: " + ", ".join(FLAGS)
        if name in WITH_OVERRIDES:
            epilog = f"Any key of the config can be given as --section.key value. {epilog}"
        app.command(name, epilog=epilog, context_settings={"help_option_names": ["--help", "-h"]})(
            target
        )
    command: TyperCommand | TyperGroup = typer.main.get_command(app)  # type: ignore[assignment]
    return command


def split_overrides(words: Sequence[str], options: set[str]) -> tuple[list[str], list[str]]:
    """Separate dotted overrides from the options of a command.

    Example:
        >>> split_overrides(["a.yaml", "--trainer.max_epochs", "5", "--trust"], {"--trust"})
        (['--trainer.max_epochs', '5'], ['a.yaml', '--trust'])
    """
    from imtoolkit.config.sections import Config

    top = set(Config.__dataclass_fields__)
    found: list[str] = []
    rest: list[str] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        key, equals, _ = word.removeprefix("--").partition("=")
        is_key = "." in key.strip(".") or (key in top and f"--{key}" not in options)
        if word == "--":
            rest += [word, *queue]
            break
        if not word.startswith("--") or not is_key:
            rest.append(word)
            continue
        found.append(word)
        if not equals and queue and not queue[0].startswith("--"):
            found.append(queue.pop(0))
    return found, rest


def help_text() -> str:
    """Return the help of ``imtoolkit``, without importing any subcommand."""
    width = max(map(len, COMMANDS)) + 2
    commands = "\n".join(f"  {name:<{width}}{line}" for name, (_, line) in COMMANDS.items())
    options = {**FLAGS, "--version": "print the version", "--help": "print this"}
    flags = "\n".join(f"  {name:<{width}}{line}" for name, line in options.items())
    return (
        "Usage: imtoolkit COMMAND [OPTIONS]\n\n"
        "From a folder of biomedical images to a trained, evaluated, documented model.\n\n"
        f"Commands:\n{commands}\n\nOptions:\n{flags}\n\n"
        "Help on one command: imtoolkit COMMAND --help"
    )


def _take_flags(words: Sequence[str]) -> tuple[set[str], list[str]]:
    end = list(words).index("--") if "--" in words else len(words)
    flags = {word for word in words[:end] if word in FLAGS}
    return flags, [word for word in words[:end] if word not in FLAGS] + list(words[end:])


def _options_of(command: TyperCommand | TyperGroup) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}


@contextlib.contextmanager
def _log_on_console(output: Output) -> Iterator[None]:
    """Show what imtoolkit logs: all that is worth knowing, or only warnings with ``--quiet``."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.INFO if output.talks else logging.WARNING)
    handler.setFormatter(_ConsoleFormat("%(message)s"))
    logger = logging.getLogger("imtoolkit")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _ConsoleFormat(logging.Formatter):
    """Marks warnings as such and leaves the rest as plain sentences."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return f"warning: {text}" if record.levelno >= logging.WARNING else text


def _end_on_sigterm() -> None:
    def stop(number: int, frame: object) -> None:
        raise SystemExit(143)

    try:
        signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread, as in a notebook or a test
        return


if __name__ == "__main__":
    sys.exit(main())
