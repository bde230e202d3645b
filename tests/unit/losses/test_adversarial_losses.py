"""Adversarial losses against their closed forms, and what they are given by nets."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.networks.nets import MultiScalePatchDiscriminator, PatchDiscriminator
from torch import Tensor, nn

from imtoolkit.losses.adversarial import (
    AdversarialLoss,
    FeatureMatchingLoss,
    gradient_penalty,
    judgement_of,
)
from imtoolkit.nets.discriminators import MultiscaleDiscriminator

REAL = torch.tensor([[[[2.0, -1.0]]]])
FAKE = torch.tensor([[[[0.5, -3.0]]]])


def log1pexp(x: Tensor) -> Tensor:
    return torch.log1p(torch.exp(x))


@pytest.mark.parametrize(
    ("kind", "smoothing", "discriminator", "generator"),
    [
        ("mse", 0.0, ((REAL - 1) ** 2 + FAKE**2).mean() / 2, ((FAKE - 1) ** 2).mean()),
        ("mse", 0.2, ((REAL - 0.8) ** 2 + FAKE**2).mean() / 2, ((FAKE - 1) ** 2).mean()),
        ("bce", 0.0, (log1pexp(-REAL) + log1pexp(FAKE)).mean() / 2, log1pexp(-FAKE).mean()),
        (
            "bce",
            0.1,
            (0.9 * log1pexp(-REAL) + 0.1 * log1pexp(REAL) + log1pexp(FAKE)).mean() / 2,
            log1pexp(-FAKE).mean(),
        ),
        ("hinge", 0.0, torch.tensor((0 + 2 + 1.5 + 0) / 4), -FAKE.mean()),
    ],
)
def test_both_sides_have_their_closed_forms(
    kind: str, smoothing: float, discriminator: Tensor, generator: Tensor
) -> None:
    loss = AdversarialLoss(kind, smoothing)
    torch.testing.assert_close(loss.discriminator([[REAL]], [[FAKE]]), discriminator)
    torch.testing.assert_close(loss.generator([[FAKE]]), generator)


def test_scales_count_alike_whatever_their_number_of_patches() -> None:
    loss, fine, coarse = AdversarialLoss("mse"), torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 2, 2)
    assert loss.generator([[fine], [coarse]]).item() == 0.5


@pytest.mark.parametrize(("kind", "smoothing"), [("hinge", 0.1), ("mse", 1.0), ("mse", -0.1)])
def test_labels_that_make_no_sense_are_refused(kind: str, smoothing: float) -> None:
    with pytest.raises(ValueError, match="expected a number from 0 to below 1"):
        AdversarialLoss(kind, smoothing)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="'wgan'; expected mse or bce or hinge"):
        AdversarialLoss("wgan")


def test_features_are_matched_layer_by_layer_and_teach_the_made_side_alone() -> None:
    fake = [torch.full((1, 2, 4, 4), 1.0), torch.full((1, 4, 2, 2), 2.0), torch.zeros(1, 1, 1, 1)]
    real = [torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 2, 2), torch.full((1, 1, 1, 1), 9.0)]
    for layer in (*fake, *real):
        layer.requires_grad_(True)
    loss = FeatureMatchingLoss()([fake], [real])
    assert loss.item() == (1.0 + 2.0) / 2  # the logits do not count
    loss.backward()
    assert all(layer.grad is None for layer in real)
    assert fake[0].grad is not None
    assert fake[2].grad is None


def test_logits_alone_have_no_features_to_match() -> None:
    with pytest.raises(ValueError, match="returns its logits alone"):
        FeatureMatchingLoss()([[REAL]], [[FAKE]])


def test_the_penalty_is_the_squared_slope_and_can_be_learnt_from() -> None:
    """Of a linear discriminator the slope is its weights, whatever the images are."""
    weights = torch.randn(1, 1, 4, 4, requires_grad=True)
    real = torch.randn(3, 1, 4, 4)

    def judge(image: Tensor) -> list[list[Tensor]]:
        return [[(image * weights).sum((1, 2, 3))[:, None]]]

    penalty = gradient_penalty(judge, real)
    torch.testing.assert_close(penalty, 0.5 * weights.square().sum())
    penalty.backward()
    torch.testing.assert_close(weights.grad, weights.detach())
    assert not real.requires_grad


@pytest.mark.parametrize(
    ("net", "scales", "layers"),
    [
        (MultiscaleDiscriminator(2, 1, scales=2, channels=2, depth=1), 2, 3),
        (PatchDiscriminator(2, 4, 1, num_layers_d=2), 1, 4),
        (
            MultiScalePatchDiscriminator(
                num_d=2, num_layers_d=2, spatial_dims=2, channels=4, in_channels=1
            ),
            2,
            4,
        ),
        (nn.Conv2d(1, 1, 3), 1, 1),
    ],
)
def test_what_nets_return_becomes_scales_of_layers_with_the_logits_last(
    net: Any, scales: int, layers: int
) -> None:
    found = judgement_of(net(torch.randn(1, 1, 64, 64)))
    assert len(found) == scales
    assert min(len(judged) for judged in found) == layers
    assert all(judged[-1].shape[1] == 1 for judged in found)


def test_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="returned dict; expected logits"):
        judgement_of({"logits": REAL})  # type: ignore[arg-type]
