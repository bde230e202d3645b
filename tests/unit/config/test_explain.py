"""Keys are explained from the dataclasses, and every example loads."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from imtoolkit.config import catalog, load_config
from imtoolkit.config.decode import SECTION_TYPES
from imtoolkit.config.examples import COMPLETE, VALUES
from imtoolkit.config.explain import explain, key_docs, sections_overview
from imtoolkit.config.field_docs import class_doc, field_doc
from imtoolkit.config.loading import Draft, examine
from imtoolkit.config.nodes import parse
from imtoolkit.config.presets import find_config, presets
from imtoolkit.config.schema import config_schema
from imtoolkit.config.validate import all_keys
from imtoolkit.core.errors import ComponentError, ConfigError

from .conftest import GOOD


@pytest.mark.parametrize("cls", SECTION_TYPES)
def test_every_section_and_field_is_documented(cls: type[Any]) -> None:
    assert class_doc(cls)
    assert [item.name for item in fields(cls) if not field_doc(cls, item.name)] == []


def test_every_key_of_the_config_can_be_explained() -> None:
    docs = key_docs()
    assert {key for key in all_keys() if key not in docs} == set()
    for key, found in docs.items():
        assert found.doc, key
        assert explain(key) == found


def _merged(raw: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    merged = dict(raw)
    for key, value in extra.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict) and "name" not in value
        merged[key] = _merged(merged[key], value) if both else value
    return merged


NEEDS: dict[str, dict[str, Any]] = {
    "data.split.naive": {"data": {"split": {"group_by": "patient"}}},
    "data.split.fold": {"data": {"split": {"folds": 5, "val": None}}},
    "data.patch.zoom_prob": {"data": {"patch": {"zoom": [0.5, 2.0]}}},
    "task.class_weights": {"task": {"classes": ["background", "nucleus", "debris"]}},
}


@pytest.mark.parametrize("key", sorted(VALUES))
def test_the_example_of_a_key_is_right(key: str) -> None:
    if key in ("base", "plugins"):
        pytest.skip("names another file")
    raw = parse(GOOD).plain()
    example = parse(explain(key).example).plain()
    assert example, key
    section, _, name = key.partition(".")
    single = {"sources": "source", "nets": "net", "losses": "loss"}
    single["optimizers"] = "optimizer"
    if name in single:
        del raw[section][single[name]]
    if key == "data.split.folds":
        del raw["data"]["split"]["val"]
    if key in ("data.axes", "data.target_axes"):
        raw["data"]["patch"] = {"size": [16, 64, 64]}
        raw["data"]["axes"] = "ZYX"
    raw = _merged(_merged(raw, NEEDS.get(key, {})), example)
    draft: Draft = examine(raw)
    ours = [str(p) for p in draft.problems if p.where.startswith(key)]
    assert ours == []


def test_the_complete_example_is_a_right_config() -> None:
    config = load_config(parse(COMPLETE).plain())
    assert config.name == "nuclei"


def test_a_leaf_finds_its_key_and_a_typo_its_neighbour() -> None:
    assert explain("max_epochs").key == "trainer.max_epochs"
    assert explain("--trainer.max_epochs").key == "trainer.max_epochs"
    with pytest.raises(ConfigError, match=r"Did you mean 'trainer.max_epochs'"):
        explain("trainer.max_epoch")
    with pytest.raises(ConfigError, match=r"Did you mean 'trainer.max_epochs'"):
        explain("max_epoch")
    with pytest.raises(ConfigError, match="exists in several sections"):
        explain("batch_size")
    with pytest.raises(ConfigError, match="imtoolkit components KIND NAME"):
        explain("task.net.params.channels")
    with pytest.raises(ConfigError, match=r"'UNet' is a net\. .*imtoolkit components net UNet"):
        explain("UNet")


def test_a_built_in_is_meant_rather_than_a_class_of_a_package(good: dict[str, Any]) -> None:
    good["data"]["augment"] = ["flip"]  # MONAI has a Flip, which is for arrays
    with pytest.raises(ConfigError, match="Did you mean 'flips'"):
        load_config(good)


def test_lists_of_transforms_are_no_kind_of_their_own() -> None:
    assert catalog.check_kind("preprocess") == catalog.check_kind("transforms") == "transform"


def test_what_a_key_says() -> None:
    found = explain("data.patch.foreground")
    assert (found.type, found.default, found.limits) == ("a number", "0.0", "0 to 1")
    assert explain("data.cache.kind").choices == ("persistent", "memory", "none")
    assert explain("data.preprocess").kind == "transform"
    assert explain("task.category").required
    assert "trainer.ema.decay" in explain("trainer.ema").children
    assert "task.classes" in explain("task").children
    assert [name for name, _ in sections_overview()][:2] == ["data", "task"]


def test_the_schema_is_one_and_accepts_right_configs() -> None:
    schema = config_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for text in (GOOD, COMPLETE, *(path.read_text() for path in presets().values())):
        assert [error.message for error in validator.iter_errors(parse(text).plain())] == []
    assert list(validator.iter_errors({"base": "x.yaml", "seed": 1})) == []


@pytest.mark.parametrize(
    "spoilt",
    [
        GOOD.replace("seed: 0", "seed: 0.5"),
        GOOD.replace("per_image", "per_imag"),
        GOOD.replace("category: segmentation", "category: segment"),
        GOOD.replace("max_epochs: 20", "precision: bf17"),
        GOOD.replace("loss: DiceCELoss", "loss: {params: {}}"),
        "seed: 1\n",
    ],
)
def test_the_schema_refuses_what_is_wrong(spoilt: str) -> None:
    validator = jsonschema.Draft202012Validator(config_schema())
    assert list(validator.iter_errors(parse(spoilt).plain()))


def test_names_are_offered_and_fields_described_by_the_schema() -> None:
    schema = config_schema()
    net = schema["$defs"]["net_Component"]["anyOf"][0]["anyOf"][0]["enum"]
    assert "UNet" in net
    assert schema["properties"]["trainer"]["properties"]["max_epochs"]["description"]
    assert schema["properties"]["data"]["properties"]["source"]["anyOf"]


def test_components_are_listed_once_and_ours_first() -> None:
    rows = catalog.list_components("loss")
    names = [name for name, _, _ in rows]
    assert names[:1] == ["dice"]
    assert len(names) == len(set(names))
    assert "DiceCELoss" in names
    assert "Conv2d" not in names
    transforms = [name for name, _, _ in catalog.list_components("transform")]
    assert "RandFlipd" in transforms
    assert not {"RandFlip", "RandFlipD", "RandFlipDict", "SaveImaged"} & set(transforms)


def test_a_component_is_described_with_its_parameters() -> None:
    found = catalog.describe_component("net", "UNet")
    by_name = {item["name"]: item for item in found["parameters"]}
    assert by_name["in_channels"]["filled"]
    assert by_name["channels"]["required"]
    assert by_name["num_res_units"]["default"] == "0"
    assert "residual units" in found["doc"]
    assert found["source"].partition(":")[0].endswith("unet.py")
    assert "params" not in [
        item["name"] for item in catalog.describe_component("optimizer", "AdamW")["parameters"]
    ]
    with pytest.raises(ComponentError, match="Did you mean 'UNet'"):
        catalog.describe_component("net", "UNett")
    with pytest.raises(ComponentError, match="Did you mean 'transform'"):
        catalog.check_kind("transfrom")
    assert catalog.check_kind("losses") == "loss"


def test_presets_are_found_by_their_name_with_and_without_the_task() -> None:
    assert find_config("nuclei_2d") == find_config("segmentation/nuclei_2d")


def test_the_path_of_a_preset_finds_it_outside_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = find_config("configs/segmentation/nuclei_2d.yaml")
    assert path == find_config("segmentation/nuclei_2d")


def test_a_name_that_is_no_preset_is_answered_with_the_next() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean 'nuclei_2d'"):
        find_config("nuclei_2")


@pytest.mark.parametrize("name", sorted(presets()))
def test_every_preset_is_a_right_config(name: str) -> None:
    assert load_config(name).name
