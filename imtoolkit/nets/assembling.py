"""Parts of a net built one after the other, each for what the one before it gives.

A class that is made of parts has a classmethod ``assemble(params, slot, make)``: it is given its
parameters as the user wrote them, the place where it stands, and what builds its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from torch import nn

from imtoolkit.core import registry
from imtoolkit.core.errors import ConfigError, Problem
from imtoolkit.core.facts import DataFacts

from . import refusals
from .components import check_names, check_parameters, component_of, name_of, resolved
from .features import as_backbone, lists_channels
from .filling import Outputs, fill_net, signature_of
from .flow import Flow, flow_after, output_shape
from .lower_outputs import no_lower_outputs, with_lower_outputs

_SETTINGS: Final = {"ViT": {"classification": True, "post_activation": None}}
"""What a net of MONAI needs to give logits, where it is not asked to give features."""


@dataclass(frozen=True)
class Slot:
    """The place of a net or of a part: what it is given, and what is wanted of it.

    Attributes:
        facts: Facts of the data, with the channels and the size that arrive here.
        out_channels: Channels wanted; by output where there are several; ``None`` where what
            follows takes any number.
        where: Key of the config.
        before: Who gives the channels, for messages.
        shape: ``(C, [Z,] Y, X)`` or ``(C,)`` that arrives, where it is known.
    """

    facts: DataFacts
    out_channels: Outputs
    where: str = "task.net"
    before: str = "the images have"
    shape: tuple[int, ...] | None = None

    def below(self, key: str, out_channels: Outputs = None) -> Slot:
        """Return the place of a part under one of the parameters."""
        return replace(self, where=f"{self.where}.params.{key}", out_channels=out_channels)

    def fed(self, shape: tuple[int, ...], giver: str) -> Slot:
        """Return the same place with another thing arriving at it."""
        facts = replace(self.facts, in_channels=shape[0], patch_size=shape[1:] or None)
        return replace(self, facts=facts, before=f"{giver} gives", shape=shape)

    def with_channels(self, count: int, giver: str) -> Slot:
        """Return the same place with other channels of the image arriving at it."""
        return replace(self, facts=replace(self.facts, in_channels=count), before=f"{giver} has")


class Assembler:
    """Builds parts where they stand.

    Args:
        deep_supervision: Ask the net for the outputs of its lower resolutions as well.
    """

    def __init__(self, *, deep_supervision: bool = False) -> None:
        self._deep = deep_supervision

    def part(self, given: Any, slot: Slot, *, last: bool = False) -> nn.Module:
        """Build a net, or a part that is no head.

        Args:
            given: A component, its name, or a module.
            slot: Where it stands.
            last: Whether its output is the net's own; otherwise a classifier is taken off.

        Raises:
            ConfigError: If it does not fit.
            ComponentError: If it cannot be built.
        """
        if isinstance(given, nn.Module):
            return given if last else as_backbone(given)
        name, params = component_of(given, slot.where)
        factory = resolved(name, slot.where)
        net = self._built(name, factory, params, slot, last=last)
        return net if last else as_backbone(net)

    def after(self, part: nn.Module, slot: Slot, given: Any) -> Flow:
        """Return what a part gives for what arrives at its place."""
        return flow_after(
            part,
            slot.facts,
            slot.shape,
            role=slot.where.rpartition(".")[2],
            name=name_of(given),
            where=slot.where,
        )

    def head(self, given: Any, flow: Flow, slot: Slot) -> nn.Module:
        """Build a head behind a part, and check that it fits.

        Raises:
            ConfigError: With the shapes on both sides where it does not.
            ComponentError: If it cannot be built.
        """
        giver = flow.giver
        if isinstance(given, nn.Module):
            head = given
        else:
            name, params = component_of(given, slot.where)
            factory = resolved(name, slot.where)
            index = -1 if getattr(factory, "pools", False) else flow.main
            inner = slot.fed(flow.shapes[index], giver)
            listing = getattr(factory, "takes_maps", None)
            listing = lists_channels(factory) if listing is None else listing
            channels = [shape[0] for shape in flow.shapes] if listing else None
            if listing and len(flow.shapes[0]) == 1:
                raise ConfigError(Problem(_needs_maps(name, flow), where=slot.where))
            if listing and "strides" in signature_of(factory):
                params.setdefault("strides", flow.strides())
            head = self._built(name, factory, params, inner, last=True, map_channels=channels)
        self._check_fit(head, name_of(given), flow, slot)
        return head

    def heads(self, given: Any, flow: Flow, slot: Slot, key: str = "heads") -> dict[str, nn.Module]:
        """Build named heads, each with the channels that the task wants of it.

        Args:
            given: Components by name.
            flow: What they are given.
            slot: Place of the whole net.
            key: Parameter that holds them, for messages.

        Raises:
            ConfigError: If their names are not those of the task's heads, or one does not fit.
        """
        if not isinstance(given, Mapping) or set(given) == {"name", "params"} or not given:
            message = "heads stand by name: {mask: {name: dense, params: {}}, ...}"
            raise ConfigError(Problem(message, where=f"{slot.where}.params.{key}"))
        wanted = slot.out_channels
        if isinstance(wanted, Mapping):
            check_names(list(given), list(wanted), f"{slot.where}.params.{key}")
        widths = wanted if isinstance(wanted, Mapping) else dict.fromkeys(given, wanted)
        return {
            name: self.head(component, flow, slot.below(f"{key}.{name}", widths[name]))
            for name, component in given.items()
        }

    def tail(
        self, params: Mapping[str, Any], flow: Flow, slot: Slot
    ) -> tuple[nn.Module | None, dict[str, nn.Module]]:
        """Build ``post`` or ``heads``, whichever is given."""
        post, heads = params.get("post"), params.get("heads")
        if post is not None and heads is not None:
            message = "got post and heads; take post for one output, heads for several"
            raise ConfigError(Problem(message, where=slot.where))
        if heads is not None:
            return None, self.heads(heads, flow, slot)
        if post is not None:
            return self.head(post, flow, slot.below("post", slot.out_channels)), {}
        if isinstance(slot.out_channels, Mapping) and slot.out_channels:
            check_names([], list(slot.out_channels), f"{slot.where}.params")
        return None, {}

    def _built(
        self,
        name: str,
        factory: Callable[..., Any],
        params: Mapping[str, Any],
        slot: Slot,
        *,
        last: bool,
        map_channels: list[int] | None = None,
    ) -> nn.Module:
        assemble = getattr(factory, "assemble", None)
        if assemble is not None:
            check_parameters(name, factory, params, slot.where)
            if self._deep:
                raise ConfigError(no_lower_outputs(name))
            net: nn.Module = assemble(params, slot, self)
            return net
        inner = {key: self._nested(key, value, factory, slot) for key, value in params.items()}
        filled = fill_net(
            factory,
            inner,
            slot.facts,
            slot.out_channels,
            where=slot.where,
            before=slot.before,
            map_channels=map_channels,
            middle=not last,
        )
        if last and slot.out_channels is not None:
            filled = {**_SETTINGS.get(name, {}), **filled}
        if self._deep and last:
            filled = with_lower_outputs(name, factory, filled)
        return refusals.made(name, filled, slot.facts, slot.where, keeps_size=last)

    def _nested(self, key: str, value: Any, factory: Callable[..., Any], slot: Slot) -> Any:
        """Build a net that stands in a parameter of a net which is not made of parts."""
        parameter = signature_of(factory).get(key)
        text = str(parameter.annotation) if parameter is not None else ""
        named = isinstance(value, Mapping) and isinstance(value.get("name"), str)
        a_net = registry.is_component(value) and registry.nested_kind("net", key) == "net"
        if "Module" in text and "str" not in text:  # a text may mean something else there
            a_net = a_net or named or isinstance(value, str)
        if a_net:
            return self.part(value, slot.below(key, slot.out_channels), last=True)
        return value

    def _check_fit(self, head: nn.Module, name: str, flow: Flow, slot: Slot) -> None:
        shape = output_shape(head, flow, name, slot.where)
        wanted = slot.out_channels
        if shape is not None and isinstance(wanted, int) and shape[0] != wanted:
            message = (
                f"'{name}' gives {shape[0]} channel(s), and {wanted} are needed. Leave its output "
                "channels out: they are filled in"
            )
            raise ConfigError(Problem(message, where=slot.where))


def _needs_maps(name: str, flow: Flow) -> str:
    return (
        f"head '{name}' takes feature maps, but {flow.giver} gives {flow}. Put it behind a "
        "backbone that gives maps (resnet, unet_features), or take a head for vectors (global_pool)"
    )
