"""Which samples come when: a pure function of seed, epoch and rank, and of where training stands.

`TrainSampler` yields batches of visits, each with its epoch, sample and patch, so that a worker
needs to know nothing else. It asks where the fit loop stands each time it is iterated: Lightning
iterates the loader before it has told anyone the epoch, and a resumed run starts in the middle of
one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler, SequentialSampler

from imtoolkit.core.errors import DataError
from imtoolkit.core.seeding import mix

_ORDER, _ROUND, _WEIGHTED, _SHUFFLE = range(4)  # what a seed is for


class Visit(NamedTuple):
    """One patch to be cut.

    Attributes:
        epoch: Counted from 0.
        sample: Position of the sample in the training set.
        patch: Number of the patch of this sample within the epoch.
        partner: The patch of the other domain that comes with it, where domains are unpaired.
    """

    epoch: int
    sample: int
    patch: int
    partner: Visit | None = None


@dataclass(frozen=True)
class Plan:
    """Which samples an epoch visits.

    Attributes:
        samples: Number of samples at hand.
        visits: Number of visits in an epoch; left out, one for each sample.
        weights: How often each sample is drawn relative to the others; left out, equally often.
        groups: Number of the group of each sample; groups are visited equally often. Left out, all
            are one.
        seed: Seed of the order.
    """

    samples: int
    visits: int | None = None
    weights: np.ndarray | None = None
    groups: np.ndarray | None = None
    seed: int = 0
    _members: list[np.ndarray] = field(init=False, repr=False)
    _state: np.random.RandomState = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.samples < 1:
            message = "there are no training samples; see data.sources and data.split"
            raise DataError(message)
        groups = np.zeros(self.samples, np.int64) if self.groups is None else self.groups
        _, numbers = np.unique(groups, return_inverse=True)
        order = np.argsort(numbers, kind="stable")
        members = np.split(order, np.cumsum(np.bincount(numbers))[:-1])
        object.__setattr__(self, "_members", members)
        object.__setattr__(self, "_state", np.random.RandomState(0))

    def __len__(self) -> int:
        return self.samples if self.visits is None else self.visits

    def epoch(self, epoch: int) -> np.ndarray:
        """Return the samples that an epoch visits, in order, ``(len(self),)``.

        With equal weights, successive epochs walk through successive shuffles of all samples, so
        that a partial epoch visits a part of them at a time and each comes equally often in the
        end.
        """
        start, count = epoch * len(self), len(self)
        if len(self._members) == 1:
            return self._pick(0, start, count, epoch)
        # in each round every group comes once, in an order of its own
        groups = len(self._members)
        places = np.arange(start, start + count)
        rounds = np.unique(places // groups)
        turns = np.concatenate([self._shuffled(groups, _ROUND, number) for number in rounds])
        offset = start - rounds[0] * groups
        turns, before = turns[offset : offset + count], turns[:offset]
        out = np.empty(count, np.int64)
        for group in range(groups):
            here = turns == group
            earlier = int(rounds[0]) + int((before == group).sum())
            out[here] = self._pick(group, earlier, int(here.sum()), epoch)
        return out

    def _pick(self, group: int, start: int, count: int, epoch: int) -> np.ndarray:
        members = self._members[group]
        weights = None if self.weights is None else self.weights[members]
        if weights is None or np.ptp(weights) == 0:
            walk: np.ndarray = members[self._walk(group, len(members), start, count)]
            return walk
        # systematic draw: each sample comes as often as its share says, rounded up or down
        state = np.random.RandomState(mix(self.seed, _WEIGHTED, group, epoch))
        order = state.permutation(len(members))
        edges = np.cumsum(weights[order]) / weights.sum()
        marks = (np.arange(count) + state.random_sample()) / count
        drawn = order[np.minimum(np.searchsorted(edges, marks, side="right"), len(members) - 1)]
        chosen: np.ndarray = members[state.permutation(drawn)]
        return chosen

    def _walk(self, group: int, size: int, start: int, count: int) -> np.ndarray:
        first, last = start // size, (start + count - 1) // size
        rounds = [self._shuffled(size, _ORDER, group, number) for number in range(first, last + 1)]
        offset = start - first * size
        return np.concatenate(rounds)[offset : offset + count] if count else np.empty(0, np.int64)

    def _shuffled(self, size: int, *what: int) -> np.ndarray:
        # seeding again takes 1.3 µs, a new state 50 µs: with few groups there are many rounds
        self._state.seed(mix(self.seed, *map(int, what)))
        return self._state.permutation(size)


class TrainSampler(Sampler[list[Visit]]):
    """Yields batches of visits for one rank; give it to a loader as ``batch_sampler``.

    The samples of an epoch are dealt to the ranks in turn, and each is visited for ``per_image``
    patches in succession, while its file is warm. ``batch_size`` counts patches: with
    ``batch_size=8, per_image=4`` a batch holds two samples; where it does not divide, a sample's
    patches go on in the next batch. The last batch of an epoch may be smaller. All ranks have
    equally many patches: where the samples do not divide, the first ones of the epoch are visited
    once more, for other patches.

    Args:
        plan: The samples of an epoch.
        batch_size: Patches in a batch.
        per_image: Patches of each visit.
        rank: This process.
        ranks: Number of processes.
        position: Tells where training stands: epoch, and batches of it that are done. Left out,
            each iteration is the next epoch.
    """

    def __init__(
        self,
        plan: Plan,
        batch_size: int,
        per_image: int = 1,
        *,
        rank: int = 0,
        ranks: int = 1,
        position: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        self.plan, self.batch_size, self.per_image = plan, batch_size, per_image
        self.rank, self.ranks, self.position = rank, ranks, position
        self._begun = 0

    def __len__(self) -> int:
        visits = math.ceil(len(self.plan) / self.ranks)
        return math.ceil(visits * self.per_image / self.batch_size)

    def __iter__(self) -> Iterator[list[Visit]]:
        # not a generator itself: the question must be asked now, not when the first batch is wanted
        epoch, done = self.position() if self.position is not None else (self._begun, 0)
        return self._batches(epoch, done)

    def visits(self, epoch: int, first: int = 0) -> Iterator[Visit]:
        """Yield the visits of an epoch on this rank, in order, from visit number ``first`` on."""
        samples, turns = self._dealt(self.plan.epoch(epoch))
        for number in range(first, len(samples) * self.per_image):
            yield self._visit(epoch, samples, turns, number)

    def _visit(self, epoch: int, samples: np.ndarray, turns: np.ndarray, number: int) -> Visit:
        place, patch = divmod(number, self.per_image)
        return Visit(epoch, int(samples[place]), int(turns[place]) * self.per_image + patch)

    def _dealt(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return this rank's part of an epoch, and how often each came before in the epoch."""
        missing = -len(samples) % self.ranks
        if missing:
            samples = np.concatenate([samples, np.resize(samples, missing)])
        turns = _occurrences(samples)
        return samples[self.rank :: self.ranks], turns[self.rank :: self.ranks]

    def _batches(self, epoch: int, done: int) -> Iterator[list[Visit]]:
        # a loader with workers asks for an iterator twice: an epoch has begun when a batch is taken
        self._begun = epoch + 1
        visits = self.visits(epoch, done * self.batch_size)
        while batch := list(itertools.islice(visits, self.batch_size)):
            yield batch


class EvalSampler(SequentialSampler):
    """Yields each sample once, dealt to the ranks in turn; ranks may have unequal numbers.

    It is torch's ``SequentialSampler``, for which Lightning looks before it puts its own in place.

    A rank for which nothing is left measures the last sample again: Lightning skips the loop of a
    rank without batches, and its collectives would then meet those of another step. Rows are joined
    by sample id, so the sample still counts once.

    Args:
        samples: Number of samples.
        rank: This process.
        ranks: Number of processes.
    """

    def __init__(self, samples: int, *, rank: int = 0, ranks: int = 1) -> None:
        own = range(rank, samples, ranks)
        self.indices = own if own or samples == 0 else range(samples - 1, samples)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)


def first_samples(samplers: Sequence[TrainSampler], batches: float) -> np.ndarray:
    """Return the samples of the first batches of training, in order, each once.

    Args:
        samplers: Those of all ranks.
        batches: Number of batches, or a float for a fraction of an epoch, as Lightning has it.
    """
    found: dict[int, None] = {}
    for sampler in samplers:
        count = batches if isinstance(batches, int) else int(batches * len(sampler))
        visits = itertools.islice(sampler.visits(0), count * sampler.batch_size)
        for visit in visits:
            found[visit.sample] = None
            if visit.partner is not None:
                found[visit.partner.sample] = None
    return np.array(list(found), dtype=np.int64)


def group_numbers(values: Sequence[object]) -> np.ndarray:
    """Number the values of a column, equal values alike.

    Example:
        >>> group_numbers(["a", "b", "a"]).tolist()
        [0, 1, 0]
    """
    known: dict[object, int] = {}
    return np.array([known.setdefault(value, len(known)) for value in values], dtype=np.int64)


def _occurrences(samples: np.ndarray) -> np.ndarray:
    """Count for each entry how often its value stood before it."""
    order = np.argsort(samples, kind="stable")
    ordered = samples[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lengths = np.diff(np.r_[starts, len(ordered)])
    out = np.empty(len(samples), np.int64)
    out[order] = np.arange(len(samples)) - np.repeat(starts, lengths)
    return out
