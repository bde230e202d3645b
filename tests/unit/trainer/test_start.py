"""Starting from another run: the run is chosen once, before there is a newer one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from imtoolkit.config import load_config
from imtoolkit.config.sections import Config, StartConfig
from imtoolkit.core.errors import ConfigError
from imtoolkit.runs import Run, create_run
from imtoolkit.trainer.build import build_schedules, pinned, start_file

DATA = {"source": {"name": "folder", "params": {"root": "data", "image": "*.tif"}}, "axes": "YX"}
NET = {"name": "UNet", "params": {"channels": [4, 8], "strides": [2]}}
TASK = {"category": "segmentation", "classes": ["background", "cell"], "net": NET, "loss": "dice"}


def _config(start: str | None = None, **trainer: object) -> Config:
    config = load_config({"name": "b", "data": DATA, "task": TASK, "trainer": dict(trainer)})
    if start is None:
        return config
    return replace(config, task=replace(config.task, start_from=StartConfig(start)))


def _run(root: Path) -> Run:
    def fill(folder: Path) -> None:
        (folder / "config.yaml").write_text("name: a\n")
        (folder / "checkpoints").mkdir(exist_ok=True)
        torch.save({"state_dict": {}}, folder / "checkpoints" / "best.ckpt")

    return create_run("a", root, fill)


def test_the_latest_run_stays_the_one_that_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMTOOLKIT_RUNS", str(tmp_path))
    first = _run(tmp_path)
    config = pinned(_config("latest"))
    assert config.task.start_from is not None
    assert config.task.start_from.run == first.id
    _run(tmp_path)
    assert start_file(config) == first.path / "checkpoints" / "best.ckpt"


def test_a_path_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "part.ckpt"
    torch.save({"state_dict": {}}, file)
    assert pinned(_config(str(file))) == _config(str(file))
    assert pinned(_config()) == _config()


def test_a_run_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMTOOLKIT_RUNS", str(tmp_path))
    with pytest.raises(ConfigError, match=r"task\.start_from"):
        pinned(_config("latest"))


def test_schedules_end_with_the_training() -> None:
    up = {"name": "linear", "params": {"start": 0, "end": 1}}
    config = _config(max_epochs=5, schedules={"task.loss.weight": up})
    assert build_schedules(config, "data.") == {}
    weight = build_schedules(config)["task.loss.weight"]
    assert [weight(epoch) for epoch in (0, 2, 4, 9)] == [0, 0.5, 1, 1]
