"""Two processes on the CPU (gloo): one run folder, one cache, every image once, equal numbers."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import imtoolkit as imt
from imtoolkit.core.errors import RunError
from imtoolkit.runs import Run, State
from tests.helpers import process
from tests.helpers.process import write_squares

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="gloo on Linux")]

CONFIG = """
name: pair
data:
  source: {name: folder, params: {root: images, image: "*_IM.tif", target: "*_GT.tif"}}
  axes: YX
  split: {val: 3, test: 1}
  patch: {size: [16, 16], per_image: 2}
  preprocess: [normalize_zscore]
  augment: [flips]
  loader: {batch_size: 2, workers: 0}
task:
  category: segmentation
  classes: [background, cell]
  net: {name: UNet, params: {channels: [4, 8], strides: [2]}}
  optimizer: {name: AdamW, params: {lr: 0.01}}
trainer: {max_epochs: 2, accelerator: cpu, devices: 2, strategy: ddp, pictures: {every_epochs: 1}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a config and nine small images of squares with their labels."""
    folder = tmp_path_factory.mktemp("ddp")
    write_squares(folder / "images", 9)
    (folder / "pair.yaml").write_text(CONFIG)
    return folder


def call(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return process.call(folder, *command, IMTOOLKIT_CACHE=str(folder / "cache"))


@pytest.fixture(scope="module")
def trained(folder: Path) -> Run:
    program = shutil.which("imtoolkit") or str(Path(sys.executable).with_name("imtoolkit"))
    done = call(folder, program, "train", "pair.yaml", "--folder", str(folder / "trained"))
    assert done.returncode == 0, done.stderr
    return Run(folder / "trained")


def assert_complete(run: Run) -> None:
    assert run.status.state is State.FINISHED
    assert run.checkpoints == ["best", "best-val-dice", "last"]
    assert [path.name for path in run.pictures] == ["epoch-0001.png", "epoch-0002.png"]
    assert json.loads((run.path / "resolved.json").read_text())["machine"]["processes"] == 2
    rows = pd.read_csv(run.path / "evaluation" / "test" / "per_image.csv")
    assert len(rows) == 1  # the other process had none
    assert list(run.metrics.dropna(subset="val/dice")["epoch"]) == [0, 1]
    leftovers = [path for path in run.path.rglob("*") if path.name.endswith((".part", ".lock"))]
    assert leftovers == []


def test_a_run_of_two_processes_is_complete_and_written_by_one(trained):
    assert_complete(trained)


def test_the_numbers_are_those_of_one_process(trained, folder, monkeypatch):
    monkeypatch.setenv("IMTOOLKIT_CACHE", str(folder / "cache"))
    alone = imt.evaluate(trained, "val", checkpoint="last", quiet=True)
    assert sorted(alone.per_image["id"]) == sorted(set(alone.per_image["id"]))
    assert len(alone.per_image) == 3  # two on one process, one on the other
    together = trained.metrics.iloc[-1]
    for name in ("loss", "dice/cell", "iou/cell"):
        assert alone.per_image[name].mean() == pytest.approx(together[f"val/{name}"], abs=1e-6)
    before = pd.read_csv(trained.path / "evaluation" / "test" / "per_image.csv")
    after = imt.evaluate(trained, "test", quiet=True).per_image
    for name in ("loss", "dice/cell", "hd95/cell"):
        assert after[name].to_numpy() == pytest.approx(before[name].to_numpy(), abs=1e-6)


def test_a_run_of_two_processes_is_resumed(trained, folder):
    copy = folder / "copy"
    shutil.copytree(trained.path, copy)
    command = (sys.executable, "-m", "imtoolkit.cli.main", "runs", "resume", str(copy))
    done = call(folder, *command, "--trainer.max_epochs", "3")
    assert done.returncode == 0, done.stderr
    assert list(Run(copy).metrics.dropna(subset="val/dice")["epoch"]) == [0, 1, 2]


def test_torchrun_starts_it_as_well(folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run = folder / "torchrun"
    words = ("train", "pair.yaml", "--folder", str(run), "--trainer.devices", "1")
    done = call(
        folder,
        *(sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"),
        *("--master_addr", "127.0.0.1", "--master_port", str(port)),
        *("-m", "imtoolkit.cli.main", *words),
    )
    assert done.returncode == 0, done.stderr
    assert_complete(Run(run))


def test_python_starts_it_as_well_and_gets_the_error_of_a_process(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("IMTOOLKIT_CACHE", str(folder / "cache"))
    config = imt.load_config(folder / "pair.yaml", {"trainer.max_epochs": 1})
    run = imt.train(config, path=folder / "python", quiet=True)
    assert run.status.state is State.FINISHED
    broken = imt.load_config(folder / "pair.yaml", {"data.patch.size": [15, 15]})
    with pytest.raises(RunError, match=r"patch\.size"):
        imt.train(broken, path=folder / "broken", quiet=True)


def test_two_processes_stop_together_at_a_signal(folder):
    run = folder / "stopped"
    (folder / "stopper.py").write_text(
        "import os, signal\n"
        "import pytorch_lightning as pl\n\n\n"
        "class Stopper(pl.Callback):\n"
        "    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):\n"
        "        if trainer.current_epoch == 1 and batch_idx == 0 and trainer.is_global_zero:\n"
        "            os.kill(os.getppid(), signal.SIGINT)\n"
        "            __import__('time').sleep(1)\n"
    )
    config = folder / "stop.yaml"
    config.write_text(CONFIG + "callbacks: [Stopper]\nplugins: [stopper.py]\n")
    words = ("train", str(config), "--folder", str(run), "--trust")
    done = call(folder, sys.executable, "-m", "imtoolkit.cli.main", *words)
    assert done.returncode == 130, done.stderr
    assert Run(run).status.state is State.INTERRUPTED
    assert "Continue with: imtoolkit runs resume" in done.stderr
    assert "last" in Run(run).checkpoints
