"""Nets made of parts: pre, backbone and post, and one backbone with several heads.

The weights are called ``pre.*``, ``backbone.*``, ``post.*`` and ``heads.<name>.*`` (in a task
``nets.net.backbone.*``), so that a part is frozen, loaded, saved and given a learning rate by a
pattern of names. The parts of the pattern follow FMImaging (pre / backbone / post) and FuseMedML
(one backbone, several heads).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from .composition import Headed, named_modules, one_map
from .features import as_backbone, features_of, uniform
from .inputs import call

if TYPE_CHECKING:
    from .assembling import Assembler, Slot
    from .flow import Flow


class Composed(Headed):
    """Three parts in a row: ``post(backbone(pre(image)))``.

    Args:
        backbone: Any net: gives a tensor, or feature maps, finest first.
        pre: Takes the image; left out, the backbone does.
        post: Head: takes the features. Left out, the backbone's own output is the net's.

    Dense outputs are brought to the spatial size of the image. Parts that declare ``inputs`` beside
    the image (a head that joins tabular data in) make the net declare them.

    Example:
        >>> import torch
        >>> net = Composed(nn.Conv2d(1, 4, 3, stride=2), post=nn.Conv2d(4, 2, 1))
        >>> net(torch.zeros(1, 1, 16, 16)).shape
        torch.Size([1, 2, 16, 16])
    """

    pre: nn.Module | None
    backbone: nn.Module

    def __init__(
        self,
        backbone: nn.Module,
        pre: nn.Module | None = None,
        post: nn.Module | None = None,
    ) -> None:
        super().__init__(
            post,
            pre=None if pre is None else as_backbone(pre),
            backbone=backbone if post is None else as_backbone(backbone),
        )

    @classmethod
    def assemble(cls, params: Mapping[str, Any], slot: Slot, make: Assembler) -> Composed:
        """Build the parts in order, each for what the one before it gives."""
        pre, backbone, flow = _body(params, slot, make, headless=params.get("post") is None)
        post = None
        if flow is not None:
            post = make.head(params["post"], flow, slot.below("post", slot.out_channels))
        return cls(backbone, pre, post)

    @property
    def entries(self) -> Sequence[nn.Module]:
        """See `Headed`."""
        return [self.backbone if self.pre is None else self.pre]

    @property
    def main_map(self) -> int:
        """Which of the maps a dense head takes, where the net itself is a backbone."""
        return int(getattr(self.backbone, "main_map", -1))

    def forward(self, *values: Tensor) -> Any:
        """Return the output for the values under `inputs`, usually the image alone."""
        given = self.given(values)
        return self.finish(self.features(given), given, self.backbone)

    def features(self, given: Mapping[str, Tensor]) -> Any:
        """Return what the backbone gives."""
        fed = given.get("image", next(iter(given.values())))
        if self.pre is not None:
            fed = one_map(uniform(call(self.pre, fed, given), self.pre, fed), self.pre)
        if self.post is None and not self.heads:
            return call(self.backbone, fed, given)
        return features_of(self.backbone, fed, given)


class MultiHead(Composed):
    """One backbone with several heads, dense and image-level ones together.

    Args:
        backbone: See `Composed`.
        heads: Heads by name.
        pre: See `Composed`.

    Returns a dict: the output of each head under its name.

    Example:
        >>> import torch
        >>> heads = {"mask": nn.Conv2d(4, 2, 1), "mean": nn.Sequential(nn.AdaptiveAvgPool2d(1))}
        >>> net = MultiHead(nn.Conv2d(1, 4, 3, padding=1), heads)
        >>> sorted(net(torch.zeros(1, 1, 8, 8)))
        ['mask', 'mean']
    """

    def __init__(
        self,
        backbone: nn.Module,
        heads: Mapping[str, nn.Module],
        pre: nn.Module | None = None,
    ) -> None:
        super().__init__(as_backbone(backbone), pre)
        self.heads = named_modules(heads, "head")

    @classmethod
    def assemble(cls, params: Mapping[str, Any], slot: Slot, make: Assembler) -> MultiHead:
        """Build the backbone, then the heads for what it gives."""
        pre, backbone, flow = _body(params, slot, make, headless=False)
        assert flow is not None
        return cls(backbone, make.heads(params["heads"], flow, slot), pre)


def _body(
    params: Mapping[str, Any], slot: Slot, make: Assembler, *, headless: bool
) -> tuple[nn.Module | None, nn.Module, Flow | None]:
    """Build pre and backbone; return them, and what flows out of the backbone to heads."""
    last = headless and slot.out_channels is not None  # otherwise it is itself a backbone
    pre, place = None, slot
    if params.get("pre") is not None:
        first = slot.below("pre")
        pre = make.part(params["pre"], first)
        flow = make.after(pre, first, params["pre"])
        place = slot.fed(flow.shapes[flow.main], flow.giver)
    place = place.below("backbone", slot.out_channels if last else None)
    backbone = make.part(params["backbone"], place, last=last)
    return pre, backbone, None if headless else make.after(backbone, place, params["backbone"])
