"""The base of optimizers that evaluate a batch several times in a step.

The closure zeroes the gradients, computes the loss and calls ``backward``, as torch's optimizers
expect and Lightning's automatic optimization gives it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer

Closure = Callable[[], Any]


class ClosureOptimizer(Optimizer):
    """Base of optimizers that call the closure several times.

    Attributes:
        needs_closure: Tells the checks of a config and of a trainer; an own optimizer that calls
            the closure several times sets it as well, whatever its base.
    """

    needs_closure: ClassVar[bool] = True
    _watched: tuple[nn.Module, ...] = ()

    def watch(self, *modules: nn.Module) -> None:
        """Keep the statistics of the batch norms in these modules to one update in a step.

        Without it every evaluation counts, those at other weights included.
        """
        self._watched = modules

    def weights(self) -> list[Tensor]:
        """Return the weights of all groups."""
        return [weight for group in self.param_groups for weight in group["params"]]

    @contextlib.contextmanager
    def moved(self) -> Iterator[None]:
        """Bring weights that the block moves back to where they were, and no statistics along.

        They come back bit for bit, also where the block is left by an error: what is saved then are
        the weights of the training.
        """
        held = self.weights()
        before = [weight.detach().clone() for weight in held]
        try:
            with contextlib.ExitStack() as stack:
                for module in self._watched:
                    stack.enter_context(held_statistics(module))
                yield
        finally:
            with torch.no_grad():
                for weight, value in zip(held, before, strict=True):
                    weight.copy_(value)

    def evaluated(self, closure: Closure | None) -> Any:
        """Call the closure with gradients.

        Raises:
            RuntimeError: If there is none.
        """
        if closure is None:
            message = (
                f"{type(self).__name__} evaluates a batch several times: call step(closure), where "
                "the closure zeroes the gradients, computes the loss and calls backward"
            )
            raise RuntimeError(message)
        with torch.enable_grad():
            return closure()


@contextlib.contextmanager
def held_statistics(module: nn.Module) -> Iterator[None]:
    """Let norms normalise by the batch as ever, and keep their running statistics as they are.

    Example:
        >>> norm = nn.BatchNorm1d(2)
        >>> with held_statistics(norm):
        ...     out = norm(torch.rand(8, 2) + 5)
        >>> norm.running_mean.tolist(), bool(out.abs().max() < 5)
        ([0.0, 0.0], True)
    """
    norms = [part for part in module.modules() if isinstance(part, _NormBase)]
    tracking = [norm for norm in norms if norm.track_running_stats and norm.training]
    for norm in tracking:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in tracking:
            norm.track_running_stats = True
