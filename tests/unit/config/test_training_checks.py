"""Optimizers and schedules that cannot work are found before anything is built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imtoolkit.config import load_config

Problems = Callable[..., list[str]]
ADAMW = {"name": "adamw", "params": {"lr": 1e-3}}
UP = {"name": "linear", "params": {"start": 0, "end": 1}}


@pytest.mark.parametrize(
    ("optimizer", "trainer", "message"),
    [
        (
            "sam",
            {"accumulate_grad_batches": 4},
            "trainer.accumulate_grad_batches: got 4; sam needs",
        ),
        (
            "asam",
            {"precision": "16-mixed"},
            "trainer.precision: got 16-mixed; asam needs 32-true or",
        ),
        ("sophia", {"precision": "bf16-mixed"}, "sophia needs 32-true: it takes small differences"),
        ("sophia", {"gradient_clip_val": 1.0}, "gradients of sophia cannot be clipped by norm"),
        (
            {"name": "sam", "params": {"base": ADAMW}},
            {"gradient_clip_val": 1.0, "gradient_clip_algorithm": "value"},
            "Take gradient_clip_algorithm: norm, or leave clipping out",
        ),
        ("LBFGS", {"accumulate_grad_batches": 2}, "got 2; LBFGS needs 1"),
        ("torch.optim.LBFGS", {"gradient_clip_val": 0.1}, "torch.optim.LBFGS cannot be clipped"),
        ("imtoolkit.optim.sam.SAM", {"strategy": "fsdp"}, "needs whole weights in each process"),
        (
            {"name": "sam", "params": {"base": {"name": "lbfgs", "params": {}}}},
            {},
            "task.optimizer.params.base.name: 'lbfgs' evaluates a batch several times itself",
        ),
        ({"name": "sam", "params": {"base": {"name": "adamx", "params": {}}}}, {}, "'adamx'"),
        (
            {"name": "sam", "params": {"base": {"name": "sgd", "params": {"lrr": 1}}}},
            {},
            "base.params.lrr: optimizer 'sgd' takes no parameter 'lrr'. Did you mean 'lr'?",
        ),
        ({**ADAMW, "layer_decay": 1.5}, {}, "task.optimizer.layer_decay: is a factor"),
        ({**ADAMW, "groups": [{"weights": ["a"]}]}, {}, "groups.0: sets nothing"),
        ({**ADAMW, "groups": [{"weights": [], "lr": 1}]}, {}, "'weights' names no pattern"),
        (
            {**ADAMW, "groups": [{"weights": ["a"], "lr": -1}]},
            {},
            "groups.0.lr: must be at least 0, got -1",
        ),
        ({"name": "LBFGS", "layer_decay": 0.5}, {}, "LBFGS takes all weights alike"),
    ],
)
def test_optimizers_and_trainers_that_contradict_each_other(
    good: dict[str, Any], problems: Problems, optimizer: Any, trainer: dict[str, Any], message: str
) -> None:
    good["task"]["optimizer"] = optimizer
    good["trainer"] |= trainer
    found = problems(good)
    assert any(message in text for text in found), found


@pytest.mark.parametrize(
    ("optimizer", "trainer"),
    [
        ("sam", {"precision": "bf16-mixed", "gradient_clip_val": 1.0}),
        ("sophia", {"precision": "32-true"}),
        ("nadam", {"precision": "16-mixed", "accumulate_grad_batches": 4}),
        ("lbfgs", {}),
        ({"name": "asam", "params": {"rho": 1.0, "base": ADAMW}, "layer_decay": 0.75}, {}),
    ],
)
def test_what_can_work_is_let_through(
    good: dict[str, Any], optimizer: Any, trainer: dict[str, Any]
) -> None:
    good["task"]["optimizer"] = optimizer
    good["trainer"] |= trainer
    assert load_config(good).task.optimizers["net"].name


def test_own_optimizers_that_need_a_closure_are_read_and_not_run(
    good: dict[str, Any], problems: Problems, tmp_path: Path
) -> None:
    plugin = tmp_path / "entropy.py"
    plugin.write_text(
        "import torch\nfrom imtoolkit.optim.sam import SAM\nraise SystemExit('was run')\n"
        "class Entropy(torch.optim.SGD):\n    needs_closure = True\n"
        "class Sharper(SAM):\n    pass\n"
        "class Plain(torch.optim.SGD):\n    pass\n"
    )
    good["plugins"] = [str(plugin)]
    good["trainer"]["accumulate_grad_batches"] = 2
    for name, found in (("Entropy", True), ("Sharper", True), ("Plain", False)):
        good["task"]["optimizer"] = name
        texts = problems(good)  # at least, that the plugin is not trusted
        assert any(f"got 2; {name} needs 1" in text for text in texts) is found


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("task.los.weight", "leads to no number that can change. Did you mean 'task.losses.loss.w"),
        ("task.losses.edge.weight", "there is no 'edge' in task.losses"),
        ("task.net.params.channels", "is [16, 32, 64, 128], which is no number"),
        ("data.augment.0.params.probb", "takes no parameter 'probb'. Did you mean 'prob'?"),
        ("data.augment.3.params.prob", "there is no '3' in data.augment"),
        ("data.augment.0.params.keys", "is ['image', 'target'], which is no number"),
        ("trainer.max_epochs", "Schedules change task.losses.NAME.weight"),
    ],
)
def test_a_key_that_leads_to_nothing_is_told_with_the_nearest(
    good: dict[str, Any], problems: Problems, key: str, message: str
) -> None:
    good["trainer"]["schedules"] = {key: UP}
    found = problems(good)
    assert any(f"trainer.schedules.{key}" in text and message in text for text in found), found


def test_one_number_has_one_schedule(good: dict[str, Any], problems: Problems) -> None:
    good["trainer"]["schedules"] = {"task.loss.weight": UP, "task.losses.loss.weight": UP}
    assert any("is the same number as 'task.loss.weight'" in text for text in problems(good))


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("linnear", "unknown schedule 'linnear'. Did you mean 'linear'?"),
        ({"name": "linear"}, "schedule 'linear' needs the parameters 'start', 'end'"),
        ({"name": "linear", "params": {"start": 0, "ende": 1}}, "Did you mean 'end'?"),
        ({"name": "steps", "params": {"values": 3, "milestones": [1]}}, "schedule 'steps'"),
        (
            {"name": "sequence", "params": {"schedules": [{"name": "x", "params": {}}],
                                            "milestones": []}},
            "unknown schedule 'x'",
        ),
    ],
)  # fmt: skip
def test_a_schedule_is_checked_as_any_component(
    good: dict[str, Any], problems: Problems, schedule: Any, message: str
) -> None:
    good["trainer"]["schedules"] = {"task.loss.weight": schedule}
    found = problems(good)
    assert any(message in text for text in found), found


def test_a_schedule_needs_its_length_where_no_epochs_end_the_training(
    good: dict[str, Any], problems: Problems
) -> None:
    good["trainer"] = {"max_steps": 100, "schedules": {"task.loss.weight": UP}}
    assert any("needs 'epochs' in its params" in text for text in problems(good))
    good["trainer"]["schedules"]["task.loss.weight"] = {
        **UP, "params": {**UP["params"], "epochs": 5}
    }  # fmt: skip
    assert load_config(good).trainer.schedules


def test_numbers_of_all_kinds_can_change(good: dict[str, Any]) -> None:
    good["data"]["degrade"] = []
    good["trainer"]["schedules"] = {
        "task.loss.weight": UP,
        "task.losses.loss.params.lambda_dice": UP,
        "task.net.params.dropout": UP,
        "data.augment.0.params.prob": UP,
    }
    assert len(load_config(good).trainer.schedules) == 4
