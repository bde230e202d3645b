"""Two images (or more) through one backbone, compared or joined, and heads behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from imtoolkit.core.batch import IMAGE
from imtoolkit.core.errors import ComponentError, ConfigError, Problem

from .composition import Headed, named_modules, restored
from .features import Features, as_backbone, features_of, feed
from .inputs import call
from .joining import check_join, joined, joined_channels

if TYPE_CHECKING:
    from .assembling import Assembler, Slot


class Siamese(Headed):
    """Several images through one backbone with shared weights.

    The images lie behind each other in the channels (first half, second half), or under keys of
    the batch.

    Args:
        backbone: Runs on each image.
        post: Head behind what is joined.
        heads: Heads by name behind what is joined, instead of ``post``.
        each: Heads by name that run on the features of each image by itself: their outputs are
            called ``<name>_1``, ``<name>_2``, ...
        join: ``concat``, ``difference`` (absolute, so that the order does not count), ``both``,
            ``sum``, ``mean`` or ``max``.
        count: How many images the channels hold.
        keys: Keys of the batch that hold the images, instead of ``count``.

    Weights are called ``backbone.*``, ``post.*``, ``heads.<name>.*`` and ``each.<name>.*``.

    Bromley et al., Signature verification using a "Siamese" time delay neural network, NIPS 1993.

    Example:
        >>> import torch
        >>> net = Siamese(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 1, 1), join="difference")
        >>> pair = torch.rand(1, 2, 8, 8)
        >>> bool(torch.equal(net(pair), net(pair.flip(1))))
        True
    """

    backbone: nn.Module

    def __init__(
        self,
        backbone: nn.Module,
        post: nn.Module | None = None,
        heads: Mapping[str, nn.Module] | None = None,
        each: Mapping[str, nn.Module] | None = None,
        join: str = "concat",
        count: int = 2,
        keys: Sequence[str] | None = None,
    ) -> None:
        super().__init__(post, heads, backbone=as_backbone(backbone))
        if post is None and not heads and not each:
            message = "a siamese net needs a head: post, heads, or each"
            raise ComponentError(message)
        if each and post is not None:
            message = "with heads on each image the outputs have names: give heads instead of post"
            raise ComponentError(message)
        self.keys = tuple(keys or ())
        self.count = len(self.keys) or count
        if self.count < 2:
            message = f"a siamese net compares two images or more, got {self.count}"
            raise ComponentError(message)
        self.join = check_join(join, self.count)
        self.each = named_modules(each or {}, "head")

    @classmethod
    def assemble(cls, params: Mapping[str, Any], slot: Slot, make: Assembler) -> Siamese:
        """Build the backbone for one image, then the heads."""
        rest = {key: params[key] for key in ("join", "count", "keys") if key in params}
        count = len(params.get("keys") or ()) or params.get("count", 2)
        place = slot
        if not params.get("keys"):
            channels = slot.facts.in_channels
            if count < 2 or channels % count:
                message = (
                    f"{count} images lie behind each other in the channels, but the images have "
                    f"{channels} channel(s)"
                )
                raise ConfigError(Problem(message, where=f"{slot.where}.params.count"))
            place = slot.with_channels(channels // count, "each of the images")
        inner = place.below("backbone")
        backbone = make.part(params["backbone"], inner)
        flow = make.after(backbone, inner, params["backbone"])
        each_slot, joint_slot = _by_output(params, slot, count)
        each = make.heads(params["each"], flow, each_slot, "each") if params.get("each") else {}
        join = check_join(params.get("join", "concat"), count)
        wider = [(joined_channels(shape[0], join, count), *shape[1:]) for shape in flow.shapes]
        pair = replace(flow, shapes=tuple(wider))
        post, heads = make.tail(params, pair, joint_slot)
        return cls(backbone, post, heads, each, **rest)

    @property
    def entries(self) -> Sequence[nn.Module]:
        """See `Headed`."""
        return [self.backbone]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Keys of the batch that the net is called with."""
        others = tuple(key for key in super().inputs if key != IMAGE)
        return (*(self.keys or (IMAGE,)), *others)

    def forward(self, *values: Tensor) -> Any:
        """Return the output, or named outputs, for the values under `inputs`."""
        given = self.given(values)
        images = [given[key] for key in self.keys]
        if not images:
            images = list(given[IMAGE].chunk(self.count, dim=1))
        given = {**given, IMAGE: images[0]}
        features = [features_of(self.backbone, image, given) for image in images]
        outputs: dict[str, Any] = {}
        for name, head in self.each.items():
            for index, one in enumerate(features, 1):
                outputs[f"{name}_{index}"] = self._one(head, one, given)
        if self.post is None and not self.heads:
            return outputs
        made = self.finish(joined(features, self.join), given, self.backbone)
        return {**made, **outputs} if isinstance(made, dict) else made

    def _one(self, head: nn.Module, features: Features, given: Mapping[str, Tensor]) -> Any:
        return restored(call(head, feed(head, features, self.backbone), given), given[IMAGE])


def _by_output(params: Mapping[str, Any], slot: Slot, count: int) -> tuple[Slot, Slot]:
    """Return the places of the heads on each image and of those on the joined features."""
    wanted, each = slot.out_channels, list(params.get("each") or ())
    if not isinstance(wanted, Mapping):
        return slot, slot
    names = {f"{name}_{index}": name for name in each for index in range(1, count + 1)}
    own = {names[name]: width for name, width in wanted.items() if name in names}
    joint = {name: width for name, width in wanted.items() if name not in names}
    return replace(slot, out_channels=own), replace(slot, out_channels=joint)
