"""Images drawn with exact truth, and public data sets fetched by name.

Example:
    >>> from imtoolkit.samples import draw_one
    >>> draw_one("nuclei", 0).image.shape
    (256, 256)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .drawing import Drawn
    from .folder import draw, draw_one
    from .public import fetch

__all__ = ["Drawn", "draw", "draw_one", "fetch"]
BUILTINS = {
    "sample": {
        "nuclei": "imtoolkit.samples.nuclei:draw_nuclei",
        "membranes": "imtoolkit.samples.membranes:draw_membranes",
        "denoise": "imtoolkit.samples.denoise:draw_denoise",
        "label_free": "imtoolkit.samples.label_free:draw_label_free",
        "lesions": "imtoolkit.samples.lesions:draw_lesions",
        "unpaired": "imtoolkit.samples.unpaired:draw_unpaired",
        "shapes": "imtoolkit.samples.shapes:draw_shapes",
        "wells": "imtoolkit.samples.wells:draw_well",
        "hippocampus": "imtoolkit.samples.hippocampus:draw_hippocampus",
    }
}
_HOMES = {"Drawn": "drawing", "draw": "folder", "draw_one": "folder", "fetch": "public"}


def __getattr__(name: str) -> Any:
    """Import a part when it is first asked for, so that the room itself costs nothing."""
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
