"""TensorBoard as an extra logger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger

from imtoolkit.core.errors import MissingPackageError


class TensorBoard(TensorBoardLogger):
    """Write event files into the run folder; look at them with ``tensorboard --logdir RUN``.

    Args:
        save_dir: Run folder.
        params: More parameters of Lightning's ``TensorBoardLogger``, such as ``flush_secs``.

    Raises:
        MissingPackageError: If the package ``tensorboard`` is not installed.
    """

    def __init__(self, save_dir: str | Path, **params: Any) -> None:
        settings = {"name": "tensorboard", "version": "", "default_hp_metric": False, **params}
        try:
            super().__init__(save_dir, **settings)
        except ModuleNotFoundError as error:
            name = "tensorboard"  # of the package, and of our extra
            raise MissingPackageError(name, name, "the TensorBoard logger") from error
