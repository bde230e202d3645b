"""How files were read: axes, channels, scene, time point and slices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .transfer import Transfer, as_list

_OWN: Final = ("reader", "image_only", "ensure_channel_first", "simple_keys", "prune_meta_pattern")


def move_loader(
    transfer: Transfer, key: str, params: Mapping[str, Any], keys: tuple[str, ...]
) -> None:
    """Account for one ``LoadImaged``."""
    where = f"{key}.params"
    transfer.imply(
        f"{where}.dtype", "images are float32 here, and targets keep the type of the task"
    )
    for parameter in _OWN:
        transfer.imply(f"{where}.{parameter}", "files are read by imtoolkit's own readers")
    transfer.imply(f"{where}.keys", "IM is 'image' here, GT 'target' and CM 'weight'")
    move_reading(transfer, params, where, keys)
    for left in transfer.ledger.left(where):
        transfer.lose(left, "files are read by imtoolkit's own readers, which have no such option")
    transfer.imply(key, "files are read by their suffix here")


def move_reading(
    transfer: Transfer, params: Mapping[str, Any], where: str, keys: tuple[str, ...]
) -> None:
    """Carry over which axes, channels, scene, time point and slices of a file were read.

    Args:
        transfer: The conversion.
        params: ``dimension_order_out`` and what goes with it.
        where: Key of these parameters.
        keys: What is read, in our words; empty for something that has no place here.
    """
    order = str(params.get("dimension_order_out") or "")
    channels = as_list(params.get("C"))
    chosen = bool(channels) and not {"C", "S"} & set(order)
    if order:
        _axes(transfer, f"{where}.dimension_order_out", order, keys, picks=chosen)
    if chosen:
        _channels(transfer, f"{where}.C", channels, keys)
    elif channels == [0] or "image" not in keys:
        transfer.imply(f"{where}.C", "all channels or colours are read")
    elif channels:
        transfer.carry(f"{where}.C", "data.channels", channels)
    _time_and_depth(transfer, params, where, order)


def _axes(transfer: Transfer, key: str, order: str, keys: tuple[str, ...], *, picks: bool) -> None:
    known = transfer.facts.dims
    transfer.facts.dims = 3 if "Z" in order or known == 3 else 2
    if "image" not in keys:
        transfer.imply(key, "the axes of a target are those of its image without channels")
    elif "T" in order:
        transfer.imply(key, "a film is predicted frame by frame, however long it is")
    elif "S" in order:
        transfer.imply(key, "the colours of a picture are its channels here, as the file tells")
    elif picks:
        note = "axes of the file in its own order; a file without the C fits as well"
        transfer.carry(key, "data.axes", f"C{order}", note)
    else:
        transfer.carry(key, "data.axes", order, "axes of the file in its own order")


def _channels(transfer: Transfer, key: str, channels: list[Any], keys: tuple[str, ...]) -> None:
    facts, places = transfer.facts, []
    if "image" in keys:
        places.append("data.channels")
    if "target" in keys and facts.target_is_image and not (facts.labels or facts.unpaired):
        places.append("data.target_channels")
    for place in places:
        transfer.put(place, channels)
    if places:
        transfer.ledger.carried(key, ", ".join(places))
    transfer.imply(key, "labels and cost maps have one channel")


def _time_and_depth(transfer: Transfer, params: Mapping[str, Any], where: str, order: str) -> None:
    if params.get("T") is not None and as_list(params["T"]) != [0]:
        transfer.carry(f"{where}.T", "data.time", as_list(params["T"])[0])
    transfer.imply(
        f"{where}.T", "a file of one time point needs no choice; of films, set data.time"
    )
    transfer.imply(
        f"{where}.Z", "a file of one slice is a 2D image; of a stack, save the slice as a file"
    )
    names = ["scene", "S"] if "S" not in order else ["scene"]
    for name in names:
        if params.get(name) is not None:
            transfer.carry(f"{where}.{name}", "data.scene")
    transfer.imply(f"{where}.S", "all colours are read")
