"""What the fields of each category must be, told before anything is built."""

from pathlib import Path
from typing import Any

import pytest

from imtoolkit.config import limits, load_config
from imtoolkit.config.sections import HeadConfig, MultitaskConfig
from imtoolkit.core.errors import ConfigError
from imtoolkit.losses import term

HEADS = """\
  heads:
    mask: {kind: segmentation, classes: [background, cell]}
    kind: {kind: classification, classes: [healthy, sick], metrics: [auroc, {name: accuracy}]}
    age: {kind: regression}
"""
DATA = """\
data: {source: {name: csv, params: {path: table.csv}}, axes: YX}
"""
NETS = {
    "classification": "{name: DenseNet121}",
    "regression": "{name: DenseNet121}",
    "multitask": "{name: multi_head, params: {backbone: resnet, heads: {mask: dense}}}",
}


def text(category: str, more: str = "") -> str:
    net = NETS.get(category, "{name: UNet, params: {channels: [8, 16], strides: [2]}}")
    return f"{DATA}task:\n  category: {category}\n  net: {net}\n{more}"


GOOD = {
    "classification": "  classes: [healthy, sick]\n",
    "regression": "  columns: [age, score]\n",
    "enhancement": "  residual: true\n  data_range: [0, 1]\n",
    "noise2void": "  masked: 0.05\n  replace: median\n",
    "pix2pix": "  adversarial: hinge\n  gradient_clip: {discriminator: 1.0}\n  init: normal\n",
    "multitask": HEADS,
    "embedseg": "  centre: centroid\n  n_sigma: 1\n  anisotropy: [2, 1]\n  grid: 256\n",
}


@pytest.mark.parametrize("category", GOOD)
def test_a_right_config_of_each_category_is_loaded(category: str, write: Any) -> None:
    config = load_config(write(text(category, GOOD[category])))
    assert config.task.category == category


def test_metrics_of_heads_may_be_bare_names(write: Any) -> None:
    task = load_config(write(text("multitask", HEADS))).task
    assert isinstance(task, MultitaskConfig)
    head: HeadConfig = task.heads["kind"]
    assert [item.name for item in head.metrics or []] == ["auroc", "accuracy"]


@pytest.mark.parametrize(
    ("category", "more", "expected"),
    [
        ("classification", "  classes: [a]\n", "task.classes: 'classes' names at least two"),
        ("classification", "  multilabel: true\n", "names the classes as the table has them"),
        ("classification", "  classes: [a, a]\n", "the class 'a' stands twice"),
        ("classification", "  classes: [a, b/c]\n", "the class name 'b/c' becomes part of"),
        (
            "classification",
            "  classes: [a, b]\n  class_weights: [1, 2, 3]\n",
            "task.class_weights: has 3 numbers for 2 classes",
        ),
        (
            "classification",
            "  classes: [a, b]\n  label_smoothing: 0.1\n  loss: focal\n",
            "task.label_smoothing: belongs to the default loss",
        ),
        ("classification", "  classes: [a, b]\n  label_smoothing: 1.0\n", "must be below 1"),
        ("classification", "  classes: [a, b]\n  label_smoothing: 2.0\n", "between 0 and 1"),
        (
            "classification",
            "  classes: [a, b]\ninference: {tile: [64, 64]}\n",
            "inference.tile: a classification takes whole images",
        ),
        ("regression", "inference: {tile: [64, 64]}\n", "a regression takes whole images"),
        ("enhancement", "  data_range: [1, 0]\n", "the smaller first, such as [0, 1]; got [1, 0]"),
        ("enhancement", "  data_range: [1]\n", "expects two numbers"),
        ("pix2pix", "  adversarial: wgan\n", "task.adversarial: 'wgan' is not known"),
        (
            "pix2pix",
            "  adversarial: hinge\n  label_smoothing: 0.1\n",
            "task.label_smoothing: hinge has no labels",
        ),
        ("pix2pix", "  label_smoothing: 1.0\n", "task.label_smoothing: must be below 1"),
        ("pix2pix", "  init_gain: 0.1\n", "task.init_gain: belongs to 'init'"),
        ("pix2pix", "  init: uniform\n", "task.init: 'uniform' is not known"),
        ("pix2pix", "  discriminator_steps: 0\n", "task.discriminator_steps: must be at least 1"),
        ("pix2pix", "  gradient_clip: {critic: 1.0}\n", "there is no optimizer 'critic'"),
        ("pix2pix", "  gradient_clip: {generator: -1.0}\n", "must be at least 0, got -1.0"),
        ("pix2pix", "  losses: {adversarial: l1}\n", "is logged by the category itself"),
        ("pix2pix", "  optimizers: {critic: adam}\n", "there is no optimizer named 'critic'"),
        ("pix2pix", "  schedulers: {critic: poly}\n", "there is no optimizer named 'critic'"),
        ("pix2pix", "  optimizer: lbfgs\n", "two nets step against each other"),
        (
            "pix2pix",
            "trainer: {strategy: fsdp}\n",
            "trainer.strategy: got fsdp; generator and discriminator need whole weights",
        ),
        ("noise2void", "  masked: 1.0\n", "task.masked: is a fraction of the pixels"),
        ("noise2void", "  masked: 0\n", "task.masked: is a fraction of the pixels"),
        ("noise2void", "  radius: 0\n", "task.radius: must be at least 1, got 0"),
        ("noise2void", "  replace: mean\n", "'mean' is not known"),
        ("embedseg", "  centre: centre\n", "task.centre: 'centre' is not known"),
        ("embedseg", "  n_sigma: 4\n", "task.n_sigma: must be between 1 and 3"),
        ("embedseg", "  grid: 0\n", "task.grid: is a length in pixels above 0"),
        ("embedseg", "  object_radius: -1.0\n", "task.object_radius: is a length"),
        ("embedseg", "  anisotropy: [4, 0]\n", "relative to that along X, such as [4, 1, 1]"),
        ("embedseg", "inference: {probabilities: true}\n", "no probabilities of classes"),
        ("embedseg", "inference: {block: [64]}\n", "expects [Y, X] or [Z, Y, X] in pixels"),
        ("embedseg", "inference: {block_overlap: [8, 8]}\n", "belongs to inference.block"),
        (
            "embedseg",
            "inference: {block: [64, 64], block_overlap: [64, 8]}\n",
            "inference.block_overlap: must be less than the block, [64, 64]",
        ),
        (
            "embedseg",
            "inference: {block: [64, 64], block_overlap: [8, 8, 8]}\n",
            "has another number of sides than the block",
        ),
        ("multitask", "", "names the outputs of the net"),
        ("multitask", "  heads: {a: {kind: regresion}}\n", "Did you mean 'regression'?"),
        ("multitask", "  heads: {image: {kind: regression}}\n", "'image' has a meaning of its own"),
        ("multitask", "  heads: {a/b: {kind: regression}}\n", "'a/b' names columns and metrics"),
        (
            "multitask",
            "  heads: {a: {kind: regression, classes: [x, y]}}\n",
            "task.heads.a.classes: a regression has none; it belongs to a segmentation or",
        ),
        (
            "multitask",
            "  heads: {a: {kind: segmentation, classes: [x, y], columns: [z]}}\n",
            "task.heads.a.columns: a segmentation has none",
        ),
        (
            "multitask",
            "  heads: {a: {kind: segmentation, classes: [x, y], channels: [0, 1]}}\n",
            "labels stand in one channel of the target image",
        ),
        (
            "multitask",
            "  heads: {a: {kind: classification, classes: [x]}}\n",
            "task.heads.a.classes: 'classes' names at least two",
        ),
        ("multitask", f"{HEADS}  metrics: [dice]\n", "task.metrics: give metrics to the heads"),
        (
            "multitask",
            "  heads: {a: {kind: regression, metrics: [mea]}}\n",
            "unknown metric 'mea'. Did you mean 'mae'",
        ),
        ("multitask", f"{HEADS}  losses: {{l: dice}}\n", "set 'prediction' to the head"),
        (
            "enhancement",
            "  losses: {l: {name: L1Loss, prediction: clean}}\n",
            "task.losses.l.prediction: this category learns the one output",
        ),
    ],
)
def test_what_makes_no_sense_is_told(
    category: str, more: str, expected: str, write: Any, problems: Any
) -> None:
    assert any(expected in problem for problem in problems(write(text(category, more))))


@pytest.mark.parametrize(
    ("category", "name"),
    [
        ("classification", "val/auroc"),
        ("classification", "val/f1/sick"),
        ("regression", "val/r2"),
        ("regression", "val/mae/score"),
        ("enhancement", "val/psnr"),
        ("noise2void", "val/psnr"),
        ("pix2pix", "val/ssim"),
        ("pix2pix", "train/loss/discriminator"),
        ("embedseg", "val/ap/50"),
        ("embedseg", "val/pooled_ap/75"),
        ("multitask", "val/mask/dice/cell"),
        ("multitask", "val/kind/auroc"),
        ("multitask", "val/age/mae"),
        ("multitask", "train/loss/age"),
    ],
)
def test_metrics_of_each_category_can_be_monitored(category: str, name: str, write: Any) -> None:
    more = f"{GOOD[category]}trainer: {{checkpoint: {{monitor: [{name}]}}}}\n"
    config = load_config(write(text(category, more)))
    assert config.trainer.checkpoint.monitor == [name]


@pytest.mark.parametrize(
    ("category", "name", "nearest"),
    [
        ("classification", "val/aurok", "val/auroc"),
        ("enhancement", "val/pnsr", "val/psnr"),
        ("multitask", "val/mask/dise", "val/mask/dice"),
    ],
)
def test_a_metric_that_is_not_there_is_told(
    category: str, name: str, nearest: str, write: Any, problems: Any
) -> None:
    more = f"{GOOD[category]}trainer: {{early_stopping: {{monitor: {name}}}}}\n"
    found = problems(write(text(category, more)))
    assert any(f"no metric '{name}'. Did you mean '{nearest}'" in problem for problem in found)


def test_an_unknown_activation_of_a_term_is_told_with_the_nearest(write: Any) -> None:
    terms = "  losses: {a: {name: dice, activation: sigmod}}\n"
    with pytest.raises(ConfigError, match=r"a\.activation: 'sigmod' .* Did you mean 'sigmoid'"):
        load_config(write(text("segmentation", "  classes: [a, b]\n" + terms)))


def test_the_activations_that_a_config_may_name_are_those_of_the_terms() -> None:
    assert set(limits.ACTIVATIONS) == set(term.ACTIVATIONS)


def test_files_of_losses_are_found_from_every_folder(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = (
        "{name: perceptual, params: {weights: vgg.pt, layers: [layer1], "
        "net: {name: resnet18, params: {}}}}"
    )
    terms = f"  losses: {{a: {loss}, b: {{name: masked, params: {{loss: {loss}}}}}}}\n"
    monkeypatch.chdir(tmp_path)
    losses = load_config(write(text("enhancement", terms))).task.losses
    assert losses["a"].params["weights"] == str(tmp_path / "vgg.pt")
    assert losses["b"].params["loss"]["params"]["weights"] == str(tmp_path / "vgg.pt")
