"""Partial loading takes what fits and tells what does not; freezing holds what it names."""

from typing import Any

import pytest
import torch
from torch import nn

from imtoolkit.core.errors import ConfigError, RunError
from imtoolkit.nets.freezing import freeze, hold_frozen_norms
from imtoolkit.nets.loading import load_matching, renamed


def _net(out: int = 2) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, out, 1))


def test_what_fits_is_loaded_and_the_rest_is_reported() -> None:
    source, net = _net(out=5), _net(out=2)
    last = net[2].weight.detach().clone()
    state = {**source.state_dict(), "extra": torch.zeros(1)}
    del state["0.bias"]
    report = load_matching(net, state)
    assert torch.equal(net[0].weight, source[0].weight)
    assert torch.equal(net[2].weight, last)
    assert report.mismatched[0] == ("2.weight", (2, 4, 1, 1), (5, 4, 1, 1))
    assert report.missing == ("0.bias",)
    assert report.unused == ("extra",)
    assert "2.weight: here [2, 4, 1, 1], there [5, 4, 1, 1]" in str(report)


def test_excluded_names_stay_as_they_are() -> None:
    source, net = _net(), _net()
    before = net[2].weight.detach().clone()
    report = load_matching(net, source.state_dict(), exclude=["2.*"])
    assert report.excluded == ("2.weight", "2.bias")
    assert torch.equal(net[2].weight, before)


def test_nothing_that_fits_is_an_error() -> None:
    with pytest.raises(RunError, match="none of the weights fit"):
        load_matching(_net(), {"other": torch.zeros(1)})


def test_a_counter_of_batch_norm_alone_does_not_count_as_a_fit() -> None:
    wider = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 3, 3))
    with pytest.raises(RunError, match="their names agree, but no shape does"):
        load_matching(_net(), wider.state_dict())


def test_a_frozen_weight_does_not_change_and_a_frozen_norm_keeps_its_statistics() -> None:
    net = _net()
    assert freeze(net, ["0.*", "1.*"]) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.train()
    hold_frozen_norms(net)
    optimizer = torch.optim.SGD([w for w in net.parameters() if w.requires_grad], lr=1.0)
    net(torch.rand(2, 1, 8, 8)).sum().backward()
    optimizer.step()
    changed = {name for name, value in net.state_dict().items() if not value.equal(before[name])}
    assert changed == {"2.weight", "2.bias"}


def test_a_pattern_without_a_match_names_what_is_near() -> None:
    with pytest.raises(ConfigError, match=r"no weight is called '0\.weigt'\. Did you mean"):
        freeze(_net(), ["0.weigt"])


def test_a_part_is_loaded_under_another_name_and_nothing_else() -> None:
    source, net = _net(), nn.ModuleDict({"backbone": _net(), "head": nn.Conv2d(2, 1, 1)})
    head = net["head"].weight.detach().clone()
    state = {f"nets.net.{name}": value for name, value in source.state_dict().items()}
    report = load_matching(net, state, include=["backbone.*"], rename={"nets.net.": "backbone."})
    assert torch.equal(net["backbone"][0].weight, source[0].weight)
    assert torch.equal(net["head"].weight, head)
    assert report.outside == ("head.weight", "head.bias")
    assert ("nets.net.0.weight", "backbone.0.weight") in report.renamed
    assert report.missing == report.unused == ()
    assert "of them under another name" in str(report)
    assert "not asked for: 'head.weight'" in str(report)
    assert report.to_dict()["outside"] == ["head.weight", "head.bias"]


def test_the_longest_beginning_renames() -> None:
    names = renamed(["net.a.w", "net.b.w", "other"], {"net.": "x.", "net.b.": "y."})
    assert names == {"net.a.w": "x.a.w", "net.b.w": "y.w", "other": "other"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"include": ["3.*"]}, "include: the pattern '3.\\*' fits no weight here"),
        ({"include": ["0.wieght"]}, "Did you mean '0.weight'"),
        ({"rename": {"1.weigt": "x"}}, "rename: no name there begins with '1.weigt'"),
        ({"rename": {"0.": "2."}}, "two weights there would be called"),
    ],
)
def test_patterns_that_fit_nothing_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        load_matching(_net(), _net().state_dict(), **options)


def test_an_exclusion_that_fits_nothing_is_noted() -> None:
    report = load_matching(_net(), _net().state_dict(), exclude=["head.*"])
    assert report.notes == ("exclude: the pattern 'head.*' fits no weight here",)
    assert "note: exclude: the pattern 'head.*'" in str(report)
