r"""SAM and ASAM: a step with the gradient of the worst place near by, around any optimizer.

A flat minimum generalises better than a sharp one. Both look for weights whose neighbourhood has a
low loss: with the gradient g at w they go up to :math:`w + \epsilon`, take the gradient there, come
back, and let another optimizer step with it. A step costs two evaluations.

- SAM (Foret et al., ICLR 2021): :math:`\epsilon = \rho\, g / \lVert g \rVert`.
- ASAM (Kwon et al., ICML 2021): :math:`\epsilon = \rho\, T^2 g / \lVert T g \rVert` with
  :math:`T = |w| + \eta`, which scales with the weights, so that rescaling a layer changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from .closures import Closure, ClosureOptimizer
from .optimizers import DecayedSGD

_TINY = 1e-12


class SAM(ClosureOptimizer):
    r"""Sharpness-aware minimisation: step with the gradient of the worst place near by.

    That place is :math:`w + \rho\, g / \lVert g \rVert`. The norm is over all weights.
    State, learning rates and groups are those of the base optimizer, and so is ``state_dict``;
    schedules steer it as they steer any other.

    Foret, Kleiner, Mobahi and Neyshabur, "Sharpness-aware minimization for efficiently improving
    generalization", ICLR 2021.

    Args:
        params: Parameters or groups.
        base: Optimizer of the same parameters that takes the step; left out, `DecayedSGD`.
        rho: How far up it goes.

    Raises:
        ValueError: If rho is negative, or the base holds other parameters or calls closures itself.

    Example:
        >>> w = torch.nn.Parameter(torch.tensor([3.0]))
        >>> def closure():
        ...     w.grad = None
        ...     loss = (w**2).sum() / 2
        ...     loss.backward()
        ...     return loss
        >>> sam = SAM([w], base=torch.optim.SGD([w], lr=0.1), rho=1.0)
        >>> loss = sam.step(closure)  # the gradient at 3 + 1 is 4
        >>> round(w.item(), 6)
        2.6
    """

    default_base: ClassVar[str] = "sgd"

    def __init__(
        self, params: Iterable[Any], base: Optimizer | None = None, rho: float = 0.05
    ) -> None:
        held = list(params)
        self.base = DecayedSGD(held) if base is None else _checked(base, held)
        if rho < 0:
            message = f"got rho {rho}; expected at least 0"
            raise ValueError(message)
        self._linked = False
        super().__init__(self.base.param_groups, {"rho": rho})
        self.defaults = {**self.base.defaults, **self.defaults}
        self._link()

    def _link(self) -> None:
        # one set of groups and one state: schedules, devices and checkpoints see the base's
        self.param_groups = self.base.param_groups
        self.state = self.base.state
        self._linked = True

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add weights to this optimizer and to its base."""
        if not self._linked:
            super().add_param_group(param_group)
            return
        self.base.add_param_group(param_group)
        self.param_groups[-1].setdefault("rho", self.defaults["rho"])

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:
        """Take a step.

        Args:
            closure: Zeroes the gradients, computes the loss and calls ``backward``.

        Returns:
            The loss at the weights, before the step.

        Raises:
            RuntimeError: If there is no closure.
        """
        loss = self.evaluated(closure)
        if loss is None:
            return None  # the batch is left out
        with self.moved():
            self._ascend()
            self.evaluated(closure)
        self.base.step()
        return loss

    def way(self, weight: Tensor, rho: float) -> tuple[Tensor, Tensor]:
        """Return the way up before it is divided by the norm, and what the norm is taken of."""
        assert weight.grad is not None
        return rho * weight.grad, weight.grad

    def _ascend(self) -> None:
        ways, measured = [], []
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    way, part = self.way(weight, group["rho"])
                    ways.append((weight, way))
                    exact = torch.promote_types(part.dtype, torch.float32)
                    measured.append(torch.linalg.vector_norm(part, dtype=exact))
        if not ways:
            return
        norm = torch.linalg.vector_norm(torch.stack([part.to(measured[0]) for part in measured]))
        for weight, way in ways:
            weight.add_(way / (norm + _TINY).to(way))

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the base optimizer; rho stands in its groups."""
        return self.base.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a `state_dict`."""
        self.base.load_state_dict(state_dict)
        self._link()


class ASAM(SAM):
    r"""Adaptive SAM: how far it looks is counted in multiples of the weights.

    It steps with the gradient at :math:`w + \rho\, T^2 g / \lVert T g \rVert`, where
    :math:`T = |w| + \eta`.

    Kwon, Kim, Park and Choi, "ASAM: adaptive sharpness-aware minimization for scale-invariant
    learning of deep neural networks", ICML 2021.

    Args:
        params: Parameters or groups.
        base: Optimizer of the same parameters that takes the step; left out, `DecayedSGD`.
        rho: How far up it goes, in multiples of the weights; about ten times that of SAM.
        eta: Added to the size of each weight, so that those near zero move too.
    """

    def __init__(
        self,
        params: Iterable[Any],
        base: Optimizer | None = None,
        rho: float = 0.5,
        eta: float = 0.01,
    ) -> None:
        if eta < 0:
            message = f"got eta {eta}; expected at least 0"
            raise ValueError(message)
        super().__init__(params, base, rho)
        self.eta = eta

    def way(self, weight: Tensor, rho: float) -> tuple[Tensor, Tensor]:
        """Return the way up before it is divided by the norm, and what the norm is taken of."""
        assert weight.grad is not None
        scale = weight.abs() + self.eta
        scaled = scale * weight.grad
        return rho * scale * scaled, scaled


def _checked(base: Any, held: list[Any]) -> Optimizer:
    if not isinstance(base, Optimizer):
        message = (
            f"base is {base!r}; expected an optimizer: "
            "base: {name: sgd, params: {}} in a config, or one over the same parameters"
        )
        raise TypeError(message)
    if isinstance(base, torch.optim.LBFGS) or getattr(base, "needs_closure", False):
        message = f"the base {type(base).__name__} evaluates closures itself: take sgd or adamw"
        raise ValueError(message)
    own = {id(weight) for weight in _tensors(held)}
    if own != {id(weight) for group in base.param_groups for weight in group["params"]}:
        message = "the base holds other parameters: build it over the same ones"
        raise ValueError(message)
    return base


def _tensors(held: list[Any]) -> list[Tensor]:
    found = []
    for item in held:
        members = item["params"] if isinstance(item, dict) else [item]
        members = [members] if isinstance(members, Tensor) else members
        found += [member[1] if isinstance(member, tuple) else member for member in members]
    return found
