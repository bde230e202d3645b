"""What a net that refuses its parameters or an image size is made to say: sizes that fit."""

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

from .filling import signature_of
from .idle import freeze_idle
from .sizes import SizeProbe


def made(
    name: str, params: Mapping[str, Any], facts: DataFacts, where: str, *, keeps_size: bool = True
) -> nn.Module:
    """Build a net from its completed parameters.

    Args:
        name: Name of the net.
        params: All its parameters.
        facts: Facts of the data, with the channels and the size that the net is given.
        where: Key of the config, for messages.
        keeps_size: Whether a dense output must have the size of the image.

    Raises:
        ConfigError: If it was built for an image size that it cannot take.
        ComponentError: If it refuses its parameters.
    """
    try:
        net = _made(name, params)
    except ComponentError as error:
        raise _explained(error, name, params, facts, where) from error
    _check_own_size(net, name, params, facts, keeps_size=keeps_size)
    return net


def _made(name: str, params: Mapping[str, Any]) -> nn.Module:
    net: nn.Module = registry.build("net", name, params)
    return freeze_idle(net)


def _sized_by(params: Mapping[str, Any]) -> str | None:
    """Return the parameter that holds the one image size that a net is made for, if it has one."""
    return next((key for key in params if FILLED["net"].get(key) == "image_size"), None)


def _check_own_size(
    net: nn.Module, name: str, params: Mapping[str, Any], facts: DataFacts, *, keeps_size: bool
) -> None:
    """Some nets can be built for a size that they then cannot take, such as UNETR for 72 pixels."""
    key, size = _sized_by(params), facts.patch_size
    if key is None or size is None:
        return
    probe = SizeProbe(net, facts.in_channels, facts.spatial_dims, keeps_size=keeps_size)
    complaint = probe.complaint(size)
    if complaint is not None:
        remedy = _remedy(name, params, key, facts)
        message = f"net '{name}' cannot take images of {list(size)}: {complaint}{remedy}"
        raise ConfigError(Problem(message, where="data.patch.size"))


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
    return sorted(smaller, key=sum)[-1:] + sorted(larger, key=sum)[:1]


def _works(name: str, params: Mapping[str, Any], size: tuple[int, ...], facts: DataFacts) -> bool:
    try:
        with torch.device("meta"):
            net = _made(name, params)
    except ComponentError:
        return False
    return SizeProbe(net, facts.in_channels, facts.spatial_dims).fits(size)
