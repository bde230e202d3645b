"""A net made from its name: filled in from the data, and with remedies where it refuses a size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from imtoolkit.core.facts import DataFacts

from .assembling import Assembler, Slot
from .composition import Headed
from .idle import freeze_unreached


def build_net(
    name: str,
    params: Mapping[str, Any],
    facts: DataFacts,
    out_channels: int | Mapping[str, int],
    *,
    deep_supervision: bool = False,
    where: str = "task.net",
) -> nn.Module:
    """Build a net.

    Args:
        name: Name of a net, see `imtoolkit.core.registry`.
        params: What the user wrote; parts of a composed net are ``{name, params}`` in it, or
            modules that are built already.
        facts: Facts of the data, which fill in what the user left out.
        out_channels: Channels that the task needs; by name where the net shall return a dict of
            named outputs.
        deep_supervision: Ask the net for the outputs of its lower resolutions as well.
        where: Key of the config, for messages.

    Raises:
        ConfigError: If a value does not fit the data, a head does not fit its backbone, or the net
            has no lower outputs.
        ComponentError: If the net cannot be found or refuses its parameters.

    Example:
        >>> facts = DataFacts(spatial_dims=2, in_channels=1, patch_size=(32, 32))
        >>> params = {"backbone": {"name": "resnet", "params": {}}, "post": "global_pool"}
        >>> type(build_net("composed", params, facts, 2)).__name__
        'Composed'
    """
    slot = Slot(facts, out_channels, where)
    make = Assembler(deep_supervision=deep_supervision)
    net = make.part({"name": name, "params": dict(params)}, slot, last=True)
    return freeze_unreached(net, facts) if isinstance(net, Headed) else net
