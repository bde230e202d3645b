"""Named ways to draw the first weights of convolutions and linear layers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from torch import Tensor, nn

INITS: Final = ("normal", "xavier", "kaiming", "orthogonal")
NORMAL_STD: Final = 0.02
"""Standard deviation of ``normal`` where no gain is given, as pix2pix and CycleGAN take it."""


def initialise(net: nn.Module, kind: str, gain: float | None = None) -> None:
    """Draw the weights of all convolutions and linear layers anew; biases become zero.

    Norms are left as they are. The draws come from torch's state.

    Args:
        net: The net; changed in place.
        kind: ``"normal"``: around 0 with ``gain`` as standard deviation, 0.02 where left out;
            ``"xavier"``: normal, by fan-in and fan-out (Glorot and Bengio, 2010);
            ``"kaiming"``: normal, by fan-in (He et al., 2015);
            ``"orthogonal"`` (Saxe et al., 2014).
        gain: Factor on the weights, 1 where left out.

    Raises:
        ValueError: If the name is unknown.

    Example:
        >>> import torch
        >>> layer = nn.Conv2d(8, 8, 3)
        >>> initialise(layer, "normal", 0.5)
        >>> bool(abs(layer.weight.std() - 0.5) < 0.1), float(layer.bias.abs().sum())
        (True, 0.0)
    """
    draw = _drawing(kind, gain)
    for module in net.modules():
        if not isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
            continue
        if module.weight is not None:
            draw(_stored(module))
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _drawing(kind: str, gain: float | None) -> Callable[[Tensor], Any]:
    factor = 1.0 if gain is None else gain
    draws: dict[str, Callable[[Tensor], Any]] = {
        "normal": partial(nn.init.normal_, std=NORMAL_STD if gain is None else gain),
        "xavier": partial(nn.init.xavier_normal_, gain=factor),
        "kaiming": partial(_kaiming, gain=factor),
        "orthogonal": partial(nn.init.orthogonal_, gain=factor),
    }
    if kind not in draws:
        message = f"got the initialisation '{kind}'; expected {', '.join(INITS)}"
        raise ValueError(message)
    return draws[kind]


def _kaiming(weight: Tensor, gain: float) -> None:
    nn.init.kaiming_normal_(weight, nonlinearity="relu")
    weight.data.mul_(gain)


def _stored(module: nn.Module) -> Tensor:
    """Return the tensor that is trained: with a spectral norm the weight is computed from it."""
    if nn.utils.parametrize.is_parametrized(module, "weight"):
        stored: Tensor = module.parametrizations.weight.original  # type: ignore[union-attr, assignment]
        return stored
    return module.weight  # type: ignore[return-value]
