"""Noise2Void: pixels hidden evenly, replaced by neighbours, and learnt at hidden pixels alone."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from imtoolkit.config.sections import Component, LossTerm, Noise2VoidConfig
from imtoolkit.core.batch import Stage
from imtoolkit.core.facts import DataFacts, TargetKind
from imtoolkit.tasks import target_spec
from imtoolkit.tasks.blindspot import box_sides, hidden_pixels, replaced
from tests.helpers.discs import loader, trainer_of, weights_of
from tests.helpers.tasks import Bars, make

MSE = {"mse": LossTerm("MSELoss")}


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("shape", "masked"), [((70, 64), 0.02), ((12, 33, 40), 0.01), ((9, 9), 0.3)]
)
def test_one_pixel_is_hidden_in_each_box_of_the_grid(shape: tuple[int, ...], masked: float) -> None:
    hidden = hidden_pixels((2, *shape), masked, _seeded())[:, 0].numpy()
    sides = box_sides(masked, shape)
    assert 0.75 * masked < 1 / np.prod(sides) < 1.35 * masked
    whole = [length // side for length, side in zip(shape, sides, strict=True)]
    for image in hidden:
        for box in itertools.product(*(range(count) for count in whole)):
            part = tuple(slice(b * s, (b + 1) * s) for b, s in zip(box, sides, strict=True))
            assert image[part].sum() == 1


def test_every_pixel_is_hidden_equally_often_borders_included() -> None:
    often = hidden_pixels((6000, 8, 10), 0.1, _seeded()).float().mean(0)[0]
    chance = 1 / np.prod(box_sides(0.1, (8, 10)))
    spread = (chance * (1 - chance) / 6000) ** 0.5
    assert float((often - chance).abs().max()) < 5 * spread


def test_a_neighbour_is_drawn_uniformly_and_never_the_pixel_itself() -> None:
    image = torch.arange(25.0).reshape(1, 1, 5, 5).expand(20000, 1, 5, 5)
    for place, window in (((2, 2), (slice(1, 4), slice(1, 4))), ((0, 4), (slice(2), slice(3, 5)))):
        hidden = torch.zeros(20000, 1, 5, 5, dtype=torch.bool)
        hidden[(slice(None), 0, *place)] = True
        found = replaced(image, hidden, 1, "uniform", _seeded())[(slice(None), 0, *place)]
        allowed = set(image[0, 0][window].flatten().tolist()) - {float(image[(0, 0, *place)])}
        values, counts = found.unique(return_counts=True)
        assert set(values.tolist()) == allowed
        share = 20000 / len(allowed)
        assert float((counts - share).abs().max()) < 5 * share**0.5


@pytest.mark.parametrize("dims", [2, 3])
def test_the_median_is_that_of_the_neighbours_within_the_image(dims: int) -> None:
    image = torch.rand(2, 3, *(7,) * dims, generator=_seeded())
    hidden = hidden_pixels((2, *(7,) * dims), 0.05, _seeded(1))
    found = replaced(image, hidden, 1, "median").numpy()
    for at in hidden[:, 0].nonzero().tolist():
        window = tuple(slice(max(0, p - 1), p + 2) for p in at[1:])
        centre = tuple(min(1, p) for p in at[1:])
        for channel in range(3):
            around = image[at[0], channel][window].numpy()
            rest = np.delete(around.flatten(), np.ravel_multi_index(centre, around.shape))
            lower = np.sort(rest)[(len(rest) - 1) // 2]
            assert found[(at[0], channel, *at[1:])] == lower


@pytest.mark.parametrize("how", ["uniform", "median"])
def test_other_pixels_stay_as_they_are(how: str) -> None:
    image = torch.rand(2, 3, 16, 16, generator=_seeded())
    hidden = hidden_pixels((2, 16, 16), 0.05, _seeded(1))
    found = replaced(image, hidden, 2, how, _seeded(2))
    changed = (found != image).any(1, keepdim=True)
    assert torch.equal(changed, hidden)


def _weightless(**fields: Any) -> Any:
    """A residual net of zeros: what it predicts is what it is given."""
    task = make("noise2void", residual=True, losses=MSE, **fields)
    with torch.no_grad():
        for weight in task.parameters():
            weight.zero_()
    return task


def test_the_loss_counts_hidden_pixels_alone_and_ignores_a_target() -> None:
    task = _weightless(masked=0.1)
    image = torch.rand(2, 1, 32, 32, generator=_seeded())
    given: dict[str, Tensor] = {}
    task.nets["net"].register_forward_pre_hook(lambda _, args: given.update(image=args[0]))
    batch = {"image": image, "target": torch.full_like(image, 7.0)}
    output = task.step(batch, Stage.TRAIN)
    hidden = given["image"] != image
    assert 0.05 < float(hidden.float().mean()) < 0.15
    expected = ((given["image"] - image)[hidden] ** 2).mean()
    torch.testing.assert_close(output.loss, expected)


def test_hidden_pixels_depend_on_the_step_and_in_validation_on_the_image() -> None:
    task = _weightless()
    batch = {"image": torch.rand(2, 1, 32, 32), "id": ["a", "b"], "dataset": ["x", "x"]}
    first = task.training_step(batch, 3)
    torch.rand(10)
    assert torch.equal(task.training_step(batch, 3), first)
    assert not torch.equal(task.training_step(batch, 4), first)
    one = {"image": batch["image"][:1], "id": ["a"]}
    torch.manual_seed(1)
    found = task.step(one, Stage.VAL).loss
    torch.manual_seed(2)
    assert torch.equal(task.step(one, Stage.VAL).loss, found)
    assert not torch.equal(task.step({**one, "id": ["b"]}, Stage.VAL).loss, found)


def test_validation_predicts_the_image_as_it_is() -> None:
    task = _weightless()
    image = torch.rand(1, 1, 32, 32)
    output = task.step({"image": image, "id": ["a"]}, Stage.VAL)
    torch.testing.assert_close(output.raw, image)
    assert float(output.loss) > 0


def test_a_cost_map_counts_unless_it_says_that_there_is_no_target() -> None:
    task = _weightless(masked=0.1)
    image = torch.rand(2, 1, 32, 32)
    weight = torch.zeros(2, 1, 32, 32)  # of the second image: it has no clean target
    weight[0, :, :16] = 1.0
    blind = task.blinded({"image": image, "weight": weight})
    assert not blind["weight"][0, :, 16:].any()
    assert blind["weight"][0, :, :16].any()
    assert blind["weight"][1, :, 16:].any()


@pytest.mark.parametrize("replace", ["uniform", "median"])
def test_noise_is_taken_from_bars_without_any_clean_image(replace: str) -> None:
    task = make(
        "noise2void",
        losses=MSE,
        masked=0.05,
        replace=replace,
        optimizers={"net": Component("adamw", {"lr": 1e-2})},
    )
    trainer = trainer_of(max_epochs=12)
    train = Bars(64, target=None, noise=0.3)
    trainer.fit(task, loader(train, 8), loader(Bars(4, target="image", noise=0.3)))
    noisy = -10 * np.log10(0.3**2)
    assert trainer.callback_metrics["val/psnr"] > noisy + 3
    assert task.main_metric == "val/loss"


def test_without_clean_images_the_loss_is_what_validation_tells() -> None:
    task = make("noise2void", losses=MSE)
    logged = trainer_of().validate(task, loader(Bars(2, target=None)), verbose=False)[0]
    assert set(logged) == {"val/loss"}
    assert task.better("val/psnr") == "max"


def test_as_many_channels_come_out_as_go_in() -> None:
    facts = DataFacts(3, 2, patch_size=(16, 16, 16))
    task = make("noise2void", facts, losses=MSE)
    loss = task.training_step({"image": torch.rand(1, 2, 16, 16, 16)}, 0)
    loss.backward()
    assert any(w.grad is not None and w.grad.any() for w in task.parameters())
    assert len(list(weights_of(task)))
    assert task.predict_image(torch.rand(2, 18, 16, 20)).shape == (2, 18, 16, 20)


def test_clean_images_are_wanted_where_there_are_some() -> None:
    spec = target_spec(Noise2VoidConfig("noise2void"))
    assert (spec.kind, spec.optional) == (TargetKind.IMAGE, True)
