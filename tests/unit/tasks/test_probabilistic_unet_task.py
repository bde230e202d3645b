"""Learning a distribution of segmentations: what is drawn from where, tiles, readers, the bound."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from imtoolkit.config.sections import (
    Component,
    InferenceConfig,
    LossTerm,
    OptimizerConfig,
    ProbabilisticUNetConfig,
)
from imtoolkit.core.batch import Stage
from imtoolkit.core.errors import ConfigError
from imtoolkit.core.facts import DataFacts
from imtoolkit.losses.probabilistic_unet import kl_divergence
from imtoolkit.nets.probabilistic_unet import DiagonalGaussian, LatentNet
from imtoolkit.tasks import build_task
from imtoolkit.tasks.numbers import setter_of
from imtoolkit.tasks.probabilistic_unet import ProbabilisticUNetTask, SampledOutput, one_of
from tests.helpers.discs import Discs, loader, trainer_of, weights_of

NET = Component("probabilistic_unet", {"channels": [4, 8], "latent": 3, "width": 4})
FACTS = DataFacts(spatial_dims=2, in_channels=1, patch_size=(32, 32))


def task_of(
    inference: InferenceConfig | None = None, facts: DataFacts = FACTS, seed: int = 0, **fields: Any
) -> ProbabilisticUNetTask:
    given = {"nets": {"net": NET}, "classes": ["background", "disc"], "samples": 6, **fields}
    config = ProbabilisticUNetConfig(category="probabilistic_unet", **given)
    task = build_task(config, inference or InferenceConfig(), facts, seed)
    assert isinstance(task, ProbabilisticUNetTask)
    task.eval()
    return task


def spread(task: ProbabilisticUNetTask) -> ProbabilisticUNetTask:
    """Make latent numbers matter, as training does."""
    with torch.no_grad():
        task.net.combine[0].weight[:, -3:] *= 8  # type: ignore[union-attr, index, operator]
    return task


def batch_of(count: int = 2, readers: int = 1, size: int = 32) -> dict[str, Any]:
    batch = next(iter(loader(Discs(count, (size, size)), count)))
    target = batch["target"]
    # each further reader leaves more of the disc out
    marks = [torch.roll(target, 2 * number, -1) * target for number in range(readers)]
    return {**batch, "target": torch.cat(marks, 1)}


class Told(LatentNet):
    """A net that says in each pixel which latent number it was given; the prior is the tile."""

    latent = 1

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def prior(self, image: Tensor) -> DiagonalGaussian:
        mean = image.flatten(1).mean(1, keepdim=True)
        return DiagonalGaussian(mean, mean.log())

    def posterior(self, image: Tensor, annotation: Tensor) -> DiagonalGaussian:
        shown = annotation[:, 1:].flatten(1).mean(1, keepdim=True)
        return DiagonalGaussian(shown, torch.zeros_like(shown))

    def features(self, image: Tensor) -> Tensor:
        return image[:, :1]

    def decode(self, features: Tensor, latent: Tensor) -> Tensor:
        value = features * 0 + latent[:, :, None, None] + self.weight
        return torch.cat([torch.zeros_like(value), value], 1)


def told(**fields: Any) -> ProbabilisticUNetTask:
    task = task_of(**fields)
    task.nets["net"] = Told()
    return task


# --- whole images ---------------------------------------------------------------------------------


def test_all_tiles_share_the_latent_numbers_of_a_sample() -> None:
    task = told(inference=InferenceConfig(tile=[16, 16], overlap=0.25))
    image = torch.ones(1, 1, 40, 56)
    image[..., 28:] = 3.0  # tiles see priors that differ
    means = []
    with torch.no_grad():
        for logits in task.draws(image, Stage.PREDICT, 5):
            assert logits.shape == (1, 2, 40, 56)
            values = logits[0, 1]
            torch.testing.assert_close(values, values[:1, :1].expand_as(values))
            means.append(float(values[0, 0]))
        assert len({round(value, 4) for value in means}) == 5
        # the Gaussian is that of the mean parameters over the tiles
        prior = task.prior_of(image)
    assert 1.0 < prior.mean.item() < 3.0
    noise = task.noise(5)[:, 0]
    expected = prior.mean.item() + prior.log_std.exp().item() * noise
    torch.testing.assert_close(torch.tensor(means), expected, atol=1e-5, rtol=1e-5)


def test_an_image_of_one_tile_has_the_prior_of_the_net() -> None:
    task = task_of()
    image = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(task.prior_of(image).mean, task.net.prior(image).mean)


def test_samples_differ_and_are_a_function_of_the_seed() -> None:
    task, image = spread(task_of()), torch.randn(1, 1, 48, 40)
    with torch.no_grad():
        first, again = (list(task.draws(image, Stage.PREDICT, 4)) for _ in range(2))
        longer = list(task.draws(image, Stage.PREDICT, 7))
        other = list(task.draws(image, Stage.PREDICT, 4, seed=1))
    for one, two, of_more, of_other in zip(first, again, longer, other, strict=False):
        assert torch.equal(one, two)
        torch.testing.assert_close(one, of_more)  # whatever their number
        assert not torch.allclose(one, of_other)
    assert not any(torch.allclose(first[0], one) for one in first[1:])


def test_the_prediction_is_the_mean_of_the_probabilities() -> None:
    task, image = spread(task_of()), torch.randn(1, 48, 40)
    raw = task.predict_image(image)
    with torch.no_grad():
        drawn = torch.cat(list(task.draws(image[None], Stage.PREDICT, 6)))
    torch.testing.assert_close(task.probabilities(raw), drawn.softmax(1).mean(0))
    assert torch.equal(task.predict_image(image), raw)


def test_mirrored_copies_share_the_latent_numbers_too() -> None:
    task = told(inference=InferenceConfig(flips=True))
    with torch.no_grad():
        (logits,) = task.draws(torch.ones(1, 1, 32, 32), Stage.PREDICT, 1)
    assert float(logits[0, 1].std()) < 1e-6


# --- the step -------------------------------------------------------------------------------------


def test_training_draws_from_the_posterior_and_validation_from_the_prior() -> None:
    task, batch = told(beta=0.0), batch_of(1)
    shown = float(batch["target"].float().mean())
    torch.manual_seed(0)
    noise = torch.randn(1, 1).item()
    torch.manual_seed(0)
    output = task.step(batch, Stage.TRAIN)
    assert output.raw is not None
    assert output.raw[0, 1, 0, 0].item() == pytest.approx(shown + noise, rel=1e-5)
    batch["image"] = torch.full_like(batch["image"], 0.5)
    with torch.no_grad():
        drawn = [float(one[0, 1, 0, 0]) for one in task.draws(batch["image"], Stage.VAL, 6)]
    expected = 0.5 + 0.5 * task.noise(6)[:, 0]
    torch.testing.assert_close(torch.tensor(drawn), expected)


def test_the_loss_of_validation_is_the_bound_with_a_latent_of_the_posterior() -> None:
    task, batch = task_of(beta=3.0), batch_of(1)
    with torch.no_grad():
        output = task.step(batch, Stage.VAL)
        net, image, target = task.net, batch["image"], batch["target"].long()
        hot = torch.cat([1 - target, target], 1).float()
        q, p = net.posterior(image, hot), net.prior(image)
        logits = net(image, q.at(task.noise(1, use=2)))
        pixels = -logits.log_softmax(1).gather(1, target).sum()
        kl = kl_divergence(q.mean, q.log_std, p.mean, p.log_std).sum()
    assert output.loss is not None
    torch.testing.assert_close(output.loss, (pixels + 3.0 * kl) / 32**2)
    torch.testing.assert_close(output.terms["reconstruction"], pixels / 32**2)
    torch.testing.assert_close(output.terms["kl"], kl)


def test_each_step_takes_one_annotation_of_each_image() -> None:
    annotations = torch.arange(4).expand(64, 4)[..., None, None] + 10 * torch.arange(64).view(
        64, 1, 1, 1
    )
    torch.manual_seed(0)
    chosen = one_of(annotations)
    assert chosen.shape == (64, 1, 1, 1)
    assert torch.equal(chosen[:, 0, 0, 0] // 10, torch.arange(64))  # of its own image
    assert set((chosen % 10).flatten().tolist()) == {0, 1, 2, 3}
    torch.manual_seed(0)
    assert torch.equal(one_of(annotations), chosen)


def test_validation_measures_against_every_annotation() -> None:
    task, batch = spread(task_of()), batch_of(1, readers=3)
    with torch.no_grad():
        output = task.step(batch, Stage.VAL)
        prediction = task.prediction_of(output)
        row = task.measure(output, prediction, batch, Stage.VAL)
        alone = []
        for number in range(3):
            one = {**batch, "target": batch["target"][:, number : number + 1]}
            alone.append(
                (task.measure(output, prediction, one, Stage.VAL), task.step(one, Stage.VAL))
            )
    assert row["dice/disc"] == pytest.approx(sum(one["dice/disc"] for one, _ in alone) / 3)
    assert output.loss is not None
    losses = [one.loss for _, one in alone if one.loss is not None]
    torch.testing.assert_close(output.loss, torch.stack(losses).mean())
    assert row["sample_diversity/annotators"] > 0
    # of one annotation, its distance from itself and of the others from each other is left out
    within = row["sample_diversity/annotators"] * 2 / 3
    mean = sum(one["ged"] for one, _ in alone) / 3
    assert row["ged"] == pytest.approx(mean - within, abs=1e-6)


def test_test_measures_surfaces_too_and_a_step_without_a_target_only_predicts() -> None:
    task, batch = task_of(), batch_of(1)
    assert "hd95" in task.metrics(Stage.TEST).directions
    del batch["target"]
    with torch.no_grad():
        output = task.step(batch, Stage.TEST)
    assert output.loss is None
    assert isinstance(output, SampledOutput)
    assert output.samples is not None
    assert output.samples.shape == (6, 32, 32)
    assert task.measure(output, task.prediction_of(output), batch, Stage.TEST) == {}


def test_what_does_not_count_is_not_shown_to_the_posterior() -> None:
    task, batch = told(), batch_of(2)
    weight = torch.ones(2, 1, 32, 32)
    weight[..., 16:] = 0
    seen = task._shown(batch["target"], {"weight": weight})
    assert float(seen[..., 16:].abs().max()) == 0.0
    assert torch.equal(seen[..., :16].sum(1), torch.ones(2, 32, 16))
    other = {**batch, "weight": weight, "target": batch["target"].clone()}
    other["target"][..., 16:] = 1 - other["target"][..., 16:]
    losses = []
    for one in ({**batch, "weight": weight}, other):
        torch.manual_seed(0)
        losses.append(task.step(one, Stage.TRAIN).loss)
    assert losses[0] is not None
    assert torch.equal(losses[0], losses[1])  # type: ignore[arg-type]


def test_every_weight_is_taught_in_each_step_also_in_half_precision() -> None:
    task = task_of(losses={"a": LossTerm("cross_entropy"), "b": LossTerm("dice", weight=0.5)})
    with torch.autocast("cpu", torch.bfloat16):
        output = task.train().step(batch_of(2, readers=2), Stage.TRAIN)
    assert output.loss is not None
    assert output.loss.dtype is torch.float32
    assert set(output.terms) == {"reconstruction", "kl", "a", "b"}
    output.loss.backward()  # type: ignore[no-untyped-call]
    grads = [weight.grad for weight in task.parameters()]
    assert all(grad is not None and bool(torch.isfinite(grad).all()) for grad in grads)


def test_one_path_for_3d() -> None:
    facts = DataFacts(spatial_dims=3, in_channels=1, patch_size=(8, 16, 16))
    task = task_of(facts=facts)
    batch = next(iter(loader(Discs(1, (12, 24, 20)))))
    with torch.no_grad():
        output = task.step(batch, Stage.VAL)
    assert output.raw is not None
    assert output.raw.shape == (1, 2, 12, 24, 20)


# --- training -------------------------------------------------------------------------------------


def test_beta_is_a_number_that_schedules_change() -> None:
    task, batch = task_of(beta=1.0), batch_of(1)
    with torch.no_grad():
        before = task.step(batch, Stage.VAL)
        setter_of(task, "task.beta")(100.0)
        after = task.step(batch, Stage.VAL)
    assert before.loss is not None
    assert after.loss is not None
    difference = 99 * before.terms["kl"] / 32**2
    torch.testing.assert_close(after.loss - before.loss, difference, rtol=1e-4, atol=1e-6)


def test_training_is_a_function_of_the_seed_and_learns() -> None:
    def trained() -> tuple[ProbabilisticUNetTask, float]:
        task = task_of(optimizers={"net": OptimizerConfig("AdamW", {"lr": 5e-3})})
        trainer = trainer_of(max_epochs=6)
        trainer.fit(task.train(), loader(Discs(12), 4), loader(Discs(3)))
        return task, float(trainer.callback_metrics["val/loss"])

    start = task_of()
    with torch.no_grad():
        before = float(start.step(batch_of(1), Stage.VAL).loss)  # type: ignore[arg-type]
    (task, loss), (again, _) = trained(), trained()
    assert all(map(torch.equal, weights_of(task), weights_of(again)))
    assert loss < 0.9 * before
    assert {"ged", "sample_diversity", "dice", "loss/kl", "loss/reconstruction"} <= {
        name.removeprefix("val/") for name in task.trainer.callback_metrics
    }
    assert task.main_metric == "val/ged"
    assert task.better("val/ged") == "min"


def test_a_net_without_latent_numbers_is_refused() -> None:
    unet = Component("UNet", {"channels": [4, 8], "strides": [2]})
    with pytest.raises(ConfigError, match="has no latent numbers"):
        task_of(nets={"net": unet})


def test_metrics_are_chosen_by_name() -> None:
    task = task_of(metrics=[Component("ged"), Component("iou")])
    assert set(task.metrics(Stage.VAL).directions) == {"ged", "iou"}
