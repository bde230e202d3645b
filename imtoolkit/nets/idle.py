"""Weights that no computation uses: of MONAI's nets, and of backbones whose head takes one map.

Distributed training waits for the gradient of each weight that is trained, and stops with an error
where one never comes. These weights are frozen, so that checkpoints keep their names.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from monai.networks.blocks.transformerblock import TransformerBlock
from monai.networks.nets.basic_unetplusplus import BasicUNetPlusPlus
from monai.networks.nets.efficientnet import EfficientNet
from monai.networks.nets.flexible_unet import FlexibleUNet
from torch import Tensor, nn

from imtoolkit.core.batch import TABULAR
from imtoolkit.core.errors import listed
from imtoolkit.core.facts import DataFacts

from .inputs import inputs_of, tabular_width

log = logging.getLogger(__name__)

_SIDE = 64
"""Side of the images where the data do not tell their size."""


def freeze_idle(net: nn.Module) -> nn.Module:
    """Freeze the weights of a net that its computation never reaches; return the net.

    Args:
        net: Changed in place.

    Example:
        >>> block = freeze_idle(TransformerBlock(hidden_size=4, mlp_dim=8, num_heads=2))
        >>> [name for name, weight in block.named_parameters() if not weight.requires_grad]
        ['norm_cross_attn.weight', 'norm_cross_attn.bias']
    """
    for part in net.modules():
        for idle in _idle_parts(part):
            idle.requires_grad_(False)
    return net


def _idle_parts(part: nn.Module) -> Iterator[nn.Module]:
    if isinstance(part, TransformerBlock) and not part.with_cross_attention:
        yield part.norm_cross_attn
    elif isinstance(part, FlexibleUNet) and isinstance(part.encoder, EfficientNet):
        # its classifier: the decoder takes the maps before it
        yield from (part.encoder._conv_head, part.encoder._bn1, part.encoder._fc)
    elif isinstance(part, BasicUNetPlusPlus) and not part.deep_supervision:
        yield from (part.final_conv_0_1, part.final_conv_0_2, part.final_conv_0_3)


def freeze_unreached(net: nn.Module, facts: DataFacts) -> nn.Module:
    """Freeze what the outputs of a net made of parts do not depend on; return the net.

    A head that pools takes the coarsest map of a backbone: its decoder, or the norms of its finer
    maps, then do nothing. It is found by a backward pass on shapes alone; a net that cannot be run
    so is left as it is.

    Args:
        net: Changed in place.
        facts: Channels and size of the images.
    """
    size = facts.patch_size or (_SIDE,) * facts.spatial_dims
    try:
        made = copy.deepcopy(net).to("meta").train()
        width = tabular_width(net)
        given = [
            torch.zeros((2, *((width,) if key == TABULAR else (facts.in_channels, *size))),
                        device="meta")
            for key in inputs_of(net)
        ]  # fmt: skip
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            total = sum((output.sum() for output in _tensors(made(*given))), torch.zeros(()))
            total.backward()  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001 - nets refuse shapes with whatever error they like
        log.debug("cannot tell which weights are used: %s", error)
        return net
    found = [
        name for name, weight in made.named_parameters()
        if weight.requires_grad and weight.grad is None
    ]  # fmt: skip
    for name in found:
        net.get_parameter(name).requires_grad_(False)
    if found:
        log.info("%d weights do nothing for the outputs and stay: %s", len(found), listed(found, 3))
    return net


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, (Mapping, Sequence)):
        for item in output.values() if isinstance(output, Mapping) else output:
            yield from _tensors(item)
