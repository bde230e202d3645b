"""Which weights decay, learn slower, and are chosen by patterns; the blocks of nets."""

from __future__ import annotations

import monai.networks.nets as monai_nets
import pytest
import torch
from torch import nn

from imtoolkit.core.errors import ConfigError
from imtoolkit.optim.blocks import block_numbers
from imtoolkit.optim.building import build_optimizer
from imtoolkit.optim.groups import Rule, parameter_groups, undecayed


def _net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def _vit() -> nn.Module:
    return monai_nets.ViT(
        1, (16, 16), (8, 8), hidden_size=12, mlp_dim=16, num_layers=3, num_heads=2,
        spatial_dims=2, classification=True, num_classes=2,
    )  # fmt: skip


def _options(groups: list[dict[str, object]], name: str) -> dict[str, object]:
    held = next(group for group in groups if name in group["param_names"])
    return {key: value for key, value in held.items() if key not in ("params", "param_names")}


def test_norms_biases_and_tables_do_not_decay() -> None:
    assert undecayed(_net()) == {"0.bias", "1.weight", "1.bias", "2.bias"}
    found = undecayed(_vit())
    assert {"cls_token", "patch_embedding.position_embeddings", "norm.weight"} <= found
    assert "patch_embedding.patch_embeddings.weight" not in found
    assert "blocks.0.attn.qkv.weight" not in found
    swin = monai_nets.SwinUNETR(1, 2, feature_size=12, spatial_dims=2)
    tables = [name for name, _ in swin.named_parameters() if "relative_position" in name]
    assert tables
    assert set(tables) <= undecayed(swin)


def test_a_norm_over_several_axes_and_an_embedding_do_not_decay() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm((4, 4))
            self.words = nn.Embedding(5, 4)
            self.pos_embed = nn.Parameter(torch.zeros(1, 4, 4))
            self.mix = nn.Parameter(torch.zeros(4, 4))

    trained = {name for name, _ in Own().named_parameters()}
    assert trained - undecayed(Own()) == {"mix"}


@pytest.mark.parametrize("name", ["AdamW", "NAdam", "SGD", "RMSprop", "adamw", "sgd", "sam"])
def test_any_optimizer_leaves_norms_and_biases_as_they_are(name: str) -> None:
    """With a gradient of zero, decay is all that moves a weight."""
    net = _net()
    before = {key: value.detach().clone() for key, value in net.named_parameters()}
    options = {"lr": 0.1, "weight_decay": 0.5}
    params = {"base": {"name": "SGD", "params": options}} if name == "sam" else options
    groups = parameter_groups(net, lr=0.1, weight_decay=0.5)
    optimizer = build_optimizer(name, params, groups)

    def closure() -> float:
        for weight in net.parameters():
            weight.grad = torch.zeros_like(weight)
        return 0.0

    optimizer.step(closure)
    moved = {key for key, value in net.named_parameters() if not torch.equal(value, before[key])}
    assert moved == {"0.weight", "2.weight"}


def test_everything_decays_where_it_is_asked_for() -> None:
    groups = parameter_groups(_net(), lr=0.1, weight_decay=0.5, decay_all=True)
    assert [group["weight_decay"] for group in groups] == [0.5]
    optimizer = build_optimizer("adamw", {}, groups)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5]


def test_the_first_rule_that_fits_decides() -> None:
    rules = [Rule(["*2.*"], lr=0.01), Rule(["*.weight"], weight_decay=0.3, params={"eps": 1e-6})]
    groups = parameter_groups(_net(), lr=0.1, weight_decay=0.5, rules=rules, prefix="nets.net.")
    assert _options(groups, "nets.net.0.weight") == {"lr": 0.1, "weight_decay": 0.3, "eps": 1e-6}
    assert _options(groups, "nets.net.1.weight") == {"lr": 0.1, "weight_decay": 0.0, "eps": 1e-6}
    assert _options(groups, "nets.net.2.weight") == {"lr": 0.01, "weight_decay": 0.5}
    assert _options(groups, "nets.net.2.bias") == {"lr": 0.01, "weight_decay": 0.0}
    assert sum(len(group["params"]) for group in groups) == 6


def test_a_schedule_scales_each_group_from_its_own_rate() -> None:
    groups = parameter_groups(_net(), lr=0.1, weight_decay=None, rules=[Rule(["2.*"], lr=0.01)])
    optimizer = build_optimizer("SGD", {"lr": 0.1}, groups)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    optimizer.step()
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.005]


def test_a_pattern_that_fits_nothing_is_an_error_with_the_nearest_names() -> None:
    rules = [Rule(["0.weigth"]), Rule(["0.*", "3.*"])]
    with pytest.raises(ConfigError) as caught:
        parameter_groups(_net(), lr=0.1, weight_decay=None, rules=rules)
    texts = [str(problem) for problem in caught.value.problems]
    assert len(texts) == 2
    assert "task.optimizer.groups.0.weights: the pattern '0.weigth'" in texts[0]
    assert "Did you mean '0.weight'" in texts[0]
    assert "the pattern '3.*' fits no trained weight" in texts[1]


def test_frozen_weights_are_in_no_group() -> None:
    net = _net()
    net[0].requires_grad_(requires_grad=False)
    groups = parameter_groups(net, lr=0.1, weight_decay=0.1)
    assert {name for group in groups for name in group["param_names"]} == {
        *("1.weight", "1.bias", "2.weight", "2.bias")
    }


def test_rates_decay_from_the_head_backwards() -> None:
    groups = parameter_groups(_vit(), lr=1.0, weight_decay=0.1, layer_decay=0.5)
    rates = {
        name: _options(groups, name)["lr"]
        for name in ("cls_token", "blocks.0.attn.qkv.weight", "blocks.2.mlp.linear1.weight",
                     "norm.weight", "classification_head.0.weight")
    }  # fmt: skip
    assert rates == {
        "cls_token": 0.5**4,
        "blocks.0.attn.qkv.weight": 0.5**3,
        "blocks.2.mlp.linear1.weight": 0.5,
        "norm.weight": 0.5,
        "classification_head.0.weight": 1.0,
    }


def test_each_net_is_counted_by_itself_and_rules_are_scaled() -> None:
    nets = nn.ModuleDict({"a": _net(), "b": _net()})
    groups = parameter_groups(
        nets,
        lr=1.0,
        weight_decay=None,
        rules=[Rule(["b.*"], lr=0.1)],
        layer_decay=0.5,
        nets={"a.": nets["a"], "b.": nets["b"]},
    )
    assert [_options(groups, f"{name}.0.weight")["lr"] for name in "ab"] == [0.5, 0.05]
    assert [_options(groups, f"{name}.2.weight")["lr"] for name in "ab"] == [1.0, 0.1]


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lambda: monai_nets.BasicUNet(spatial_dims=2, features=(4,) * 6), 10),
        (lambda: monai_nets.UNet(2, 1, 2, [4, 8, 16], [2, 2]), 5),
        (lambda: monai_nets.DynUNet(2, 1, 2, [3, 3, 3], [1, 2, 2], [2, 2]), 6),
        (lambda: monai_nets.resnet18(spatial_dims=2, n_input_channels=1, num_classes=2), 10),
        (_vit, 5),
    ],
)
def test_the_blocks_of_nets_hold_every_weight_once(make: object, count: int) -> None:
    net = make()  # type: ignore[operator]
    numbers = block_numbers(net)
    assert set(numbers) == {name for name, _ in net.named_parameters()}
    assert set(numbers.values()) == set(range(count))


def test_shared_weights_count_where_they_come_first() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    assert block_numbers(net) == {"0.weight": 0, "0.bias": 0, "1.bias": 0}


def test_entries_of_a_module_dict_stand_side_by_side() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(2, 2)
            self.heads = nn.ModuleDict(
                {"deep": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), "flat": nn.Linear(2, 2)}
            )
            self.last = nn.Linear(2, 2)

    numbers = block_numbers(Net())
    assert {name: number for name, number in numbers.items() if name.endswith("weight")} == {
        "body.weight": 0,
        "heads.deep.0.weight": 1,
        "heads.deep.1.weight": 2,
        "heads.flat.weight": 1,
        "last.weight": 3,
    }
