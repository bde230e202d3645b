"""Weights of MONAI's nets that no computation uses.

Distributed training waits for the gradient of each weight that is trained, and stops with an error
where one never comes. These weights are frozen, so that checkpoints keep their names.
"""

from __future__ import annotations

from collections.abc import Iterator

from monai.networks.blocks.transformerblock import TransformerBlock
from monai.networks.nets.basic_unetplusplus import BasicUNetPlusPlus
from monai.networks.nets.efficientnet import EfficientNet
from monai.networks.nets.flexible_unet import FlexibleUNet
from torch import nn


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
