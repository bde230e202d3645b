"""A part learnt by one task serves another: started from, frozen, with the optimizer's state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from imtoolkit.cli.main import main
from imtoolkit.nets.parts import save_part
from imtoolkit.runs import Run
from tests.helpers.categories import RESNET, config_of, write_discs

BACKBONE = "nets.net.backbone."
HEADS = {"mask": "dense", "kind": "global_pool", "radius": "global_pool"}
NET = {"name": "multi_head", "params": {"backbone": RESNET, "heads": HEADS}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("parts"), train=4, val=2)


@pytest.fixture(scope="module")
def classifier(folder: Path) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return trained(folder, "classifier", config_of("classification", trainer={"max_epochs": 2}))


def trained(folder: Path, name: str, raw: dict[str, Any]) -> Run:
    config = folder / f"{name}.yaml"
    config.write_text(yaml.safe_dump(raw, sort_keys=False))
    assert main(["train", str(config), "--folder", str(folder / name), "--quiet"]) == 0
    return Run(folder / name)


def state_of(run: Run, checkpoint: str = "last") -> dict[str, Any]:
    found: dict[str, Any] = torch.load(run.checkpoint(checkpoint), weights_only=True)
    return found


def several(start: dict[str, Any], **task: Any) -> dict[str, Any]:
    return config_of(
        "multitask", task={"net": NET, "start_from": start, **task}, trainer={"max_epochs": 1}
    )


def test_a_frozen_backbone_of_a_classifier_serves_several_heads(
    classifier: Run,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    start = {"run": str(classifier.path), "checkpoint": "last", "include": [f"{BACKBONE}*"]}
    run = trained(folder, "frozen", several(start, freeze=[f"{BACKBONE}*"]))
    report = run.resolved["loaded"]
    theirs, ours = state_of(classifier)["state_dict"], state_of(run)["state_dict"]
    backbone = [name for name in ours if name.startswith(BACKBONE)]
    assert report["loaded"] == backbone
    assert report["missing"] == report["mismatched"] == report["moments"] == []
    assert set(report["outside"]) == set(ours) - set(backbone)  # the heads
    assert set(report["unused"]) == set(theirs) - set(backbone)  # the classifier's own head
    for name in backbone:  # statistics of norms included
        assert torch.equal(ours[name], theirs[name]), name
    counts = run.resolved["parameters"]
    assert counts["trained"] < counts["all"]


def test_a_saved_part_brings_the_state_of_its_optimizer(
    classifier: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    part = save_part(classifier.checkpoint("last"), "backbone", folder / "backbone.ckpt")
    start = {"run": str(part), "include": [f"{BACKBONE}*"], "optimizer": True}
    run = trained(folder, "continued", several(start))
    weights = set(run.resolved["loaded"]["moments"])
    theirs = steps_of(state_of(classifier))
    assert weights == {name for name in theirs if name.startswith(BACKBONE)}
    ours = steps_of(state_of(run))
    trained_here = {steps for name, steps in ours.items() if name not in weights}
    assert trained_here == {2}  # of four images, two in a batch
    assert {ours[name] - theirs[name] for name in weights} == {2}


def steps_of(checkpoint: dict[str, Any]) -> dict[str, int]:
    """Return how many steps AdamW has counted for each weight."""
    (saved,) = checkpoint["optimizer_states"]
    return {
        name: int(saved["state"][number]["step"])
        for group in saved["param_groups"]
        for number, name in zip(group["params"], group["param_names"], strict=True)
    }
