"""Classification of whole images: exclusive classes and several labels, weights, missing labels."""

from typing import Any

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from imtoolkit.config.sections import ClassificationConfig, Component, InferenceConfig, LossTerm
from imtoolkit.core.batch import MISSING_CLASS, Stage
from imtoolkit.core.errors import ConfigError
from imtoolkit.core.facts import DataFacts, TargetKind
from imtoolkit.tasks import target_spec
from tests.helpers.discs import loader, trainer_of
from tests.helpers.tasks import FACTS, Bars, make

CLASSES = ["lying", "standing"]
ADAM = {"net": Component("adamw", {"lr": 1e-2})}


def batch_of(count: int = 4, target: str = "class") -> dict[str, Any]:
    batch: dict[str, Any] = next(iter(loader(Bars(count, target=target), count)))
    return batch


@pytest.mark.parametrize("multilabel", [False, True])
def test_a_few_steps_tell_lying_bars_from_standing_ones(multilabel: bool) -> None:
    task = make("classification", classes=CLASSES, multilabel=multilabel, optimizers=ADAM)
    kind = "classes" if multilabel else "class"
    trainer = trainer_of(max_epochs=5)
    trainer.fit(task, loader(Bars(48, target=kind), 8), loader(Bars(8, target=kind)))
    assert trainer.callback_metrics["val/auroc"] > 0.95
    assert trainer.callback_metrics["val/accuracy"] > 0.8
    assert task.main_metric == "val/auroc"


@pytest.mark.parametrize("multilabel", [False, True])
def test_images_of_unequal_size_are_validated_one_by_one_as_they_are(multilabel: bool) -> None:
    facts = DataFacts(spatial_dims=2, in_channels=1)
    task = make("classification", facts, classes=CLASSES, multilabel=multilabel)
    bars = Bars(4, [(32, 32), (40, 33)], target="classes" if multilabel else "class")
    trainer_of().validate(task, loader(bars), verbose=False)
    task.eval()
    for row, sample in zip(task.rows[Stage.VAL], (bars[i] for i in range(4)), strict=True):
        logits = task.apply_net(sample["image"][None])[0]
        chances = logits.sigmoid() if multilabel else logits.softmax(0)
        found = [row[f"probability/{name}"] for name in CLASSES]
        assert found == pytest.approx(chances.tolist(), rel=1e-5)
        if multilabel:
            assert [row[f"target/{name}"] for name in CLASSES] == sample["target"].tolist()
            loss = binary_cross_entropy_with_logits(logits, sample["target"])
        else:
            assert row["target"] == CLASSES[int(sample["target"])]
            assert row["predicted"] == CLASSES[int(logits.argmax())]
            loss = cross_entropy(logits, sample["target"])
        assert row["loss"] == pytest.approx(float(loss), rel=1e-5)


def test_the_default_loss_is_cross_entropy_with_weights_and_smoothing() -> None:
    task = make("classification", classes=CLASSES, class_weights=[1.0, 3.0], label_smoothing=0.2)
    batch = batch_of()
    output = task.step(batch, Stage.TRAIN)
    expected = cross_entropy(
        output.raw, batch["target"], torch.tensor([1.0, 3.0]), label_smoothing=0.2
    )
    torch.testing.assert_close(output.loss, expected)


def test_several_labels_are_weighted_and_smoothed_each_by_itself() -> None:
    weights = [1.0, 3.0]
    task = make(
        *("classification",), classes=CLASSES, multilabel=True, class_weights=weights,
        label_smoothing=0.2,
    )  # fmt: skip
    batch = batch_of(target="classes")
    output = task.step(batch, Stage.TRAIN)
    smooth = torch.where(batch["target"] == 1, 0.9, 0.1)
    expected = binary_cross_entropy_with_logits(output.raw, smooth, torch.tensor(weights))
    torch.testing.assert_close(output.loss, expected)


@pytest.mark.parametrize(
    "loss", ["cross_entropy", "focal", "CrossEntropyLoss", "FocalLoss", "BCEWithLogitsLoss"]
)
def test_losses_of_every_library_learn_classes(loss: str) -> None:
    task = make("classification", classes=CLASSES, losses={"l": LossTerm(loss)})
    batch = batch_of()
    output = task.step(batch, Stage.TRAIN)
    output.loss.backward()
    assert torch.isfinite(output.loss)
    if "ross" in loss:
        torch.testing.assert_close(output.loss, cross_entropy(output.raw, batch["target"]))


def test_images_without_a_label_do_not_count() -> None:
    task = make("classification", classes=CLASSES)
    batch = batch_of()
    batch["target"] = torch.tensor([0, MISSING_CLASS, 1, MISSING_CLASS])
    output = task.step(batch, Stage.TRAIN)
    expected = cross_entropy(output.raw[[0, 2]], torch.tensor([0, 1]))
    torch.testing.assert_close(output.loss, expected)
    batch["target"][:] = MISSING_CLASS
    nothing = task.step(batch, Stage.TRAIN).loss
    nothing.backward()
    assert float(nothing) == 0
    assert all(w.grad is not None and not w.grad.any() for w in task.parameters())


def test_validation_without_a_label_predicts_and_measures_nothing() -> None:
    class Unknown(Bars):
        def __getitem__(self, index: int) -> dict[str, Any]:
            sample = super().__getitem__(index)
            return sample if index else {**sample, "target": torch.tensor(MISSING_CLASS)}

    task = make("classification", classes=CLASSES)
    trainer_of().validate(task, loader(Unknown(3)), verbose=False)
    unknown, known = task.rows[Stage.VAL][:2]
    assert "loss" not in unknown
    assert unknown["target"] is None
    assert unknown["predicted"] in CLASSES
    assert "loss" in known


def test_results_and_probabilities_of_known_logits() -> None:
    single = make("classification", classes=CLASSES)
    logits = torch.tensor([[2.0, 1.0], [-1.0, 0.0]])
    assert single.postprocess(logits).tolist() == [0, 1]
    assert single.postprocess(logits[0]).tolist() == 0
    torch.testing.assert_close(single.probabilities(logits).sum(1), torch.ones(2))
    several = make("classification", classes=CLASSES, multilabel=True)
    assert several.postprocess(logits).tolist() == [[1, 1], [0, 0]]
    assert float(several.probabilities(logits)[1, 1]) == 0.5


def test_mirrored_copies_are_averaged_in_test_and_prediction_only() -> None:
    task = make("classification", inference=InferenceConfig(flips=True), classes=CLASSES)
    task.eval()
    image = batch_of(1)["image"]
    with torch.no_grad():
        plain = task.apply_net(image)
        copies = [task.apply_net(image.flip(axes)) for axes in ([], [2], [3], [2, 3])]
        torch.testing.assert_close(task.whole(image, Stage.VAL), plain)
        torch.testing.assert_close(task.whole(image, Stage.TEST), sum(copies) / 4)
        torch.testing.assert_close(task.predict_image(image[0]), sum(copies)[0] / 4)


@pytest.mark.parametrize("dims", [2, 3])
def test_classifiers_of_monai_learn_images_of_both_dimensions(dims: int) -> None:
    facts = DataFacts(spatial_dims=dims, in_channels=1, patch_size=(32,) * dims)
    nets = [
        Component("SEResNet50", {"layers": [1, 1, 1, 1]}),
        Component("ViT", {"patch_size": 16, "hidden_size": 12, "mlp_dim": 8, "num_layers": 1,
                          "num_heads": 2, "classification": True}),
    ]  # fmt: skip
    for net in nets:
        task = make("classification", facts, classes=["a", "b", "c"], nets={"net": net})
        batch = {"image": torch.rand(2, 1, *(32,) * dims), "target": torch.tensor([0, 2])}
        loss = task.training_step(batch, 0)
        loss.backward()
        assert task.predict_image(batch["image"][0]).shape == (3,)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": ["a"]}, "expected at least two; a finding that is there or not has two"),
        ({"classes": [], "multilabel": True}, "expected at least one"),
        ({"classes": ["a", "a"]}, "names must differ"),
        ({"class_weights": [1.0]}, "got 1 weights for 2 classes"),
        (
            {"nets": {"net": Component("UNet", {"channels": [4, 8], "strides": [2]})}},
            r"'UNet' returns \[2, 2, 32, 32\] .* images \[2, 1, 32, 32\]; a classification of 2 "
            r"classes needs \[2, 2\]",
        ),
        ({"losses": {"l": LossTerm("MultiMarginLoss", {"weight": [1.0, 1.0]})},
          "class_weights": [1.0, 2.0]}, "none of the losses 'l' takes class weights"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_at_once(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make("classification", **{"classes": CLASSES, **fields})


def test_a_class_without_a_training_sample_is_refused() -> None:
    facts = DataFacts(2, 1, patch_size=(32, 32), class_samples={"target": (7, 0)})
    with pytest.raises(ConfigError, match=r"no training image is labelled 'standing' .*7 lying"):
        make("classification", facts, classes=CLASSES)
    seen = DataFacts(2, 1, patch_size=(32, 32), class_samples={"target": (7, 1)})
    assert make("classification", seen, classes=CLASSES).goals["output"].out_channels == 2


def test_tabular_columns_and_nets_must_agree() -> None:
    with_columns = DataFacts(2, 1, patch_size=(32, 32), tabular=("age", "sex=f"))
    with pytest.raises(ConfigError, match=r"data\.tabular: net 'DenseNet' .*'age', 'sex=f'"):
        make("classification", with_columns, classes=CLASSES)


def test_the_target_is_described_without_a_task() -> None:
    config = ClassificationConfig("classification", classes=CLASSES)
    assert target_spec(config).kind is TargetKind.CLASS
    several = ClassificationConfig("classification", classes=CLASSES, multilabel=True)
    assert (target_spec(several).kind, target_spec(several).classes) == (
        TargetKind.CLASSES,
        tuple(CLASSES),
    )


def test_classes_of_a_net_are_those_of_the_task() -> None:
    task = make("classification", FACTS, classes=["a", "b", "c"])
    assert task.predict_image(torch.rand(1, 32, 32)).shape == (3,)
    assert not task.goals["output"].dense
