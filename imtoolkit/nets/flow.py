"""What a part gives for what it is given, found by running it on shapes alone (torch's meta)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import torch
from torch import Tensor, nn

from imtoolkit.core.batch import IMAGE, TABULAR
from imtoolkit.core.errors import ConfigError, Problem
from imtoolkit.core.facts import DataFacts

from .features import features_of, feed, main_index, takes_maps
from .inputs import call, inputs_of, tabular_width
from .sizes import META_WORDS, SizeProbe, check_size

_SIDES: Final = (64, 96, 128, 224, 32)
"""Sides to try where the size of the images is not known."""
_BATCH: Final = 2  # batch norms refuse one vector


@dataclass(frozen=True)
class Flow:
    """What a part gives: shapes ``(C, [Z,] Y, X)`` or ``(C,)``, without the batch.

    Attributes:
        shapes: One for a tensor; several for feature maps, finest first.
        maps: Whether it is a list.
        main: Which map goes to a part that takes one and does not pool.
        giver: Whose it is, for messages: ``backbone 'resnet'``.
        source: The part itself.
        image: ``(C, [Z,] Y, X)`` that went in.
    """

    shapes: tuple[tuple[int, ...], ...]
    maps: bool
    main: int
    giver: str
    source: nn.Module
    image: tuple[int, ...] = ()

    def strides(self) -> list[list[int]]:
        """Return how much coarser each map is than the one before it, for each axis."""
        sizes = [shape[1:] for shape in self.shapes]
        return [list(map(_rounded_up, fine, coarse)) for fine, coarse in pairwise(sizes)]

    def __str__(self) -> str:
        if self.maps:
            shown = ", ".join(str(list(shape)) for shape in self.shapes)
            return f"{len(self.shapes)} feature maps {shown}"
        shape = self.shapes[0]
        kind = "vector" if len(shape) == 1 else "map"
        return f"one {kind} {list(shape)} for an image of {list(self.image)}"


def _rounded_up(fine: int, coarse: int) -> int:
    return -(-fine // coarse)


def flow_after(
    part: nn.Module,
    facts: DataFacts,
    shape: tuple[int, ...] | None,
    *,
    role: str,
    name: str,
    where: str,
) -> Flow:
    """Return what a backbone gives.

    Args:
        part: It is copied and not changed.
        facts: Channels and size that arrive.
        shape: What arrives, where it is no image.
        role: Parameter that holds the part, for messages.
        name: Name of the part, for messages.
        where: Key of the config, for messages.

    Raises:
        ConfigError: If it takes no size that was tried, or returns what no head can take.
    """
    dims, giver = facts.spatial_dims, f"{role} '{name}'"
    sizes = [facts.patch_size] if facts.patch_size else [(side,) * dims for side in _SIDES]
    shapes = [shape] if shape is not None else [(facts.in_channels, *size) for size in sizes]
    error: Exception | None = None
    for one in shapes:
        try:
            raw = _on_shapes(part, lambda net, fed, given: features_of(net, fed, given), one)
        except Exception as caught:  # noqa: BLE001 - nets refuse a size with whatever error
            error = error or caught
            continue
        return _flow_of(raw, part, giver, one, where)
    if shape is None and facts.patch_size is not None:
        probe = SizeProbe(part, facts.in_channels, dims, keeps_size=False)
        check_size(probe, facts.patch_size, name=name, where="data.patch.size")
    message = f"{giver} cannot take {list(shapes[0])} (channels first): {_first_line(error)}"
    raise ConfigError(Problem(message, where=where))


def output_shape(head: nn.Module, flow: Flow, name: str, where: str) -> tuple[int, ...] | None:
    """Return the shape of a head's output; ``None`` where it is no tensor.

    Raises:
        ConfigError: If the head cannot take what flows, with the shapes on both sides.
    """

    def run(net: nn.Module, fed: Any, given: dict[str, Tensor]) -> Any:
        return call(net, feed(net, fed, flow.source), given)

    try:
        raw = _on_shapes(head, run, *flow.shapes, maps=flow.maps)
    except Exception as error:
        raise ConfigError(Problem(_misfit(head, flow, name, error), where=where)) from error
    return tuple(raw.shape[1:]) if isinstance(raw, Tensor) else None


def _flow_of(raw: Any, part: nn.Module, giver: str, image: tuple[int, ...], where: str) -> Flow:
    maps = isinstance(raw, list)
    outputs = raw if isinstance(raw, list) else [raw]
    if not outputs or not all(isinstance(item, Tensor) and item.ndim >= 2 for item in outputs):
        kind = "named outputs" if isinstance(raw, dict) else type(raw).__name__
        message = f"{giver} gives {kind}; a head takes a tensor or a list of feature maps"
        raise ConfigError(Problem(message, where=where))
    shapes = tuple(tuple(item.shape[1:]) for item in outputs)
    return Flow(shapes, maps, main_index(part, None), giver, part, image)


def _misfit(head: nn.Module, flow: Flow, name: str, error: Exception) -> str:
    wants = "takes all feature maps" if takes_maps(head) else "cannot take that"
    remedy = (
        "take a head for vectors (global_pool), or a backbone that gives maps (resnet)"
        if len(flow.shapes[0]) == 1
        else "take a head for maps (global_pool, dense), or change its parameters"
    )
    return f"{flow.giver} gives {flow}, and head '{name}' {wants} ({_first_line(error)}): {remedy}"


def _on_shapes(
    part: nn.Module, run: Callable[..., Any], *shapes: tuple[int, ...], maps: bool = False
) -> Any:
    """Run a copy of a part on shapes alone, or on zeros where it looks at values."""
    error: Exception | None = None
    for device in ("meta", "cpu"):
        net = copy.deepcopy(part).to(device).train()
        tensors = [torch.zeros((_BATCH, *shape), device=device) for shape in shapes]
        table = torch.zeros((_BATCH, tabular_width(net)), device=device)
        given = {key: table if key == TABULAR else tensors[0] for key in _keys(net)}
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                return run(net, tensors if maps else tensors[0], given)
        except Exception as caught:
            if error is None and META_WORDS.search(str(caught)):
                error = caught
                continue
            raise
    raise RuntimeError from error


def _keys(net: nn.Module) -> Iterator[str]:
    yield IMAGE
    yield from (key for key in inputs_of(net) if key != IMAGE)


def _first_line(error: Exception | None) -> str:
    text = str(error).strip().partition("\n")[0]
    return text or type(error).__name__
