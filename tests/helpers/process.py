"""imtoolkit in a process of its own, and a callback that ends its process in mid-epoch."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imtoolkit import io

_LIMIT = 300  # seconds

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


_FORKS = multiprocessing.get_context("forkserver") if os.name != "nt" else None
if _FORKS is not None:
    _FORKS.set_forkserver_preload(["imtoolkit.cli.main", "imtoolkit.trainer.train"])


def imtoolkit(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder, in a process of its own.

    It is forked from one that has imported torch, Lightning and MONAI, and nothing else: that takes
    8 s of processor time, and most of what is run here much less.
    """
    command = (sys.executable, "-m", "imtoolkit.cli.main", *words)
    if _FORKS is None:
        return call(folder, *command, **environment)
    with tempfile.TemporaryDirectory() as place:
        streams = [Path(place) / name for name in ("out", "err")]
        process = _FORKS.Process(
            target=_run, args=(str(folder), words, {**os.environ, **environment}, streams)
        )
        process.start()
        process.join(_LIMIT)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(command, _LIMIT)
        out, err = (path.read_text(encoding="utf-8") for path in streams)
    return subprocess.CompletedProcess(command, process.exitcode, out, err)


def _run(
    folder: str, words: Sequence[str], environment: dict[str, str], streams: Sequence[Path]
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(streams, 1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    sys.path[:0] = [folder]  # as `python -m` does
    sys.argv = ["imtoolkit", *words]
    from imtoolkit.cli.main import main

    sys.exit(main())


def call(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder."""
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=_LIMIT,
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
