"""The old section ``data``: files, split, loader and cache."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from .patches import move_queue
from .transfer import Transfer

PLACEHOLDER: Final = "path/to/your/images"
"""Stands where the old file names no folder: it was given on the command line there."""

DEFAULT_RATIO: Final = 0.1
"""Share of the images that validated there where the file does not say."""


def move_source(transfer: Transfer) -> None:
    """Say where the images come from, and how they are divided."""
    path = _paths(transfer.get("data.data_path"))
    if path is None and transfer.get("data.cache_path") is not None:
        path = transfer.get("data.cache_path")
    if isinstance(path, Mapping):
        _given_folders(transfer, path)
    else:
        _one_source(transfer, path)
    _split(transfer, given=isinstance(path, Mapping) and "train" in path)
    transfer.imply("data.category", "follows from task.category and the source")
    transfer.lose(
        "data.cache_path",
        "crops around objects are drawn in the loader, and maps of centres are made there: "
        "nothing is prepared on disk",
    )


def _paths(value: Any) -> Any:
    """Read a mapping of folders out of a text, as the command line gave it."""
    if isinstance(value, str) and value.strip().startswith("{"):
        try:
            return ast.literal_eval(value.strip())  # constants only: it runs nothing
        except (ValueError, SyntaxError):
            return value
    return value


def _one_source(transfer: Transfer, path: Any) -> None:
    key = "data.data_path" if transfer.get("data.data_path") is not None else "data.cache_path"
    if path is None:
        path = PLACEHOLDER
        transfer.remark(
            "the old file names no data_path: set data.source.params.root, for example on the "
            "command line: --data.source.params.root YOUR/FOLDER"
        )
    transfer.put("data.source", source_of(transfer, str(path)))
    transfer.ledger.carried(key, "data.source.params")


def source_of(transfer: Transfer, path: str) -> dict[str, Any]:
    """Return the source that reads what lies, or will lie, at a path of the old file."""
    place = Path(path).expanduser()
    if place.suffix.lower() == ".csv":
        return _table(transfer, place, path)
    if transfer.facts.unpaired:
        a, b = ("IM", "GT") if (place / "IM").is_dir() else ("*_IM.*", "*_GT.*")
        return {"name": "unpaired", "params": {"root": path, "a": a, "b": b}}
    if not transfer.facts.target_is_image:
        return _numbers(transfer, path)
    return {"name": "folder", "params": {"root": path}}


def _table(transfer: Transfer, place: Path, path: str) -> dict[str, Any]:
    header = _header(place)
    names = {"image": ("IM", "source_path"), "target": ("GT", "target_path"),
             "weight": ("CM", "costmap_path")}  # fmt: skip
    # relative paths start where the command is given, as there, and not beside the table
    params: dict[str, Any] = {"path": path, "root": "."}
    for ours, theirs in names.items():
        found = next((name for name in theirs if name in header), None)
        if found is not None or (not header and ours != "weight"):
            params[ours] = found or theirs[0]
    if not transfer.facts.target_is_image:
        params.pop("target", None)
    return {"name": "csv", "params": params}


def _header(place: Path) -> list[str]:
    try:
        with place.open(encoding="utf-8-sig") as stream:
            return [name.strip().strip('"') for name in stream.readline().strip().split(",")]
    except (OSError, UnicodeDecodeError):
        return []


def _numbers(transfer: Transfer, path: str) -> dict[str, Any]:
    table = f"{path.rstrip('/')}/targets.csv"
    transfer.remark(
        f"numbers of whole images stand in a table here: write '{table}' with the column 'image' "
        "(file names of the images) and a column for each number, see task.columns"
    )
    return {"name": "csv", "params": {"path": table, "image": "image"}}


def _given_folders(transfer: Transfer, path: Mapping[str, Any]) -> None:
    if {"source_dir", "target_dir"} <= set(path):
        _two_folders(transfer, path)
        return
    sources = {
        str(name): {"source": source_of(transfer, str(folder)), "role": str(name)}
        for name, folder in path.items()
        if name in ("train", "val", "test")
    }
    transfer.put("data.sources", sources)
    transfer.ledger.carried("data.data_path", "data.sources")


def _two_folders(transfer: Transfer, path: Mapping[str, Any]) -> None:
    end = str(path.get("image_type", "tiff")).lstrip("*.")
    named = {"image": "source_dir", "target": "target_dir", "weight": "costmap_dir"}
    folders = {ours: str(path[theirs]) for ours, theirs in named.items() if path.get(theirs)}
    params = {"root": ".", **{ours: f"{folder}/*.{end}" for ours, folder in folders.items()}}
    transfer.put("data.source", {"name": "folder", "params": params})
    transfer.ledger.carried("data.data_path", "data.source.params")


def _split(transfer: Transfer, *, given: bool) -> None:
    key = "data.dataloader.train_val_ratio"
    if given:
        transfer.imply(key, "the folders of data_path decide the split")
        return
    ratio = transfer.get(key, DEFAULT_RATIO)
    transfer.put("data.split.val", ratio)
    transfer.ledger.carried(key, "data.split.val")


# --- loader and cache -----------------------------------------------------------------------------


def move_loader_section(transfer: Transfer) -> None:
    """Carry over batch size, workers and cache of the training loader."""
    move_queue(transfer)
    where = "data.dataloader.train"
    params = f"{where}.dataloader_params"
    _batch_size(transfer, f"{params}.batch_size")
    transfer.carry(f"{params}.num_workers", "data.loader.workers")
    transfer.carry(f"{params}.prefetch_factor", "data.loader.prefetch")
    if transfer.get(f"{params}.pin_memory") is False:
        transfer.carry(f"{params}.pin_memory", "data.loader.pin_memory")
    transfer.imply(f"{params}.pin_memory", "memory is pinned where there is a GPU")
    transfer.imply(f"{params}.persistent_workers", "workers stay from epoch to epoch")
    transfer.imply(f"{params}.shuffle", "training images are shuffled")
    transfer.imply(f"{params}.drop_last", "the last batch of an epoch may be smaller")
    transfer.lose(params, "loaders are made by imtoolkit, which chooses this itself")
    _partial(transfer, f"{where}.partial_loader")
    _cache(transfer, where)
    val = "data.dataloader.val"
    transfer.imply(f"{val}.dataloader_type", "training and validation share one cache")
    transfer.imply(f"{val}.dataset_params", "training and validation share one cache")
    transfer.imply(val, "validation takes whole images, one by one, in tiles: see inference.tile")


def _batch_size(transfer: Transfer, key: str) -> None:
    size, patches = transfer.get(key, 1), transfer.facts.per_image
    if not isinstance(size, int) or not (transfer.facts.trains or transfer.get(key)):
        return
    note = f"counts patches here: {size} images of {patches} patches" if patches > 1 else ""
    transfer.put("data.loader.batch_size", size * patches)
    transfer.ledger.carried(key, "data.loader.batch_size", note)


def _partial(transfer: Transfer, key: str) -> None:
    share = transfer.get(key, 1.0)
    if isinstance(share, (int, float)) and 0 < share < 1:
        note = (
            "each epoch takes this share of the training batches, drawn anew; "
            "data.loader.samples_per_epoch (a number of images) walks through all equally often"
        )
        transfer.carry(key, "trainer.limit_train_batches", float(share), note)
    transfer.imply(key, "an epoch visits all images")


def _cache(transfer: Transfer, where: str) -> None:
    _, kind, _ = transfer.component(f"{where}.dataloader_type")
    kept = {"CacheDataset": "memory", "Dataset": "none"}.get(kind, "persistent")
    note = {
        "memory": "",
        "none": "`persistent`, the default, is faster and never gives a stale image",
    }.get(kept, "memory-mapped: nothing is loaded as a whole, or refreshed by hand")
    if kept != "persistent":
        transfer.put("data.cache.kind", kept)
        transfer.ledger.carried(f"{where}.dataloader_type", "data.cache.kind", note)
    transfer.imply(f"{where}.dataloader_type", note)
    folder = transfer.get(f"{where}.dataset_params.cache_dir")
    if isinstance(folder, str) and kept == "persistent":
        transfer.carry(f"{where}.dataset_params.cache_dir", "data.cache.root")
    transfer.imply(f"{where}.dataset_params", "the cache needs no such options")


def move_rest(transfer: Transfer) -> None:
    """Account for what is left of the section."""
    transfer.imply(
        "data.patch_size", "the patch is data.patch.size; it must not agree with anything else"
    )
    for side in ("source", "target"):
        transfer.imply(f"data.{side}_type", "follows from task.category")
        transfer.imply("data.dataloader_params", "images to predict come one by one, in tiles")
        transfer.imply(f"data.{side}_reader_params", "files tell their axes; see data.axes")
