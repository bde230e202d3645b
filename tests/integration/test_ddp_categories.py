"""Two processes on the CPU learn and measure every category as one process does.

Data parallel training of two processes takes the mean of their gradients: with twice the batches of
half the size it is the training of one process, where the losses are means of equal counts.
"""

from __future__ import annotations

import os
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

import imtoolkit as imt
from imtoolkit.runs import Run
from tests.helpers.categories import config_of, merged, objects_of, write_discs
from tests.helpers.process import imtoolkit

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="gloo on Linux")]

SAM = {"name": "sam", "params": {"base": {"name": "sgd", "params": {"lr": 0.02}}}}
RISING = {"name": "linear", "params": {"start": 0.1, "end": 0.3}}
PAIR = {"max_epochs": 2, "devices": 2, "strategy": "ddp"}
PLAIN = {"name": "UNet", "params": {"channels": [4, 8], "strides": [2]}}
CASES: dict[str, dict[str, Any]] = {
    "classification": config_of("classification"),
    "probabilistic_unet": config_of("probabilistic_unet"),
    "embedseg": config_of("embedseg"),
    "cyclegan": config_of("cyclegan"),
    "objects_by_boundary": objects_of("segmentation"),
    "objects_by_distance": objects_of("enhancement"),
    # with a batch of one, the image without mask and grade is alone in its process
    "multitask": config_of("multitask", data={"loader": {"batch_size": 1}}),
}
TOGETHER = config_of(
    "enhancement",
    data={"patch": {"per_image": 1}},
    task={"net": PLAIN, "loss": "mse", "optimizer": SAM},
    trainer={"schedules": {"data.degrade.0.params.std": RISING}},
)

AGAINST_EACH_OTHER = config_of(
    "pix2pix",
    task={
        "nets": {
            "generator": PLAIN,
            "discriminator": {
                "name": "patch_discriminator",
                "params": {"channels": 4, "depth": 1, "spectral": True},
            },
        },
        "optimizer": {"name": "SGD", "params": {"lr": 0.02}},
        "feature_matching_weight": 1.0,
        "r1_weight": 0.1,
    },
    trainer={"accumulate_grad_batches": 2},
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with three images for validation, and one for test: uneven counts."""
    return write_discs(tmp_path_factory.mktemp("pairs"), train=8, val=3, test=1)


def pair(raw: dict[str, Any], folder: Path, name: str) -> Run:
    """Train with two processes."""
    raw = merged(raw, {"trainer": PAIR, "evaluation": {"splits": ["test"]}})
    config = folder / f"{name}.yaml"
    config.write_text(yaml.safe_dump(raw, sort_keys=False))
    done = imtoolkit(folder, "train", str(config), "--folder", str(folder / name))
    assert done.returncode == 0, done.stderr
    return Run(folder / name)


def means(summary: dict[str, Any]) -> dict[str, float]:
    entries = summary["metrics"].items()
    return {name: nan if entry["mean"] is None else entry["mean"] for name, entry in entries}


def assert_measured_as_by_one(run: Run, count: int = 3) -> None:
    """Compare the last validation of two processes, and their test, with those of one."""
    together = run.metrics.dropna(subset="val/loss").iloc[-1]
    alone = imt.evaluate(run, "val", checkpoint="last", quiet=True)
    assert len(alone.per_image) == count  # two on one process, one on the other
    for name, mean in means(alone.summary).items():
        if f"val/{name}" in together:  # distances of surfaces are measured in tests alone
            assert together[f"val/{name}"] == pytest.approx(mean, abs=1e-5, nan_ok=True), name
    before = means(run.evaluations["test"])
    after = means(imt.evaluate(run, "test", quiet=True).summary)
    assert before == pytest.approx(after, abs=1e-5, nan_ok=True)


@pytest.mark.parametrize(
    ("case", "measured"),
    [
        ("classification", {"val/auroc", "val/f1"}),
        ("multitask", {"val/kind/auroc", "val/mask/iou"}),
        ("probabilistic_unet", {"val/ged", "val/dice", "val/loss/kl"}),
        ("cyclegan", {"val/frechet_distance/b", "val/kernel_distance", "val/cycle_psnr/a"}),
        ("embedseg", {"val/ap/50", "val/pooled_ap/50", "val/loss/embedding/seeds"}),
        ("objects_by_boundary", {"val/ap/50", "val/pooled_ap/50", "val/foreground_dice"}),
        ("objects_by_distance", {"val/ap/50", "val/object_count"}),
    ],
)
def test_metrics_of_the_set_are_those_of_one_process(
    case: str, measured: set[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    run = pair(CASES[case], folder, case)
    assert measured <= set(run.metrics.columns)
    assert_measured_as_by_one(run, count=5 if case == "cyclegan" else 3)


def test_two_processes_with_half_the_batch_train_as_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SAM's two evaluations, drawn noise and its schedule are the same on two processes."""
    monkeypatch.chdir(folder)
    run = pair(TOGETHER, folder, "together")
    assert {"val/psnr", "val/ssim"} <= set(run.metrics.columns)
    assert_measured_as_by_one(run)
    alone = merged(TOGETHER, {"data": {"loader": {"batch_size": 4}}, "trainer": {"max_epochs": 2}})
    whole = imt.train(alone, path=folder / "alone", quiet=True)
    ours, theirs = (torch.load(one.checkpoint("last"), weights_only=True) for one in (run, whole))
    assert ours["global_step"] == theirs["global_step"] == 4  # of SAM, not its evaluations
    torch.testing.assert_close(ours["state_dict"], theirs["state_dict"], atol=1e-6, rtol=1e-4)
    for name in ("train/loss", "val/loss", "val/psnr"):
        pd.testing.assert_series_equal(run.metrics[name], whole.metrics[name], rtol=1e-4)


def test_generator_and_discriminator_train_on_two_processes_as_on_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of one net have no gradient in the turn of the other, and nothing waits for it."""
    monkeypatch.chdir(folder)
    run = pair(AGAINST_EACH_OTHER, folder, "adversaries")
    assert_measured_as_by_one(run)
    alone = merged(
        AGAINST_EACH_OTHER, {"data": {"loader": {"batch_size": 4}}, "trainer": {"max_epochs": 2}}
    )
    whole = imt.train(alone, path=folder / "alone_adversaries", quiet=True)
    ours, theirs = (torch.load(one.checkpoint("last"), weights_only=True) for one in (run, whole))
    assert ours["global_step"] == theirs["global_step"] == 4
    torch.testing.assert_close(ours["state_dict"], theirs["state_dict"], atol=1e-6, rtol=1e-4)
    for name in ("train/loss", "train/loss/discriminator", "val/psnr"):
        pd.testing.assert_series_equal(run.metrics[name], whole.metrics[name], rtol=1e-4)
