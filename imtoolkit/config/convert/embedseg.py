"""EmbedSeg: what the keys of its net, loss and clustering are called here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .nets import move_net
from .optim import move_optimizer, move_scheduler
from .transfer import Transfer, component

_CENTRES: Final = {
    "centroid": "centroid",
    "medoid": "medoid",
    "approximate-medoid": "approximate_medoid",
    "approximate_medoid": "approximate_medoid",
}
_LARGEST: Final = {2: [256, 256], 3: [32, 128, 128]}
"""Patches where the old file names none: it cropped around objects, or took whole images."""

_GEOMETRY: Final = "grid_z", "grid_y", "grid_x", "pixel_z", "pixel_y", "pixel_x"
_WEIGHTS: Final = {
    "foreground_weight": "foreground_weight",
    "w_inst": "instance_weight",
    "w_var": "smoothness_weight",
    "w_seed": "seed_weight",
}
_RELATIVE: Final = (
    "places are relative to each pixel, in the pixel size that the files tell: images have any size"
)


def move_embedseg(transfer: Transfer) -> None:
    """Objects by spatial embeddings."""
    criterion = "model.criterion.params"
    params = transfer.component("model.criterion")[2]
    transfer.facts.dims = transfer.facts.dims or (3 if "grid_z" in params else 2)
    _centre(transfer)
    _patch(transfer, params)
    move_net(transfer, "model.net", "task.net")
    if not transfer.facts.trains:
        return
    _sigma(transfer, f"{criterion}.n_sigma", params.get("n_sigma"))
    _loss(transfer, criterion, params)
    move_optimizer(transfer, "model.optimizer", "task.optimizer")
    move_scheduler(transfer, "model.scheduler", "task.scheduler")
    transfer.remark(
        "set task.object_radius to the usual radius of your objects in pixels: it starts there"
    )


def _centre(transfer: Transfer) -> None:
    for key in ("data.extra.center_method", "model.model_extra.center_method"):
        value = transfer.get(key)
        if value is None:
            continue
        if value in _CENTRES:
            transfer.carry(key, "task.centre", _CENTRES[value])
        else:
            transfer.lose(key, f"'{value}' is no centre: centroid, medoid or approximate_medoid")


def _patch(transfer: Transfer, params: Mapping[str, Any]) -> None:
    facts = transfer.facts
    size = transfer.get("data.patch_size")
    if facts.patch is None and facts.trains:
        dims = facts.dims or 2
        named = [params.get(name) for name in _GEOMETRY[3 - dims : 3]]
        sides = size if isinstance(size, list) and len(size) == dims else named
        largest = _LARGEST[dims]
        facts.patch = [
            min(side, most) if isinstance(side, int) and side > 0 else most
            for side, most in zip(sides, largest, strict=True)
        ]
        transfer.put("data.patch.size", facts.patch)
        transfer.put("data.patch.foreground", 1.0)
        transfer.remark(
            f"patches of {facts.patch} around objects: the old file cropped to a cache, or trained "
            "on whole images; set data.patch.size to hold a few objects"
        )
    transfer.ledger.carried("data.patch_size", "data.patch.size")


def _sigma(transfer: Transfer, key: str, value: Any) -> None:
    if value is None:
        return
    if value == transfer.facts.dims:
        transfer.imply(key, "a scale for each axis is what is learnt")
    elif value == 1:
        transfer.carry(key, "task.n_sigma")
    else:
        transfer.lose(key, "an object has one scale, or one for each axis")


def _loss(transfer: Transfer, where: str, params: Mapping[str, Any]) -> None:
    kept: dict[str, Any] = {}
    for name, ours in _WEIGHTS.items():
        if params.get(name) is not None:
            kept[ours] = float(params[name])
            transfer.ledger.carried(f"{where}.{name}", f"task.loss.params.{ours}")
    for name in _GEOMETRY:
        transfer.imply(f"{where}.{name}", _RELATIVE)
    transfer.imply(f"{where}.use_costmap", "cost maps count wherever the source finds them")
    for name in ("min_mask_sum", "min_unclustered_sum", "min_object_size"):
        transfer.lose(f"{where}.{name}", "clustering is inference.postprocess: cluster_embeddings")
    transfer.put("task.loss", component("embedseg", kept))
    transfer.lose(f"{where}", "the loss of embeddings has no such parameter")
    transfer.ledger.carried("model.criterion", "task.loss")


def move_clustering(transfer: Transfer, key: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Account for the clustering of an inference file and return its step."""
    where = f"{key}.params"
    kept: dict[str, Any] = {}
    for name, ours in (("seed_thresh", "seed_threshold"), ("min_object_size", "min_pixels")):
        if params.get(name) is not None:
            kept[ours] = params[name]
            transfer.ledger.carried(f"{where}.{name}", f"inference.postprocess.0.params.{ours}")
    transfer.imply(f"{where}.n_sigma", "the task knows its scales")
    for name in _GEOMETRY:
        transfer.imply(f"{where}.{name}", _RELATIVE)
    transfer.lose(f"{where}.min_mask_sum", "an image without seeds has no objects")
    transfer.lose(
        f"{where}.min_unclustered_sum", "min_unclustered is a fraction of the object here, 0.5"
    )
    transfer.lose(where, "cluster_embeddings has no such parameter")
    return {"name": "cluster_embeddings", "params": kept}
