"""Images that are changed before they are predicted, and the way back."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from imtoolkit.config.sections import Component
from imtoolkit.core.errors import ComponentError
from imtoolkit.data.perturb import Perturbation, usable


def component(name: str, **params: Any) -> Component:
    return Component(name, params)


@pytest.mark.parametrize("shape", [(2, 9, 9), (1, 8, 12), (1, 3, 6, 6)])
def test_turns_and_flips_are_undone(shape: tuple[int, ...]) -> None:
    perturb = Perturbation([component("flips"), component("rotations_90")])
    image = torch.arange(torch.tensor(shape).prod().item()).reshape(shape).float()
    moved = 0
    for seed in range(12):
        changed, back = perturb(image, seed)
        assert torch.equal(back(changed), image)
        moved += not torch.equal(changed, image)
    assert moved >= 6


def test_a_prediction_of_other_channels_is_brought_back_too() -> None:
    perturb = Perturbation([component("rotations_90"), component("flips", axes=["X"], prob=1.0)])
    image = torch.rand(1, 7, 7)
    for seed in range(6):
        changed, back = perturb(image, seed)
        probabilities = torch.cat([1 - changed, changed])
        torch.testing.assert_close(back(probabilities)[1:], image)


def test_what_is_drawn_is_a_function_of_the_seed() -> None:
    perturb = Perturbation([component("gaussian_noise", std=0.5, prob=1.0), component("flips")])
    image = torch.rand(1, 16, 16)
    first, again, other = (perturb(image, seed)[0] for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_image_stays_as_it_is() -> None:
    image = torch.rand(1, 8, 8)
    before = image.clone()
    Perturbation([component("brightness_contrast", prob=1.0), component("flips", prob=1.0)])(
        image, 0
    )
    assert torch.equal(image, before)


def test_transforms_of_monai_that_change_values_are_taken() -> None:
    perturb = Perturbation([component("RandGaussianNoised", keys="image", prob=1.0)])
    image = torch.zeros(1, 16, 16)
    changed, back = perturb(image, 0)
    assert float(changed.std()) > 0.01
    assert torch.equal(back(changed), changed)
    assert torch.equal(perturb(image, 0)[0], changed)


@pytest.mark.parametrize(
    ("components", "words"),
    [
        ([component("flips"), component("random_affine")], "perturb.1: 'random_affine' moves"),
        ([component("RandFlipd", keys="image")], "'RandFlipd' moves pixels"),
        ([component("normalize_zscore")], "none of the transforms draws anything"),
        ([component("gausian_noise")], "unknown transform 'gausian_noise'"),
    ],
)
def test_what_cannot_be_undone_is_refused(components: list[Component], words: str) -> None:
    with pytest.raises(ComponentError) as caught:
        Perturbation(components)
    assert words in str(caught.value)


def test_of_the_transforms_of_training_those_are_used_that_can_be_undone() -> None:
    augment = [component("flips"), component("random_elastic"), component("gamma")]
    assert [one.name for one in usable(augment)] == ["flips", "gamma"]
