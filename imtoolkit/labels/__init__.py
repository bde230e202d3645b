"""Label images as arrays: 0 is background, each positive number an object or a class.

    from imtoolkit.labels import boundaries, centres, connected_parts, overlap, relabel

Pure functions on numpy arrays of any number of axes; none changes its input.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .edges import boundaries
    from .numbering import relabel
    from .objects import centres, sizes
    from .overlaps import Overlap, overlap
    from .parts import connected_parts

__all__ = [
    "Overlap",
    "boundaries",
    "centres",
    "connected_parts",
    "overlap",
    "relabel",
    "sizes",
]

_HOMES = {
    "Overlap": "overlaps",
    "boundaries": "edges",
    "centres": "objects",
    "connected_parts": "parts",
    "overlap": "overlaps",
    "relabel": "numbering",
    "sizes": "objects",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    message = f"module '{__name__}' has no attribute '{name}'"
    raise AttributeError(message)
