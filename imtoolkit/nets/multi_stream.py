"""Several backbones, each over channels of its own, joined before the heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from torch import Tensor, nn

from imtoolkit.core.batch import IMAGE
from imtoolkit.core.errors import ComponentError, ConfigError, Problem, did_you_mean, listed

from .composition import Headed, named_modules, restored
from .features import as_backbone, features_of
from .joining import check_join, joined

if TYPE_CHECKING:
    from .assembling import Assembler, Slot

_KEYS: Final = ("net", "channels")


class MultiStream(Headed):
    """Several streams over split channels, such as a net for each stain or MRI sequence.

    Args:
        streams: Nets by name; or ``{net: ..., channels: [...]}`` for each. Without channels each
            stream takes one channel, in order.
        join: ``concat``, ``sum``, ``mean``, ``max``; of two streams also ``difference`` and
            ``both``. Feature maps are joined level by level.
        post: Head behind what is joined. Without heads the joined features are the output, so that
            the net can be a backbone itself, and ``sum`` and ``mean`` of logits are late fusion.
        heads: Heads by name, instead of ``post``.

    Weights are called ``streams.<name>.*``, ``post.*`` and ``heads.<name>.*``.

    Example:
        >>> import torch
        >>> streams = {name: nn.Conv2d(1, 4, 3, padding=1) for name in ("dapi", "actin")}
        >>> net = MultiStream(streams, post=nn.Conv2d(8, 2, 1))
        >>> net(torch.zeros(1, 2, 8, 8)).shape
        torch.Size([1, 2, 8, 8])
    """

    streams: nn.ModuleDict

    def __init__(
        self,
        streams: Mapping[str, nn.Module | Mapping[str, Any]],
        join: str = "concat",
        post: nn.Module | None = None,
        heads: Mapping[str, nn.Module] | None = None,
    ) -> None:
        nets = {name: _split(item)[0] for name, item in streams.items()}
        if post is not None or heads:
            nets = {name: as_backbone(net) for name, net in nets.items()}
        super().__init__(post, heads, streams=named_modules(nets, "stream"))
        chosen = [_split(item)[1] for item in streams.values()]
        self.channels = {
            name: tuple([index] if picked is None else picked)
            for index, (name, picked) in enumerate(zip(streams, chosen, strict=True))
        }
        self.join = check_join(join, len(nets))

    @classmethod
    def assemble(cls, params: Mapping[str, Any], slot: Slot, make: Assembler) -> MultiStream:
        """Build each stream for its channels, then the heads for what is joined."""
        join = check_join(params.get("join", "concat"), len(params["streams"] or {}))
        headless = params.get("post") is None and params.get("heads") is None
        last = headless and slot.out_channels is not None
        several = join in ("concat", "both") and len(params["streams"]) > 1
        if last and several:
            message = f"'{join}' of several streams needs a head: set post or heads, or join: sum"
            raise ConfigError(Problem(message, where=slot.where))
        nets = _built(params["streams"], slot, make, last=last)
        body = cls(nets, join)
        if headless:
            return body
        flow = make.after(body, slot, "multi_stream")
        post, heads = make.tail(params, flow, slot)
        return cls(nets, join, post, heads)

    @property
    def entries(self) -> Sequence[nn.Module]:
        """See `Headed`."""
        return list(self.streams.values())

    @property
    def main_map(self) -> int:
        """Which of the maps a dense head takes, where the net itself is a backbone."""
        return int(getattr(self.entries[0], "main_map", -1))

    def forward(self, *values: Tensor) -> Any:
        """Return the output for the values under `inputs`, usually the image alone."""
        given = self.given(values)
        features = joined([self._stream(name, given) for name in self.streams], self.join)
        if self.post is None and not self.heads and isinstance(features, Tensor):
            return restored(features, given[IMAGE])
        return self.finish(features, given, self)

    def _stream(self, name: str, given: Mapping[str, Tensor]) -> Any:
        image = given[IMAGE][:, list(self.channels[name])]
        return features_of(self.streams[name], image, {**given, IMAGE: image})


def _split(item: Any) -> tuple[Any, Sequence[int] | None]:
    """Return net and channels of a stream."""
    if isinstance(item, Mapping) and "name" not in item:
        unknown = [key for key in item if key not in _KEYS]
        if unknown or "net" not in item:
            hint = did_you_mean(unknown[0], _KEYS) if unknown else ""
            message = (
                f"a stream is {{net: {{name, params}}, channels: [0, 1]}}; got "
                f"{listed(list(item))}.{hint}"
            )
            raise ComponentError(message)
        return item["net"], item.get("channels")
    return item, None


def _built(streams: Any, slot: Slot, make: Assembler, *, last: bool) -> dict[str, Any]:
    where = f"{slot.where}.params.streams"
    if not isinstance(streams, Mapping) or not streams:
        message = "streams stand by name: {dapi: {net: {name: resnet, params: {}}, channels: [0]}}"
        raise ConfigError(Problem(message, where=where))
    told = [_split(item)[1] is not None for item in streams.values()]
    if not any(told) and len(told) != slot.facts.in_channels:
        message = (
            f"{len(told)} streams, and the images have {slot.facts.in_channels} channel(s): say "
            "which channels each takes, {net: ..., channels: [0, 1]}"
        )
        raise ConfigError(Problem(message, where=where))
    made: dict[str, Any] = {}
    for index, (name, item) in enumerate(streams.items()):
        given, chosen = _split(item)
        channels = [index] if chosen is None else list(chosen)
        beyond = [str(channel) for channel in channels if not 0 <= channel < slot.facts.in_channels]
        if beyond or not channels:
            message = (
                f"stream '{name}' takes the channels {channels}, but the images have "
                f"{slot.facts.in_channels} channel(s), counted from 0"
            )
            raise ConfigError(Problem(message, where=f"{where}.{name}"))
        place = slot.with_channels(len(channels), f"stream '{name}'")
        place = place.below(f"streams.{name}", slot.out_channels if last else None)
        made[name] = {"net": make.part(given, place, last=last), "channels": channels}
    return made
