"""Label images as arrays: 0 is background, each positive number an object or a class.

    from imtoolkit.labels import boundaries, centres, connected_parts, match, overlap, relabel

Pure functions on numpy arrays of any number of axes; none changes its input.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .edges import boundaries
    from .maps import centre_offsets, distance_map, pixel_classes
    from .matching import Matching, match
    from .medoid import medoids
    from .numbering import relabel
    from .objects import centres, sizes
    from .overlaps import Overlap, overlap
    from .parts import connected_parts, count_parts, separated

__all__ = [
    "Matching",
    "Overlap",
    "boundaries",
    "centre_offsets",
    "centres",
    "connected_parts",
    "count_parts",
    "distance_map",
    "match",
    "medoids",
    "overlap",
    "pixel_classes",
    "relabel",
    "separated",
    "sizes",
]

_HOMES = {
    "Matching": "matching",
    "Overlap": "overlaps",
    "boundaries": "edges",
    "centre_offsets": "maps",
    "centres": "objects",
    "connected_parts": "parts",
    "count_parts": "parts",
    "distance_map": "maps",
    "match": "matching",
    "medoids": "medoid",
    "overlap": "overlaps",
    "pixel_classes": "maps",
    "relabel": "numbering",
    "separated": "parts",
    "sizes": "objects",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    message = f"module '{__name__}' has no attribute '{name}'"
    raise AttributeError(message)
