"""Learning rates as a function of progress: how far training is, by steps or by the clock.

Training ends after a number of steps or after a time, whichever comes first; a schedule follows the
one that is nearer its end, so that ``max_time`` alone gives a whole cycle too. By steps alone the
rates of a resumed run are exactly those of a run that was not interrupted.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    LRScheduler,
    MultiStepLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

__all__ = [
    "Constant",
    "Cosine",
    "MultiStepLR",
    "OneCycle",
    "Poly",
    "ProgressSchedule",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "WarmupCosine",
]

_KEPT = ("last_epoch", "base_lrs", "_last_lr", "_step_count")


class ProgressSchedule(LRScheduler):
    """Base of schedules that multiply the optimizer's learning rate by a function of progress.

    Args:
        optimizer: Its learning rates are the largest of the schedule.
        total_steps: Optimizer steps of the training; ``None`` or infinity where time ends it.
        max_seconds: Seconds of the training; ``None`` where steps end it.
        elapsed: Seconds of training so far, earlier parts of a resumed run included.
        last_epoch: Steps done.

    Raises:
        ValueError: If nothing ends the training.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        total_steps: float | None = None,
        max_seconds: float | None = None,
        elapsed: Callable[[], float] | None = None,
        last_epoch: int = -1,
    ) -> None:
        self.total_steps = math.inf if total_steps is None else total_steps
        self.max_seconds = max_seconds if elapsed is not None else None
        self.elapsed = elapsed
        if math.isinf(self.total_steps) and self.max_seconds is None and self.needs_end:
            message = (
                "the schedule must know when training ends: set trainer.max_epochs, max_steps or "
                "max_time, or take the scheduler 'constant'"
            )
            raise ValueError(message)
        super().__init__(optimizer, last_epoch)

    needs_end = True

    @property
    def progress(self) -> float:
        """How far training is, from 0 to 1."""
        by_steps = self.last_epoch / self.total_steps if self.total_steps else 1.0
        by_time = 0.0
        if self.max_seconds and self.elapsed is not None:
            by_time = self.elapsed() / self.max_seconds
        return min(1.0, max(by_steps, by_time))

    @abstractmethod
    def factor(self, progress: float) -> float:
        """Return what the learning rate is multiplied with, for a progress from 0 to 1."""

    def get_lr(self) -> list[float | Tensor]:
        """Return the learning rate of each group."""
        factor = self.factor(self.progress)
        return [base * factor for base in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the schedule; its length comes from the config."""
        return {key: self.__dict__[key] for key in _KEPT}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the place of `state_dict`."""
        self.__dict__.update({key: state_dict[key] for key in _KEPT if key in state_dict})


class OneCycle(ProgressSchedule):
    """Up from a small rate to the optimizer's, then down to nearly nothing, both along a cosine.

    Smith and Topin, "Super-convergence", 2019.

    Args:
        optimizer: Its learning rates are the peak.
        total_steps: Filled in.
        max_seconds: Filled in.
        elapsed: Filled in.
        pct_start: Fraction of the training that goes up.
        div_factor: The peak divided by the first rate.
        final_div_factor: The first rate divided by the last.
        last_epoch: Steps done.

    Example:
        >>> import torch
        >>> adam = torch.optim.Adam([torch.zeros(1)], lr=1.0)
        >>> schedule = OneCycle(adam, total_steps=10, pct_start=0.5)
        >>> [round(schedule.factor(progress), 9) for progress in (0.0, 0.5, 1.0)]
        [0.04, 1.0, 4e-06]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        total_steps: float | None = None,
        max_seconds: float | None = None,
        elapsed: Callable[[], float] | None = None,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        last_epoch: int = -1,
    ) -> None:
        _check_fraction("pct_start", pct_start)
        self.pct_start = pct_start
        self.first = 1 / div_factor
        self.last = self.first / final_div_factor
        super().__init__(
            optimizer,
            total_steps=total_steps,
            max_seconds=max_seconds,
            elapsed=elapsed,
            last_epoch=last_epoch,
        )

    def factor(self, progress: float) -> float:
        """See `ProgressSchedule`."""
        if progress < self.pct_start:
            return _cosine(self.first, 1.0, progress / self.pct_start)
        return _cosine(1.0, self.last, (progress - self.pct_start) / (1 - self.pct_start))


class WarmupCosine(ProgressSchedule):
    """Straight up from zero during the warm-up, then down along a cosine.

    Args:
        optimizer: Its learning rates are the peak.
        total_steps: Filled in.
        max_seconds: Filled in.
        elapsed: Filled in.
        warmup: Fraction of the training that warms up.
        final: Last rate as a fraction of the peak.
        last_epoch: Steps done.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        total_steps: float | None = None,
        max_seconds: float | None = None,
        elapsed: Callable[[], float] | None = None,
        warmup: float = 0.05,
        final: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        _check_fraction("warmup", warmup)
        self.warmup = warmup
        self.final = final
        super().__init__(
            optimizer,
            total_steps=total_steps,
            max_seconds=max_seconds,
            elapsed=elapsed,
            last_epoch=last_epoch,
        )

    def factor(self, progress: float) -> float:
        """See `ProgressSchedule`."""
        if progress < self.warmup:
            # the first step learns as well: a rate of exactly zero would waste it
            return max(progress / self.warmup, 1e-3)
        return _cosine(1.0, self.final, (progress - self.warmup) / (1 - self.warmup))


class Cosine(WarmupCosine):
    """Down from the optimizer's rate along half a cosine.

    Args:
        optimizer: Its learning rates are the first.
        total_steps: Filled in.
        max_seconds: Filled in.
        elapsed: Filled in.
        final: Last rate as a fraction of the first.
        last_epoch: Steps done.

    Example:
        >>> import torch
        >>> schedule = Cosine(torch.optim.SGD([torch.zeros(1)], lr=1.0), total_steps=10)
        >>> schedule.factor(0.0), schedule.factor(0.5), schedule.factor(1.0)
        (1.0, 0.5, 0.0)
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        total_steps: float | None = None,
        max_seconds: float | None = None,
        elapsed: Callable[[], float] | None = None,
        final: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        super().__init__(
            optimizer,
            total_steps=total_steps,
            max_seconds=max_seconds,
            elapsed=elapsed,
            warmup=0.0,
            final=final,
            last_epoch=last_epoch,
        )


class Poly(ProgressSchedule):
    r"""Down to zero as :math:`(1 - p)^k` with the progress :math:`p`, as in nnU-Net and DeepLab.

    Args:
        optimizer: Its learning rates are the first.
        total_steps: Filled in.
        max_seconds: Filled in.
        elapsed: Filled in.
        power: ``k``; 1 is a straight line.
        last_epoch: Steps done.

    Raises:
        ValueError: If the power is not above 0.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        total_steps: float | None = None,
        max_seconds: float | None = None,
        elapsed: Callable[[], float] | None = None,
        power: float = 0.9,
        last_epoch: int = -1,
    ) -> None:
        if not power > 0:
            message = f"got power={power}; expected a number above 0"
            raise ValueError(message)
        self.power = power
        super().__init__(
            optimizer,
            total_steps=total_steps,
            max_seconds=max_seconds,
            elapsed=elapsed,
            last_epoch=last_epoch,
        )

    def factor(self, progress: float) -> float:
        """See `ProgressSchedule`."""
        return float((1 - progress) ** self.power)


class Constant(ProgressSchedule):
    """The optimizer's rate throughout."""

    needs_end = False

    def factor(self, progress: float) -> float:
        """See `ProgressSchedule`."""
        del progress
        return 1.0


def _cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value < 1:
        message = f"got {name} {value}; expected a fraction of the training, from 0 to below 1"
        raise ValueError(message)
