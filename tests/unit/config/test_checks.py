"""Mistakes in keys, types, values, names and parameters, each with its remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imtoolkit.config import load_config
from imtoolkit.config.annotations import mismatch
from imtoolkit.config.explain import key_docs
from imtoolkit.config.limits import CHOICES, RANGES
from imtoolkit.core.errors import ConfigError

FOLDER = {"source": {"name": "folder", "params": {"root": "data/nuclei"}}}
Problems = Callable[..., list[str]]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seed", True, "seed: expects a whole number, got the truth value true"),
        ("trainer.max_epochs", "20", "expects a whole number, got the text '20'"),
        ("trainer.benchmark", "no", "In YAML 1.2 'no' is a text: write true or false"),
        ("trainer.ema", True, "For the defaults write {}"),
        ("trainer.epochs", 5, "unknown key 'epochs'"),
        ("trainer.use_distributed_sampler", False, "imtoolkit has its own sampler"),
        ("data.batch_size", 4, "It exists as 'data.loader.batch_size'"),
        ("data.cache.kind", "disk", "expects one of 'persistent', 'memory', 'none'"),
        ("data.augment", "flips", "For a single entry write [flips]"),
        (
            "data.patch.size",
            [128, 1.5],
            "data.patch.size.1: expects a whole number, got the number 1.5",
        ),
        ("task.category", "segmentaton", "Did you mean 'segmentation'?"),
        ("task.nett", "UNet", "unknown key 'nett'. Did you mean 'net'?"),
        ("task.net", {"params": {}}, "a component needs a 'name'"),
        ("task.net", {"name": "UNet", "channels": [1]}, "stand under its 'params'"),
        ("sweep", {}, "unknown key 'sweep'"),
        ("data.split.val", 1.5, "neither a fraction below 1 nor a whole number"),
        ("data.split.test", 0.9, "leaves none for training"),
        ("data.split.naive", 1, "unseen groups need 'group_by'"),
        ("data.split.fold", 1, "needs 'folds'"),
        ("data.split.folds", 5, "with 'folds' validation is one fold"),
        ("data.patch.size", [8, 8, 8], "[8, 8, 8] has 3 sides, and images with the axes YX have 2"),
        ("data.patch.size", [0, 8], "expects [Y, X] or [Z, Y, X]"),
        ("data.patch.foreground", 1.5, "must be between 0 and 1, got 1.5"),
        ("data.axes", "YQ", "unknown axis 'Q'"),
        ("data.axes", "YYX", "an axis stands twice"),
        ("data.axes", "ZY", "lacks Y or X"),
        ("data.z_range", [5, 2], "expects [first, past the last]"),
        ("data.loader.batch_size", 0, "must be at least 1, got 0"),
        ("task.classes", ["nucleus"], "at least two classes"),
        ("task.classes", ["a", "b", "b"], "the class 'b' stands twice"),
        ("task.class_weights", [1, 2, 3], "has 3 numbers for 2 classes"),
        ("task.optimizers", {"nett": "AdamW"}, "there is no net named 'nett'. Did you mean 'net'?"),
        ("trainer.checkpoint", {"monitor": ["dice"]}, "Did you mean 'val/dice'?"),
        ("trainer.checkpoint", {"monitor": ["val/dise"]}, "there is no metric 'val/dise'"),
        ("trainer.early_stopping", {"monitor": "val/dice/cell"}, "there is no metric"),
        ("trainer.early_stopping", {"monitor": "val/hd95"}, "there is no metric 'val/hd95'"),
        ("trainer.profiler", "xla", "simple"),
        ("trainer.precision", "bf17", "'bf17' is not known"),
        ("trainer.max_time", "3h", "expects DD:HH:MM:SS"),
        ("trainer.devices", 0, "expects a number of devices"),
        ("trainer.max_epochs", -1, "training would never end"),
        ("trainer.min_epochs", 50, "is larger than max_epochs, which is 20"),
        ("trainer.limit_val_batches", 1.5, "expects a fraction up to 1.0"),
        ("inference.overlap", 1.0, "at least 0 and below 1"),
        ("data.patch.zoom", [2.0, 0.5], "the smallest and the largest magnification"),
        ("data.patch.zoom", [0.0, 2.0], "both above 0, got [0.0, 2.0]"),
        ("data.patch.zoom", [0.5], "the smallest and the largest magnification"),
        ("data.patch.zoom_prob", 0.5, "needs data.patch.zoom"),
        ("inference.checkpoint", "best-val-dise", "Did you mean 'best-val-dice'?"),
        ("inference.format", ".jpg", "'.jpg' is not known"),
        ("evaluation.splits", ["tets"], "'tets' is not known. Did you mean 'test'?"),
        ("evaluation.confidence", 95, "is a level between 0 and 1"),
        ("name", "a/b", "becomes a folder name"),
        ("name", "..", "begin with a letter or digit"),
        ("name", "-v", "begin with a letter or digit"),
        ("data.sources", {"..": FOLDER}, "data.sources: '..' names a data set"),
        ("data.sources", {"a/b": FOLDER}, "'a/b' names a data set in tables and files"),
        ("data.sources", {".": FOLDER}, "begin with a letter or digit"),
        ("plugins", ["none.py"], "no such file"),
        ("plugins", ["a b"], "neither a .py file nor the name of a package"),
    ],
)
def test_a_mistake_is_told_with_its_remedy(
    good: dict[str, Any], problems: Problems, key: str, value: Any, message: str
) -> None:
    if key == "task.optimizers":
        del good["task"]["optimizer"]
    if key == "task.net" or key == "task.nett":
        good["task"].pop("net")
    *parents, last = key.split(".")
    holder = good
    for parent in parents:
        holder = holder.setdefault(parent, {})
    holder[last] = value
    found = problems(good)
    assert any(message in text for text in found), found


@pytest.mark.parametrize(
    ("key", "component", "message"),
    [
        ("net", "UNett", "unknown net 'UNett'. Did you mean 'UNet'?"),
        ("net", "DiceLoss", "'DiceLoss' is not a net, but a loss"),
        ("net", "torch.nn.Lineer", "does not exist"),
        ("loss", "monai.losses.utils.compute_tp_fp_fn", "is not a loss"),
        ("loss", "os.system", "lies outside the packages that a config may use"),
        ("loss", "PerceptualLoss", "is refused: it downloads"),
        ("net", {"name": "UNet"}, "needs the parameters 'channels', 'strides'"),
        ("net", {"name": "resnet18", "params": {"pretrained": True}}, "downloads weights"),
        ("net", {"name": "DynUNet", "params": {"sptial_dims": 2}}, "Did you mean 'spatial_dims'?"),
        ("loss", {"name": "DiceLoss", "params": {"batch": 1}}, "expects true or false"),
        ("loss", {"name": "DiceLoss", "params": {"other_act": "torch.exp"}}, "expects a function"),
        (
            "loss",
            {"name": "MaskedLoss", "params": {"loss": "DiceLoss"}},
            "{name: DiceLoss, params:",
        ),
        (
            "loss",
            {"name": "masked", "params": {"loss": {"name": "DiceLoss"}}},
            "'loss' within parameters needs both keys: {name: DiceLoss, params: {}}",
        ),
        (
            "optimizer",
            {"name": "sam", "params": {"base": {"name": "SGD"}}},
            "'base' within parameters needs both keys",
        ),
        ("optimizer", {"name": "AdamW", "params": {"lr": "fast"}}, "optimizer 'AdamW': expects"),
        ("optimizer", {"name": "AdamW", "params": {"params": []}}, "is filled in by imtoolkit"),
        ("optimizer", {"name": "AdamW", "params": {"betas": [0.9]}}, "expects a list of 2"),
        ("scheduler", {"name": "StepLR"}, "needs the parameter 'step_size'"),
        ("scheduler", {"name": "StepLR", "params": {"step_size": 1.5}}, "expects a whole number"),
        ("metrics", ["dise"], "unknown metric 'dise'. Did you mean 'dice'?"),
    ],
)
def test_a_component_is_checked_against_its_signature(
    good: dict[str, Any], problems: Problems, key: str, component: Any, message: str
) -> None:
    good["task"][key] = component
    found = problems(good)
    assert any(message in text for text in found), found


@pytest.mark.parametrize(
    ("place", "transform", "message"),
    [
        ("augment", "RandFlip", "works on arrays; the one for samples is 'RandFlipd'"),
        ("augment", "RandFlipd", "needs the parameter 'keys'"),
        (
            "preprocess",
            {"name": "LoadImaged", "params": {"keys": "image", "reader": "os.system"}},
            "is refused: it reads files by itself, and its 'reader' turns a text into code",
        ),
        (
            "preprocess",
            {"name": "LoadImaged", "params": {"keys": "image"}},
            "data.preprocess.0.name: transform 'LoadImaged' is refused: it reads files by itself",
        ),
        (
            "preprocess",
            {"name": "RandFlipd", "params": {"keys": "image"}},
            "is random, and what 'preprocess' makes is kept in the cache",
        ),
        (
            "augment",
            {"name": "SaveImaged", "params": {"keys": "image", "writer": "os.system"}},
            "is refused: it writes files",
        ),
        (
            "augment",
            {"name": "Lambdad", "params": {"keys": "image", "func": "os.system"}},
            "a function, which a config cannot hold",
        ),
    ],
)
def test_transforms_are_checked_for_their_place(
    good: dict[str, Any], problems: Problems, place: str, transform: Any, message: str
) -> None:
    good["data"][place] = [transform]
    found = problems(good)
    assert any(message in text for text in found), found


def test_components_inside_parameters_are_checked_as_their_kind(
    good: dict[str, Any], problems: Problems
) -> None:
    inner = {"name": "DiceLoss", "params": {"sofmax": True}}
    good["task"]["loss"] = {"name": "MaskedLoss", "params": {"loss": inner}}
    assert problems(good) == [
        "task.loss.params.loss.params.sofmax: loss 'DiceLoss' takes no parameter 'sofmax'. "
        "Did you mean 'softmax'?"
    ]


def test_missing_sections_are_told_together(problems: Problems) -> None:
    found = problems({"seed": 1})
    assert found == [
        "the key 'data' is missing. See: imtoolkit explain data",
        "the key 'task' is missing. See: imtoolkit explain task",
    ]


def test_what_the_data_fill_in_may_be_left_out_or_given(good: dict[str, Any]) -> None:
    good["task"]["net"]["params"]["in_channels"] = 1
    assert load_config(good).task.nets["net"].params["in_channels"] == 1


def test_the_tables_of_ranges_and_choices_speak_of_keys_that_exist() -> None:
    assert {*RANGES, *CHOICES} <= set(key_docs())


@pytest.mark.parametrize(
    ("annotation", "default", "value", "fits"),
    [
        ("int", None, 1, True),
        ("int", None, 1.0, False),
        ("int", None, True, False),
        ("float", None, 1, True),
        ("bool", "False", 0, False),
        ("str | None", "None", None, True),
        ("int", "None", None, True),
        ("int", "3", None, False),
        ("Sequence[int] | int", None, [1, 2], True),
        ("Sequence[int] | int", None, [1, 2.5], False),
        ("Optional[Union[int, Sequence[str]]]", None, ["a"], True),
        ("tuple[float, float]", None, [0.9, 0.99], True),
        ("tuple[float, float]", None, [0.9], False),
        ("tuple[int, ...]", None, [1, 2, 3], True),
        ("Literal['a', 'b']", None, "b", True),
        ("Literal['a', 'b']", None, "c", False),
        ("KeysCollection", None, ["image", "target"], True),
        ("KeysCollection", None, 3, False),
        ("Mapping[str, int]", None, {"a": 1.5}, False),
        ("Callable | None", "None", "os.system", False),
        ("type[nn.Module]", None, "torch.nn.Linear", False),
        ("Tensor | None", "None", [1.0, 2.0], True),
        ("SomethingUnknown", None, "x", True),
        ("'int | str'", None, 1.5, False),
        (None, "True", "yes", False),
        (None, "0.5", "much", False),
        (None, "0.5", 1, True),
        (None, "'mean'", 3, False),
        (None, None, object, True),
    ],
)
def test_values_are_compared_with_annotations_without_coercion(
    annotation: str | None, default: str | None, value: Any, fits: bool
) -> None:
    assert (mismatch(annotation, default, value) is None) is fits


def test_loading_imports_no_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    from .conftest import GOOD

    (tmp_path / "a.yaml").write_text(GOOD.replace("DiceCELoss", "DiseCELoss"))
    code = (
        "import sys\nfrom imtoolkit.config import load_config\n"
        "try:\n    load_config('a.yaml')\nexcept Exception as error:\n    print(error)\n"
        "heavy = {'torch', 'monai', 'numpy', 'pandas', 'pyarrow'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "unknown loss 'DiseCELoss'. Did you mean 'DiceCELoss'?" in done.stdout
    assert "heavy: []" in done.stdout


def test_the_metrics_of_each_set_that_validates_can_be_watched(good: dict[str, Any]) -> None:
    source = good["data"].pop("source")
    good["data"]["sources"] = {"here": source, "there": {"source": source, "role": "val"}}
    good["trainer"]["checkpoint"] = {"monitor": ["val/dice", "val/there/dice"]}
    assert load_config(good).trainer.checkpoint.monitor == ["val/dice", "val/there/dice"]


def test_metrics_of_objects_can_be_watched_pooled_or_not(good: dict[str, Any]) -> None:
    good["task"]["metrics"] = ["ap", "panoptic_quality"]
    names = ["val/ap/50", "val/pooled_ap/75", "val/panoptic_quality/sq", "val/ap"]
    good["trainer"]["checkpoint"] = {"monitor": names}
    assert load_config(good).trainer.checkpoint.monitor == names
    good["trainer"]["checkpoint"] = {"monitor": ["val/ap/52", "val/poled_ap", "val/matched_iou"]}
    with pytest.raises(ConfigError) as caught:
        load_config(good)
    found = str(caught.value)
    assert "no metric 'val/ap/52'. Did you mean 'val/ap/" in found
    assert "no metric 'val/poled_ap'. Did you mean 'val/pooled_ap'" in found
    assert "no metric 'val/matched_iou'" in found


def test_noise2void_refuses_patches_that_are_interpolated() -> None:
    raw = {
        "data": {**FOLDER, "axes": "YX", "patch": {"size": [32, 32], "zoom": [0.5, 2.0]}},
        "task": {"category": "noise2void", "net": {"name": "UNet"}},
    }
    with pytest.raises(ConfigError, match="interpolates between pixels"):
        load_config(raw)
