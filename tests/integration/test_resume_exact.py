"""A run that is killed at any moment and resumed ends, bit for bit, as one that was not."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest
import torch

from imtoolkit.runs import Run, State
from tests.helpers.process import KILLER, imtoolkit, write_squares

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="SIGKILL is what this is about"),
]

CONFIG = """
name: tiny
plugins: [killer.py]
data:
  source: {{name: folder, params: {{root: images, image: "*_IM.tif", target: "*_GT.tif"}}}}
  axes: YX
  split: {{val: 3}}
  patch: {{size: [16, 16], per_image: 2}}
  preprocess: [normalize_zscore]
  augment: [flips, rotations_90, gaussian_noise]
  loader: {{batch_size: 2, workers: {workers}}}
task:
  category: segmentation
  classes: [background, cell]
  net: {{name: UNet, params: {{channels: [4, 8], strides: [2], dropout: 0.3}}}}
  loss: dice_ce
  optimizer: {{name: AdamW, params: {{lr: 0.01}}}}
  scheduler: {{name: ReduceLROnPlateau, params: {{patience: 0, threshold: 0.5}}, monitor: val/loss}}
trainer:
  max_epochs: 4
  accelerator: cpu
  accumulate_grad_batches: 2
  log_every_n_steps: 1
  ema: {{decay: 0.9}}
  pictures: {{every_epochs: 0}}
  checkpoint: {{monitor: [val/dice, val/loss], {checkpoint}}}
callbacks: [Killer]
evaluation: {{splits: []}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with eleven small images of squares and their labels."""
    folder = tmp_path_factory.mktemp("resume")
    write_squares(folder / "images", 11)
    (folder / "killer.py").write_text(KILLER)
    return folder


def config_file(folder: Path, workers: int, checkpoint: str) -> Path:
    path = folder / f"workers{workers}-{checkpoint.partition(':')[0]}.yaml"
    path.write_text(CONFIG.format(workers=workers, checkpoint=checkpoint))
    return path


def train(folder: Path, config: Path, run: Path, **environment: str) -> int:
    done = imtoolkit(folder, "train", str(config), "--folder", str(run), "--trust", **environment)
    assert done.returncode in (0, -signal.SIGKILL, 130, 143), done.stderr
    return done.returncode


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> Run:
    run = folder / "undisturbed"
    assert train(folder, config_file(folder, 0, "every_epochs: 1"), run) == 0
    return Run(run)


def assert_same(run: Run, reference: Run) -> None:
    """Compare weights, averages, optimizer, schedule, best states and metrics bit for bit."""
    for name in ("last", "best", "best-val-loss"):
        ours, theirs = (
            torch.load(one.checkpoint(name), weights_only=True) for one in (run, reference)
        )
        for key in ("state_dict", "live_state_dict"):
            assert ours[key].keys() == theirs[key].keys()
            for weight, value in ours[key].items():
                assert torch.equal(value, theirs[key][weight]), f"{name}: {key}: {weight}"
        assert ours["global_step"] == theirs["global_step"]
        assert str(ours["lr_schedulers"]) == str(theirs["lr_schedulers"])
        assert str(ours["optimizer_states"]) == str(theirs["optimizer_states"])
        assert (
            ours["callbacks"]["Checkpoints"]["best"] == theirs["callbacks"]["Checkpoints"]["best"]
        )
    pd.testing.assert_frame_equal(untimed(run), untimed(reference), check_exact=True)


def untimed(run: Run) -> pd.DataFrame:
    return run.metrics.drop(columns=["time/epoch"])


def test_the_number_of_workers_changes_nothing(folder, undisturbed):
    run = folder / "two-workers"
    assert train(folder, config_file(folder, 2, "every_epochs: 1"), run) == 0
    assert_same(Run(run), undisturbed)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("checkpoint", "kill_at", "step"),
    [("every_epochs: 1", "2:5", 8), ("every_steps: 3", "1:7", 7)],
    ids=["from-epoch-end", "from-mid-epoch"],
)
def test_a_killed_run_ends_as_an_undisturbed_one(
    folder, undisturbed, workers, checkpoint, kill_at, step
):
    run = folder / f"killed-{workers}-{step}"
    config = config_file(folder, workers, checkpoint)
    assert train(folder, config, run, KILL_AT=kill_at) == -signal.SIGKILL
    assert Run(run).status.state is State.INTERRUPTED
    saved = torch.load(Run(run).checkpoint("last"), weights_only=True)
    assert saved["global_step"] == step
    moved = run.with_name(f"{run.name}-moved")
    run.rename(moved)  # nothing inside may hold the old path
    done = imtoolkit(folder, "runs", "resume", str(moved))
    assert done.returncode == 0, done.stderr
    assert Run(moved).status.state is State.FINISHED
    assert_same(Run(moved), undisturbed)


@pytest.mark.parametrize(("by", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_saves_in_mid_epoch_and_the_printed_line_resumes(folder, undisturbed, by, code):
    run = folder / f"stopped-{by}"
    config = config_file(folder, 0, "every_epochs: 1")
    words = ("train", str(config), "--folder", str(run), "--trust")
    done = imtoolkit(folder, *words, KILL_AT="1:2", KILL_BY=by)
    assert done.returncode == code, done.stderr
    assert Run(run).status.state is State.INTERRUPTED
    assert torch.load(Run(run).checkpoint("last"), weights_only=True)["global_step"] == 6
    line = done.stderr.strip().splitlines()[-1].partition("Continue with: imtoolkit ")[2]
    done = imtoolkit(folder, *line.split())
    assert done.returncode == 0, done.stderr
    assert_same(Run(run), undisturbed)


def test_a_finished_run_goes_on_with_more_epochs_as_if_it_had_never_stopped(folder, undisturbed):
    run = folder / "longer"
    config = config_file(folder, 0, "every_epochs: 1")
    words = ("train", str(config), "--folder", str(run), "--trust", "--trainer.max_epochs", "2")
    assert imtoolkit(folder, *words).returncode == 0
    done = imtoolkit(folder, "train", "--resume", str(run), "--trainer.max_epochs", "4")
    assert done.returncode == 0, done.stderr
    assert_same(Run(run), undisturbed)
    assert Run(run).config.trainer.max_epochs == 4
    assert "max_epochs: 2" in (run / "config-1.yaml").read_text()


def test_a_run_without_any_state_starts_anew_in_its_folder(folder, undisturbed):
    run = folder / "at-once"
    config = config_file(folder, 0, "every_epochs: 1")
    assert train(folder, config, run, KILL_AT="0:1") == -signal.SIGKILL
    assert Run(run).checkpoints == []
    assert imtoolkit(folder, "runs", "resume", str(run)).returncode == 0
    assert_same(Run(run), undisturbed)


def test_a_torn_or_hostile_checkpoint_is_refused_with_one_line(folder, undisturbed, tmp_path):
    for name, content in (("torn", None), ("text", b"not a checkpoint"), ("empty", b"")):
        run = tmp_path / name
        shutil.copytree(undisturbed.path, run)
        last = run / "checkpoints" / "last.ckpt"
        last.write_bytes(last.read_bytes()[:5000] if content is None else content)
        done = imtoolkit(folder, "runs", "resume", str(run), "--trainer.max_epochs", "5")
        assert done.returncode == 2
        assert "is not a checkpoint" in done.stderr
        assert "Traceback" not in done.stderr
