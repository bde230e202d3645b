"""A loader whose workers hand errors over whole, and leave Ctrl-C to the process that they serve.

torch puts the traceback of a worker into the message of an error; a user whose image or transform
is wrong should read what is wrong with it instead.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch.utils.data import DataLoader, Dataset

from imtoolkit.core.errors import ImtoolkitError
from imtoolkit.data.collate import collate


@dataclass(frozen=True)
class Failure:
    """What takes a sample's or batch's place when it could not be made."""

    error: ImtoolkitError


class Guarded(Dataset[Any]):
    """A dataset that returns its errors.

    Args:
        dataset: The dataset.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: Any) -> Any:
        try:
            return self.dataset[index]
        except ImtoolkitError as error:
            return Failure(error)


class ImageLoader(DataLoader[Any]):
    """A loader of samples, collated by `collate`; raises here what failed in a worker.

    Args:
        dataset: Samples by position or by visit.
        how: As for `torch.utils.data.DataLoader`, without ``collate_fn`` and ``worker_init_fn``.
    """

    def __init__(self, dataset: Any, **how: Any) -> None:
        super().__init__(
            Guarded(dataset),
            collate_fn=collate_or_fail,
            worker_init_fn=leave_interrupts_alone,
            **how,
        )

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        # the inner loader is iterated now: its sampler asks where training stands
        return map(_raised, super().__iter__())


def leave_interrupts_alone(worker: int) -> None:
    """Ignore Ctrl-C in a worker.

    A terminal sends it to all processes: the first one saves the state and then ends its workers,
    which must not die before. A worker that is spawned (Windows, macOS) inherits no handler.
    """
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def collate_or_fail(samples: list[Any]) -> Any:
    """Collate samples, or return the first failure."""
    for sample in samples:
        if isinstance(sample, Failure):
            return sample
    try:
        return collate(samples)
    except ImtoolkitError as error:
        return Failure(error)


def _raised(batch: Any) -> Any:
    if isinstance(batch, Failure):
        raise batch.error
    return batch
