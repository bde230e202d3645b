"""Every category, killed in mid-epoch and resumed, ends bit for bit as one that was not.

The cases share out what a state could forget: optimizers of several evaluations, averages, groups
of weights, numbers that change with the epochs, workers, and random transforms on the device.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

import imtoolkit as imt
from imtoolkit.runs import Run, State
from tests.helpers.categories import config_of, objects_of, write_discs
from tests.helpers.process import KILLER, imtoolkit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="SIGKILL is what this is about"),
]

SAM = {"name": "sam", "params": {"base": {"name": "sgd", "params": {"lr": 0.05, "momentum": 0.9}}}}
SOPHIA = {"name": "sophia", "params": {"lr": 1e-3, "interval": 3}, "layer_decay": 0.8}
GROUPS = {
    "name": "AdamW",
    "params": {"lr": 0.01},
    "groups": [{"weights": ["nets.net.backbone.*"], "lr": 1e-3, "weight_decay": 0.0}],
}
BENDING = ["flips", "random_affine", "random_elastic", "gaussian_noise", "gamma"]
EMA = {"ema": {"decay": 0.9}}


def line(start: float, end: float) -> dict[str, Any]:
    return {"name": "linear", "params": {"start": start, "end": end}}


CASES: dict[str, dict[str, Any]] = {
    "classification-balanced-sam": config_of(
        "classification",
        data={"loader": {"balance_by": "target"}},
        task={"optimizer": SAM, "scheduler": "one_cycle", "label_smoothing": 0.1},
    ),
    "regression-tabular-sophia": config_of("regression", task={"optimizer": SOPHIA}, trainer=EMA),
    "enhancement-degraded-workers": config_of(
        "enhancement",
        data={"loader": {"workers": 2}},
        trainer={"schedules": {"data.degrade.0.params.std": line(0.05, 0.3)}},
    ),
    "noise2void-averaged": config_of("noise2void", trainer=EMA),
    "cyclegan-pools-averaged": config_of(
        "cyclegan", task={"scheduler": "one_cycle"}, trainer={**EMA, "accumulate_grad_batches": 2}
    ),
    "embedseg-averaged": config_of("embedseg", trainer=EMA),
    "objects-by-boundary-bending": objects_of(
        "segmentation", data={"augment": BENDING}, task={"class_weights": [1, 1, 2]}
    ),
    "objects-by-distance-workers": objects_of("enhancement", data={"loader": {"workers": 2}}),
    "multitask-groups-schedules": config_of(
        "multitask",
        task={
            "optimizer": GROUPS,
            "losses": {"kind": {"name": "cross_entropy", "prediction": "kind", "warmup_steps": 5}},
        },
        trainer={
            **EMA,
            "accumulate_grad_batches": 2,
            "schedules": {"task.losses.kind.weight": line(0.2, 2.0)},
        },
    ),
    "pix2pix-averaged-accumulated-workers": config_of(
        "pix2pix",
        data={"loader": {"workers": 2}},
        task={
            "feature_matching_weight": 1.0,
            "discriminator_steps": 2,
            "gradient_clip": {"discriminator": 0.5},
            "schedulers": {"generator": "one_cycle", "discriminator": "plateau"},
        },
        trainer={**EMA, "accumulate_grad_batches": 3, "gradient_clip_val": 1.0},
    ),
    "probabilistic-several-readers": config_of(
        "probabilistic_unet",
        data={"loader": {"workers": 2}},
        trainer={**EMA, "schedules": {"task.beta": line(50.0, 2.0)}},
    ),
    "segmentation-on-device": config_of(
        "segmentation",
        data={"augment_on": "device", "augment": BENDING},
        trainer={"schedules": {"data.augment.1.params.degrees": line(5.0, 40.0)}},
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_discs(tmp_path_factory.mktemp("categories"))
    (folder / "killer.py").write_text(KILLER)
    return folder


def assert_same(run: Run, reference: Run) -> None:
    """Compare weights, averages, optimizers, schedules and metrics bit for bit."""
    ours, theirs = (
        torch.load(one.checkpoint("last"), weights_only=True) for one in (run, reference)
    )
    assert ours["global_step"] == theirs["global_step"]
    for key in ("state_dict", "live_state_dict"):
        assert ours.get(key, {}).keys() == theirs.get(key, {}).keys()
        for weight, value in ours.get(key, {}).items():
            assert torch.equal(value, theirs[key][weight]), f"{key}: {weight}"
    assert str(ours["optimizer_states"]) == str(theirs["optimizer_states"])
    assert str(ours["lr_schedulers"]) == str(theirs["lr_schedulers"])
    untimed = [one.metrics.drop(columns="time/epoch") for one in (run, reference)]
    pd.testing.assert_frame_equal(*untimed, check_exact=True)


@pytest.mark.parametrize("case", CASES)
def test_a_killed_run_ends_as_an_undisturbed_one(
    case: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    raw = {**CASES[case], "plugins": ["killer.py"], "callbacks": ["Killer"]}
    raw["trainer"] = {**raw["trainer"], "checkpoint": {"every_steps": 1}}
    config = folder / f"{case}.yaml"
    config.write_text(yaml.safe_dump(raw, sort_keys=False))
    whole = imt.train(imt.load_config(config, trust=True), path=folder / "whole" / case, quiet=True)
    killed = folder / "killed" / case
    words = ("train", str(config), "--folder", str(killed), "--trust")
    done = imtoolkit(folder, *words, KILL_AT="1:3")
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert Run(killed).status.state is State.INTERRUPTED
    saved = torch.load(Run(killed).checkpoint("last"), weights_only=True)
    final = torch.load(whole.checkpoint("last"), weights_only=True)
    per_epoch = final["global_step"] // 3
    assert per_epoch < saved["global_step"] < 2 * per_epoch  # in mid-epoch
    assert_same(imt.resume(killed, quiet=True), whole)
