"""A part of a net is saved by itself, and loaded into another net or task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from imtoolkit.core.errors import RunError
from imtoolkit.nets.composed import Composed
from imtoolkit.nets.freezing import freeze
from imtoolkit.nets.loading import load_matching
from imtoolkit.nets.parts import load_part, save_part


def _net(seed: int = 0) -> Composed:
    torch.manual_seed(seed)
    return Composed(nn.Conv2d(1, 4, 3), pre=nn.Conv2d(1, 1, 1), post=nn.Conv2d(4, 2, 1))


class _Task(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.nets = nn.ModuleDict({"net": net})


def test_a_saved_part_is_loaded_and_the_others_stay(tmp_path: Path) -> None:
    source, net = _net(0), _net(1)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    file = save_part(source, "backbone", tmp_path / "backbone.ckpt")
    report = load_part(net, file)
    assert report.loaded == ("weight", "bias")
    assert torch.equal(net.backbone.weight, source.backbone.weight)
    assert torch.equal(net.pre.weight, before["pre.weight"])  # type: ignore[union-attr]
    assert torch.equal(net.post.weight, before["post.weight"])  # type: ignore[union-attr]


@pytest.mark.parametrize("as_task", [False, True])
def test_the_file_starts_a_task_as_any_checkpoint_does(tmp_path: Path, as_task: bool) -> None:
    source: Any = _Task(_net(0)) if as_task else _net(0)
    file = save_part(source, "backbone", tmp_path / "backbone.ckpt")
    content = torch.load(file, weights_only=True)
    task = _Task(_net(1))
    report = load_matching(task, content["state_dict"])
    assert set(report.loaded) == {"nets.net.backbone.weight", "nets.net.backbone.bias"}
    assert freeze(task, ["nets.net.backbone.*"]) == list(report.loaded)


def test_a_part_goes_into_the_bare_module_or_under_another_name(tmp_path: Path) -> None:
    source = _net(0)
    file = save_part(source, "backbone", tmp_path / "part.ckpt")
    alone, other = nn.Conv2d(1, 4, 3), nn.ModuleDict({"encoder": nn.Conv2d(1, 4, 3)})
    load_part(alone, file)
    load_part(other, file, "encoder")
    assert torch.equal(alone.weight, source.backbone.weight)
    assert torch.equal(other["encoder"].weight, source.backbone.weight)


def _checkpoint(task: nn.Module) -> dict[str, Any]:
    optimizer = torch.optim.AdamW(list(task.named_parameters()), lr=1e-2)
    task.nets["net"](torch.rand(1, 1, 8, 8)).sum().backward()  # type: ignore[index, operator]
    optimizer.step()
    return {
        "state_dict": task.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "imtoolkit": {"optimizers": ["torch.optim.adamw.AdamW"]},
    }


def test_the_state_of_the_optimizer_comes_along_by_name(tmp_path: Path) -> None:
    from imtoolkit.tasks.moments import states_by_name

    checkpoint = _checkpoint(_Task(_net()))
    torch.save(checkpoint, tmp_path / "run.ckpt")
    file = save_part(tmp_path / "run.ckpt", "backbone", tmp_path / "part.ckpt")
    content = torch.load(file, weights_only=True)
    classes = content["imtoolkit"]["optimizers"]
    whole = states_by_name(checkpoint, classes)["torch.optim.adamw.AdamW"]
    own = states_by_name(content, classes)["torch.optim.adamw.AdamW"]
    assert set(own) == {"nets.net.backbone.weight", "nets.net.backbone.bias"}
    for name, state in own.items():
        assert torch.equal(state["exp_avg"], whole[name]["exp_avg"])


def test_mistakes_are_told_with_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no part 'bakbone'. Did you mean 'backbone'"):
        save_part(_net(), "bakbone", tmp_path / "x.ckpt")
    file = save_part(_net(), "backbone", tmp_path / "x.ckpt")
    with pytest.raises(RunError, match=r"no part 'bakbone' here. Did you mean 'backbone'"):
        load_part(_net(), file, "bakbone")
    with pytest.raises(RunError, match="there is no file"):
        load_part(_net(), tmp_path / "none.ckpt")
    torch.save({"state_dict": _net().state_dict()}, tmp_path / "whole.ckpt")
    with pytest.raises(RunError, match="holds no part"):
        load_part(_net(), tmp_path / "whole.ckpt")


class _Touches:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_a_file_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    torch.save({"state_dict": _Touches(tmp_path / "ran")}, tmp_path / "bad.ckpt")
    with pytest.raises(RunError, match="was not opened"):
        load_part(_net(), tmp_path / "bad.ckpt")
    assert not (tmp_path / "ran").exists()
