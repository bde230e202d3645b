"""Nets of the old file: MONAI's keep their names, mmv_im2im's own have counterparts here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from .planning import plan_dynunet
from .transfer import Transfer, as_list, component

MAPPED: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "fnet_nn_2d": ("fnet", {"depth": "depth", "mult_chan": "width"}),
    "fnet_nn_3d": ("fnet", {"depth": "depth", "mult_chan": "width"}),
    "fnet_nn_3d_params": ("fnet", {"depth": "depth", "mult_chan": "width"}),
    "BranchedERFNet_2d": ("branched_erfnet", {}),
    "BranchedERFNet_3d": ("branched_erfnet", {}),
    "erfnet": ("branched_erfnet", {}),
    "erfnet_3d": ("branched_erfnet", {}),
    "deeplabv3_2d": ("deeplab_v3", {}),
    "SA_2d": ("suggestive_net", {}),
    "ProbUnet": (
        "probabilistic_unet",
        {"channels": "channels", "strides": "strides", "latent_dim": "latent_dim",
         "dropout": "dropout"},
    ),
}  # fmt: skip
"""Last part of the module there -> name here, and parameter there -> parameter here."""

_OUTPUTS: Final = ("out_channels", "n_classes", "num_classes")
_INPUTS: Final = ("in_channels", "in_channel", "input_channels", "n_channels_in", "input_nc")
_ZOOM: Final = "unet_xy_zoom"


def move_net(transfer: Transfer, key: str, to: str, role: str | None = None) -> None:
    """Account for one net.

    Args:
        transfer: The conversion.
        key: Its key in the old file.
        to: Its key here, such as ``task.net``.
        role: What is said of it in messages; left out, the net.
    """
    module, name, params = transfer.component(key)
    leaf = module.rpartition(".")[2]
    params.pop("task", None)
    transfer.imply(f"{key}.params.task", "says the category of the task")
    for parameter in ("spatial_dims", *_INPUTS, *_OUTPUTS):
        if parameter in params:
            _fill(transfer, key, parameter, params)
    if leaf in MAPPED and module.startswith(("mmv_im2im", "mmv-im2im")):
        _mapped(transfer, key, to, leaf, params)
    elif leaf.startswith("convnext") and module.startswith("mmv_im2im"):
        _mednext(transfer, key, to, params)
    elif _ZOOM in module:
        _zoom_unet(transfer, key, to, params)
    elif module.startswith(("monai", "torch.nn")) and transfer.entry("net", name) is not None:
        _kept(transfer, key, to, name, params)
    else:
        _replaced(transfer, key, to, f"{module}.{name}".strip("."), role or "net")


def outputs_of(transfer: Transfer, key: str = "model.net") -> int | None:
    """Return how many channels a net of the old file gives."""
    for name in _OUTPUTS:
        value = transfer.get(f"{key}.params.{name}")
        if isinstance(value, int):
            return value
    return None


def _fill(transfer: Transfer, key: str, parameter: str, params: dict[str, Any]) -> None:
    params.pop(parameter)
    transfer.imply(f"{key}.params.{parameter}", "filled in from the data and the task")


def _mapped(transfer: Transfer, key: str, to: str, leaf: str, params: dict[str, Any]) -> None:
    name, names = MAPPED[leaf]
    entry = transfer.entry("net", name)
    kept = {}
    for parameter, value in params.items():
        place = f"{key}.params.{parameter}"
        ours = names.get(parameter)
        if ours is None or (entry is not None and ours not in entry.signature.names):
            transfer.lose(
                place, f"'{name}' has no such parameter: see imtoolkit components net {name}"
            )
        else:
            kept[ours] = value
            transfer.ledger.carried(place, f"{to}.params.{ours}")
    transfer.put(to, component(name, kept))
    transfer.ledger.carried(key, to)


def _kept(transfer: Transfer, key: str, to: str, name: str, params: dict[str, Any]) -> None:
    entry = transfer.entry("net", name)
    own = entry.path.rpartition(".")[2] if entry is not None else name
    transfer.put(to, component(own, transfer.known_params(key, to, "net", own, params)))
    transfer.ledger.carried(key, to)


def _mednext(transfer: Transfer, key: str, to: str, params: dict[str, Any]) -> None:
    """The ConvNeXt U-Nets are MedNeXt, which MONAI has."""
    blocks = as_list(params.get("block_counts"))
    rules: dict[str, Callable[[Any], dict[str, Any]]] = {
        "n_channels": lambda value: {"init_filters": value},
        "exp_r": lambda value: {
            "encoder_expansion_ratio": value if isinstance(value, int) else list(value)[:4],
            "decoder_expansion_ratio": value if isinstance(value, int) else list(value)[-4:],
            "bottleneck_expansion_ratio": value if isinstance(value, int) else list(value)[4],
        },
        "kernel_size": lambda value: {"kernel_size": value},
        "deep_supervision": lambda value: {"deep_supervision": value} if value else {},
        "do_res": lambda value: {"use_residual_connection": value},
        "norm_type": lambda value: {"norm_type": value},
        "block_counts": lambda value: {
            "blocks_down": blocks[:4], "blocks_bottleneck": blocks[4], "blocks_up": blocks[5:],
        } if len(value) == 9 else {},
    }  # fmt: skip
    kept: dict[str, Any] = {}
    for parameter, value in params.items():
        place = f"{key}.params.{parameter}"
        new = rules[parameter](value) if parameter in rules else {}
        if new or (parameter in rules and not value):
            kept |= new
            transfer.ledger.carried(place, ", ".join(f"{to}.params.{name}" for name in new))
        elif parameter == "do_res_up_down":
            transfer.imply(place, "MedNeXt of MONAI has them with use_residual_connection")
        else:
            transfer.lose(place, "MedNeXt of MONAI has no such parameter")
    transfer.put(to, component("MedNeXt", kept))
    transfer.ledger.carried(key, to, "the same design by its own name, from MONAI")


def _zoom_unet(transfer: Transfer, key: str, to: str, params: dict[str, Any]) -> None:
    """The U-Net of aicsmlsegment, which looks at slices more coarsely than along Z."""
    ratio = params.get("down_ratio", 3)
    size = transfer.facts.patch
    transfer.put(to, component("DynUNet", zoom_plan(size, int(ratio))))
    transfer.ledger.carried(
        f"{key}.params.down_ratio", f"{to}.params.strides", "the first step along Y and X"
    )
    transfer.lose(
        key,
        "the net of aicsmlsegment is not part of imtoolkit: a DynUNet with the same first step "
        "along Y and X stands in its place. To use that net itself, name its package under plugins",
    )
    transfer.remark(
        "the net of aicsmlsegment was replaced by a DynUNet; its weights cannot be taken over"
    )


def zoom_plan(size: list[int] | None, ratio: int) -> dict[str, Any]:
    """Return a DynUNet that first steps by ``ratio`` along Y and X alone.

    Example:
        >>> zoom_plan([32, 128, 128], 2)["strides"]
        [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2], [2, 2, 2]]
    """
    depth, side = (size[0], size[-1]) if size is not None and len(size) == 3 else (16, 16 * ratio)
    fits = size is None or all(side % ratio == 0 for side in size[-2:])
    first = ratio if fits else 2
    strides = [[1, 1, 1], [1, first, first]]
    side = side // first
    for _ in range(3):
        strides.append(
            [2 if depth % 2 == 0 and depth >= 4 else 1, *([2 if side % 2 == 0 else 1] * 2)]
        )
        depth, side = depth // strides[-1][0], side // strides[-1][1]
    return {
        "kernel_size": [[3, 3, 3] for _ in strides],
        "strides": strides,
        "upsample_kernel_size": strides[1:],
        "filters": [32 * 2 ** min(stage, 3) for stage in range(len(strides))],
        "res_block": True,
    }


def _replaced(transfer: Transfer, key: str, to: str, path: str, role: str) -> None:
    dims = transfer.facts.dims or 2
    size = transfer.facts.patch or ([64, 64] if dims == 2 else [16, 64, 64])
    transfer.put(to, component("DynUNet", plan_dynunet(size)))
    transfer.lose(
        key,
        f"'{path}' is not part of imtoolkit, MONAI or torch: a DynUNet stands in its place. To use "
        "your own, put it into a file, name that under plugins and its class in task.net",
    )
    transfer.remark(f"the {role} '{path}' was replaced by a DynUNet")
