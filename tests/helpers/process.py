"""imtoolkit in a process of its own, and a callback that ends its process in mid-epoch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from imtoolkit import io

KILLER = '''
"""Kills its process at the batch that the environment names."""
import os
import signal
import pytorch_lightning as pl


class Killer(pl.Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if os.environ.get("KILL_AT") == f"{trainer.current_epoch}:{batch_idx}":
            os.kill(os.getpid(), getattr(signal, os.environ.get("KILL_BY", "SIGKILL")))
'''


def imtoolkit(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder."""
    return call(folder, sys.executable, "-m", "imtoolkit.cli.main", *words, **environment)


def call(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder."""
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def write_squares(folder: Path, count: int) -> None:
    """Write small images of squares (``00_IM.tif``) and their labels (``00_GT.tif``)."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        labels = np.zeros((24, 24), np.uint8)
        y, x = rng.integers(2, 12, 2)
        labels[y : y + 9, x : x + 9] = 1
        image = (rng.normal(100, 20, labels.shape) + 60 * labels).astype(np.uint16)
        io.write(folder / f"{number:02d}_IM.tif", image)
        io.write(folder / f"{number:02d}_GT.tif", labels)
