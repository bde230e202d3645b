"""The probabilistic U-Net as a net: shapes, what decides what, and parts that are replaced."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from imtoolkit.core.errors import ImtoolkitError
from imtoolkit.core.facts import DataFacts
from imtoolkit.nets.building import build_net
from imtoolkit.nets.probabilistic_unet import DiagonalGaussian, ProbabilisticUNet

FACTS = DataFacts(spatial_dims=2, in_channels=1, patch_size=(32, 32))


def net_of(facts: DataFacts = FACTS, classes: int = 2, **params: Any) -> ProbabilisticUNet:
    given = {"channels": [4, 8], "latent": 3, "width": 4, **params}
    net = build_net("probabilistic_unet", given, facts, classes)
    assert isinstance(net, ProbabilisticUNet)
    return net


@pytest.mark.parametrize("size", [(32, 24), (8, 16, 24)])
def test_one_net_for_2d_and_3d(size: tuple[int, ...]) -> None:
    facts = DataFacts(spatial_dims=len(size), in_channels=2, patch_size=size)
    net = net_of(facts, classes=3)
    image, annotation = torch.randn(2, 2, *size), torch.rand(2, 3, *size)
    assert net(image).shape == (2, 3, *size)
    for gaussian in (net.prior(image), net.posterior(image, annotation)):
        assert gaussian.mean.shape == gaussian.log_std.shape == (2, 3)


def test_steps_of_unequal_axes_pool_unequally() -> None:
    facts = DataFacts(spatial_dims=3, in_channels=1, patch_size=(3, 16, 16))
    net = net_of(facts, channels=[4, 8, 8], strides=[[1, 2, 2], [1, 2, 2]])
    assert net(torch.zeros(1, 1, 3, 16, 16)).shape == (1, 2, 3, 16, 16)


def test_latent_numbers_change_the_segmentation_and_only_the_posterior_sees_the_annotation() -> (
    None
):
    net, image = net_of(), torch.randn(1, 1, 32, 32)
    features = net.features(image)
    one, other = (net.decode(features, torch.full((1, 3), value)) for value in (-2.0, 2.0))
    assert not torch.allclose(one, other, atol=1e-3)
    nothing, all_of_it = torch.zeros(1, 2, 32, 32), torch.ones(1, 2, 32, 32)
    assert not torch.equal(net.posterior(image, nothing).mean, net.posterior(image, all_of_it).mean)


def test_without_latent_numbers_it_takes_the_mean_of_the_prior() -> None:
    net, image = net_of(), torch.randn(2, 1, 32, 32)
    assert torch.equal(net(image), net(image, net.prior(image).mean))


def test_every_gaussian_begins_near_the_standard_one() -> None:
    gaussian = net_of().prior(torch.randn(4, 1, 32, 32))
    assert bool((gaussian.mean.abs() < 0.5).all())
    assert bool((gaussian.log_std.abs() < 0.5).all())


def test_a_point_of_a_gaussian_has_its_mean_and_deviation() -> None:
    gaussian = DiagonalGaussian(torch.tensor([[1.0, -1.0]]), torch.tensor([[0.0, 2.0]]).log())
    assert gaussian.at(torch.zeros(1, 2)).tolist() == [[1.0, -1.0]]
    wide = DiagonalGaussian(torch.zeros(1, 1), torch.full((1, 1), 2.0).log())
    points = wide.at(torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0)))
    assert float(points.std()) == pytest.approx(2.0, rel=0.02)


def test_another_net_gives_the_features() -> None:
    params = {"width": 4, "depth": 3, "residual": False}
    net = net_of(backbone={"name": "dncnn", "params": params}, width=5)
    assert type(net.backbone).__name__ == "DnCNN"
    assert net.features(torch.zeros(1, 1, 32, 32)).shape == (1, 5, 32, 32)
    own = ProbabilisticUNet(2, 1, 2, channels=(4,), width=4, backbone=nn.Conv2d(1, 4, 1))
    assert own(torch.zeros(1, 1, 8, 8)).shape == (1, 2, 8, 8)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"chanels": [4, 8]}, "no parameter 'chanels'. Did you mean 'channels'"),
        ({"latent": 0}, "expected at least 1"),
        ({"strides": [2, 2]}, "2 channels and 2 strides"),
        ({"encoder_channels": [4, 8, 8]}, "3 encoder_channels and 1 strides"),
        ({"backbone": "dncnn", "norm": "batch"}, "another backbone is given: leave 'norm' out"),
    ],
)
def test_what_does_not_fit_is_told(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ImtoolkitError) as caught:
        net_of(**params)
    assert words in str(caught.value)
