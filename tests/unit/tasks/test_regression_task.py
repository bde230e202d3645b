"""Regression of whole images, learnt on the scale of the training spread."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import smooth_l1_loss

from imtoolkit.config.sections import Component, LossTerm, RegressionConfig
from imtoolkit.core.batch import Stage
from imtoolkit.core.errors import ConfigError
from imtoolkit.core.facts import DataFacts, TargetKind
from imtoolkit.tasks import target_spec
from tests.helpers.discs import loader, trainer_of
from tests.helpers.tasks import Bars, alone, make

FACTS = DataFacts(
    2, 1, patch_size=(32, 32), number_mean={"target": (30.0,)}, number_std={"target": (4.0,)}
)
TWO = DataFacts(
    2,
    1,
    patch_size=(32, 32),
    number_mean={"target": (30.0, -1.0)},
    number_std={"target": (4.0, 0.5)},
)


def batch_of(target: list[list[float]]) -> dict[str, Any]:
    image = torch.rand(len(target), 1, 32, 32, generator=torch.Generator().manual_seed(0))
    return {"image": image, "target": torch.tensor(target)}


def test_the_loss_is_on_the_scale_of_the_training_spread() -> None:
    task = make("regression", FACTS)
    batch = batch_of([[34.0], [22.0]])
    output = task.step(batch, Stage.TRAIN)
    expected = smooth_l1_loss(output.raw, torch.tensor([[1.0], [-2.0]]))
    torch.testing.assert_close(output.loss, expected)
    raw = torch.tensor([[0.0], [1.0], [-2.0]])
    assert task.postprocess(raw).tolist() == [[30.0], [34.0], [22.0]]
    assert task.postprocess(raw[1]).tolist() == [34.0]


def test_without_standardizing_the_net_predicts_the_numbers_themselves() -> None:
    task = make("regression", FACTS, standardize=False)
    batch = batch_of([[34.0], [22.0]])
    output = task.step(batch, Stage.TRAIN)
    torch.testing.assert_close(output.loss, smooth_l1_loss(output.raw, batch["target"]))
    assert task.postprocess(torch.tensor([[2.5]])).tolist() == [[2.5]]


def test_unknown_numbers_do_not_count() -> None:
    task = make("regression", TWO, columns=["age", "score"])
    batch = batch_of([[34.0, torch.nan], [torch.nan, torch.nan], [30.0, -0.5]])
    output = task.step(batch, Stage.TRAIN)
    found = torch.stack([output.raw[0, 0], output.raw[2, 0], output.raw[2, 1]])
    expected = smooth_l1_loss(found, torch.tensor([1.0, 0.0, 1.0]))
    torch.testing.assert_close(output.loss, expected)
    nothing = task.step(batch_of([[torch.nan, torch.nan]] * 2), Stage.TRAIN).loss
    nothing.backward()
    assert float(nothing) == 0
    assert all(w.grad is not None and not w.grad.any() for w in task.parameters())


def test_a_few_steps_learn_the_width_of_bars() -> None:
    facts = DataFacts(
        2, 1, patch_size=(32, 32), number_mean={"target": (3.0,)}, number_std={"target": (0.8,)}
    )
    task = make("regression", facts, optimizers={"net": Component("adamw", {"lr": 1e-2})})
    bars = Bars(48, target="number", noise=0.05)
    trainer = trainer_of(max_epochs=12)
    trainer.fit(task, loader(bars, 8), loader(Bars(12, target="number", noise=0.05), 4))
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert logged["val/mae"] < 0.4
    assert task.main_metric == "val/mae"
    rows = task.rows[Stage.VAL]
    found = np.array([row["predicted"] for row in rows])
    truth = np.array([row["target"] for row in rows])
    assert set(truth) == {2.0, 3.0, 4.0}
    assert logged["val/mae"] == pytest.approx(np.abs(found - truth).mean(), rel=1e-5)
    assert logged["val/rmse"] == pytest.approx(np.sqrt(((found - truth) ** 2).mean()), rel=1e-5)
    assert logged["val/pearson"] == pytest.approx(np.corrcoef(found, truth)[0, 1], rel=1e-5)
    total = ((truth - truth.mean()) ** 2).sum()
    assert logged["val/r2"] == pytest.approx(1 - ((found - truth) ** 2).sum() / total, rel=1e-4)


def test_several_numbers_have_columns_of_their_own() -> None:
    task = make("regression", TWO, columns=["age", "score"])
    batch = {**batch_of([[34.0, -0.5]]), "id": ["a"], "dataset": ["main"]}
    trainer_of().validate(task, alone(batch), verbose=False)
    row = task.rows[Stage.VAL][0]
    assert (row["target/age"], row["target/score"]) == (34.0, -0.5)
    assert task.predict_image(batch["image"][0]).shape == (2,)


@pytest.mark.parametrize("loss", ["MSELoss", "L1Loss", "HuberLoss"])
def test_losses_of_torch_learn_numbers(loss: str) -> None:
    task = make("regression", FACTS, losses={"l": LossTerm(loss)})
    output = task.step(batch_of([[34.0], [22.0]]), Stage.TRAIN)
    expected = getattr(torch.nn, loss)()(output.raw, torch.tensor([[1.0], [-2.0]]))
    torch.testing.assert_close(output.loss, expected)


@pytest.mark.parametrize(
    ("mean", "std", "columns", "message"),
    [
        ((30.0,), (0.0,), [], r"task\.columns: 'the target' is the same in all training samples"),
        ((1.0, 2.0), (1.0, 0.0), ["age", "score"], "'score' is the same"),
        ((30.0,), (1.0,), ["age", "score"], r"got 2 columns, and the training data hold 1 number"),
        (None, None, [], r"task\.standardize: the training data tell no mean"),
    ],
)
def test_what_cannot_be_learnt_is_told_at_once(
    mean: Any, std: Any, columns: list[str], message: str
) -> None:
    told = {} if mean is None else {"number_mean": {"target": mean}, "number_std": {"target": std}}
    facts = DataFacts(2, 1, patch_size=(32, 32), **told)
    with pytest.raises(ConfigError, match=message):
        make("regression", facts, columns=columns)


def test_the_target_is_described_without_a_task() -> None:
    spec = target_spec(RegressionConfig("regression", columns=["age", "score"]))
    assert (spec.kind, spec.columns) == (TargetKind.NUMBER, ("age", "score"))
