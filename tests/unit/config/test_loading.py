"""Precedence, shorthand, overrides, and the way back from a dump."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from imtoolkit.config import from_dict, load_config, load_run_config, to_dict, to_yaml
from imtoolkit.config import loading as loading_room
from imtoolkit.config.nodes import Node
from imtoolkit.config.sections import Role, SegmentationConfig
from imtoolkit.core.errors import ConfigError

Write = Callable[..., Path]
Problems = Callable[..., list[str]]


def test_short_forms_stand_for_single_entries(write: Write) -> None:
    config = load_config(write())
    assert isinstance(config.task, SegmentationConfig)
    assert config.task.nets["net"].name == "UNet"
    assert config.task.losses["loss"].name == "DiceCELoss"
    assert config.task.losses["loss"].weight == 1.0
    assert config.task.optimizers["net"].params == {"lr": 1e-3}
    assert config.data.sources["main"].source.name == "folder"
    assert config.data.sources["main"].role is Role.all


def test_several_sources_take_roles_and_bare_components(good: dict[str, Any]) -> None:
    source = good["data"].pop("source")
    good["data"]["sources"] = {"a": source, "b": {"source": source, "role": "naive", "weight": 2}}
    config = load_config(good)
    assert {name: item.role.value for name, item in config.data.sources.items()} == {
        "a": "all",
        "b": "naive",
    }
    assert config.data.sources["b"].weight == 2.0


def test_short_and_long_form_together_are_refused(good: dict[str, Any], problems: Problems) -> None:
    good["task"]["nets"] = {"net": "UNet"}
    assert any("both are given" in text for text in problems(good))


def test_a_component_where_named_ones_belong_is_told(
    good: dict[str, Any], problems: Problems
) -> None:
    good["task"]["nets"] = good["task"].pop("net")
    assert any("For a single one write 'net:'" in text for text in problems(good))


def test_the_order_is_defaults_base_file_overrides(write: Write) -> None:
    write(name="base.yaml")
    top = write("base: base.yaml\nseed: 5\ntrainer: {max_epochs: 7, max_steps: 70}\n", "top.yaml")
    config = load_config(top, {"trainer.max_epochs": 3})
    assert (config.seed, config.trainer.max_epochs, config.trainer.max_steps) == (5, 3, 70)
    assert config.data.loader.batch_size == 8
    assert config.trainer.accumulate_grad_batches == 1
    assert config.name == "nuclei"
    assert config.base is None


def test_lists_replace_and_dicts_merge(write: Write) -> None:
    write(name="base.yaml")
    text = (
        "base: base.yaml\n"
        "data: {augment: []}\n"
        "task: {net: {params: {num_res_units: 0}}, classes: [background, a, b]}\n"
    )
    config = load_config(write(text, "top.yaml"))
    assert config.data.augment == []
    assert config.task.nets["net"].params["num_res_units"] == 0
    assert config.task.nets["net"].params["strides"] == [2, 2, 2]


def test_named_entries_take_the_place_of_the_single_one(write: Write) -> None:
    write(name="base.yaml")
    several = "base: base.yaml\ntask: {losses: {a: dice, b: cross_entropy}}\n"
    assert list(load_config(write(several, "top.yaml")).task.losses) == ["a", "b"]
    source = "{name: folder, params: {root: elsewhere}}"
    several = f"base: base.yaml\ndata: {{sources: {{a: {source}, b: {source}}}}}\n"
    assert list(load_config(write(several, "top.yaml")).data.sources) == ["a", "b"]
    overrides = {"task.losses": {"a": "dice", "b": "cross_entropy"}}
    assert list(load_config(write(), overrides).task.losses) == ["a", "b"]


def test_parameters_of_one_net_never_reach_another(write: Write) -> None:
    write(name="base.yaml")
    config = load_config(write("base: base.yaml\ntask: {net: BasicUNet}\n", "top.yaml"))
    assert config.task.nets["net"].params == {}


def test_a_base_has_no_base_and_its_mistakes_are_told(write: Write, problems: Problems) -> None:
    write("base: other.yaml\n" + write().read_text(), "base.yaml")
    assert any("one level only" in text for text in problems(write("base: base.yaml\n", "a.yaml")))
    missing = problems(write("base: nowhere.yaml\n", "b.yaml"))
    assert any("'nowhere.yaml' cannot be used" in text for text in missing)


def test_the_name_of_the_file_names_the_run(write: Write) -> None:
    text = write().read_text().removeprefix("name: nuclei\n")
    assert load_config(write(text, "my_cells.yaml")).name == "my_cells"


def _root(config: Any) -> Any:
    return config.data.sources["main"].source.params["root"]


def _lr(config: Any) -> Any:
    return config.task.optimizers["net"].params["lr"]


@pytest.mark.parametrize(
    ("words", "get", "value"),
    [
        (["--task.optimizer.params.lr", "3e-4"], _lr, 3e-4),
        (["--task.optimizers.net.params.lr=1"], _lr, 1),
        (["--data.augment.0.params.prob", "0.1"], lambda c: c.data.augment[0].params["prob"], 0.1),
        (["--data.augment.0.params.keys", "image"], lambda c: c.data.augment[0].params["keys"],
         "image"),
        (["--data.patch.size", "[64, 96]"], lambda c: c.data.patch.size, [64, 96]),
        (["--data.source.params.root", "/x"], _root, "/x"),
        (["--trainer.ema", "{}"], lambda c: c.trainer.ema.decay, 0.999),
        (["--trainer.devices=2"], lambda c: c.trainer.devices, 2),
        (["--trainer.devices=auto"], lambda c: c.trainer.devices, "auto"),
        (["--trainer.precision='32'"], lambda c: c.trainer.precision, "32"),
        (["--data.split.val", "1"], lambda c: c.data.split.val, 1),
        (["--data.split.val", "0.5"], lambda c: c.data.split.val, 0.5),
        (["--trainer.max_steps", "-1"], lambda c: c.trainer.max_steps, -1),
        (["--seed=3", "--seed", "4"], lambda c: c.seed, 4),
        (["--task.net", "BasicUNet"], lambda c: c.task.nets["net"].params, {}),
        (["--task.net.name", "BasicUNet"], lambda c: c.task.nets["net"].params, {}),
        (["--task.loss.weight", "2"], lambda c: c.task.losses["loss"].weight, 2.0),
        (["--task.scheduler.name", "StepLR", "--task.scheduler.params.step_size", "5"],
         lambda c: c.task.schedulers["net"].params, {"step_size": 5}),
    ],
)  # fmt: skip
def test_overrides_reach_into_dicts_lists_and_short_forms(
    write: Write, words: list[str], get: Callable[[Any], Any], value: Any
) -> None:
    found = get(load_config(write(), words))
    assert found == value
    assert type(found) is type(value)


def test_parameters_given_with_a_new_name_belong_to_it(write: Write) -> None:
    words = ["--task.net.params.features=[8,8,16,16,32,8]", "--task.net.name", "BasicUNet"]
    config = load_config(write(), words)
    assert config.task.nets["net"].params == {"features": [8, 8, 16, 16, 32, 8]}


@pytest.mark.parametrize("pattern", ["*.png", "'*.png'"])
def test_a_pattern_needs_no_quotes_but_those_of_the_shell(write: Write, pattern: str) -> None:
    config = load_config(write(), ["--data.source.params.image", pattern])
    assert config.data.sources["main"].source.params["image"] == "*.png"


def test_a_mapping_of_overrides_takes_values_as_they_are(write: Write) -> None:
    config = load_config(write(), {"trainer.precision": "32", "trainer.max_epochs": 5})
    assert (config.trainer.precision, config.trainer.max_epochs) == ("32", 5)


def test_the_single_short_form_addresses_the_only_entry(good: dict[str, Any]) -> None:
    good["task"]["nets"] = {"net": good["task"].pop("net")}
    config = load_config(good, ["--task.net.params.num_res_units", "0"])
    assert config.task.nets["net"].params["num_res_units"] == 0


def test_a_short_form_is_ambiguous_among_several(good: dict[str, Any], problems: Problems) -> None:
    good["task"]["losses"] = {"a": good["task"].pop("loss"), "b": "DiceLoss"}
    found = problems(good, ["--task.loss.weight", "2"])
    assert found == ["--task.loss.weight: is ambiguous: there are a, b. Name one of them"]
    replaced = load_config(good, ["--task.loss", "FocalLoss"])
    assert list(replaced.task.losses) == ["loss"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--data.augment.3.params.prob", "1"],
            "there is no entry '3': the list has entries 0 to 0",
        ),
        (["--trainer.max_epoch", "5"], "--trainer.max_epoch: unknown key 'max_epoch'"),
        (["--trainer.max_epochs", "5.5"], "--trainer.max_epochs: expects a whole number"),
        (["--trainer.max_epochs"], "--trainer.max_epochs: needs a value"),
        (["what"], "what: needs a value"),
        (["--data.patch", "{", "--seed", "1"], "--data.patch: is not valid YAML"),
        (["--data.patch={}", "--data.patch.size.x", "1"], "there is no entry 'x': the list has"),
        (["--seed", "1", "--seed.x", "2"], "contradicts the override --seed"),
        (["5x.y", "2"], "is not an override"),
    ],
)
def test_a_wrong_override_is_told_by_its_key(
    write: Write, problems: Problems, words: list[str], message: str
) -> None:
    assert any(message in text for text in problems(write(), words))


def test_a_dump_loads_back_to_an_equal_config(write: Write, tmp_path: Path) -> None:
    words = ["--trainer.devices", "[0, 1]", "--trainer.precision='16'", "--trainer.ema={}",
             "--data.split.val=3", "--data.channels=[0, DAPI]", "--trainer.limit_val_batches=1",
             "--trainer.fast_dev_run=true", "--name='010'"]  # fmt: skip
    config = load_config(write(), words)
    assert from_dict(to_dict(config)) == config
    again = load_config(write(to_yaml(config), "dump.yaml"))
    assert again == config
    assert type(again.trainer.limit_val_batches) is int
    assert again.trainer.fast_dev_run is True
    assert again.name == "010"


@pytest.mark.parametrize(
    "text",
    ["no", "1e-3", "010", "1:30", "0o7", "~", "", "yes", "a: b", "#x", "é", "2024-01-31", "<<"],
)
def test_every_text_survives_the_dump(good: dict[str, Any], write: Write, text: str) -> None:
    good["task"]["freeze"] = [text]
    config = load_config(good)
    assert load_config(write(to_yaml(config), "dump.yaml")).task.freeze == [text]


def test_numbers_as_keys_of_parameters_survive(good: dict[str, Any], write: Write) -> None:
    params = {"keys": "target", "orig_labels": [0], "target_labels": [1], "extra": {255: 1}}
    good["data"]["preprocess"] = [{"name": "MapLabelValued", "params": params}]
    del params["extra"]
    config = load_config(good)
    assert load_config(write(to_yaml(config), "dump.yaml")) == config


def test_data_paths_are_stored_absolute_from_the_working_directory(
    good: dict[str, Any], workdir: Path
) -> None:
    good["data"]["cache"] = {"root": "kept"}
    good["data"]["split"] = {"file": "s.csv"}
    good["tracking"] = {"runs": "~/runs"}
    config = load_config(good)
    params = config.data.sources["main"].source.params
    assert params["root"] == str(workdir / "data" / "nuclei")
    assert params["image"] == "images/*.tif"
    assert config.data.cache.root == str(workdir / "kept")
    assert config.data.split.file == str(workdir / "s.csv")
    assert config.tracking.runs == str(Path("~/runs").expanduser())


def test_arrays_from_python_pass_and_are_described_in_the_dump(good: dict[str, Any]) -> None:
    images = np.zeros((4, 1, 8, 8), np.float32)
    good["data"]["source"] = {"name": "arrays", "params": {"image": images, "target": images}}
    config = load_config(good)
    assert config.data.sources["main"].source.params["image"] is images
    assert "<array float32 (4, 1, 8, 8) sha256:" in to_yaml(config)


def test_a_newer_format_is_refused_and_an_older_one_is_read(
    good: dict[str, Any], problems: Problems, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert any("Upgrade imtoolkit" in text for text in problems({**good, "config_version": 99}))

    def rename(root: Node) -> None:
        root.value["seed"] = root.value.pop("random_seed")

    monkeypatch.setitem(loading_room.MIGRATIONS, 0, rename)
    del good["seed"]
    config = load_config({**good, "random_seed": 9, "config_version": 0})
    assert (config.seed, config.config_version) == (9, 1)
    assert "config_version: 1" in to_yaml(config)


def test_an_empty_section_takes_its_defaults(write: Write) -> None:
    text = write().read_text().replace("trainer: {max_epochs: 20}", "trainer:\ncallbacks:\n")
    config = load_config(write(text))
    assert config.trainer.max_epochs is None
    assert config.callbacks == []


def test_the_config_of_a_run_loads_from_its_folder(write: Write, tmp_path: Path) -> None:
    config = load_config(write())
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(to_yaml(config))
    assert load_run_config(tmp_path / "run") == config
    assert load_run_config(tmp_path / "run" / "config.yaml") == config


def test_all_problems_come_at_once_in_the_order_of_the_file(
    write: Write, problems: Problems
) -> None:
    text = (
        write().read_text()
        .replace("seed: 0", "seed: 0.5")
        .replace("val: 0.2", "vall: 0.2")
        .replace("DiceCELoss", "{name: DiceCELoss, params: {sofmax: true}}")
        .replace("max_epochs: 20", "max_epoch: 20")
    )  # fmt: skip
    path = write(text)
    assert problems(path) == [
        f"{path}:2: seed: expects a whole number, got the number 0.5",
        f"{path}:6: data.split.vall: unknown key 'vall'. Did you mean 'val'?",
        f"{path}:14: task.loss.params.sofmax: loss 'DiceCELoss' takes no parameter 'sofmax'. "
        "Did you mean 'softmax'?",
        f"{path}:16: trainer.max_epoch: unknown key 'max_epoch'. Did you mean 'max_epochs'?",
    ]


def test_the_yaml_of_the_dump_is_plain(write: Write) -> None:
    raw = yaml.safe_load(to_yaml(load_config(write())))
    assert raw["task"]["nets"]["net"]["name"] == "UNet"
    assert raw["data"]["cache"]["kind"] == "persistent"


def test_a_config_error_is_the_users_to_mend() -> None:
    assert ConfigError("x").exit_code == 2
