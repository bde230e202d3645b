"""Decay reaches weights, not norms and biases."""

import pytest
import torch
from torch import nn

from imtoolkit.core.errors import ComponentError, ConfigError
from imtoolkit.optim.building import build_optimizer
from imtoolkit.optim.optimizers import DecayedAdamW, DecayedSGD


def _net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))


@pytest.mark.parametrize("kind", [DecayedAdamW, DecayedSGD])
def test_only_weights_shrink_without_a_gradient(kind: type[torch.optim.Optimizer]) -> None:
    net = _net()
    for weight in net.parameters():
        weight.data.fill_(1.0)
        weight.grad = torch.zeros_like(weight)
    kind(net.parameters(), lr=0.1, weight_decay=0.5).step()
    shrunk = {name for name, weight in net.named_parameters() if (weight < 1).all()}
    assert shrunk == {"0.weight"}


def test_asked_for_it_decays_all_as_torch_does() -> None:
    ours = DecayedAdamW(_net().parameters(), weight_decay=0.5, decay_norms_and_biases=True)
    assert [group["weight_decay"] for group in ours.param_groups] == [0.5]


def test_groups_keep_their_own_decay_and_rate() -> None:
    net = _net()
    groups = [{"params": net[0].parameters(), "lr": 0.5}, {"params": net[1].weight}]
    made = DecayedAdamW([*groups, {"params": net[1].bias, "weight_decay": 0.3}], weight_decay=0.1)
    found = [(group["lr"], group["weight_decay"]) for group in made.param_groups]
    assert found == [(0.5, 0.1), (0.5, 0.0), (1e-3, 0.0), (1e-3, 0.3)]


@pytest.mark.parametrize("name", ["adamw", "sgd", "AdamW", "SGD", "Adam", "NAdam", "Novograd"])
def test_optimizers_are_built_by_name(name: str) -> None:
    net = _net()
    optimizer = build_optimizer(name, {"lr": 0.01}, net.parameters())
    net(torch.rand(2, 1, 8, 8)).square().mean().backward()
    before = net[0].weight.detach().clone()
    optimizer.step()
    assert not torch.equal(net[0].weight, before)


def test_nothing_to_train_is_told() -> None:
    with pytest.raises(ConfigError, match=r"task\.freeze: every weight is frozen"):
        build_optimizer("adamw", {}, [])


def test_a_wrong_parameter_is_told() -> None:
    with pytest.raises(ComponentError, match="optimizer 'adamw' refused its parameters"):
        build_optimizer("adamw", {"learning_rate": 1.0}, _net().parameters())
