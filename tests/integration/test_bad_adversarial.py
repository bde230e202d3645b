"""What a pix2pix cannot do is told on the command line, before a run is left behind."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command import Place

UNET = {"name": "UNet", "params": {"channels": [4, 8], "strides": [2]}}
JUDGE = {"name": "patch_discriminator", "params": {"channels": 4, "depth": 1}}
PIX2PIX: dict[str, Any] = {
    "task": {"category": "pix2pix", "nets": {"generator": UNET, "discriminator": JUDGE}}
}
CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "patches smaller than what is judged": (
        {"task.nets.discriminator": {"name": "patch_discriminator", "params": {"depth": 4}}},
        ("data.patch.size", "[32, 32]", "at least [48, 48]", "shallower"),
    ),
    "a discriminator too deep for any image": (
        {"task.nets.discriminator": {"name": "patch_discriminator", "params": {"depth": 12}}},
        ("task.nets.discriminator", "[32, 32]", "nor any up to 1024 pixels", "shallower"),
    ),
    "one set of images as both domains": (
        {
            "task": {"category": "cyclegan", "nets": {"generator": UNET, "discriminator": JUDGE}},
            "data.source": {
                "name": "unpaired",
                "params": {"root": "data", "a": "images", "b": "images/*"},
            },
        },
        ("4 images are of both domains", "have none in common"),
    ),
    "an optimizer that evaluates a batch several times": (
        {"task.optimizer": "sophia", "trainer.accumulate_grad_batches": 2},
        ("task.optimizer", "sophia", "two nets step against each other", "adam"),
    ),
    "a strategy that cuts weights up": (
        {"trainer.strategy": "deepspeed"},
        ("trainer.strategy", "deepspeed", "take ddp"),
    ),
    "features of a discriminator that shows none": (
        {
            "task.nets.discriminator": UNET,
            "task.feature_matching_weight": 1.0,
        },
        ("task.feature_matching_weight", "logits alone", "patch_discriminator"),
    ),
    "a net of no role": (
        {"task.nets.critic": JUDGE},
        ("task.nets.critic", "there is no net named 'critic'", "discriminator"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_makes_no_sense_is_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = Place(tmp_path)
    changes, words = CASES[case]
    place.train({**copy.deepcopy(PIX2PIX), **changes}).refuses(*words)
    assert place.runs() == []
