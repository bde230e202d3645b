"""Checkpoint files: written whole or not at all, read without running code.

Lightning's own "atomic" save writes to the system's temporary folder first and moves across file
systems; a power cut in between leaves half a file. Ours is written beside its place and renamed.
"""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import CheckpointIO

from imtoolkit.core.errors import RunError
from imtoolkit.core.files import replacing


class CheckpointError(RunError):
    """A file of weights is missing, torn, no checkpoint, or holds code."""


class AtomicCheckpointIO(CheckpointIO):
    """Save and load checkpoints for Lightning; see the module."""

    def __init__(self) -> None:
        self._proved = False

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint beside its place, flush it to disk, and rename it there.

        The first one is read back at once, so that a callback that keeps something else than plain
        values and tensors is found now and not when the run shall be resumed.

        Raises:
            RunError: If it cannot be written; what was there before is then unchanged.
        """
        if storage_options is not None:
            msg = "AtomicCheckpointIO takes no storage_options"
            raise TypeError(msg)
        target = Path(path)
        try:
            with replacing(target) as part:
                with part.open("wb") as stream:
                    torch.save(checkpoint, stream)
                if not self._proved:
                    load_checkpoint(part)
                    self._proved = True
        except OSError as error:
            msg = (
                f"cannot write the checkpoint {target}: {error.strerror or error}. The one before "
                "is kept. Make room or mend the rights, then resume the run"
            )
            raise RunError(msg) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint; ``weights_only`` is always true here."""
        return load_checkpoint(path, map_location)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint if it is there."""
        Path(path).unlink(missing_ok=True)


def load_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint of plain values and tensors; code in it is never run.

    Args:
        path: File to read.
        map_location: Where its tensors go, as in `torch.load`.

    Raises:
        CheckpointError: If there is no such file, or it is torn, no checkpoint, or holds code.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            # a pickle of another program makes torch wonder about its version before refusing it
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            content = torch.load(path, map_location=map_location, weights_only=True)
    except FileNotFoundError as error:
        msg = f"there is no checkpoint {path}"
        raise CheckpointError(msg) from error
    except (PermissionError, IsADirectoryError) as error:
        msg = f"cannot read the checkpoint {path}: {error.strerror or error}"
        raise CheckpointError(msg) from error
    except (
        OSError,  # torch seeks to places that a torn file does not have
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
    ) as error:
        raise CheckpointError(_why_unreadable(path, error)) from error
    if not isinstance(content, dict) or "state_dict" not in content:
        msg = f"{path} is no checkpoint of a training: it has no 'state_dict'"
        raise CheckpointError(msg)
    return content


def _why_unreadable(path: Path, error: Exception) -> str:
    text = str(error)
    if "Unsupported global" in text or "Unsupported class" in text or "GLOBAL" in text:
        named = text.partition("GLOBAL ")[2].split(" was not")[0].split("\n")[0].strip()
        what = f" ({named})" if named else ""
        return (
            f"{path} holds code or objects{what} and was not opened: a checkpoint may hold tensors "
            "and plain values only. If it is your own, save its state_dict anew"
        )
    size = path.stat().st_size
    return (
        f"{path} is not a checkpoint, or only a part of one ({size} bytes). Take another state of "
        "the run (--checkpoint best or last), an earlier copy of the file, or train again, "
        "starting from another state with task.start_from"
    )
