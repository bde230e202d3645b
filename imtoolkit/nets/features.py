"""What flows between the parts of a net: one tensor, or feature maps at several resolutions.

A backbone gives a tensor or a list of feature maps, finest first. Nets of MONAI that end in a
classifier give their feature maps here: `as_backbone` takes the classifier off, `features_of` runs
the rest. Weight names stay those of the net.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import torch
from monai.networks.nets.densenet import DenseNet
from monai.networks.nets.efficientnet import EfficientNet
from monai.networks.nets.resnet import ResNet
from monai.networks.nets.senet import SENet
from monai.networks.nets.vit import ViT
from torch import Tensor, nn

from .inputs import call
from .outputs import main_output

Features = Tensor | list[Tensor]
"""A tensor ``(B, C, [Z,] Y, X)`` or ``(B, C)``, or a list of maps, finest first."""

_SUPERVISED: Final = frozenset(
    {"DynUNet", "SegResNetDS", "SegResNetDS2", "MedNeXt", "BasicUNetPlusPlus", "SegResNetVAE"}
)
"""Nets that may list outputs for deep supervision: no feature maps, the main one counts."""


def as_backbone(net: nn.Module) -> nn.Module:
    """Take the classifier off a net that has one; return the net.

    Weights that nothing uses would stop distributed training, which waits for their gradients.

    Args:
        net: Changed in place: its last layers become identities.
    """
    ends: tuple[str, ...] = ()
    if isinstance(net, ResNet):
        ends = ("fc",)
    elif isinstance(net, DenseNet):
        ends = ("class_layers",)
    elif isinstance(net, SENet):
        ends = ("last_linear",)
    elif isinstance(net, EfficientNet):
        ends = ("_conv_head", "_bn1", "_fc")
    for name in ends:
        if isinstance(getattr(net, name, None), nn.Module):
            setattr(net, name, nn.Identity())
    return net


def features_of(net: nn.Module, fed: Tensor, given: Mapping[str, Tensor]) -> Features:
    """Run a backbone.

    Args:
        net: Any net; those of MONAI that end in a classifier give the maps before it.
        fed: ``(B, C, [Z,] Y, X)``.
        given: Other values of the batch, for parts that take them.

    Returns:
        A tensor, or feature maps, finest first.
    """
    if isinstance(net, ResNet) and not _has_own_forward(net, ResNet):
        return _resnet_maps(net, fed)
    if isinstance(net, DenseNet):
        return _densenet_maps(net, fed)
    if isinstance(net, SENet):
        return _staged(fed, [net.layer0, net.layer1, net.layer2, net.layer3, net.layer4])
    if isinstance(net, EfficientNet):
        return _efficientnet_maps(net, fed)
    return uniform(call(net, fed, given), net, fed)


def uniform(raw: Any, net: nn.Module, fed: Tensor) -> Features:
    """Return what a net gave as one tensor or a list of maps: tokens become a map."""
    dims = fed.ndim - 2
    if isinstance(raw, dict):
        return cast(Features, raw)
    if isinstance(raw, (list, tuple)) and type(net).__name__ not in _SUPERVISED:
        if isinstance(net, ViT) and isinstance(raw, tuple):  # tokens, then those of each layer
            return tokens_to_map(raw[0], fed.shape[2:])
        maps = [item for item in raw if isinstance(item, Tensor) and item.ndim == dims + 2]
        if len(maps) > 1:
            return maps
    output = cast(Tensor, main_output(raw, net, dims))
    return tokens_to_map(output, fed.shape[2:]) if dims > 1 and output.ndim == 3 else output


def tokens_to_map(tokens: Tensor, size: Sequence[int]) -> Tensor:
    """Return tokens ``(B, N, C)`` of equal square (cubic) patches as a map ``(B, C, [Z,] Y, X)``.

    A class token in front is left out. Other shapes stay as they are.

    Example:
        >>> tokens_to_map(torch.zeros(1, 17, 8), (64, 64)).shape
        torch.Size([1, 8, 4, 4])
    """
    if tokens.ndim != 3:
        return tokens
    count = tokens.shape[1]
    for extra in (0, 1):
        if count <= extra:
            continue
        side = round((math.prod(size) / (count - extra)) ** (1 / len(size)))
        grid = tuple(length // side for length in size) if side else ()
        if grid and math.prod(grid) == count - extra:
            kept = tokens[:, extra:].transpose(1, 2)
            return kept.reshape(tokens.shape[0], tokens.shape[2], *grid)
    return tokens


def takes_maps(head: nn.Module) -> bool:
    """Tell whether a head takes the list of all feature maps, and not one tensor.

    It does where it says so by ``takes_maps``, or where its ``in_channels`` is annotated as a list.
    """
    told = getattr(head, "takes_maps", None)
    return bool(told) if told is not None else lists_channels(type(head))


def lists_channels(factory: Callable[..., Any]) -> bool:
    """Tell whether the ``in_channels`` of a class or function is annotated as a list."""
    from .filling import signature_of

    parameter = signature_of(factory).get("in_channels")
    text = str(parameter.annotation) if parameter is not None else ""
    return any(word in text for word in ("Sequence", "list", "tuple", "List", "Tuple"))


def main_index(backbone: nn.Module, head: nn.Module | None) -> int:
    """Return which of a backbone's maps goes to a head that takes one.

    A head that pools takes the deepest. A dense head takes the map that the backbone names by
    ``main_map`` (0, the finest, where it has a decoder), or the deepest.
    """
    if head is not None and getattr(head, "pools", False):
        return -1
    return int(getattr(backbone, "main_map", -1))


def feed(head: nn.Module, features: Features, backbone: nn.Module) -> Any:
    """Return what a head takes of the features: all maps, or one."""
    if takes_maps(head):
        return features if isinstance(features, list) else [features]
    return features[main_index(backbone, head)] if isinstance(features, list) else features


def _has_own_forward(net: nn.Module, base: type[nn.Module]) -> bool:
    return type(net).forward is not base.forward


def _staged(x: Tensor, stages: Sequence[nn.Module]) -> list[Tensor]:
    maps = []
    for stage in stages:
        x = stage(x)
        maps.append(x)
    return maps[1:]  # the first is the stem


def _resnet_maps(net: ResNet, x: Tensor) -> list[Tensor]:
    x = net.act(net.bn1(net.conv1(x)))
    if not net.no_max_pool:
        x = net.maxpool(x)
    return _staged(x, [nn.Identity(), net.layer1, net.layer2, net.layer3, net.layer4])


def _densenet_maps(net: DenseNet, x: Tensor) -> list[Tensor]:
    maps = []
    for name, layer in net.features.named_children():
        if name.startswith("transition"):
            maps.append(x)
        x = layer(x)
    return [*maps, torch.relu(x)]


def _efficientnet_maps(net: EfficientNet, x: Tensor) -> list[Tensor]:
    x = net._swish(net._bn0(net._conv_stem(net._conv_stem_padding(x))))
    maps: list[Tensor] = []
    for block in net._blocks:
        x = block(x)
        if maps and maps[-1].shape[2:] == x.shape[2:]:
            maps[-1] = x  # the last of each resolution
        else:
            maps.append(x)
    return maps
