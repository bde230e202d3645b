"""Errors that a user can read: what was got, what was expected, what to change.

Every error that imtoolkit raises on purpose derives from `ImtoolkitError` and carries the exit code
of the command line: 2 when the user can mend it, 1 when the run failed otherwise.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class ImtoolkitError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is what the command line returns."""

    exit_code: int = 2


@dataclass(frozen=True)
class Problem:
    """One thing to mend.

    Attributes:
        message: What was got, what was expected, and the remedy.
        where: The key of a config (``task.loss``), or the id of a sample.
        file: The file that holds the mistake.
        line: Line in that file, counted from 1.
    """

    message: str
    where: str = ""
    file: str = ""
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file and self.line else self.file
        return ": ".join(part for part in (place, self.where, self.message) if part)


class _ProblemsError(ImtoolkitError):
    """An error made of one or more problems, all of them shown at once."""

    def __init__(self, problems: str | Problem | Iterable[Problem]) -> None:
        if isinstance(problems, str):
            problems = [Problem(problems)]
        elif isinstance(problems, Problem):
            problems = [problems]
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type, tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)  # crosses from a worker process whole


class ConfigError(_ProblemsError):
    """The config asks for something that does not exist or does not fit."""


class ComponentError(_ProblemsError):
    """A net, loss, transform, ... cannot be found, is not allowed, or refuses its parameters."""


class DataError(_ProblemsError):
    """Images, tables or their cache are missing, broken or do not fit together."""


class RunError(ImtoolkitError):
    """A run folder, a checkpoint or the machine does not allow what was asked."""


class RunFailedError(RunError):
    """A run started and could not go on, for example because its loss became NaN."""

    exit_code = 1


class RunInterruptedError(RunError):
    """The user or the machine asked a run to stop; it was saved and can be resumed."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number  # 130 for Ctrl-C, 143 for SIGTERM, as shells count

    def __reduce__(self) -> tuple[type, tuple[str, int]]:
        return type(self), (str(self), self.signal_number)


class MissingPackageError(ImtoolkitError):
    """An optional package is needed here; the message holds the line that installs it."""

    def __init__(self, package: str, extra: str | None, purpose: str) -> None:
        # packages that do not fit the others on every Python are in no extra
        target = package if extra is None else f"'imtoolkit[{extra}]'"
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed. "
            f"Install it with: pip install {target}"
        )


def nearest(word: str, known: Iterable[str], count: int = 1) -> list[str]:
    """Return up to ``count`` words of ``known`` that look like ``word``, case ignored.

    Of words that differ in case alone it is the one written like ``word``, then the last.

    Example:
        >>> nearest("sofmax", ["sigmoid", "softmax"])
        ['softmax']
        >>> nearest("ressnet", ["resnet", "ResNet"]), nearest("ResNt", ["resnet", "ResNet"])
        (['resnet'], ['ResNet'])
    """
    by_lower: dict[str, str] = {}
    for name in known:
        other = by_lower.get(name.lower())
        if other is None or _likeness(name, word) >= _likeness(other, word):
            by_lower[name.lower()] = name
    hits = difflib.get_close_matches(word.lower(), by_lower, len(by_lower) or 1, 0.6)
    places = {name: place for place, name in enumerate(by_lower)}

    def distance(hit: str) -> tuple[float, int]:
        matcher = difflib.SequenceMatcher(None, hit, word.lower())
        return -matcher.ratio(), places[hit]  # of equally near ones the first

    return [by_lower[hit] for hit in sorted(hits, key=distance)[:count]]


def _likeness(name: str, word: str) -> float:
    return difflib.SequenceMatcher(None, name, word).ratio()


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"``, or an empty string when nothing is near.

    Example:
        >>> did_you_mean("lear_rate", ["learn_rate"])
        " Did you mean 'learn_rate'?"
    """
    hits = nearest(word, known)
    return f" Did you mean '{hits[0]}'?" if hits else ""


def listed(names: Sequence[str], most: int = 8) -> str:
    """Return names as ``'a', 'b', 'c' (and 4 more)`` for a message."""
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown + (f" (and {len(names) - most} more)" if len(names) > most else "")
