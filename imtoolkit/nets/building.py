"""A net made from its name: filled in from the data, and with remedies where it refuses a size."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from imtoolkit.core import registry
from imtoolkit.core.errors import ComponentError, ConfigError, Problem
from imtoolkit.core.facts import DataFacts
from imtoolkit.core.filled import FILLED

from .filling import fill_net, signature_of


def build_net(
    name: str,
    params: Mapping[str, Any],
    facts: DataFacts,
    out_channels: int,
    *,
    deep_supervision: bool = False,
    where: str = "task.net",
) -> nn.Module:
    """Build a net.

    Args:
        name: Name of a net, see `imtoolkit.core.registry`.
        params: What the user wrote.
        facts: Facts of the data, which fill in what the user left out.
        out_channels: Channels that the task needs.
        deep_supervision: Ask the net for the outputs of its lower resolutions as well.
        where: Key of the config, for messages.

    Raises:
        ConfigError: If a value does not fit the data, or the net has no lower outputs.
        ComponentError: If the net cannot be found or refuses its parameters.
    """
    factory = registry.resolve("net", name)
    filled = fill_net(factory, params, facts, out_channels, where=where)
    if deep_supervision:
        filled = _with_lower_outputs(name, factory, filled, where)
    try:
        return _made(name, filled)
    except ComponentError as error:
        raise _explained(error, name, filled, facts, where) from error


def _made(name: str, params: Mapping[str, Any]) -> nn.Module:
    net: nn.Module = registry.build("net", name, params)
    return net


def _with_lower_outputs(
    name: str, factory: Any, params: dict[str, Any], where: str
) -> dict[str, Any]:
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
    message = (
        f"net '{name}' has no outputs of lower resolution; take DynUNet, SegResNetDS, MedNeXt or "
        "BasicUNetPlusPlus, or set deep_supervision: false"
    )
    raise ConfigError(Problem(message, where="task.deep_supervision"))


def _explained(
    error: ComponentError, name: str, params: Mapping[str, Any], facts: DataFacts, where: str
) -> ComponentError:
    """Say which image sizes a net can be built for, where the size is what it refuses."""
    aliases = FILLED["net"]
    sized = [key for key in params if aliases.get(key) == "image_size"]
    if not sized:
        missing = [
            key
            for key, value in signature_of(registry.resolve("net", name)).items()
            if aliases.get(key, "").startswith("image_") and value.default is value.empty
        ]
        remedy = ". It is made for one image size: set data.patch.size" if missing else ""
        return ComponentError(Problem(f"{error}{remedy}", where=where))
    size = facts.patch_size or ()
    fitting = [str(list(good)) for good in _buildable(name, params, sized[0], size)]
    remedy = f". Patch sizes that fit: {' or '.join(fitting)}" if fitting else ""
    return ComponentError(Problem(f"{error}{remedy}", where=where))


def _buildable(
    name: str, params: Mapping[str, Any], key: str, size: Sequence[int]
) -> list[tuple[int, ...]]:
    """Return the nearest smaller and larger size that the net can be built for."""
    found: list[tuple[int, ...]] = []
    for up, factor in itertools.product((False, True), (2, 4, 8, 16, 32, 64)):
        rounded = tuple((-(-side // factor) if up else side // factor) * factor for side in size)
        if rounded == tuple(size) or not all(rounded):
            continue
        try:
            with torch.device("meta"):
                _made(name, {**params, key: list(rounded)})
        except ComponentError:
            continue
        if rounded not in found:
            found.append(rounded)
    smaller = [good for good in found if sum(good) < sum(size)]
    larger = [good for good in found if sum(good) > sum(size)]
    return [max(smaller, key=sum)] * bool(smaller) + [min(larger, key=sum)] * bool(larger)
