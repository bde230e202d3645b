"""Several heads on one net: named losses, missing labels, whole images, metrics by head."""

import logging
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy, smooth_l1_loss
from torch.utils.data import Dataset

from imtoolkit.config.sections import (
    Component,
    HeadConfig,
    InferenceConfig,
    LossTerm,
    MultitaskConfig,
)
from imtoolkit.core.batch import MISSING_CLASS, Stage
from imtoolkit.core.errors import ConfigError
from imtoolkit.core.facts import ColumnTarget, DataFacts, TargetKind
from imtoolkit.losses.dice import DiceCELoss
from imtoolkit.tasks import target_spec
from tests.helpers.discs import Discs, loader, trainer_of
from tests.helpers.tasks import alone, make

FACTS = DataFacts(
    2,
    1,
    patch_size=(32, 32),
    number_mean={"size": (10.0,)},
    number_std={"size": (2.0,)},
)
HEADS = {
    "mask": HeadConfig("segmentation", classes=["background", "disc"]),
    "kind": HeadConfig("classification", classes=["small", "large"]),
    "size": HeadConfig("regression"),
}
NET = Component(
    "multi_head",
    {
        "backbone": {
            "name": "unet_features",
            "params": {"features": [4, 4, 4, 4, 8, 4], "norm": "batch"},
        },
        "heads": {"mask": "dense", "kind": "global_pool", "size": "global_pool"},
    },
)


def task_of(facts: DataFacts = FACTS, **fields: Any) -> Any:
    return make("multitask", facts, **{"nets": {"net": NET}, "heads": HEADS, **fields})


def batch_of(count: int = 4, size: tuple[int, int] = (32, 32)) -> dict[str, Any]:
    return next(iter(loader(Labelled(count, size), count)))  # type: ignore[no-any-return]


class Labelled(Dataset[dict[str, Any]]):
    """Discs with their mask, whether they are large, and their area."""

    def __init__(self, count: int, size: tuple[int, int] = (32, 32)) -> None:
        self.discs = Discs(count, size)

    def __len__(self) -> int:
        return len(self.discs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.discs[index]
        area = float(sample["target"].sum())
        return {**sample, "kind": torch.tensor(int(area > 90)), "size": torch.tensor([area / 10])}


def expected_of(raw: dict[str, torch.Tensor], batch: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {
        "mask": DiceCELoss()(raw["mask"], batch["target"]),
        "kind": cross_entropy(raw["kind"], batch["kind"]),
        "size": smooth_l1_loss(raw["size"], (batch["size"] - 10) / 2),
    }


def test_heads_without_a_term_get_the_usual_one_of_their_kind() -> None:
    task, batch = task_of(), batch_of()
    output = task.step(batch, Stage.TRAIN)
    expected = expected_of(output.raw, batch)
    assert set(output.terms) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(output.terms[name], value)
    torch.testing.assert_close(output.loss, sum(expected.values()))


def test_named_losses_read_the_heads_and_targets_that_they_name() -> None:
    losses = {
        "overlap": LossTerm("dice", weight=0.5, prediction="mask"),
        "edge": LossTerm("cross_entropy", weight=2.0, prediction="mask", target="target"),
        "error": LossTerm("MSELoss", weight=0.1, prediction="size"),
    }
    task, batch = task_of(losses=losses), batch_of()
    output = task.step(batch, Stage.TRAIN)
    assert set(output.terms) == {"overlap", "edge", "error", "kind"}
    terms = output.terms
    mse = ((output.raw["size"] - (batch["size"] - 10) / 2) ** 2).mean()
    torch.testing.assert_close(terms["error"], mse)
    total = 0.5 * terms["overlap"] + 2 * terms["edge"] + 0.1 * terms["error"] + terms["kind"]
    torch.testing.assert_close(output.loss, total)


def test_an_image_without_a_label_does_not_count_for_that_head() -> None:
    task, batch = task_of(), batch_of()
    batch["kind"] = torch.tensor([1, MISSING_CLASS, MISSING_CLASS, 0])
    batch["size"][2] = torch.nan
    batch["weight"] = torch.ones(4, 1, 32, 32)
    batch["weight"][0] = 0  # no mask
    output = task.step(batch, Stage.TRAIN)
    raw, third = output.raw, [0, 1, 3]
    torch.testing.assert_close(
        output.terms["kind"], cross_entropy(raw["kind"][[0, 3]], torch.tensor([1, 0]))
    )
    scaled = (batch["size"][third] - 10) / 2
    torch.testing.assert_close(output.terms["size"], smooth_l1_loss(raw["size"][third], scaled))
    mask = DiceCELoss()(raw["mask"][1:], batch["target"][1:])
    torch.testing.assert_close(output.terms["mask"], mask)
    assert output.counts == {"mask": 3, "kind": 2, "size": 3}


@pytest.mark.parametrize("masks", ["none", "ignored"])
def test_a_batch_without_any_label_is_zero_with_a_gradient_for_every_weight(masks: str) -> None:
    task, batch = task_of(), batch_of()
    batch["kind"][:] = MISSING_CLASS
    batch["size"][:] = torch.nan
    if masks == "none":
        del batch["target"]
    else:
        batch["weight"] = torch.zeros(4, 1, 32, 32)
    output = task.step(batch, Stage.TRAIN)
    output.loss.backward()
    assert float(output.loss.detach()) == 0
    assert all(w.grad is not None and not w.grad.any() for w in task.parameters())


def test_means_of_an_epoch_count_the_labelled_images_of_each_head() -> None:
    task = task_of(optimizers={"net": Component("SGD", {"lr": 0.0})})
    first, second = batch_of(4), batch_of(4)
    first["kind"][1:] = MISSING_CLASS
    second["kind"][:] = MISSING_CLASS
    trainer = trainer_of(max_epochs=1)
    batches = torch.utils.data.DataLoader([first, second], batch_size=None)  # type: ignore[arg-type]
    trainer.fit(task, batches)
    task.train()
    expected = task.step(first, Stage.TRAIN).terms["kind"]
    torch.testing.assert_close(trainer.callback_metrics["train/loss/kind"], expected)


def test_validation_counts_each_head_where_it_has_labels() -> None:
    task, batch = task_of(), batch_of(3)
    batch["kind"] = torch.tensor([1, MISSING_CLASS, 0])
    trainer_of().validate(task, alone(batch), verbose=False)
    rows = task.rows[Stage.VAL]
    assert [("loss/kind" in row) for row in rows] == [True, False, True]
    assert rows[0]["kind/target"] == "large"
    assert rows[1]["kind/target"] is None
    assert all({"mask/dice", "mask/dice/disc", "size/predicted"} <= set(row) for row in rows)
    logged = trainer_of().validate(task, alone(batch), verbose=False)[0]
    shown = {"val/mask/dice", "val/kind/auroc", "val/size/mae", "val/loss/kind", "val/loss"}
    assert shown <= set(logged)
    mean = (rows[0]["loss/kind"] + rows[2]["loss/kind"]) / 2
    assert logged["val/loss/kind"] == pytest.approx(mean)
    assert not {"val/kind/predicted", "val/size/target"} & set(logged)


def test_unlabelled_images_are_predicted_and_measure_nothing() -> None:
    task = task_of()
    batch = {**batch_of(1), "kind": torch.tensor([MISSING_CLASS])}
    batch["size"][:] = torch.nan
    del batch["target"]
    output = task.step(batch, Stage.VAL)
    assert output.loss is None
    row = task.measure(output, task.prediction_of(output), batch, Stage.VAL)
    assert row["kind/predicted"] in ("small", "large")
    assert not [name for name in row if name.startswith("mask/")]


def test_a_few_steps_learn_all_heads_together() -> None:
    task = task_of(optimizers={"net": Component("adamw", {"lr": 1e-2})})
    trainer = trainer_of(max_epochs=10)
    trainer.fit(task, loader(Labelled(48), 8), loader(Labelled(12)))
    logged = trainer.callback_metrics
    assert logged["val/mask/dice"] > 0.85
    assert logged["val/size/pearson"] > 0.9
    assert logged["val/kind/auroc"] > 0.9
    assert task.main_metric == "val/mask/dice"
    assert task.better("val/size/mae") == "min"
    assert task.better("val/kind/auroc") == "max"


def test_a_whole_image_gives_a_dict_of_what_each_head_predicts() -> None:
    task = task_of(DataFacts(2, 1, number_mean=FACTS.number_mean, number_std=FACTS.number_std))
    raw = task.predict_image(torch.rand(1, 40, 51))
    shapes = {name: tuple(value.shape) for name, value in raw.items()}
    assert shapes == {"mask": (2, 40, 51), "kind": (2,), "size": (1,)}
    result = task.postprocess(raw)
    assert result["mask"].shape == (40, 51)
    assert result["size"].tolist() == pytest.approx((raw["size"] * 2 + 10).tolist())
    assert set(task.probabilities(raw)) == {"mask", "kind"}


def test_image_level_outputs_are_averaged_over_tiles() -> None:
    task = task_of(inference=InferenceConfig(tile=[32, 32], overlap=0.0))
    image = torch.rand(1, 32, 64)
    raw = task.predict_image(image)
    left, right = (task.predict_image(image[..., part]) for part in (slice(32), slice(32, 64)))
    torch.testing.assert_close(raw["kind"], (left["kind"] + right["kind"]) / 2)
    torch.testing.assert_close(raw["mask"], torch.cat([left["mask"], right["mask"]], -1))


def test_heads_of_whole_images_alone_take_the_image_at_once() -> None:
    heads = {name: HEADS[name] for name in ("kind", "size")}
    net = Component(
        "multi_head",
        {"backbone": "resnet", "heads": {"kind": "global_pool", "size": "global_pool"}},
    )
    task = task_of(heads=heads, nets={"net": net})
    raw = task.predict_image(torch.rand(1, 50, 41))
    assert {name: tuple(value.shape) for name, value in raw.items()} == {"kind": (2,), "size": (1,)}


def test_labels_and_images_may_stand_in_channels_of_one_target() -> None:
    heads = {
        "mask": HeadConfig("segmentation", classes=["background", "disc"], channels=[0]),
        "clean": HeadConfig("enhancement", channels=[1]),
    }
    backbone = {"name": "unet_features", "params": {"features": [4, 4, 4, 4, 8, 4]}}
    net = Component("multi_head", {"backbone": backbone, "heads": dict.fromkeys(heads, "dense")})
    losses = {"clean": LossTerm("L1Loss", prediction="clean")}
    facts = DataFacts(2, 1, 2, patch_size=(32, 32))
    task = task_of(facts, heads=heads, nets={"net": net}, losses=losses)
    clean = torch.rand(2, 1, 32, 32)
    labels = (clean > 0.5).float()
    output = task.step({"image": clean, "target": torch.cat([labels, clean], 1)}, Stage.TRAIN)
    torch.testing.assert_close(output.terms["clean"], (output.raw["clean"] - clean).abs().mean())
    expected = DiceCELoss()(output.raw["mask"], labels.long())
    torch.testing.assert_close(output.terms["mask"], expected)


def test_missing_labels_are_told_when_training_begins(caplog: pytest.LogCaptureFixture) -> None:
    facts = DataFacts(
        *(2, 1), patch_size=(32, 32), samples={"train": 9}, missing={"kind": 4},
        number_mean=FACTS.number_mean, number_std=FACTS.number_std,
    )  # fmt: skip
    with caplog.at_level(logging.WARNING):
        trainer_of(max_epochs=1).fit(task_of(facts), loader(Labelled(2), 2))
    assert "4 of 9 training images have no label for 'kind'" in caplog.text


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"heads": {}}, r"task\.heads: got no head"),
        ({"heads": {"a": HeadConfig("detection")}}, r"task\.heads\.a\.kind: got 'detection'"),
        (
            {"heads": {**HEADS, "kind": HeadConfig("classification", classes=["one"])}},
            r"task\.heads\.kind\.classes: .*at least two",
        ),
        ({"losses": {"l": LossTerm("dice")}}, r"task\.losses\.l: set 'prediction' to the head"),
        (
            {"nets": {"net": Component("UNet", {"channels": [4, 8], "strides": [2]})}},
            "one output",
        ),
    ],
)
def test_what_does_not_fit_is_told_at_once(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        task_of(**fields)


def test_a_head_of_another_shape_is_refused_with_both_shapes() -> None:
    heads = {"mask": "dense", "kind": "dense", "size": "global_pool"}
    net = Component("multi_head", {**NET.params, "heads": heads})
    with pytest.raises(ConfigError, match=r"\[2, 2, 32, 32\] as 'kind'.*needs \[2, 2\]"):
        task_of(nets={"net": net})


def test_the_targets_of_all_heads_are_described_without_a_task() -> None:
    spec = target_spec(MultitaskConfig("multitask", heads=HEADS))
    assert (spec.kind, spec.classes, spec.optional) == (
        TargetKind.LABELS,
        ("background", "disc"),
        True,
    )
    assert spec.more == (
        ColumnTarget("kind", TargetKind.CLASS, ("kind",), ("small", "large")),
        ColumnTarget("size", TargetKind.NUMBER, ("size",)),
    )
    several = HeadConfig("classification", classes=["a"], multilabel=True, columns=["found"])
    spec = target_spec(MultitaskConfig("multitask", heads={"x": several}))
    assert spec.kind is TargetKind.NONE
    assert spec.more == (ColumnTarget("x", TargetKind.CLASSES, ("found",), ("a",)),)
