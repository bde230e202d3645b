"""A net made from its name: filled in from the data, and with remedies where it refuses a size."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from imtoolkit.core import registry
from imtoolkit.core.errors import ComponentError, ConfigError, Problem
from imtoolkit.core.facts import DataFacts
from imtoolkit.core.filled import FILLED

from .filling import fill_net, signature_of
from .sizes import SizeProbe


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
        net = _made(name, filled)
    except ComponentError as error:
        raise _explained(error, name, filled, facts, where) from error
    _check_own_size(net, name, filled, facts, where)
    return net


def _made(name: str, params: Mapping[str, Any]) -> nn.Module:
    net: nn.Module = registry.build("net", name, params)
    return net


def _sized_by(params: Mapping[str, Any]) -> str | None:
    """Return the parameter that holds the one image size that a net is made for, if it has one."""
    return next((key for key in params if FILLED["net"].get(key) == "image_size"), None)


def _check_own_size(
    net: nn.Module, name: str, params: Mapping[str, Any], facts: DataFacts, where: str
) -> None:
    """Some nets can be built for a size that they then cannot take, such as UNETR for 72 pixels."""
    key, size = _sized_by(params), facts.patch_size
    if key is None or size is None:
        return
    complaint = SizeProbe(net, facts.in_channels, facts.spatial_dims).complaint(size)
    if complaint is not None:
        remedy = _remedy(name, params, key, facts)
        message = f"net '{name}' cannot take images of {list(size)}: {complaint}{remedy}"
        raise ConfigError(Problem(message, where="data.patch.size"))


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
    key = _sized_by(params)
    if key is not None and facts.patch_size is not None:
        return ComponentError(Problem(f"{error}{_remedy(name, params, key, facts)}", where=where))
    missing = [
        key
        for key, value in signature_of(registry.resolve("net", name)).items()
        if FILLED["net"].get(key, "").startswith("image_") and value.default is value.empty
    ]
    remedy = ". It is made for one image size: set data.patch.size" if missing else ""
    return ComponentError(Problem(f"{error}{remedy}", where=where))


def _remedy(name: str, params: Mapping[str, Any], key: str, facts: DataFacts) -> str:
    fitting = [str(list(good)) for good in _buildable(name, params, key, facts)]
    return f". Patch sizes that fit: {' or '.join(fitting)}" if fitting else ""


def _buildable(
    name: str, params: Mapping[str, Any], key: str, facts: DataFacts
) -> list[tuple[int, ...]]:
    """Return the nearest smaller and larger size that the net can be built for."""
    size = facts.patch_size or ()
    found: list[tuple[int, ...]] = []
    for up, factor in itertools.product((False, True), (2, 4, 8, 16, 32, 64)):
        rounded = tuple((-(-side // factor) if up else side // factor) * factor for side in size)
        if rounded != tuple(size) and all(rounded) and rounded not in found:
            found += [rounded] * _works(name, {**params, key: list(rounded)}, rounded, facts)
    smaller = [good for good in found if sum(good) < sum(size)]
    larger = [good for good in found if sum(good) > sum(size)]
    return [max(smaller, key=sum)] * bool(smaller) + [min(larger, key=sum)] * bool(larger)


def _works(name: str, params: Mapping[str, Any], size: tuple[int, ...], facts: DataFacts) -> bool:
    try:
        with torch.device("meta"):
            net = _made(name, params)
    except ComponentError:
        return False
    return SizeProbe(net, facts.in_channels, facts.spatial_dims).fits(size)
