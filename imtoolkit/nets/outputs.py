"""What nets return, made uniform: one tensor, or a list of them with the main output first."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

Raw = Tensor | dict[str, Tensor]


def all_outputs(raw: Any, net: nn.Module, spatial_dims: int) -> list[Tensor] | dict[str, Tensor]:
    """Return the outputs of a net, main output first, lower resolutions after it.

    DynUNet stacks them along axis 1, SegResNetDS and MedNeXt list them, BasicUNetPlusPlus lists
    them with the main output last, SegResNetVAE adds the loss of its own decoder: left out.

    Args:
        raw: What the net returned.
        net: The net, whose class tells the order.
        spatial_dims: 2 or 3.

    Returns:
        Tensors ``(B, K, [Z,] Y, X)``, or the dict of named tensors as it is.
    """
    if isinstance(raw, dict):
        return raw
    if isinstance(raw, Tensor):
        stacked = getattr(net, "deep_supervision", False) and raw.ndim == spatial_dims + 3
        return list(raw.unbind(1)) if stacked else [raw]
    outputs = [item for item in raw if isinstance(item, Tensor) and item.ndim == raw[0].ndim]
    return outputs[::-1] if type(net).__name__ == "BasicUNetPlusPlus" else outputs


def main_output(raw: Any, net: nn.Module, spatial_dims: int) -> Raw:
    """Return the output that predicts: a tensor, or a dict of named tensors."""
    outputs = all_outputs(raw, net, spatial_dims)
    return outputs if isinstance(outputs, dict) else outputs[0]
