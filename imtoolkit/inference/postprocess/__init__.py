"""From the output of a net to a result: steps on named maps, each a plain function below.

    from imtoolkit.inference.postprocess import remove_small, seeds, threshold, watershed

The functions work on arrays ``([Z,] Y, X)`` and change none of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .combining import merge_classes, merge_instances, set_operation, weighted_sum
    from .flooding import watershed
    from .parts import connected_components
    from .seeding import seeds
    from .shapes import distance, expand, smooth, thin
    from .sizes import clear_border, fill_holes, remove_large, remove_small
    from .thresholds import class_map, threshold

__all__ = [
    "class_map",
    "clear_border",
    "connected_components",
    "distance",
    "expand",
    "fill_holes",
    "merge_classes",
    "merge_instances",
    "remove_large",
    "remove_small",
    "seeds",
    "set_operation",
    "smooth",
    "thin",
    "threshold",
    "watershed",
    "weighted_sum",
]

_HOMES: Final = {
    "combining": ("merge_classes", "merge_instances", "set_operation", "weighted_sum"),
    "flooding": ("watershed",),
    "parts": ("connected_components",),
    "seeding": ("seeds",),
    "shapes": ("distance", "expand", "smooth", "thin"),
    "sizes": ("clear_border", "fill_holes", "remove_large", "remove_small"),
    "thresholds": ("class_map", "threshold"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    message = f"module '{__name__}' has no attribute '{name}'"
    raise AttributeError(message)
