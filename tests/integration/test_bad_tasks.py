"""Bad input of classes, numbers, enhanced images and several heads: told before a run is left."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from imtoolkit import io
from imtoolkit.cli.main import main
from imtoolkit.runs import Run, State
from tests.helpers.command import Done, Place
from tests.helpers.process import KILLER
from tests.helpers.process import imtoolkit as in_a_process

SIDE, COUNT = 32, 8
CLASSES = ["small", "large"]
UNET = {"name": "UNet", "params": {"channels": [4, 8], "strides": [2]}}
RESNET = {"name": "resnet", "params": {"depth": 10, "width": 4}}
FEATURES = {"name": "unet_features", "params": {"features": [4, 4, 4, 4, 4, 4]}}
POOL = {"name": "global_pool", "params": {"hidden": []}}
JOINING = {"name": "global_pool", "params": {"tabular": True}}
Config = dict[str, Any]
Spoil = Callable[["Discs"], object]
Case = tuple[str, Config, Spoil | None, tuple[str, ...]]


def whole(post: Any = POOL, backbone: Any = RESNET) -> Config:
    return {"name": "composed", "params": {"backbone": backbone, "post": post}}


def headed(**heads: Any) -> Config:
    return {"name": "multi_head", "params": {"backbone": FEATURES, "heads": heads}}


HEADS: Config = {
    "mask": {"kind": "segmentation", "classes": ["background", "disc"]},
    "kind": {"kind": "classification", "classes": CLASSES},
    "radius": {"kind": "regression"},
}
TASKS: dict[str, tuple[str | None, Config]] = {
    "classification": ("kind", {"classes": CLASSES, "net": whole()}),
    "regression": ("radius", {"net": whole()}),
    "segmentation": ("mask", {"classes": ["background", "disc"], "net": UNET}),
    "enhancement": ("clean", {"net": UNET}),
    "noise2void": (None, {"net": UNET}),
    "multitask": ("mask", {"net": headed(mask="dense", kind=POOL, radius=POOL), "heads": HEADS}),
}
DEGRADED = {"data.source.params.target": None}
TABULAR = {"task.net": whole(JOINING), "data.tabular": ["age"]}


def heads(**changes: Config) -> Config:
    return {"task.heads": {name: {**head, **changes.get(name, {})} for name, head in HEADS.items()}}


def temporal(**params: Any) -> Config:
    given = {"channels": [8, 8], "heads": 2, "blocks": "L1", **params}
    return {"task.net": {"name": "stcnnt_unet", "params": given}}


class Discs(Place):
    """A folder with noisy and clean images of discs, masks, and a table of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir()
        y, x = np.mgrid[:SIDE, :SIDE]
        rows = []
        for number in range(COUNT):
            rng = np.random.default_rng(number)
            disc = np.hypot(y - 10 - number, x - 15) < (7 if number % 2 else 4)
            self.write(number, "noisy", disc + 0.3 * rng.normal(size=disc.shape))
            self.write(number, "clean", disc)
            io.write(self.data / f"{number}_mask.tif", disc.astype(np.uint8), axes="YX")
            files = {name: f"{number}_{name}.tif" for name in ("clean", "mask")}
            numbers = {"radius": 4 + 3 * (number % 2) + 0.1 * number, "age": 30 + number}
            row = {"image": f"{number}_noisy.tif", **files, "kind": CLASSES[number % 2], **numbers}
            row["labels"] = "round;big" if number % 2 else "round"
            row["sex"] = "fm"[number // 2 % 2]
            row["split"] = "train" if number < 4 else "val" if number < 6 else "test"
            rows.append(row)
        self.table = pd.DataFrame(rows).astype(str)
        self.save()

    def write(self, number: int, name: str, pixels: Any, axes: str = "YX") -> None:
        io.write(self.data / f"{number}_{name}.tif", np.float32(pixels), axes=axes)

    def write_all(self, name: str, *shape: int, axes: str = "YX") -> None:
        for number in range(COUNT):
            self.write(number, name, np.random.default_rng(number).random(shape), axes)

    def save(self) -> None:
        self.table.to_csv(self.data / "t.csv", index=False)

    def cell(self, row: int, column: str, text: str) -> None:
        self.table.loc[row, column] = text
        self.save()

    def column(self, column: str, text: str, split: str | None = None) -> None:
        rows = self.table["split"].isin([split] if split else ["train", "val", "test"])
        self.table.loc[rows, column] = text
        self.save()

    def write_config(self, category: str, changes: Config) -> None:
        target, task = TASKS[category]
        params = {"path": "data/t.csv", "id": "image"} | ({"target": target} if target else {})
        raw: Config = {
            "name": "discs",
            "data": {
                "source": {"name": "csv", "params": params},
                "axes": "YX",
                "loader": {"batch_size": 2, "workers": 0},
            },
            "task": {"category": category, **copy.deepcopy(task), "optimizer": "adamw"},
            "trainer": {"max_epochs": 1, "accelerator": "cpu", "pictures": {"every_epochs": 0}},
            "evaluation": {"resamples": 10, "splits": []},
        }
        for key, value in changes.items():
            *parents, last = key.split(".")
            section = raw
            for parent in parents:
                section = section.setdefault(parent, {})
            section[last] = value
            if value is None:
                del section[last]
        self.text(yaml.safe_dump(raw, sort_keys=False), "discs.yaml")

    def checked(self, category: str, changes: Config, verb: str = "check") -> Done:
        self.write_config(category, changes)
        return self.command(verb, "discs.yaml")


def opened(folder: Path, patch: pytest.MonkeyPatch) -> Discs:
    patch.chdir(folder)
    patch.setenv("IMTOOLKIT_RUNS", str(folder / "runs"))
    patch.setenv("IMTOOLKIT_SETTINGS", str(folder / "settings.yaml"))
    return Discs(folder)


@pytest.fixture
def discs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Discs:
    return opened(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Discs:
    """Return a folder for the cases that change no data; all of its images are cached once."""
    with pytest.MonkeyPatch.context() as patch:
        return opened(tmp_path_factory.mktemp("discs"), patch)


@pytest.fixture
def unspoilt(shared: Discs, monkeypatch: pytest.MonkeyPatch) -> Discs:
    monkeypatch.chdir(shared.folder)
    monkeypatch.setenv("IMTOOLKIT_RUNS", str(shared.folder / "runs"))
    monkeypatch.setenv("IMTOOLKIT_SETTINGS", str(shared.folder / "settings.yaml"))
    return shared


# --- tables, images and labels --------------------------------------------------------------------

DATA: dict[str, tuple[str, Config, Spoil, tuple[str, ...]]] = {
    "a class with a typo": (
        *("classification", {}, lambda d: d.cell(0, "kind", "smal")),
        ("sample '0_noisy.tif'", "'smal' is no class. Did you mean 'small'", "0 to 1"),
    ),
    "an image without a class": (
        *("classification", {}, lambda d: d.cell(0, "kind", "")),
        ("sample '0_noisy.tif' has no target", "1 of 8 lack a target"),
    ),
    "no classes in training": (
        *("classification", {}, lambda d: d.column("kind", "", "train")),
        ("4 of 8 lack a target",),
    ),
    "a class without a sample in training": (
        *("classification", {}, lambda d: d.column("kind", "small", "train")),
        ("task.classes", "no training image is labelled 'large'", "4 small, 0 large"),
    ),
    "several labels with a typo": (
        "classification",
        {
            "task.multilabel": True,
            "task.classes": ["round", "big"],
            "data.source.params.target": "labels",
        },
        lambda d: d.cell(1, "labels", "round;bgi"),
        ("'bgi' is no class. Did you mean 'big'", "joined by ';'"),
    ),
    "a text as a number": (
        *("regression", {}, lambda d: d.cell(1, "radius", "big")),
        ("sample '1_noisy.tif'", "'big' is not a number"),
    ),
    "a decimal comma": (
        *("regression", {}, lambda d: d.cell(1, "radius", "4,5")),
        ("'4,5' is not a number",),
    ),
    "an infinite number": (
        *("regression", {}, lambda d: d.cell(1, "radius", "inf")),
        ("'inf' is not finite",),
    ),
    "a number that float32 cannot hold": (
        *("regression", {}, lambda d: d.cell(1, "radius", "1e300")),
        ("'1e300' is too large",),
    ),
    "one number for all": (
        *("regression", {}, lambda d: d.column("radius", "3")),
        ("is the same in all training samples",),
    ),
    "a gap among tabular numbers": (
        *("classification", TABULAR, lambda d: d.cell(2, "age", "")),
        ("data.tabular.0", "'2_noisy.tif': column 'age': there is a gap", "'fill'"),
    ),
    "a text among tabular numbers": (
        *("classification", TABULAR, lambda d: d.cell(2, "age", "old")),
        ("'old' is not a number", "list the texts as 'values'"),
    ),
    "an infinite tabular number, which is no gap": (
        "classification",
        {**TABULAR, "data.tabular": [{"column": "age", "fill": 0}]},
        lambda d: d.cell(2, "age", "inf"),
        ("'inf' is not a number",),
    ),
    "a tabular number that float32 cannot hold": (
        *("classification", TABULAR, lambda d: d.cell(2, "age", "1e200")),
        ("column 'age'", "is not a number that a net can be given"),
    ),
    "a table with a header alone": (
        *("classification", {}, lambda d: d.text("image,kind\n", "data/t.csv")),
        ("has a header and no samples",),
    ),
    "an empty table": (
        *("classification", {}, lambda d: d.text("", "data/t.csv")),
        ("is empty", "'image'"),
    ),
    "images of several sizes in a batch": (
        *("classification", {}, lambda d: d.write(1, "noisy", np.eye(24, 40))),
        ("'32 x 32', '24 x 40'", "data.patch.size", "data.loader.batch_size: 1"),
    ),
    "images of several channels": (
        "classification",
        {"data.axes": None},
        lambda d: d.write(1, "noisy", np.ones((3, SIDE, SIDE)), "CYX"),
        ("number of image channels varies: 7 of 1", "1 of 3", "data.channels"),
    ),
    "targets of twice the size": (
        *("enhancement", {}, lambda d: d.write_all("clean", 64, 64)),
        ("image is 32 x 32, its target 64 x 64", "{name: enlarge, params: {factor: 2}}"),
    ),
    "targets of another size": (
        *("enhancement", {}, lambda d: d.write_all("clean", 48, 40)),
        ("image is 32 x 32, its target 48 x 40", "crop and resample"),
    ),
    "NaN in a clean image": (
        *("enhancement", {}, lambda d: d.write(0, "clean", np.full((SIDE, SIDE), np.nan))),
        ("0_clean.tif", "target has 1024 NaN"),
    ),
    "a residual of other channels": (
        "enhancement",
        {"task.residual": True, "data.target_axes": "CYX"},
        lambda d: d.write_all("clean", 2, SIDE, SIDE, axes="CYX"),
        ("task.residual", "images have 1 channel(s) and the targets 2"),
    ),
    "a head with a class that is none": (
        *("multitask", {}, lambda d: d.cell(0, "kind", "smal")),
        ("target 'kind': 'smal' is no class", "'small'"),
    ),
    "a head without any class": (
        *("multitask", {}, lambda d: d.column("kind", "")),
        ("task.heads.kind: none of the 4 training images has a label", "column 'kind'"),
    ),
    "a head without any number in training": (
        *("multitask", {}, lambda d: d.column("radius", "", "train")),
        ("task.heads.radius: none of the 4 training images", "column 'radius'"),
    ),
    "a head without any mask": (
        *("multitask", {}, lambda d: d.column("mask", "")),
        ("task.heads.mask: none of the 4 training images", "fill the target images"),
    ),
    "class folders of other names": (
        "classification",
        {"data.source": {"name": "class_folders", "params": {"root": "folders"}}},
        lambda d: [
            io.write(d.folder / "folders" / name / f"{at}.tif", np.eye(16, dtype=np.float32))
            for name in ("small", "lrge")
            for at in range(4)
        ],
        ("'lrge' is no class. Did you mean 'large'",),
    ),
    "an npz with labels beyond the classes": (
        "classification",
        {"data.source": {"name": "npz", "params": {"path": "x.npz"}}},
        lambda d: np.savez(
            d.folder / "x.npz", images=np.ones((8, 16, 16), np.uint8), labels=np.arange(8)
        ),
        ("sample '0002'", "'2' is no class", "0 to 1"),
    ),
    "an npz with fewer labels": (
        "classification",
        {"data.source": {"name": "npz", "params": {"path": "x.npz"}}},
        lambda d: np.savez(
            d.folder / "x.npz", images=np.ones((8, 16, 16), np.uint8), labels=np.arange(7)
        ),
        ("'images' has 8 samples", "(7,)"),
    ),
}


@pytest.mark.parametrize("kind", DATA)
def test_bad_data_are_refused_at_check(discs: Discs, kind: str) -> None:
    category, changes, spoil, words = DATA[kind]
    spoil(discs)
    discs.checked(category, changes).refuses(*words)
    assert not discs.runs()


def test_labels_missing_for_some_heads_are_masked_counted_and_told(discs: Discs) -> None:
    for column in ("mask", "kind", "radius"):
        discs.cell(1 if column == "kind" else 0, column, "")
    discs.column("kind", "large", "val")
    discs.cell(3, "kind", "large")
    done = discs.checked("multitask", {})
    assert done.code == 0, done.err
    for head in ("mask", "kind", "radius"):
        assert f"1 of 4 training images have no label of {head}" in done.out
    assert "training images by class of kind: 2 small, 1 large" in done.out


def test_a_refused_training_leaves_no_folder_and_is_run_again_once_mended(discs: Discs) -> None:
    discs.cell(0, "kind", "smal")
    discs.write_config("classification", {})
    discs.command("train", "discs.yaml", "--folder", "mine").refuses("'smal'")
    assert not (discs.folder / "mine").exists()
    discs.cell(0, "kind", "small")
    assert discs.command("train", "discs.yaml", "--folder", "mine").code == 0


# --- configs --------------------------------------------------------------------------------------

LOSSES: dict[str, tuple[str, Any, tuple[str, ...]]] = {
    "pixels for classes": ("classification", "ssim", ("'ssim' compares pixels", "cross_entropy")),
    "connectivity for classes": ("classification", "connectivity", ("compares pixels",)),
    "numbers for classes": ("classification", "mse", ("compares images or numbers",)),
    "numbers for labels": ("segmentation", "mse", ("compares images or numbers", "dice_ce")),
    "pixels for numbers": ("regression", "spectral", ("compares pixels", "smooth_l1")),
    "derivatives for numbers": ("regression", "gaussian_derivative", ("compares pixels",)),
    "labels for numbers": ("regression", "cross_entropy", ("integer labels", "mse")),
    "labels for images": ("enhancement", "dice", ("integer labels", "mse")),
    "labels for hidden pixels": ("noise2void", "dice_ce", ("integer labels",)),
    "channels that are no pairs": ("enhancement", "perpendicular", ("got 1 channel(s)", "even")),
    "features without weights": ("enhancement", "perceptual", ("needs the parameters", "weights")),
    "a signature of its own": (
        "enhancement",
        "torch.nn.CosineEmbeddingLoss",
        ("does not take a prediction [2, 1, 32, 32]", "components loss"),
    ),
    "a target that is not there": (
        "enhancement",
        {"name": "mse", "target": "trget"},
        ("compares with 'trget'", "Did you mean 'target'"),
    ),
    "channels that are not there": (
        "enhancement",
        {"name": "mse", "channels": [4]},
        ("channels [4]", "has 1"),
    ),
    "a weight that is no number": (
        "enhancement",
        {"name": "mse", "weight": float("nan")},
        ("task.loss.weight", "finite number"),
    ),
    "a masked loss of nothing": ("enhancement", "masked", ("needs the parameter 'loss'",)),
    "a loss in a loss with a typo": (
        "enhancement",
        {"name": "masked", "params": {"loss": {"name": "msee", "params": {}}}},
        ("Did you mean 'mse'",),
    ),
}


@pytest.mark.parametrize("kind", LOSSES)
def test_losses_in_the_wrong_place_are_refused(unspoilt: Discs, kind: str) -> None:
    category, loss, words = LOSSES[kind]
    unspoilt.checked(category, {"task.loss": loss}).refuses(*words)
    assert not unspoilt.runs()


def test_a_refused_loss_leaves_no_run(unspoilt: Discs) -> None:
    done = unspoilt.checked("classification", {"task.loss": "connectivity"}, "train")
    done.refuses("compares pixels")
    assert not unspoilt.runs()


def test_a_package_for_topology_that_is_not_installed_is_named(
    unspoilt: Discs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gudhi", None)
    done = unspoilt.checked("segmentation", {"task.loss": "persistent_homology"})
    done.refuses("'gudhi'", "pip install")


CONFIGS: dict[str, tuple[str, Config, tuple[str, ...]]] = {
    # heads
    "a loss of no head": (
        "multitask",
        {"task.losses": {"a": {"name": "dice_ce", "prediction": "maks"}}},
        ("reads the output 'maks'", "Did you mean 'mask'"),
    ),
    "a loss that names no head": (
        "multitask",
        {"task.losses": {"a": {"name": "dice_ce"}}},
        ("task.losses.a", "set 'prediction'"),
    ),
    "a metric of no head": (
        "multitask",
        {"trainer.checkpoint": {"monitor": ["val/maks/dice"]}},
        ("Did you mean 'val/mask/dice'",),
    ),
    "a metric of images for a class": (
        "multitask",
        heads(kind={"metrics": ["dice"]}),
        ("task.heads.kind.metrics", "'dice' measures images", "auroc"),
    ),
    "a net without a head": (
        "multitask",
        {"task.net": headed(mask="dense", kind=POOL)},
        ("the task has a head 'radius'", "It has 'mask', 'kind'"),
    ),
    "a dense head for a class": (
        "multitask",
        {"task.net": headed(mask="dense", kind="dense", radius=POOL)},
        ("returns [2, 2, 32, 32] as 'kind'", "needs [2, 2]"),
    ),
    "a net of one output": ("multitask", {"task.net": UNET}, ("has one output", "multi_head")),
    "a kind with a typo": (
        "multitask",
        heads(mask={"kind": "segmentaton"}),
        ("task.heads.mask.kind", "Did you mean 'segmentation'"),
    ),
    "a head of no column": (
        "multitask",
        heads(kind={"columns": ["knd"]}),
        ("column 'knd' for the target 'kind'", "Did you mean 'kind'"),
    ),
    "one class of two columns": (
        "multitask",
        heads(kind={"columns": ["kind", "labels"]}),
        ("task.heads.kind.columns", "multilabel: true"),
    ),
    "a channel that the target lacks": (
        "multitask",
        heads(mask={"channels": [3]}),
        ("task.heads.mask.channels", "got [3]", "1 channel(s)"),
    ),
    # tables
    "a column that is not there": (
        "classification",
        {"data.source.params.target": "knid"},
        ("no column 'knid'", "Did you mean 'kind'"),
    ),
    "masks for classes": (
        "classification",
        {"data.source.params.target": "mask"},
        ("learns class for each image, but targets are files",),
    ),
    "numbers of a column that is not there": (
        "regression",
        {"task.columns": ["radius", "mass"]},
        ("no column 'mass'",),
    ),
    "a number twice": (
        "regression",
        {"task.columns": ["radius", "radius"]},
        ("task.columns", "'radius' stands twice"),
    ),
    "the answer among the inputs": (
        "regression",
        {**TABULAR, "data.tabular": ["radius"]},
        ("data.tabular.0", "'radius' is what the task learns"),
    ),
    "the answer of a head among the inputs": (
        "multitask",
        {"data.tabular": ["kind"]},
        ("data.tabular.0", "'kind' is what the task learns"),
    ),
    "a tabular column that is not there": (
        "classification",
        {**TABULAR, "data.tabular": ["agee"]},
        ("no column 'agee'", "Did you mean 'age'"),
    ),
    "texts that were not named": (
        "classification",
        {**TABULAR, "data.tabular": [{"column": "sex", "values": ["f"]}]},
        ("'m' is none of 'f'",),
    ),
    "columns that the net ignores": (
        "classification",
        {"data.tabular": ["age"]},
        ("would ignore", "global_pool"),
    ),
    "a net that wants columns": (
        "classification",
        {"task.net": whole(JOINING)},
        ("list them under data.tabular",),
    ),
    "no clean images": (
        "enhancement",
        {"data.source.params.target": None},
        ("has no targets, but the task learns image",),
    ),
    # enhancement
    "complex data of one channel": (
        "enhancement",
        {"task.complex_channels": True},
        ("task.complex_channels", "1 channel(s)", "even number"),
    ),
    "a range upside down": (
        "enhancement",
        {"task.data_range": [1, 0]},
        ("task.data_range", "the smaller first"),
    ),
    "a field of another category": (
        "classification",
        {"task.residual": True},
        ("unknown key 'residual' in this category", "enhancement"),
    ),
    "degraded images with targets": (
        "enhancement",
        {"data.degrade": ["white_noise"]},
        ("params.target", "the target is the image itself"),
    ),
    "degraded labels": (
        "segmentation",
        {**DEGRADED, "data.degrade": ["white_noise"]},
        ("data.degrade", "a segmentation does not", "data.augment"),
    ),
    "unknown noise": (
        "enhancement",
        {**DEGRADED, "data.degrade": ["wite_noise"]},
        ("data.degrade.0", "Did you mean 'white_noise'"),
    ),
    "negative noise": (
        "enhancement",
        {**DEGRADED, "data.degrade": [{"name": "white_noise", "params": {"std": -5}}]},
        ("data.degrade.0", "got std=-5", "at least 0"),
    ),
    "flips as noise": (
        "enhancement",
        {**DEGRADED, "data.degrade": ["flips"]},
        ("data.degrade.0", "moves the pixels", "data.augment"),
    ),
    "enlarged by nothing": (
        "enhancement",
        {"data.preprocess": [{"name": "enlarge", "params": {"factor": 0}}]},
        ("got factor=0", "2 or more"),
    ),
    "hidden pixels beyond all": ("noise2void", {"task.masked": 1.5}, ("task.masked", "fraction")),
    "hidden by an unknown rule": (
        "noise2void",
        {"task.replace": "meann"},
        ("task.replace", "Did you mean 'median'"),
    ),
    "a transform of single samples on the device": (
        "classification",
        {"data.augment_on": "device", "data.augment": ["RandFlipd"]},
        ("data.augment.0", "needs"),
    ),
    "MONAI's contrast on the device": (
        "classification",
        {
            "data.augment_on": "device",
            "data.augment": [{"name": "RandAdjustContrastd", "params": {"keys": "image"}}],
        },
        ("data.augment.0", "works on single samples", "data.augment_on: worker"),
    ),
    # metrics
    "metrics of classes for images": (
        "enhancement",
        {"task.metrics": ["accuracy"]},
        ("task.metrics", "'accuracy' measures classes"),
    ),
    "metrics of classes for numbers": (
        "regression",
        {"task.metrics": ["auroc"]},
        ("task.metrics", "'auroc' measures classes", "a regression"),
    ),
    "metrics of a set for labels": (
        "segmentation",
        {"task.metrics": ["auroc"]},
        ("task.metrics", "such as dice"),
    ),
    "metrics of numbers for classes": (
        "classification",
        {"task.metrics": ["MeanSquaredError"]},
        ("does not measure this output", "Multiclass..."),
    ),
    "a monitor of another category": (
        "regression",
        {"trainer.checkpoint": {"monitor": ["val/dice"]}},
        ("there is no metric 'val/dice'", "'val/mae'"),
    ),
    # nets
    "a net of pixels for classes": (
        "classification",
        {"task.net": UNET},
        ("returns [2, 2, 32, 32]", "needs [2, 2]"),
    ),
    "a net of images for pixels": (
        "enhancement",
        {"task.net": whole()},
        ("returns [2, 1]", "needs [2, 1, 32, 32]"),
    ),
    "a head of maps behind vectors": (
        "segmentation",
        {"task.net": whole("uper_net", "mlp")},
        ("task.net.params.post", "one vector [128] for an image of [1, 32, 32]"),
    ),
    "a head of other channels": (
        "classification",
        {"task.net": whole({"name": "global_pool", "params": {"in_channels": 5}})},
        ("in_channels is 5, but backbone 'resnet' gives 32",),
    ),
    "an unknown backbone": (
        "classification",
        {"task.net": whole(POOL, "resnett")},
        ("Did you mean 'resnet'",),
    ),
    "a stream of a channel that is not there": (
        "classification",
        {
            "task.net": {
                "name": "multi_stream",
                "params": {"streams": {"a": {"net": RESNET, "channels": [3]}}, "post": POOL},
            }
        },
        ("streams.a", "channels [3]", "1 channel(s)"),
    ),
    "twins of one image": (
        "classification",
        {"task.net": {"name": "siamese", "params": {"backbone": RESNET, "post": POOL}}},
        ("2 images", "1 channel(s)"),
    ),
    "heads for one output": ("classification", {"task.net": headed(a=POOL)}, ("multitask",)),
    "a block string of nonsense": (
        "enhancement",
        temporal(blocks="Q7x"),
        ("'Q7x' makes no sense", "The grammar", "L1G1T1"),
    ),
    "no block string": ("enhancement", temporal(blocks=""), ("it is empty", "The grammar")),
    "block strings of other levels": (
        "enhancement",
        temporal(blocks=["L1", "L1", "L1"]),
        ("3 block string(s)", "2 levels"),
    ),
    "a window that does not divide": (
        "enhancement",
        temporal(window=5),
        ("windows of 5 x 5", "map of 32 x 32", "30 x 30", "40 x 40"),
    ),
    "heads that do not divide": ("enhancement", temporal(heads=3), ("1, 2, 4, 8 heads",)),
    # training
    "SAM with accumulation": (
        "classification",
        {"task.optimizer": "sam", "trainer.accumulate_grad_batches": 4},
        ("trainer.accumulate_grad_batches", "sam needs 1"),
    ),
    "SAM in 16-mixed": (
        "classification",
        {"task.optimizer": "sam", "trainer.precision": "16-mixed"},
        ("trainer.precision", "sam needs 32-true or bf16-mixed"),
    ),
    "Sophia with accumulation": (
        "classification",
        {"task.optimizer": "sophia", "trainer.accumulate_grad_batches": 2},
        ("sophia needs 1",),
    ),
    "LBFGS with clipping": (
        "classification",
        {"task.optimizer": "lbfgs", "trainer.gradient_clip_val": 1.0},
        ("lbfgs cannot be clipped",),
    ),
    "LBFGS in layers": (
        "classification",
        {"task.optimizer": {"name": "lbfgs", "layer_decay": 0.5}},
        ("LBFGS takes all weights alike",),
    ),
    "SAM around LBFGS": (
        "classification",
        {"task.optimizer": {"name": "sam", "params": {"base": {"name": "lbfgs", "params": {}}}}},
        ("take sgd or adamw inside",),
    ),
    "a group of no weights": (
        "classification",
        {"task.optimizer": {"name": "adamw", "groups": [{"weights": ["*.bakbone.*"], "lr": 1}]}},
        ("groups.0.weights", "fits no trained weight"),
    ),
    "a layer decay of 2": (
        "classification",
        {"task.optimizer": {"name": "adamw", "layer_decay": 2}},
        ("layer_decay", "at most 1"),
    ),
    "a learning rate that is no number": (
        "classification",
        {"task.optimizer": {"name": "adamw", "params": {"lr": float("nan")}}},
        ("task.optimizer.params.lr", "finite number"),
    ),
    "a schedule of steps of 0": (
        "classification",
        {"task.scheduler": {"name": "step", "params": {"step_size": 0}}},
        ("task.schedulers", "'step' cannot take a step"),
    ),
    "a polynomial that grows": (
        "classification",
        {"task.scheduler": {"name": "poly", "params": {"power": -1}}},
        ("task.schedulers", "got power=-1"),
    ),
    "a number schedule of nothing": (
        "classification",
        {
            "trainer.schedules": {
                "task.losses.x.weight": {"name": "linear", "params": {"start": 0, "end": 1}}
            }
        },
        ("there is no 'x' in task.losses", "There is none"),
    ),
    "a start from nowhere": (
        "classification",
        {"task.start_from": {"run": "nowhere"}},
        ("task.start_from", "no run 'nowhere'"),
    ),
    "a start from a table": (
        "classification",
        {"task.start_from": {"run": "data/t.csv"}},
        ("task.start_from", "is not a checkpoint"),
    ),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_configs_that_make_no_sense_are_refused_at_check(unspoilt: Discs, kind: str) -> None:
    category, changes, words = CONFIGS[kind]
    unspoilt.checked(category, changes).refuses(*words)
    assert not unspoilt.runs()


# --- trained models -------------------------------------------------------------------------------

MODELS: dict[str, tuple[str, Config]] = {
    "classes": ("classification", {}),
    "turned": ("classification", {"task.classes": CLASSES[::-1]}),
    "tabular": ("classification", TABULAR),
    "enhancer": ("enhancement", {}),
    "several": ("multitask", {}),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Discs]:
    """Return a folder with trained runs, where the tests of this part work."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        place = opened(folder, patch)
        for name, (category, changes) in MODELS.items():
            place.write_config(category, changes)
            assert main(["train", "discs.yaml", "--folder", name, "--quiet"]) == 0
        io.write("rgb.tif", np.ones((3, SIDE, SIDE), np.float32), axes="CYX")
        np.save("nan.npy", np.full((SIDE, SIDE), np.nan, np.float32))
        np.save("complex.npy", np.ones((SIDE, SIDE), np.complex64))
        place.text("keep me", "afile")
        place.text("image\n", "empty.csv")
        place.text("image\nnothere.tif\n", "gone.csv")
        place.text("image,age\ndata/0_noisy.tif,old\n", "old.csv")
        place.text("image,sex\ndata/0_noisy.tif,f\n", "ageless.csv")
        place.text("image,target\ndata/0_noisy.tif,smal\n", "typo.csv")
        yield place


IMAGE = "data/0_noisy.tif"
VERBS: dict[str, tuple[str, tuple[str, ...]]] = {
    "three channels": ("predict classes rgb.tif", ("rgb.tif", "got axes 'YX'", "3, 32, 32")),
    "three channels as such": (
        "predict classes rgb.tif --axes CYX",
        ("got 3 channels", "trained on 1 channels"),
    ),
    "complex pixels": ("predict enhancer complex.npy", ("got 2 channels", "trained on 1")),
    "NaN": ("predict classes nan.npy", ("nan.npy", "1024 NaN")),
    "a table of no rows": ("predict classes empty.csv", ("empty.csv", "no rows")),
    "a table of lost images": ("predict classes gone.csv", ("gone.csv:2", "nothere.tif")),
    "no columns": (f"predict tabular {IMAGE}", ("takes 'age' beside the image", "give a table")),
    "a column missing": ("predict tabular ageless.csv", ("no column 'age'",)),
    "a text among numbers": ("predict tabular old.csv", ("'old' is not a number",)),
    "a format for a table": (
        f"predict classes {IMAGE} --format .png",
        ("'.png'", "predictions.csv", "Leave the format out"),
    ),
    "fractions as PNG": (f"predict enhancer {IMAGE} --format .png", ("would be rounded",)),
    "an unknown vote": (f"predict classes {IMAGE} --vote averge", ("Did you mean 'average'",)),
    "an enhancer that votes": (
        f"predict classes {IMAGE} --with enhancer",
        ("classes has a classification of 2 classes", "enhancer has an image of 1 channel"),
    ),
    "heads that vote": (
        f"predict classes {IMAGE} --with several",
        ("several has mask, kind, radius",),
    ),
    "classes in another order": (
        f"predict classes {IMAGE} --with turned",
        ("(small, large)", "(large, small)"),
    ),
    "a member that is no run": (f"predict classes {IMAGE} --with data", ("not a run folder",)),
    "an unknown state": (
        f"predict classes {IMAGE} --checkpoint best-val-dice",
        ("no checkpoint 'best-val-dice'", "'best-val-auroc'"),
    ),
    "evaluated with an enhancer": ("evaluate classes --with enhancer", ("outputs differ",)),
    "evaluated with other columns": ("evaluate classes --with tabular", ("tabular columns",)),
    "evaluated with itself": ("evaluate classes --with classes", ("given twice",)),
    "an unknown split": ("evaluate classes --split tst", ("Did you mean 'test'",)),
    "an unknown class": ("evaluate classes --table typo.csv", ("'smal' is no class",)),
    "no table": ("evaluate classes --table nope.csv", ("nope.csv' does not exist",)),
    "masks for classes": (
        "evaluate classes --images data/*_noisy.tif --targets data/*_mask.tif",
        ("targets are files",),
    ),
}


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "evaluation" not in path.parts}


@pytest.fixture
def trained(models: Discs, monkeypatch: pytest.MonkeyPatch) -> Discs:
    monkeypatch.chdir(models.folder)
    return models


@pytest.mark.parametrize("kind", VERBS)
def test_what_a_model_cannot_do_is_told_and_nothing_is_written(trained: Discs, kind: str) -> None:
    line, words = VERBS[kind]
    before = files(trained.folder)
    output = ("--output", "out") if line.startswith("predict") else ()
    trained.command(*line.split(), *output).refuses(*words)
    assert files(trained.folder) == before


@pytest.mark.parametrize("output", ["afile", "afile/below"])
def test_predictions_go_into_no_file(trained: Discs, output: str) -> None:
    done = trained.command("predict", "classes", IMAGE, "--output", output)
    done.refuses("afile: is a file", "Choose another --output")
    assert (trained.folder / "afile").read_text() == "keep me"


def test_other_images_of_several_heads_are_evaluated_from_a_table(trained: Discs) -> None:
    rows = trained.table[["image", "mask", "kind", "radius"]].rename(columns={"mask": "target"})
    rows.to_csv(trained.data / "other.csv", index=False)
    assert trained.command("evaluate", "several", "--table", "data/other.csv").code == 0


@pytest.mark.parametrize(
    ("start", "told"),
    [
        ({"run": "enhancer"}, ("task.start_from", "fit")),
        ({"run": "turned", "include": ["nets.net.bakbone.*"]}, ("task.start_from", "bakbone")),
        ({"run": "turned", "rename": {"nets.nte.": "nets.net."}}, ("task.start_from", "nets.nte.")),
        ({"run": "turned", "checkpoint": "bst"}, ("no checkpoint 'bst'",)),
    ],
)
def test_weights_that_do_not_fit_are_not_taken_over(
    trained: Discs, start: Config, told: tuple[str, ...]
) -> None:
    trained.checked("classification", {"task.start_from": start}).refuses(*told)


# --- ended in the middle --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("category", ["classification", "noise2void", "multitask"])
def test_a_training_that_is_interrupted_says_how_to_go_on(discs: Discs, category: str) -> None:
    discs.text(KILLER, "killer.py")
    changes = {"plugins": ["killer.py"], "callbacks": ["Killer"], "trainer.max_epochs": 3}
    discs.write_config(category, changes)
    words = ("train", "discs.yaml", "--trust", "--folder", "run")
    done = in_a_process(discs.folder, *words, KILL_AT="1:1", KILL_BY="SIGINT")
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert "the state is saved. Continue with: imtoolkit runs resume run" in done.stderr
    assert Run(discs.folder / "run").status.state is State.INTERRUPTED
    done = in_a_process(discs.folder, "runs", "resume", "run")
    assert done.returncode == 0, done.stderr
    assert Run(discs.folder / "run").status.state is State.FINISHED
