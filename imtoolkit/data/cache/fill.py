"""Making every item before training starts: once, in parallel, with all bad files named at the end.

Processes that share the work (ranks, or several runs on one cache) start at different places and
leave an item that another one is making for later.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.data import DataLoader, Dataset

from imtoolkit.config.sections import CacheKind
from imtoolkit.core.errors import DataError, Problem
from imtoolkit.data.cache.dataset import CachedDataset
from imtoolkit.data.cache.store import BusyError, CacheError

log = logging.getLogger(__name__)

_FORK_SECONDS: Final = 1.0
_SPAWN_SECONDS: Final = 20.0
"""Workers are worth their start when the rest takes longer than this."""


@dataclass(frozen=True)
class Outcome:
    """What became of a sample: metadata, problems, or neither when another process has it.

    A cache that cannot be used is handed over as a value too: an error that leaves a worker would
    carry its traceback.
    """

    index: int
    meta: dict[str, Any] | None = None
    problems: tuple[Problem, ...] = ()
    cache_error: CacheError | None = None


class Attempts(Dataset[Outcome]):
    """Makes an item and returns what became of it; runs in workers as well.

    Args:
        images: The samples.
        wait: Whether to wait for items that another process is making.
    """

    def __init__(self, images: CachedDataset, *, wait: bool) -> None:
        self.images, self.wait = images, wait

    def __getitem__(self, index: int) -> Outcome:
        try:
            return Outcome(index, self.images.make(index, wait=self.wait))
        except BusyError:
            return Outcome(index)
        except CacheError as error:
            return Outcome(index, cache_error=error)
        except DataError as error:
            return Outcome(index, problems=error.problems)


def fill(
    images: CachedDataset,
    seen: Callable[[int, dict[str, Any]], None],
    *,
    workers: int | None = None,
    rank: int = 0,
    ranks: int = 1,
    label: str = "Preparing images",
) -> None:
    """Make every item that is missing.

    Args:
        images: The samples.
        seen: Called with the position and the metadata of each sample.
        workers: Processes to use; left out, as many as there are cores if that is worth their
            start.
        rank: This process, of ``ranks`` that share the work.
        ranks: Processes that share the work.
        label: What the progress bar says.

    Raises:
        DataError: With the problems of all bad samples.
        CacheError: If the cache cannot be written.
    """
    count = len(images)
    first = count * rank // max(ranks, 1)
    problems: dict[int, tuple[Problem, ...]] = {}
    later: list[int] = []
    with _progress() as bar:
        task = bar.add_task(label, total=count)
        order = [*range(first, count), *range(first)]
        for outcome in _attempts(images, order, workers):
            if outcome.cache_error is not None:
                raise outcome.cache_error
            if outcome.problems:
                problems[outcome.index] = outcome.problems
            elif outcome.meta is None:
                later.append(outcome.index)
                continue
            else:
                seen(outcome.index, outcome.meta)
            bar.advance(task)
        waiting = Attempts(images, wait=True)
        for index in later:
            outcome = waiting[index]
            if outcome.cache_error is not None:
                raise outcome.cache_error
            if outcome.meta is not None:
                seen(index, outcome.meta)
            problems |= {index: outcome.problems} if outcome.problems else {}
            bar.advance(task)
    if problems:
        raise DataError(problem for index in sorted(problems) for problem in problems[index])


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _attempts(
    images: CachedDataset, order: Sequence[int], workers: int | None
) -> Iterator[Outcome]:
    attempts = Attempts(images, wait=False)
    missing: list[int] = []
    for index in order:
        found = _existing(images, index)
        if found is None:
            missing.append(index)
        else:
            yield Outcome(index, found)
    if not missing:
        return
    started = time.monotonic()
    done = 0
    for index in missing:
        yield attempts[index]
        done += 1
        rest = (time.monotonic() - started) / done * (len(missing) - done)
        if workers != 0 and usable_cores() > 1 and rest > _start_seconds():
            break
    yield from _in_parallel(attempts, missing[done:], workers or usable_cores())


def _existing(images: CachedDataset, index: int) -> dict[str, Any] | None:
    if images.kind is not CacheKind.persistent or images.store is None:
        return None
    return images.store.meta(images.key(index))


def _in_parallel(attempts: Attempts, order: Sequence[int], workers: int) -> Iterator[Outcome]:
    if not order:
        return
    if attempts.images.kind is CacheKind.memory:  # the items must end up in this process
        with ThreadPoolExecutor(workers) as pool:
            yield from pool.map(attempts.__getitem__, order)
        return
    loader = DataLoader(
        attempts,
        batch_size=None,
        sampler=list(order),
        num_workers=min(workers, len(order)),
        collate_fn=_as_it_is,
    )
    yield from loader


def _as_it_is(outcome: Any) -> Any:
    return outcome


def _start_seconds() -> float:
    return _FORK_SECONDS if multiprocessing.get_start_method() == "fork" else _SPAWN_SECONDS


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
