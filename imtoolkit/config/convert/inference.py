"""How an old file applied a net: tiles, input and output of prediction, post-processing."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from .data import PLACEHOLDER
from .reading import move_reading
from .transfer import Transfer, as_list

_WINDOWS: Final = (
    "model.model_extra.sliding_window_params",
    "model.model_extra.validation_sliding_windows",
)
_MOVED: Final = {"overlap": "overlap", "sw_batch_size": "batch_size"}


def move_windows(transfer: Transfer) -> None:
    """Carry over how whole images were cut into tiles."""
    for where in _WINDOWS:
        window = transfer.get(where)
        if not isinstance(window, Mapping):
            continue
        _tile(transfer, f"{where}.roi_size", as_list(window.get("roi_size")))
        for name, ours in _MOVED.items():
            transfer.carry(f"{where}.{name}", f"inference.{ours}")
        if window.get("mode") in ("gaussian", "constant"):
            transfer.carry(f"{where}.mode", "inference.blend")
        for name in ("device", "sw_device", "progress"):
            transfer.imply(f"{where}.{name}", "tiles are joined in the memory of the machine")
        transfer.lose(where, "section inference has no such option")


def move_first_windows(transfer: Transfer) -> None:
    """Carry over the tiles of the first releases, whose overlap counted pixels."""
    where = "model.sliding_window_params"
    size = as_list(transfer.get(f"{where}.dims_max"))
    if len(size) in (3, 4):
        transfer.carry(f"{where}.dims_max", "inference.tile", size[1:])
    transfer.lose(f"{where}.overlaps", "inference.overlap is a fraction of the tile, 0.25")


def _tile(transfer: Transfer, key: str, size: list[Any]) -> None:
    if size and all(isinstance(side, int) and side > 0 for side in size):
        transfer.carry(key, "inference.tile", list(size))
        transfer.facts.dims = transfer.facts.dims or len(size)
        return
    transfer.lose(key, "a tile needs a size for each axis: set inference.tile")


def move_input(transfer: Transfer) -> None:
    """Make a source of the images that an inference file predicts."""
    where = "data.inference_input"
    params = transfer.get(f"{where}.reader_params", {})
    if isinstance(params, Mapping):
        move_reading(transfer, params, f"{where}.reader_params", ("image",))
    folder = transfer.get(f"{where}.dir")
    pattern = pattern_of(str(transfer.get(f"{where}.data_type", "tiff")))
    root = PLACEHOLDER if folder is None else str(folder)
    source: dict[str, Any] = {"root": root}
    if not pattern.startswith("*_IM."):
        source |= {"image": pattern, "target": f"labels/{pattern}"}
    if transfer.facts.unpaired:
        source = {"root": root, "a": "*_IM.*", "b": "*_GT.*"}
    name = "unpaired" if transfer.facts.unpaired else "folder"
    transfer.put("data.source", {"name": name, "params": source})
    note = "and of the command that predicts"
    transfer.ledger.carried(f"{where}.dir", "data.source.params.root", note)
    transfer.ledger.carried(f"{where}.data_type", "the pattern of imtoolkit predict")
    transfer.lose(where, "files are read by imtoolkit's own readers, which have no such option")
    transfer.imply(
        "data.inference_output.suffix",
        "predictions keep the names of their images, in a folder of their own",
    )
    transfer.ledger.carried("data.inference_output.path", "the --output of imtoolkit predict")
    transfer.remark(
        "an inference file holds no training: this config trains the same net with defaults. "
        "Better convert the training file with it: imtoolkit convert TRAIN.yaml --with INFER.yaml"
    )


def pattern_of(data_type: str) -> str:
    """Return the pattern of the files that an inference file read.

    Example:
        >>> pattern_of("_IM.tiff"), pattern_of("tiff"), pattern_of("CD_*.tif"), pattern_of(".tif")
        ('*_IM.tiff', '*.tiff', 'CD_*.tif', '*.tif')
    """
    if "*" in data_type:
        return data_type
    if data_type.isalnum():
        return f"*.{data_type}"
    return f"*{data_type}"


def command(transfer: Transfer) -> str:
    """Return the command that predicts what an inference file predicted."""
    folder = str(transfer.get("data.inference_input.dir", PLACEHOLDER))
    data_type = str(transfer.get("data.inference_input.data_type", "tiff"))
    output = str(transfer.get("data.inference_output.path", "predictions"))
    images = str(PurePosixPath(folder) / pattern_of(data_type))
    words = ["imtoolkit", "predict", "latest", images, "--output", output]
    if transfer.get("model.model_extra.cpu_only") is True:
        words += ["--accelerator", "cpu"]
    if str(transfer.get("mode")).lower() == "uncertainty_map":
        words.append("--uncertainty")
    return shlex.join(words)
