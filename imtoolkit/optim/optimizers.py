"""AdamW and SGD that decay weights only where decay belongs.

A norm's scale and a bias set a level, not a pattern: pulling them to zero changes what a layer
computes without making it simpler, so they are left out of weight decay unless asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

Parameters = Iterable[Any]


def decay_groups(params: Parameters, weight_decay: float) -> list[dict[str, Any]]:
    """Part parameters into those that decay and those that do not: norms and biases, of one axis.

    Args:
        params: Tensors, ``(name, tensor)`` pairs, or groups ``{"params": [...], "lr": ...}``; a
            group that sets its own ``weight_decay`` is kept as it is.
        weight_decay: Decay of the others.

    Example:
        >>> groups = decay_groups(torch.nn.Linear(2, 3).parameters(), 0.01)
        >>> [(group["weight_decay"], len(group["params"])) for group in groups]
        [(0.01, 1), (0.0, 1)]
    """
    items = list(params)
    if items and isinstance(items[0], dict):
        return [part for group in items for part in _parted(group, weight_decay)]
    return _parted({"params": items}, weight_decay)


def _parted(group: dict[str, Any], weight_decay: float) -> list[dict[str, Any]]:
    if "weight_decay" in group:
        return [group]
    held = group["params"]
    members = [held] if isinstance(held, Tensor) else list(held)
    rest = {key: value for key, value in group.items() if key != "params"}
    flat = [item for item in members if _tensor(item).ndim <= 1]
    deep = [item for item in members if _tensor(item).ndim > 1]
    parts = ((deep, weight_decay), (flat, 0.0))
    return [{**rest, "params": part, "weight_decay": decay} for part, decay in parts if part]


def _tensor(item: Any) -> Tensor:
    tensor: Tensor = item[1] if isinstance(item, tuple) else item
    return tensor


class DecayedAdamW(torch.optim.AdamW):
    """AdamW without decay of norms and biases.

    Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.

    Args:
        params: Parameters or groups.
        lr: Learning rate.
        betas: Decay of the running means of gradient and squared gradient.
        eps: Added to the denominator.
        weight_decay: Decay of the weights.
        amsgrad: Use the largest squared gradient so far.
        decay_norms_and_biases: Decay these as well, as torch's AdamW does.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        amsgrad: bool = False,
        decay_norms_and_biases: bool = False,
    ) -> None:
        groups = params if decay_norms_and_biases else decay_groups(params, weight_decay)
        super().__init__(groups, lr, (betas[0], betas[1]), eps, weight_decay, amsgrad)


class DecayedSGD(torch.optim.SGD):
    """SGD with Nesterov momentum, as nnU-Net uses it, without decay of norms and biases.

    Args:
        params: Parameters or groups.
        lr: Learning rate.
        momentum: Share of the last step that is kept.
        weight_decay: Decay of the weights.
        nesterov: Look ahead along the momentum.
        decay_norms_and_biases: Decay these as well, as torch's SGD does.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        momentum: float = 0.99,
        weight_decay: float = 3e-5,
        *,
        nesterov: bool = True,
        decay_norms_and_biases: bool = False,
    ) -> None:
        groups = params if decay_norms_and_biases else decay_groups(params, weight_decay)
        super().__init__(groups, lr, momentum, 0.0, weight_decay, nesterov)


class Adam(torch.optim.Adam):
    """Adam; its ``weight_decay`` is part of the gradient, that of `adamw` is not.

    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015. The parameters are those
    of `torch.optim.Adam`.
    """


class NAdam(torch.optim.NAdam):
    """Adam that looks ahead along its momentum, as Nesterov's does.

    Dozat, "Incorporating Nesterov momentum into Adam", ICLR workshop 2016. The parameters are those
    of `torch.optim.NAdam`; ``decoupled_weight_decay: true`` decays as `adamw` does.
    """


class RAdam(torch.optim.RAdam):
    """Adam whose first steps are held back until its variance can be trusted: its own warm-up.

    Liu et al., "On the variance of the adaptive learning rate and beyond", ICLR 2020. The
    parameters are those of `torch.optim.RAdam`.
    """


class LBFGS(torch.optim.LBFGS):
    """Limited-memory BFGS: a quasi-Newton method for small nets and whole batches.

    Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", Mathematical
    Programming 1989. It evaluates a batch up to ``max_iter`` times (or more, with
    ``line_search_fn: strong_wolfe``) in a step, and takes all weights alike. The parameters are
    those of `torch.optim.LBFGS`.
    """
