"""Deep supervision: how a net is asked for the outputs of its lower resolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from imtoolkit.core.errors import ConfigError, Problem

from .filling import signature_of


def with_lower_outputs(
    name: str, factory: Callable[..., Any], params: dict[str, Any]
) -> dict[str, Any]:
    """Return the parameters with those that ask a net for its outputs of lower resolution.

    Raises:
        ConfigError: If the net has none.
    """
    known = signature_of(factory)
    levels = len(params.get("strides") or ()) or 4
    if "deep_supervision" in known:
        params.setdefault("deep_supervision", True)
        if "deep_supr_num" in known:  # as nnU-Net: all but the lowest two levels
            params.setdefault("deep_supr_num", min(3, max(1, levels - 2)))
    elif "dsdepth" in known:
        params.setdefault("dsdepth", 3)
    if params.get("deep_supervision") or params.get("dsdepth", 1) > 1:
        return params
    raise ConfigError(no_lower_outputs(name))


def no_lower_outputs(name: str) -> Problem:
    """Return what to tell where a net has no outputs of lower resolution."""
    message = (
        f"net '{name}' has no outputs of lower resolution; take DynUNet, SegResNetDS, MedNeXt or "
        "BasicUNetPlusPlus, or set deep_supervision: false"
    )
    return Problem(message, where="task.deep_supervision")
