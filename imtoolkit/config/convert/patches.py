"""Random crops of the old file: the patches that ``data.patch`` draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .transfer import Transfer, as_list

CROPS: Final = (
    *("RandSpatialCrop", "RandSpatialCropSamples", "RandCropByPosNegLabel"),
    *("RandCropByLabelClasses", "RandWeightedCrop"),
)
"""Transforms there that `move_crop` turns into patches, without the ``d`` of their names."""


def move_crop(transfer: Transfer, key: str, name: str, params: Mapping[str, Any]) -> None:
    """Account for one random crop."""
    where = f"{key}.params"
    size = "spatial_size" if "spatial_size" in params else "roi_size"
    _size(transfer, f"{where}.{size}", as_list(params.get(size)))
    _count(transfer, f"{where}.num_samples", params.get("num_samples", 1))
    _foreground(transfer, where, name, params)
    if params.get("random_size") is False:
        transfer.imply(f"{where}.random_size", "a patch always has its full size")
    transfer.lose(
        f"{where}.random_size", "patches of a batch have one size; add random_affine for scale"
    )
    if params.get("random_center", True) is True:
        transfer.imply(f"{where}.random_center", "patches lie anywhere in the image")
    for part in ("module_name", "func_name", "params.keys"):
        transfer.ledger.carried(f"{key}.{part}", "data.patch")
    transfer.lose(key, "patches are drawn by data.patch, which has no such option")


def move_queue(transfer: Transfer) -> None:
    """Account for the queue of patches of the first releases."""
    key = "data.dataloader_patch_queue"
    _size(transfer, f"{key}.sampler.params.patch_size",
          as_list(transfer.get(f"{key}.sampler.params.patch_size")))  # fmt: skip
    if transfer.facts.patch is not None:  # its batches counted patches, as ours do
        transfer.carry(f"{key}.params.samples_per_volume", "data.patch.per_image")
    transfer.carry(f"{key}.params.num_workers", "data.loader.workers")
    transfer.imply(key, "patches are drawn by data.patch, out of memory-mapped images")


def later_crop(steps: list[Any], after: int) -> list[Any]:
    """Return the size of the first random crop after a place in a list of transforms."""
    for raw in steps[after + 1 :]:
        name = str(raw.get("func_name")) if isinstance(raw, dict) else ""
        if name.startswith("Rand") and "Crop" in name:
            params = raw.get("params") or {}
            return as_list(params.get("roi_size", params.get("spatial_size")))
    return []


def _size(transfer: Transfer, key: str, size: list[Any]) -> None:
    facts = transfer.facts
    if not size:
        return
    if not all(isinstance(side, int) and side > 0 for side in size) or len(size) not in (2, 3):
        transfer.lose(key, "a patch needs a size for each axis: set data.patch.size")
    elif facts.patch is not None and facts.patch != size:
        transfer.lose(key, f"all patches have one size: {facts.patch}, which was cropped first")
    else:
        facts.patch = list(size)
        facts.dims = facts.dims or len(size)
        transfer.carry(key, "data.patch.size", list(size))


def _count(transfer: Transfer, key: str, count: Any) -> None:
    if isinstance(count, int) and count > 0 and transfer.facts.patch is not None:
        transfer.facts.per_image = count
        transfer.carry(key, "data.patch.per_image", count)


def _foreground(transfer: Transfer, where: str, name: str, params: Mapping[str, Any]) -> None:
    if name == "RandCropByPosNegLabel":
        inside, outside = params.get("pos", 1), params.get("neg", 1)
        share = round(inside / (inside + outside), 4) if inside + outside else 0.0
        transfer.put("data.patch.foreground", share)
        for part in ("pos", "neg"):
            transfer.ledger.carried(f"{where}.{part}", "data.patch.foreground")
        transfer.imply(f"{where}.label_key", "the foreground is that of the target")
    elif name == "RandCropByLabelClasses":
        transfer.put("data.patch.foreground", 1.0)
        note = "the classes take turns, each as often as the others"
        transfer.ledger.carried(f"{where}.ratios", "data.patch.foreground", note)
        transfer.imply(f"{where}.label_key", "the classes are those of the target")
        transfer.imply(f"{where}.num_classes", "counted from task.classes")
