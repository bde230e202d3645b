r"""Sophia: steps scaled by an estimate of the curvature, and bounded.

Liu et al., "Sophia: a scalable stochastic second-order optimizer for language model pre-training",
ICLR 2024. With the gradient g, and every k steps an estimate of the diagonal of the Hessian,

.. math::

    m &\leftarrow \beta_1 m + (1 - \beta_1) g \\
    h &\leftarrow \beta_2 h + (1 - \beta_2) \hat{h} \\
    w &\leftarrow (1 - \eta\lambda) w - \eta\, \mathrm{clip}(m / \max(\gamma h, \epsilon), 1).

Of the paper's two estimates this is Hutchinson's, :math:`\hat{h} = u \odot (H u)` with random
signs u, which holds for any loss. (The other, Gauss-Newton-Bartlett, draws labels from the net's
own probabilities, and so is for cross-entropy alone.) The product H u is the difference of the
gradients at :math:`w + \delta u` and :math:`w - \delta u` by :math:`2\delta`: it needs no second
derivatives, which the fused attention of torch does not have, and is exact where the loss is
quadratic.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from .closures import Closure, ClosureOptimizer
from .optimizers import decay_groups


class Sophia(ClosureOptimizer):
    """Sophia-H: steps scaled by the curvature, and none larger than the learning rate.

    Every ``interval`` steps it evaluates the batch two more times.

    The random signs depend on the number of the step alone, so that all ranks draw the same, and a
    resumed run those of one that was not interrupted.

    Args:
        params: Parameters or groups.
        lr: Learning rate; as no weight moves by more than it in a step, that of Lion or sign-SGD
            fits better than Adam's: about a third of it.
        betas: Decay of the running means of gradient and curvature.
        gamma: Factor of the curvature; the smaller, the more weights move by the bound. In the
            paper it is tuned so that 10 to 50 % of the steps are not bounded.
        eps: Least curvature; where it is smaller, or negative, the step is that of the sign.
        weight_decay: Decoupled decay of the weights, not of norms and biases.
        interval: Steps from one estimate of the curvature to the next.
        delta: Half the distance between the two gradients, relative to the root mean square of the
            weights.

    Raises:
        ValueError: If a value is out of its range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 3e-4,
        betas: tuple[float, float] = (0.96, 0.99),
        gamma: float = 0.01,
        eps: float = 1e-12,
        weight_decay: float = 0.1,
        interval: int = 10,
        delta: float = 0.01,
    ) -> None:
        ranges = {"lr": lr >= 0, "gamma": gamma > 0, "eps": eps > 0, "interval": interval >= 1}
        ranges |= {"betas": all(0 <= beta < 1 for beta in betas), "delta": delta > 0}
        ranges |= {"weight_decay": weight_decay >= 0}
        wrong = [name for name, right in ranges.items() if not right]
        if wrong:
            message = f"got a value out of range for {', '.join(wrong)}"
            raise ValueError(message)
        self.interval, self.delta = interval, delta
        defaults = {"lr": lr, "betas": tuple(betas), "gamma": gamma, "eps": eps}
        groups = decay_groups(params, weight_decay)
        super().__init__(groups, {**defaults, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:
        """Take a step.

        Args:
            closure: Zeroes the gradients, computes the loss and calls ``backward``; with dropout it
                draws the same each time, as that of imtoolkit's tasks does, or the difference of
                two gradients is that of two draws.

        Returns:
            The loss at the weights, before the step.

        Raises:
            RuntimeError: If there is no closure.
        """
        loss = self.evaluated(closure)
        if loss is None:
            return None  # the batch is left out
        number = self._count()
        if (number - 1) % self.interval == 0:
            self._measure_curvature(closure, number)
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, group)
        return loss

    def _count(self) -> int:
        """Count the step; the number stands in the state of each weight, as torch's do."""
        number = 0
        for weight in self.weights():
            if weight.grad is None:
                continue
            state = self.state[weight]
            if not state:
                state["step"] = torch.tensor(0.0)
                state["mean"] = torch.zeros_like(weight)
                state["curvature"] = torch.zeros_like(weight)
            state["step"] += 1
            number = max(number, int(state["step"]))
        return number

    def _measure_curvature(self, closure: Closure | None, number: int) -> None:
        members = [(weight, group) for group in self.param_groups for weight in group["params"]]
        members = [(weight, group) for weight, group in members if weight.grad is not None]
        held = [weight for weight, _ in members]
        # the next evaluation writes into the same memory
        gradients = _gradients(held)
        signs = _signs(held, number)
        size = torch.stack([weight.float().square().sum() for weight in held]).sum()
        count = sum(weight.numel() for weight in held)
        half = self.delta * max(float(size / count) ** 0.5, 1e-3)
        found = []
        for way in (half, -half):
            with self.moved():
                for weight, sign in zip(held, signs, strict=True):
                    weight.add_(sign, alpha=way)
                self.evaluated(closure)
                found.append(_gradients(held))
        rows = zip(members, gradients, signs, *found, strict=True)
        for (weight, group), gradient, sign, up, down in rows:
            estimate = sign * (up - down) / (2 * half)
            self.state[weight]["curvature"].lerp_(estimate, 1 - group["betas"][1])
            if weight.grad is None:
                weight.grad = gradient
            else:
                weight.grad.copy_(gradient)

    def _move(self, weight: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        assert weight.grad is not None
        mean = state["mean"].lerp_(weight.grad, 1 - group["betas"][0])
        curvature = (group["gamma"] * state["curvature"]).clamp_(min=group["eps"])
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.sub_((mean / curvature).clamp_(-1, 1), alpha=group["lr"])


def _gradients(weights: list[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(w) if w.grad is None else w.grad.clone() for w in weights]


def _signs(weights: list[Tensor], number: int) -> list[Tensor]:
    """Return +1 or -1 for each weight, from the number of the step alone."""
    generator = torch.Generator().manual_seed(number)
    drawn = [torch.randint(0, 2, weight.shape, generator=generator) for weight in weights]
    return [(2 * sign - 1).to(weight) for sign, weight in zip(drawn, weights, strict=True)]
