"""Dropout that goes on in prediction: each pass is another of the nets that were trained at once.

Gal and Ghahramani, "Dropout as a Bayesian approximation", ICML 2016.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn
from torch.nn.modules.dropout import _DropoutNd


def dropout_layers(module: nn.Module) -> list[nn.Module]:
    """Return the dropout layers of a module that drop anything.

    Example:
        >>> len(dropout_layers(nn.Sequential(nn.Dropout(0.5), nn.Dropout2d(0.0), nn.ReLU())))
        1
    """
    return [part for part in module.modules() if isinstance(part, _DropoutNd) and part.p > 0]


@contextlib.contextmanager
def active_dropout(module: nn.Module) -> Iterator[None]:
    """Let dropout layers drop, and nothing else change: norms keep what they are told to use.

    Args:
        module: In evaluation mode, and so again afterwards.
    """
    layers = [layer for layer in dropout_layers(module) if not layer.training]
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for layer in layers:
            layer.eval()
