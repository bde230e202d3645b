"""Training on two domains side by side: each visit is a patch of A and a patch of B.

Which images meet is a function of (seed, epoch, place in the epoch); what is cut of each and how it
is changed, of (seed, epoch, sample, patch), each image by itself. So nothing depends on the number
of workers, and a resumed run goes on with the pairs that it would have had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from imtoolkit.core.batch import (
    DATASET,
    DRAW,
    ID,
    IMAGE,
    SPACING,
    TARGET,
    TARGET_DRAW,
    TARGET_ID,
    Batch,
)
from imtoolkit.data.patches import PatchDataset
from imtoolkit.data.samplers import Plan, TrainSampler, Visit
from imtoolkit.data.transforms.base import Sample


@dataclass(frozen=True)
class DomainPlan:
    """Which samples of one domain an epoch visits.

    Attributes:
        plan: Counts the samples of the domain from 0.
        places: Position of each of them in the training set, which holds both domains.
    """

    plan: Plan
    places: np.ndarray

    def epoch(self, epoch: int) -> np.ndarray:
        """Return the positions that an epoch visits, in order."""
        found: np.ndarray = self.places[self.plan.epoch(epoch)]
        return found


class UnpairedSampler(TrainSampler):
    """Yields batches of visits of domain A, each with its partner of domain B.

    Everything else is as in `TrainSampler`: samples are dealt to the ranks in turn, and each is
    visited for ``per_image`` patches in succession, together with those of its partner.

    Args:
        first: The samples of domain A.
        second: Those of domain B; as many visits.
        batch_size: Patches of each domain in a batch.
        per_image: Patches of each visit.
        rank: This process.
        ranks: Number of processes.
        position: See `TrainSampler`.
    """

    def __init__(
        self,
        first: DomainPlan,
        second: DomainPlan,
        batch_size: int,
        per_image: int = 1,
        *,
        rank: int = 0,
        ranks: int = 1,
        position: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        super().__init__(
            first.plan, batch_size, per_image, rank=rank, ranks=ranks, position=position
        )
        self.first, self.second = first, second

    def visits(self, epoch: int, first: int = 0) -> Iterator[Visit]:
        """See `TrainSampler`."""
        samples, turns = self._dealt(self.first.epoch(epoch))
        others, other_turns = self._dealt(self.second.epoch(epoch))
        for number in range(first, len(samples) * self.per_image):
            partner = self._visit(epoch, others, other_turns, number)
            yield self._visit(epoch, samples, turns, number)._replace(partner=partner)


class UnpairedPatches(PatchDataset):
    """Training samples by `Visit`, with the patch of the partner as ``target``.

    Parameters are those of `PatchDataset`; the images are those of both domains.
    """

    def __getitem__(self, visit: Visit) -> Sample:
        assert visit.partner is not None
        ours, theirs = super().__getitem__(visit), super().__getitem__(visit.partner)
        kept = (IMAGE, ID, DATASET, SPACING, DRAW)
        sample: Sample = {key: ours[key] for key in kept if key in ours}
        return {
            **sample,
            TARGET: theirs[IMAGE],
            TARGET_ID: theirs[ID],
            TARGET_DRAW: theirs[DRAW],
        }


def changed_apart(batch: Batch, change: Callable[[Batch], Batch]) -> Batch:
    """Apply a random change of batches to the patches of each domain by themselves.

    Args:
        batch: A batch of `UnpairedPatches`.
        change: Takes a batch of images with what seeds their change, returns it changed.
    """
    ours = change({IMAGE: batch[IMAGE], DRAW: batch[DRAW]})
    theirs = change({IMAGE: batch[TARGET], DRAW: batch[TARGET_DRAW]})
    changed: dict[str, Any] = {IMAGE: ours[IMAGE], TARGET: theirs[IMAGE]}
    return {**batch, **changed}
