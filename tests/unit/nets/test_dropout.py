"""Dropout that goes on in prediction, and nothing beside it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from imtoolkit.nets.dropout import active_dropout, dropout_layers


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.Dropout2d(0.5),
        nn.Sequential(nn.InstanceNorm2d(4, track_running_stats=True), nn.Dropout(0.0)),
        nn.Dropout(0.3),
    )


def test_dropout_layers_drop_and_norms_keep_their_statistics() -> None:
    made = net()
    made(torch.randn(8, 1, 8, 8))  # norms learn something
    made.eval()
    image, before = torch.randn(4, 1, 8, 8), {k: v.clone() for k, v in made.state_dict().items()}
    plain = made(image)
    with active_dropout(made):
        dropping = [part for part in made.modules() if part.training]
        assert [type(part) for part in dropping] == [nn.Dropout2d, nn.Dropout]
        first, second = made(image), made(image)
    assert not torch.equal(first, second)
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    assert not any(part.training for part in made.modules())
    assert torch.equal(made(image), plain)


def test_what_is_put_into_training_is_put_back_when_a_pass_fails() -> None:
    made = net().eval()
    with pytest.raises(RuntimeError), active_dropout(made):
        made(torch.zeros(1, 3, 4, 4))
    assert not any(part.training for part in made.modules())


def test_the_mean_of_many_passes_is_what_the_layers_promise() -> None:
    layer = nn.Sequential(nn.Dropout(0.3)).eval()
    torch.manual_seed(0)
    with active_dropout(layer):
        mean = torch.stack([layer(torch.ones(1000)) for _ in range(200)]).mean()
    assert mean.item() == pytest.approx(1.0, abs=0.01)


def test_layers_that_drop_nothing_do_not_count() -> None:
    assert len(dropout_layers(net())) == 2
    assert dropout_layers(nn.Sequential(nn.Dropout(0.0), nn.ReLU())) == []
