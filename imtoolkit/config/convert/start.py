"""Weights to start from, and what else stood under ``model_extra`` and ``checkpoint``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from .transfer import Transfer

_HOW: Final = (
    "its weights can be loaded where the net is one of MONAI's and the file is at hand: "
    "task.start_from: {{run: FILE.ckpt, rename: {{'{there}': '{here}'}}}}. Otherwise train the "
    "converted config, and start from its run"
)
INITIAL: Final = ("normal", "xavier", "kaiming", "orthogonal")
"""Named initialisations of nets that learn against each other."""


def move_extra(transfer: Transfer) -> None:
    """Account for ``model_extra`` and the checkpoint of an inference file."""
    extra = "model.model_extra"
    _weights(transfer, f"{extra}.pre-train", "task.start_from", "net.", "nets.net.")
    transfer.imply(f"{extra}.extend", "task.start_from loads what fits and reports the rest")
    transfer.lose(
        f"{extra}.resume",
        "runs of mmv_im2im cannot be resumed; those of imtoolkit by: imtoolkit runs resume RUN",
    )
    transfer.imply(f"{extra}.cpu_only", "imtoolkit predict --accelerator cpu")
    transfer.imply(f"{extra}.debug_segmentation", "pictures are drawn: see trainer.pictures")
    if transfer.facts.trains:
        transfer.lose(
            "model.checkpoint", "a training reads no checkpoint here; see task.start_from"
        )
    else:
        _weights(transfer, "model.checkpoint", "task.start_from", "net.", "nets.net.")


def move_initial(transfer: Transfer, usual: str) -> None:
    """Account for the initial weights of generator and discriminator.

    Args:
        transfer: The conversion.
        usual: How weights were drawn there where the file says nothing.
    """
    named = usual
    for role in ("discriminator", "generator"):
        key = f"model.net.{role}.init_weight"
        value = transfer.get(key)
        if isinstance(value, str) and value in INITIAL:
            named = value
            transfer.ledger.carried(key, "task.init", "of all nets")
        elif isinstance(value, str) and ("/" in value or value.endswith((".ckpt", ".pt", ".pth"))):
            _weights(transfer, key, "task.start_from", "net.", f"nets.{role}.")
        else:
            transfer.lose(key, f"'{value}' is no initialisation: {', '.join(INITIAL)}")
    transfer.put("task.init", named)


def _weights(transfer: Transfer, key: str, to: str, there: str, here: str) -> None:
    path: Any = transfer.get(key)
    if path is None:
        return
    known = str(
        transfer.get("model.net.module_name") or transfer.get("model.net.generator.module_name")
    )
    if Path(str(path)).expanduser().is_file() and known.startswith("monai"):
        value = {"run": str(path), "rename": {there: here}}
        transfer.carry(key, to, value, "what fits is loaded, and the rest is reported")
        return
    transfer.lose(key, _HOW.format(there=there, here=here))
