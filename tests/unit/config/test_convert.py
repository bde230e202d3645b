"""Old YAML files become configs, and each of their keys is accounted for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import imtoolkit as imt
from imtoolkit.config.convert import Conversion, Entry, Outcome
from imtoolkit.config.convert.nets import zoom_plan
from imtoolkit.config.convert.old import read_old
from imtoolkit.config.convert.planning import plan_dynunet
from imtoolkit.core.errors import ConfigError
from tests.helpers.snippets import snippets

OLD = sorted((Path(__file__).parent / "old").glob("*.yaml"))
FCN: dict[str, Any] = {
    "mode": "train",
    "data": {"category": "pair", "data_path": "cells"},
    "model": {
        "framework": "FCN",
        "net": {
            "module_name": "monai.networks.nets",
            "func_name": "UNet",
            "params": {"spatial_dims": 2, "in_channels": 1, "out_channels": 2,
                       "channels": [4, 8], "strides": [2]},
        },
        "criterion": {"module_name": "torch.nn", "func_name": "CrossEntropyLoss"},
    },
}  # fmt: skip
"""The smallest file that makes sense."""


@pytest.fixture
def converted(tmp_path: Path) -> Any:
    """Return a function that converts the smallest file with dotted keys changed."""

    def run(changes: dict[str, Any] | None = None, **options: Any) -> Conversion:
        return imt.convert_config(written(tmp_path / "old.yaml", changes), **options)

    return run


def written(path: Path, changes: dict[str, Any] | None = None) -> Path:
    raw = yaml.safe_load(yaml.safe_dump(FCN))
    for key, value in (changes or {}).items():
        *parents, last = key.split(".")
        section = raw
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = value
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return path


def leaves(value: Any, key: str = "") -> set[str]:
    """Return the keys of all values that hold no mappings: written apart from the converter."""
    if isinstance(value, dict) and value:
        return set().union(*(leaves(v, f"{key}.{k}" if key else str(k)) for k, v in value.items()))
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return set().union(*(leaves(item, f"{key}.{n}") for n, item in enumerate(value)))
    return {key}


def of(conversion: Conversion, key: str) -> Entry:
    return next(entry for entry in conversion.report if entry.key == key)


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
def test_every_value_of_an_old_file_is_accounted_for_once(path: Path) -> None:
    report = imt.convert_config(path).report
    keys = [entry.key for entry in report]
    assert set(keys) == leaves(yaml.safe_load(path.read_text()))
    assert len(keys) == len(set(keys))
    assert all(entry.note for entry in report if entry.outcome is not Outcome.CARRIED)
    assert all(entry.to for entry in report if entry.outcome is Outcome.CARRIED)
    assert not [entry.key for entry in report if "does not know" in entry.note]


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
def test_a_converted_file_is_a_right_config_and_loads_as_written(
    path: Path, tmp_path: Path
) -> None:
    conversion = imt.convert_config(path)
    assert not conversion.problems
    new = conversion.write(tmp_path / "new.yaml")
    assert yaml.safe_load(new.read_text()) == conversion.config
    loaded = imt.load_config(new)
    assert loaded.task.category == conversion.category
    head = new.read_text().partition("\nname:")[0]
    assert all(line.startswith("#") for line in head.splitlines() if line)
    assert f"imtoolkit train {new}" in head


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
def test_what_is_said_to_be_carried_stands_in_the_new_config(path: Path) -> None:
    conversion = imt.convert_config(path)
    known = leaves(conversion.config) | {"the"}
    for entry in conversion.report:
        if entry.outcome is Outcome.CARRIED and "imtoolkit predict" not in entry.to:
            for to in entry.to.split(", "):
                there = to.removeprefix("trainer.schedules.")
                found = any(key == to or key.startswith(f"{to}.") for key in known)
                assert found or there.endswith(".weight"), (entry.key, to)


def test_the_guide_shows_what_convert_makes(tmp_path: Path) -> None:
    page = snippets(Path(__file__).parents[3] / "docs" / "coming_from_mmv_im2im.md")
    old = next(snippet for snippet in page if snippet.file == "old/train.yaml")
    new = next(snippet for snippet in page if snippet.text.startswith("name: train\n"))
    path = tmp_path / "train.yaml"
    path.write_text(old.text)
    assert imt.convert_config(path).config == yaml.safe_load(new.text)


def test_a_key_that_nobody_knows_is_told_and_not_dropped(converted: Any) -> None:
    conversion = converted({"data.colour_of_the_box": "red", "model.net.params.magic": 3})
    assert of(conversion, "data.colour_of_the_box").outcome is Outcome.LOST
    assert "takes no such parameter" in of(conversion, "model.net.params.magic").note
    assert "colour_of_the_box = red" in conversion.to_yaml()


def test_a_batch_counts_patches_where_it_counted_images(converted: Any) -> None:
    crop = {
        "module_name": "monai.transforms",
        "func_name": "RandSpatialCropSamplesd",
        "params": {"keys": ["IM", "GT"], "roi_size": [32, 32], "num_samples": 4},
    }
    conversion = converted(
        {
            "data.preprocess": [crop],
            "data.dataloader": {"train": {"dataloader_params": {"batch_size": 3}}},
        }
    )
    assert conversion.config["data"]["loader"]["batch_size"] == 12
    assert conversion.config["data"]["patch"] == {"size": [32, 32], "per_image": 4}


@pytest.mark.parametrize(
    ("step", "section", "expected"),
    [
        (
            {"func_name": "ScaleIntensityRangePercentilesd",
             "params": {"keys": ["IM"], "lower": 1, "upper": 99, "b_min": 0, "b_max": 1}},
            "preprocess",
            {"name": "normalize_percentiles",
             "params": {"lower": 1, "upper": 99, "channel_wise": False}},
        ),
        (
            {"func_name": "ScaleIntensityRangePercentilesd",
             "params": {"keys": ["IM"], "lower": 1, "upper": 99, "b_min": -1, "b_max": 1}},
            "preprocess",
            {"name": "ScaleIntensityRangePercentilesd",
             "params": {"keys": ["image"], "lower": 1, "upper": 99, "b_min": -1, "b_max": 1}},
        ),
        (
            {"func_name": "RandFlipD", "params": {"keys": ["IM", "GT"], "prob": 0.5,
                                                  "spatial_axis": [-2]}},
            "augment",
            {"name": "flips", "params": {"axes": ["Y"], "prob": 0.5}},
        ),
        (
            {"func_name": "RandRotate90d", "params": {"keys": ["IM", "GT"], "prob": 0.3}},
            "augment",
            {"name": "rotations_90", "params": {"prob": 0.4}},
        ),
        (
            {"func_name": "RandRotate90d", "params": {"keys": ["IM"], "prob": 0.9}},
            "augment",
            {"name": "RandRotate90d", "params": {"keys": ["image"], "prob": 0.9}},
        ),
        (
            {"module_name": "mmv_im2im.preprocessing.transforms",
             "func_name": "normalize_staining", "params": {"keys": ["IM"]}},
            "preprocess",
            {"name": "stain_separation",
             "params": {"stains": ["hematoxylin", "eosin"], "white": 255.0}},
        ),
        (
            {"func_name": "NormalizeIntensityd", "params": {"keys": ["IM", "GT"]}},
            "preprocess",
            # labels are not normalised, whatever the file says
            {"name": "normalize_zscore", "params": {"channel_wise": False}},
        ),
        (
            {"func_name": "DivisiblePadd", "params": {"keys": ["IM", "GT"], "k": 8}},
            "preprocess",
            {"name": "pad_to_multiple", "params": {"multiple": 8, "mode": "constant"}},
        ),
    ],
)  # fmt: skip
def test_a_transform_becomes_the_one_that_does_the_same(
    converted: Any, step: dict[str, Any], section: str, expected: dict[str, Any]
) -> None:
    full = {"module_name": "monai.transforms", **step}
    conversion = converted({"data.preprocess": [full]})
    assert conversion.config["data"][section] == [expected]
    assert not conversion.problems


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ({"func_name": "CrossEntropyLoss", "params": {"reduction": "mean"}}, "cross_entropy"),
        (
            {"module_name": "monai.losses", "func_name": "DiceCELoss",
             "params": {"softmax": True, "to_onehot_y": True, "lambda_ce": 0.5}},
            {"name": "dice_ce", "params": {"lambda_ce": 0.5}},
        ),
        (
            {"module_name": "monai.losses", "func_name": "TverskyLoss",
             "params": {"softmax": True, "to_onehot_y": True, "alpha": 0.3}},
            {"name": "TverskyLoss", "params": {"alpha": 0.3}},
        ),
        (
            {"module_name": "monai.losses", "func_name": "GeneralizedDiceFocalLoss",
             "params": {"softmax": True, "to_onehot_y": True, "focal_weight": [1.0, 1.0]}},
            "generalized_dice_focal",
        ),
    ],
)  # fmt: skip
def test_a_loss_becomes_ours_where_ours_is_the_same(
    converted: Any, loss: dict[str, Any], expected: Any
) -> None:
    conversion = converted({"model.criterion": {"module_name": "torch.nn", **loss}})
    assert conversion.config["task"]["loss"] == expected
    assert not conversion.problems


@pytest.mark.parametrize(
    ("classes", "step", "expected"),
    [
        (2, {"func_name": "extract_segmentation", "params": {"channel": 1, "cutoff": "otsu"}},
         [{"name": "threshold", "params": {"of": "foreground", "method": "otsu"}}]),
        (3, {"func_name": "extract_segmentation", "params": {"channel": 2, "cutoff": 0.5}},
         [{"name": "threshold", "params": {"of": "class_2", "value": 0.5, "to": "above"}},
          {"name": "merge_classes", "params": {"maps": ["above"], "numbers": [2]}}]),
        (3, {"func_name": "prune_labels_by_size", "params": {"min_size": 7}},
         [{"name": "remove_small", "params": {"size": 7}}]),
        (3, {"func_name": "generate_classmap"}, None),
        (3, {"module_name": "my_lab", "func_name": "polish"}, None),
    ],
)  # fmt: skip
def test_old_postprocessing_becomes_a_chain(
    converted: Any, classes: int, step: dict[str, Any], expected: Any
) -> None:
    module = {"module_name": "mmv_im2im.postprocessing.basic_collection"}
    conversion = converted(
        {
            "mode": "inference",
            "model.net.params.out_channels": classes,
            "data.postprocess": [{**module, **step}],
        }
    )
    assert conversion.config.get("inference", {}).get("postprocess") == expected
    assert not conversion.problems


@pytest.mark.parametrize(
    ("changes", "category"),
    [
        ({}, "segmentation"),
        ({"model.criterion.func_name": "MSELoss"}, "enhancement"),
        ({"model.net.params.task": "regression"}, "regression"),
        ({"model.framework": "nnunet"}, "segmentation"),
        ({"mode": "inference", "model.criterion": {}}, "segmentation"),
        ({"mode": "inference", "model.criterion": {}, "model.net.params.out_channels": 1},
         "enhancement"),
    ],
)  # fmt: skip
def test_the_category_is_told_from_loss_and_net(
    converted: Any, changes: dict[str, Any], category: str
) -> None:
    assert converted(changes).category == category


def test_a_wrong_guess_of_the_category_is_mended_by_the_user(converted: Any) -> None:
    changes = {"mode": "inference", "model.criterion": {}}
    assert converted(changes, category="enhancement").config["task"]["category"] == "enhancement"
    with pytest.raises(ConfigError, match="Did you mean 'segmentation'"):
        converted(changes, category="segmentations")


def test_the_folders_that_are_there_decide_the_layout(converted: Any, tmp_path: Path) -> None:
    table = tmp_path / "pairs.csv"
    table.write_text("IM,GT\na.tif,b.tif\n")
    found = converted({"data.data_path": str(table)}).config["data"]["source"]
    params = {"path": str(table), "root": ".", "image": "IM", "target": "GT"}
    assert found == {"name": "csv", "params": params}
    folders = {"source_dir": "/a/raw", "target_dir": "/a/seg", "image_type": "tif"}
    found = converted({"data.data_path": folders}).config["data"]["source"]["params"]
    assert (found["image"], found["target"]) == ("/a/raw/*.tif", "/a/seg/*.tif")


def test_an_inference_file_joins_its_training_file(tmp_path: Path) -> None:
    train, infer = (next(path for path in OLD if path.stem == name) for name in (
        "fcn_label_free_3d", "fcn_label_free_3d_inference"))  # fmt: skip
    conversion = imt.convert_config(train, inference=infer)
    assert conversion.config["inference"] == {
        "tile": [16, 32, 32], "overlap": 0.4, "batch_size": 2, "blend": "constant",
    }  # fmt: skip
    assert conversion.commands[-1] == (
        "imtoolkit predict latest 'data/stacks/test/*_IM.tiff' --output data/stacks/predicted "
        "--accelerator cpu"
    )
    told = [entry for entry in conversion.report if entry.key.startswith(f"{infer.name}: ")]
    assert len(told) == len(imt.convert_config(infer).report)
    # the training file pads along Z, the inference file to multiples of 4
    padding = next(entry for entry in told if entry.key.endswith("data.preprocess.1.params.k"))
    assert padding.outcome is Outcome.LOST
    with pytest.raises(ConfigError, match="is for training"):
        imt.convert_config(train, inference=train)
    with pytest.raises(ConfigError, match="is of the framework 'pix2pix', not 'FCN'"):
        imt.convert_config(train, inference=infer.with_name("pix2pix_2d_inference.yaml"))


def test_padding_to_a_multiple_is_no_other_preparation(tmp_path: Path) -> None:
    train, infer = (
        next(path for path in OLD if path.stem == name)
        for name in ("pix2pix_2d", "pix2pix_2d_inference")
    )
    assert not _said_of_preparation(train, infer)
    old = yaml.safe_load(infer.read_text(encoding="utf-8"))
    pad = {"module_name": "monai.transforms", "func_name": "DivisiblePad", "params": {"k": 8}}
    old["data"]["preprocess"].append(pad)
    padded = tmp_path / infer.name
    padded.write_text(yaml.safe_dump(old), encoding="utf-8")
    assert not _said_of_preparation(train, padded)
    old["data"]["preprocess"][0]["params"]["lower"] = 7
    padded.write_text(yaml.safe_dump(old), encoding="utf-8")
    assert _said_of_preparation(train, padded)


def _said_of_preparation(train: Path, infer: Path) -> bool:
    remarks = imt.convert_config(train, inference=infer).remarks
    return any("prepared images otherwise" in remark for remark in remarks)


def test_weights_of_a_monai_net_are_started_from_where_they_are_there(
    converted: Any, tmp_path: Path
) -> None:
    extra = {"model.model_extra": {"pre-train": str(tmp_path / "last.ckpt")}}
    assert "start_from" not in converted(extra).config["task"]
    (tmp_path / "last.ckpt").touch()
    found = converted(extra).config["task"]["start_from"]
    assert found == {"run": str(tmp_path / "last.ckpt"), "rename": {"net.": "nets.net."}}


def test_nothing_of_an_old_file_is_imported_or_run(tmp_path: Path, converted: Any) -> None:
    trap = tmp_path / "trap.py"
    trap.write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    sys.path.insert(0, str(tmp_path))
    try:
        conversion = converted(
            {
                "model.net": {"module_name": "trap", "func_name": "Net"},
                "model.criterion": {"module_name": "trap", "func_name": "Loss"},
                "data.data_path": "{'train': __import__('trap'), 'val': 1}",
                "trainer.callbacks": [{"module_name": "trap", "func_name": "Call"}],
            }
        )
    finally:
        sys.path.remove(str(tmp_path))
    assert not (tmp_path / "ran").exists()
    assert not conversion.problems
    assert "'trap.Net' is not part of" in of(conversion, "model.net.module_name").note
    old = tmp_path / "tagged.yaml"
    old.write_text("model: !!python/object/apply:os.system [echo]\n")
    with pytest.raises(ConfigError, match=r"no section|would make an object"):
        imt.convert_config(old)
    old.write_text("data: {}\nmodel: {framework: !!python/name:os.system }\n")
    with pytest.raises(ConfigError, match="would make an object of Python"):
        imt.convert_config(old)


def test_scalars_are_read_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text(
        "base: &b {lr: 1e-3}\nmodel:\n  <<: *b\n  on: yes\n  betas: (0.5, 0.9)\n  path: 1e-3.ckpt\n"
        "  list: !!python/tuple [1, 2]\nmodel_2: {a: 1}\nmodel_2: {a: 2}\n"
    )
    old = read_old(path)
    assert old.root["model"] == {
        "lr": 0.001, "True" if "True" in old.root["model"] else "on": True, "betas": [0.5, 0.9],
        "path": "1e-3.ckpt", "list": [1, 2],
    }  # fmt: skip
    assert old.doubled == [("model_2", 9)]
    assert old.get("model_2.a") == 2
    assert old.line("model.betas") == 5


def test_converting_imports_no_torch() -> None:
    code = (
        "import sys\nimport imtoolkit as imt\n"
        f"imt.convert_config({str(OLD[0])!r})\n"
        "print('torch' in sys.modules, 'monai' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


@pytest.mark.parametrize("size", [[64, 64], [96, 160], [6, 512, 512], [32, 128, 128], [10, 10]])
def test_a_planned_net_divides_its_patch(size: list[int]) -> None:
    plan = plan_dynunet(size)
    for axis, side in enumerate(size):
        for stride in plan["strides"]:
            assert side % stride[axis] == 0
            side //= stride[axis]
        assert side >= min(size[axis], 4)
    stages = len(plan["strides"])
    assert len(plan["kernel_size"]) == len(plan["filters"]) == stages >= 3
    assert plan["upsample_kernel_size"] == plan["strides"][1:]


def test_a_plan_spares_the_axis_of_wide_pixels() -> None:
    plan = plan_dynunet([16, 128, 128], [5.0, 1.0, 1.0])
    assert plan["strides"][1] == [1, 2, 2]
    assert plan["kernel_size"][0] == [1, 3, 3]


@pytest.mark.parametrize(("size", "ratio"), [([6, 512, 512], 2), ([32, 128, 128], 4), (None, 3)])
def test_the_net_that_replaces_aicsmlsegments_divides_its_patch(
    size: list[int] | None, ratio: int
) -> None:
    plan = zoom_plan(size, ratio)
    assert plan["strides"][1] == [1, ratio, ratio]
    for axis, side in enumerate(size or []):
        for stride in plan["strides"]:
            assert side % stride[axis] == 0
            side //= stride[axis]


def test_a_file_too_deep_to_read_is_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "deep.yaml"
    path.write_text("data: " + "[" * 3000 + "]" * 3000, encoding="utf-8")

    with pytest.raises(ConfigError, match="not valid YAML"):
        imt.convert_config(path)
