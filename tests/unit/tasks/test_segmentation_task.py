"""The segmentation task learns, measures each image once, and uses any net of MONAI."""

from typing import Any

import pytest
import torch

from imtoolkit.config.sections import Component, InferenceConfig, LossTerm, SchedulerConfig
from imtoolkit.core.batch import Stage
from imtoolkit.core.errors import ComponentError, ConfigError
from imtoolkit.core.facts import DataFacts, TargetKind
from imtoolkit.losses.dice import DiceCELoss
from imtoolkit.tasks import build_task, target_spec
from tests.helpers.discs import FACTS, UNET, Discs, batch_of, config_of, loader, task_of, trainer_of

DYNUNET = {
    "kernel_size": [3, 3, 3, 3],
    "strides": [1, 2, 2, 2],
    "upsample_kernel_size": [2, 2, 2],
    "filters": [4, 4, 8, 8],
}
TINY_VIT = {"hidden_size": 12, "mlp_dim": 8, "num_heads": 2, "feature_size": 4}
NETS: list[tuple[str, dict[str, Any], int, int]] = [
    ("UNet", {"channels": [4, 8, 8], "strides": [2, 2]}, 2, 32),
    ("UNet", {"channels": [4, 8, 8], "strides": [2, 2]}, 3, 16),
    ("BasicUNet", {"features": [4, 4, 4, 4, 4, 4]}, 2, 32),
    ("BasicUNet", {"features": [2, 2, 2, 2, 2, 2]}, 3, 32),
    ("BasicUNetPlusPlus", {"features": [4, 4, 4, 4, 4, 4]}, 2, 32),
    ("DynUNet", DYNUNET, 2, 32),
    ("DynUNet", DYNUNET, 3, 16),
    ("SegResNet", {"init_filters": 8}, 2, 32),
    ("SegResNet", {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]}, 3, 16),
    ("SegResNetDS", {"init_filters": 4, "blocks_down": [1, 1, 1]}, 2, 32),
    ("SegResNetVAE", {}, 2, 32),
    ("AttentionUnet", {"channels": [4, 8], "strides": [2]}, 2, 32),
    ("AttentionUnet", {"channels": [4, 8], "strides": [2]}, 3, 16),
    ("SwinUNETR", {"feature_size": 12, "depths": [1] * 4, "num_heads": [1] * 4}, 2, 64),
    ("SwinUNETR", {"feature_size": 12, "depths": [1] * 4, "num_heads": [1] * 4}, 3, 32),
    ("UNETR", TINY_VIT, 2, 32),
    ("UNETR", TINY_VIT, 3, 32),
    ("VNet", {}, 3, 32),
    ("FlexibleUNet", {"backbone": "efficientnet-b0"}, 2, 64),
    ("HighResNet", {}, 2, 32),
    ("MedNeXt", {"init_filters": 4, "kernel_size": 3}, 2, 32),
]


@pytest.mark.parametrize(("name", "params", "dims", "side"), NETS)
def test_a_training_step_reaches_every_net(
    name: str, params: dict[str, Any], dims: int, side: int
) -> None:
    size = (side,) * dims
    if name == "SwinUNETR" and dims == 3:
        size = (32, 32, 64)  # instance norm needs two pixels at the lowest resolution
    facts = DataFacts(spatial_dims=dims, in_channels=1, patch_size=size)
    task = task_of(facts, nets={"net": Component(name, params)})
    task.train()
    loss = task.training_step(batch_of(2, size), 0)
    assert loss is not None
    loss.backward()
    assert torch.isfinite(loss)
    assert any(weight.grad is not None and weight.grad.any() for weight in task.parameters())
    raw = task.predict_image(torch.rand(1, *(side - 3 + axis for axis in range(dims))))
    assert raw.shape == (2, *(side - 3 + axis for axis in range(dims)))


def test_a_few_steps_learn_the_discs() -> None:
    task = task_of(
        optimizers={"net": Component("adamw", {"lr": 1e-2})},
        schedulers={"net": SchedulerConfig("one_cycle")},
    )
    trainer = trainer_of(max_epochs=10)
    trainer.fit(task, loader(Discs(48), 8), loader(Discs(5, (40, 52))))
    assert trainer.callback_metrics["val/dice"] > 0.9
    assert trainer.callback_metrics["val/dice/nucleus"] == trainer.callback_metrics["val/dice"]
    row = task.rows[Stage.VAL][0]
    assert set(row) == {"id", "dataset", "loss", "dice", "dice/nucleus", "iou", "iou/nucleus"}
    test = trainer.test(task, loader(Discs(3, (40, 52))), verbose=False)[0]
    assert {"test/dice", "test/hd95/nucleus", "test/surface_dice", "test/loss"} <= set(test)


def test_rows_are_those_of_the_images_one_by_one() -> None:
    task = task_of()
    trainer_of().validate(task, loader(Discs(3, (40, 52))), verbose=False)
    task.eval()
    for index, row in enumerate(task.rows[Stage.VAL]):
        sample = Discs(3, (40, 52))[index]
        raw = task.predict_image(sample["image"])
        assert row["id"] == sample["id"]
        loss = DiceCELoss()(raw[None], sample["target"][None])
        assert row["loss"] == pytest.approx(float(loss), rel=1e-5)
        labels, target = task.postprocess(raw).bool(), sample["target"][0].bool()
        both = 2 * (labels & target).sum() / (labels.sum() + target.sum())
        assert row["dice/nucleus"] == pytest.approx(float(both))


def test_several_images_in_a_batch_are_measured_one_by_one() -> None:
    alone, together = task_of(), task_of()
    trainer_of().validate(alone, loader(Discs(4)), verbose=False)
    trainer_of().validate(together, loader(Discs(4), 4), verbose=False)
    assert alone.rows == together.rows


def test_several_data_sets_are_logged_apart_and_pooled() -> None:
    sets = torch.utils.data.ConcatDataset([Discs(3, dataset="a"), Discs(1, dataset="b")])
    task = task_of()
    logged = trainer_of().validate(task, loader(sets), verbose=False)[0]
    pooled = (3 * logged["val/a/loss"] + logged["val/b/loss"]) / 4
    assert logged["val/loss"] == pytest.approx(pooled)
    assert "val/a/dice/nucleus" in logged


def test_an_image_without_the_class_does_not_count_in_the_mean() -> None:
    class OneEmpty(Discs):
        def __getitem__(self, index: int) -> dict[str, Any]:
            sample = super().__getitem__(index)
            return sample if index else {**sample, "target": torch.zeros_like(sample["target"])}

    task = task_of()
    with torch.no_grad():  # predicts background everywhere
        for name, weight in task.named_parameters():
            weight.zero_()
            if name.endswith("bias") and weight.shape == (2,):
                weight.copy_(torch.tensor([1.0, 0.0]))
    logged = trainer_of().validate(task, loader(OneEmpty(3)), verbose=False)[0]
    dices = [row["dice"] for row in task.rows[Stage.VAL]]
    assert str(dices[0]) == "nan"
    assert dices[1:] == [0.0, 0.0]
    assert logged["val/dice"] == 0.0


def test_deep_supervision_trains_the_lower_outputs() -> None:
    nets = {"net": Component("DynUNet", DYNUNET)}
    task = task_of(nets=nets, deep_supervision=True)
    task.train()
    batch = batch_of()
    loss = task.training_step(batch, 0)
    assert loss is not None
    loss.backward()
    heads = [w for n, w in task.named_parameters() if "deep_supervision_heads" in n]
    assert len(heads) == 4
    assert all(weight.grad is not None and weight.grad.any() for weight in heads)
    outputs = task.nets["net"](batch["image"]).unbind(1)
    each = [DiceCELoss()(output, batch["target"]) for output in outputs]
    torch.testing.assert_close(loss, (4 * each[0] + 2 * each[1] + each[2]) / 7)


def test_ignored_pixels_do_not_train() -> None:
    task = task_of()
    weight = torch.zeros(2, 1, 32, 32)
    loss = task.step(batch_of(weight=weight), Stage.TRAIN).loss
    assert loss is not None
    loss.backward()
    assert not any(w.grad.any() for w in task.parameters() if w.grad is not None)


def test_class_weights_reach_the_loss() -> None:
    batch = batch_of()
    plain, weighted = task_of(), task_of(class_weights=[0.1, 5.0])
    raw = plain.apply_net(batch["image"])
    loss, _ = weighted.losses([raw], batch)
    expected = DiceCELoss(class_weights=[0.1, 5.0])(raw, batch["target"])
    torch.testing.assert_close(loss, expected)


def test_terms_are_logged_by_their_names() -> None:
    losses = {"dice": LossTerm("dice"), "ce": LossTerm("cross_entropy", weight=0.5)}
    task = task_of(losses=losses)
    trainer = trainer_of(max_epochs=1)
    trainer.fit(task, loader(Discs(4), 2), loader(Discs(1)))
    logged = trainer.callback_metrics
    for stage in ("train", "val"):
        total = logged[f"{stage}/loss/dice"] + 0.5 * logged[f"{stage}/loss/ce"]
        torch.testing.assert_close(logged[f"{stage}/loss"], total)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": ["nucleus"]}, "expected at least two, background first"),
        ({"classes": ["a", "a"]}, "names must differ"),
        ({"class_weights": [1.0]}, "got 1 weights for 2 classes"),
        ({"nets": {"generator": UNET, "net": UNET}}, "needs 'net'"),
        ({"freeze": ["nets.net.modl.*"]}, "no weight is called"),
        (
            {"losses": {"t": LossTerm("TverskyLoss")}, "class_weights": [1.0, 2.0]},
            "none of the losses 't' takes class weights",
        ),
        ({"losses": {"loss": LossTerm("dice"), "b": LossTerm("dice")}}, "another name"),
        ({"nets": {"net": Component("UNet", {**UNET.params, "in_channels": 3})}}, "have 1 channel"),
        ({"nets": {"net": Component("DenseUNet", {})}}, "unknown net"),
    ],
)
def test_what_does_not_fit_is_told_at_once(fields: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, ComponentError), match=message):
        task_of(**fields)


def test_a_patch_that_the_net_cannot_take_is_refused_before_training() -> None:
    facts = DataFacts(spatial_dims=2, in_channels=1, patch_size=(30, 30))
    with pytest.raises(ConfigError, match=r"data\.patch\.size.*Sizes that fit: .*\[32, 32\]"):
        task_of(facts)
    rounding = {"net": Component("UNet", {"channels": [4, 8], "strides": [2]})}  # 15 becomes 16
    odd = DataFacts(spatial_dims=2, in_channels=1, patch_size=(15, 15))
    with pytest.raises(ConfigError, match=r"data\.patch\.size.*Sizes that fit: .*\[16, 16\]"):
        task_of(odd, nets=rounding)
    with pytest.raises(ConfigError, match=r"inference\.tile.*\[32, 32\]"):
        task_of(inference=InferenceConfig(tile=[30, 30]))
    with pytest.raises(ConfigError, match="expected 2 numbers, since the images are 2D"):
        task_of(inference=InferenceConfig(tile=[8, 32, 32]))


def test_whole_images_of_any_size_are_padded_to_what_the_net_takes() -> None:
    task = task_of(DataFacts(spatial_dims=2, in_channels=1))
    assert task.tiling.tile_for((30, 41)) == (32, 44)
    assert task.predict_image(torch.rand(1, 30, 41)).shape == (2, 30, 41)


def test_mirrored_copies_count_in_test_and_prediction_only() -> None:
    task = task_of(inference=InferenceConfig(flips=True))
    task.eval()
    image = batch_of(1)["image"]
    with torch.no_grad():
        plain = task.tiled(image, Stage.VAL)
        averaged = task.tiled(image, Stage.TEST)
        mirrored = task.tiled(image.flip(-1), Stage.PREDICT).flip(-1)
    torch.testing.assert_close(averaged, mirrored)
    assert not torch.allclose(plain, averaged)


def test_metrics_of_others_are_measured_as_well() -> None:
    metrics = [Component("dice"), Component("torchmetrics.classification.BinaryAccuracy")]
    task = task_of(metrics=metrics)
    trainer_of().validate(task, loader(Discs(2)), verbose=False)
    assert set(task.rows[Stage.VAL][0]) == {
        *("id", "dataset", "loss", "dice", "dice/nucleus", "binary_accuracy")
    }


def test_what_is_better_is_known_by_the_logged_name() -> None:
    task = task_of()
    directions = {name: task.better(name) for name in ("val/dice", "val/a/iou/nucleus", "val/loss")}
    assert directions == {"val/dice": "max", "val/a/iou/nucleus": "max", "val/loss": "min"}
    assert task.better("test/hd95") == "min"
    with pytest.raises(ConfigError, match="'val/diec' is no metric"):
        task.better("val/diec")


def test_the_target_is_described_without_a_task() -> None:
    spec = target_spec(config_of(classes=["background", "a", "b"]))
    assert (spec.kind, spec.classes) == (TargetKind.LABELS, ("background", "a", "b"))


def test_an_unknown_category_names_the_nearest() -> None:
    config = config_of()
    object.__setattr__(config, "category", "segmentatoin")
    with pytest.raises(ConfigError, match="Did you mean 'segmentation'"):
        build_task(config, InferenceConfig(), FACTS)
