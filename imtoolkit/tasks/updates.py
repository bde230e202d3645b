"""How gathered gradients become steps, for tasks that step several optimizers by themselves.

Lightning accumulates, clips and averages over processes for tasks with one optimizer only. Here
stands what it does there, for one optimizer at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Updates:
    """What ``trainer:`` says about steps, for a task that Lightning leaves them to.

    Attributes:
        accumulate: Batches whose gradients are averaged for one step.
        clip_value: Largest norm, or largest value, of the gradients of one optimizer; ``None`` or 0
            for no clipping.
        clip_algorithm: ``"norm"`` or ``"value"``.
        clip_by_role: Largest norm or value of single optimizers, in place of ``clip_value``.
    """

    accumulate: int = 1
    clip_value: float | None = None
    clip_algorithm: str = "norm"
    clip_by_role: Mapping[str, float] = field(default_factory=dict)

    def clip(self, role: str, weights: Sequence[Tensor]) -> None:
        """Clip the gradients of one optimizer, as it is told for its role."""
        limit = self.clip_by_role.get(role, self.clip_value)
        if not limit:
            return
        if self.clip_algorithm == "value":
            nn.utils.clip_grad_value_(weights, limit)
        else:
            nn.utils.clip_grad_norm_(weights, limit)


def weights_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Return the weights that an optimizer trains."""
    return [weight for group in optimizer.param_groups for weight in group["params"]]


@torch.no_grad()
def divide_gradients(weights: Sequence[Tensor], count: int) -> None:
    """Turn the sum of the gradients of several batches into their mean."""
    held = [weight.grad for weight in weights if weight.grad is not None]
    if count > 1 and held:
        torch._foreach_div_(held, float(count))


@torch.no_grad()
def average_gradients(weights: Sequence[Tensor]) -> None:
    """Replace gradients by their means over all processes; without several, change nothing.

    Done once before a step, in place of the hooks of `DistributedDataParallel`: these wait for a
    gradient of every weight of all nets in each backward pass, and here a pass has those of one
    optimizer. A weight without a gradient in one process only counts as zero there.
    """
    processes = _processes()
    if processes == 1 or not weights:
        return
    absent = [weight.grad is None for weight in weights]
    held = torch.tensor(absent, device=weights[0].device).logical_not().int()
    torch.distributed.all_reduce(held, torch.distributed.ReduceOp.MAX)
    for parts in _alike(weights):
        flat = torch.cat([_gradient(weight).reshape(-1) for weight in parts])
        torch.distributed.all_reduce(flat)
        flat /= processes
        for weight, values in zip(parts, _cut(flat, parts), strict=True):
            _put(weight, values.reshape(weight.shape))
    if any(absent):
        for weight, anywhere in zip(weights, held.tolist(), strict=True):
            if not anywhere:  # reached in no process: the optimizer shall leave it alone
                weight.grad = None


@torch.no_grad()
def share_buffers(module: nn.Module) -> None:
    """Give every process the buffers of the first, such as the statistics of batch norm."""
    if _processes() == 1:
        return
    for parts in _alike([buffer for buffer in module.buffers() if buffer.numel()]):
        flat = torch.cat([buffer.reshape(-1) for buffer in parts])
        torch.distributed.broadcast(flat, 0)
        for buffer, values in zip(parts, _cut(flat, parts), strict=True):
            buffer.copy_(values.reshape(buffer.shape))


def _gradient(weight: Tensor) -> Tensor:
    return torch.zeros_like(weight) if weight.grad is None else weight.grad


def _put(weight: Tensor, values: Tensor) -> None:
    if weight.grad is None:
        weight.grad = torch.empty_like(weight)
    weight.grad.copy_(values)


def _cut(flat: Tensor, like: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return torch.split(flat, [tensor.numel() for tensor in like])


def _alike(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """Return the tensors in groups of one type on one device."""
    groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    return list(groups.values())


def _processes() -> int:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 1
    return torch.distributed.get_world_size()
