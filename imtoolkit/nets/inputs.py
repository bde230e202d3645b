"""What a net is called with: the image, and other values of the batch where it declares them.

A net declares them by ``inputs``, a tuple of keys of the batch; without it the image is meant. In a
part of a net, the key ``image`` stands for what the part before it gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from imtoolkit.core.batch import IMAGE


def inputs_of(net: nn.Module) -> tuple[str, ...]:
    """Return the keys of the batch that a net is called with.

    Example:
        >>> inputs_of(nn.Identity())
        ('image',)
    """
    return tuple(getattr(net, "inputs", (IMAGE,)))


def tabular_width(net: nn.Module) -> int:
    """Return how many tabular features a net, or any part of it, takes; 0 where it takes none."""
    widths = (getattr(part, "tabular_features", None) for part in net.modules())
    return next((int(width) for width in widths if width), 0)


def call(part: nn.Module, fed: Any, given: Mapping[str, Tensor]) -> Any:
    """Run a part: the image's place takes what stands before it, the rest comes from the batch."""
    return part(*[fed if key == IMAGE else given[key] for key in inputs_of(part)])
