"""Configs that are wrong or hostile: refused with file, line and key, before anything is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.command import CONFIG, Place

EVIL = {"name": "os.system", "params": {"command": "touch pwned"}}
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


def untouched(place: Place) -> bool:
    """Tell whether there is no run and nothing that hostile code would have left."""
    return not place.runs() and not list(place.folder.rglob("pwned"))


# --- the file -------------------------------------------------------------------------------------

FILES: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "empty": ("", ("is empty", "'data' and 'task'")),
    "only comments": ("# nothing yet\n", ("is empty", "'data' and 'task'")),
    "a list": ("- a\n- b\n", ("holds a list", "mapping")),
    "a word": ("hello", ("only 'hello'", "mapping")),
    "tabs": ("name: a\ndata:\n\tsource: folder\n", ("cells.yaml:3", "not valid YAML", "spaces")),
    "not closed": ("name: [1, 2\ndata: {}\n", ("cells.yaml:2", "not valid YAML")),
    "latin-1": ("name: größe\n".encode("latin-1"), ("UTF-8", "Save it")),
    "utf-16": ("name: cells\n".encode("utf-16"), ("UTF-8", "Save it")),
    "binary": (bytes(range(256)), ("not a text file",)),
    "a key twice": ("name: a\nname: b\n", ("cells.yaml:2: name", "twice", "line 1", "Remove one")),
    "an alias of itself": ("data: &a [*a]\n", ("through aliases",)),
    "aliases without bound": (BOMB, ("through aliases",)),
    "python/object": (
        "data: !!python/object/apply:os.system ['touch pwned']\n",
        ("cells.yaml:1: data", "!!python/object/apply:os.system", "refused", "Remove it"),
    ),
    "python/name": ("name: !!python/name:os.system\n", ("!!python/name:os.system", "refused")),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("verb", ["train", "check"])
def test_a_file_that_is_no_config_is_refused(place: Place, kind: str, verb: str) -> None:
    text, words = FILES[kind]
    place.text(text)
    place.command(verb, "cells.yaml").refuses("cells.yaml", *words)
    assert untouched(place)


def test_a_config_with_a_byte_order_mark_is_read(place: Place) -> None:
    place.text("\ufeff" + yaml.safe_dump(CONFIG))
    assert place.command("check", "cells.yaml", "--static").code == 0


def test_a_config_that_is_not_there_is_told_with_the_presets(place: Place) -> None:
    place.command("train", "cels.yaml").refuses("cels.yaml: no such file", "segmentation/nuclei_2d")


def test_a_folder_is_no_config(place: Place) -> None:
    place.command("train", "data").refuses("data: is a folder", "YAML file")


# --- keys, names, parameters, types ---------------------------------------------------------------

REFUSED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "unknown key": (
        {"data.loader.batchsize": 3, "trainr": {}},
        ("data.loader.batchsize", "'batch_size'", "trainr", "'trainer'"),
    ),
    "unknown net": ({"task.net.name": "UNett"}, ("task.net.name", "Did you mean 'UNet'")),
    "unknown parameter": (
        {"task.net.params.chanels": [3]},
        ("task.net.params.chanels", "takes no parameter", "'channels'"),
    ),
    "parameter of a loss": (
        {"task.loss": {"name": "DiceCELoss", "params": {"sofmax": True}}},
        ("task.loss.params.sofmax", "Did you mean 'softmax'"),
    ),
    "wrong types": (
        {"seed": "x", "data.loader.batch_size": 1.7, "trainer.max_epochs": "five"},
        ("seed: expects", "batch_size: expects a whole number, got the number 1.7", "'five'"),
    ),
    "parameter of the wrong type": (
        {"task.net.params.channels": "four"},
        ("task.net.params.channels", "a list", "got the text 'four'"),
    ),
    "learning rate with a typo": (
        {"task.optimizer.params.lr": "1e-3x"},
        ("task.optimizer.params.lr", "expects a number", "'1e-3x'"),
    ),
    "negative epochs": ({"trainer.max_epochs": -3}, ("trainer.max_epochs", "at least", "-3")),
    "no epochs": ({"trainer.max_epochs": 0}, ("trainer.max_epochs", "0 epochs")),
    "batches of nothing": (
        {"data.loader.batch_size": 0},
        ("data.loader.batch_size", "at least 1, got 0"),
    ),
    "negative workers": ({"data.loader.workers": -1}, ("data.loader.workers", "at least 0")),
    "negative seed": ({"seed": -1}, ("seed: must be between 0 and",)),
    "patch of no size": ({"data.patch.size": [0, 32]}, ("data.patch.size", "[Y, X]", "[0, 32]")),
    "patch of another dimension": (
        {"data.patch.size": [8, 32, 32]},
        ("data.patch.size", "3 sides", "YX have 2", "[Y, X]"),
    ),
    "axes of another dimension": (
        {"data.axes": "ZYX"},
        ("data.patch.size", "ZYX have 3", "[Z, Y, X]", "data.axes"),
    ),
    "axes that do not exist": ({"data.axes": "YQ"}, ("data.axes", "'Q'", "T, C, Z, Y, X")),
    "one class": ({"task.classes": ["cell"]}, ("task.classes", "at least two", "background")),
    "a class twice": ({"task.classes": ["a", "a"]}, ("task.classes", "'a' stands twice")),
    "weights of other classes": ({"task.class_weights": [1.0]}, ("class_weights", "2 classes")),
    "unknown metric": (
        {"trainer.checkpoint": {"monitor": ["val/dicee"]}},
        ("trainer.checkpoint.monitor", "Did you mean 'val/dice'"),
    ),
    "random step in preprocess": (
        {"data.preprocess": ["flips"]},
        ("data.preprocess.0", "random", "'augment'"),
    ),
    "splits that leave nothing": (
        {"data.split": {"val": 0.6, "test": 0.6}},
        ("data.split", "leaves none for training"),
    ),
    "unknown precision": ({"trainer.precision": "float8"}, ("trainer.precision", "'bf16-mixed'")),
    "unknown strategy": ({"trainer.strategy": "ddpp"}, ("trainer.strategy", "Did you mean 'ddp'")),
    "time limit": ({"trainer.max_time": "soon"}, ("trainer.max_time", "DD:HH:MM:SS", "'soon'")),
    "name that leaves its folder": ({"name": "../../etc"}, ("name:", "folder name")),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_wrong_config_is_refused_before_a_run_is_made(place: Place, kind: str) -> None:
    changes, words = REFUSED[kind]
    place.train(changes).refuses("cells.yaml:", *words)
    assert untouched(place)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(place: Place) -> None:
    done = place.train({"seed": "x", "data.axes": 7, "trainer.max_epochs": "y"})
    done.refuses("seed", "data.axes", "trainer.max_epochs")
    lines = [line for line in done.err.splitlines() if line.startswith("cells.yaml:")]
    assert len(lines) == 3
    assert lines == sorted(lines, key=lambda line: int(line.split(":")[1]))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--trainer.max_epoch", "3"), ("--trainer.max_epoch", "Did you mean 'max_epochs'")),
        (("--trainer.max_epochs", "three"), ("--trainer.max_epochs", "whole number", "'three'")),
        (("--trainer.max_epochs",), ("--trainer.max_epochs: needs a value",)),
        (("--data.preprocess.7.params.x", "3"), ("no entry '7'", "0 to 0")),
        (("--max_epochs", "3"), ("--max_epochs", "--trainer.max_epochs")),
        (("--debug", "fsat"), ("--debug", "Did you mean 'fast'")),
    ],
)
def test_a_wrong_override_is_refused(
    place: Place, words: tuple[str, ...], told: tuple[str, ...]
) -> None:
    place.train(None, *words).refuses(*told)
    assert untouched(place)


def test_an_unknown_command_names_the_nearest(place: Place) -> None:
    place.command("trian", "cells.yaml").refuses("'trian'", "Did you mean 'train'")


# --- hostile --------------------------------------------------------------------------------------

HOSTILE: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "os.system as a net": ({"task.net": EVIL}, ("task.net", "'os.system' lies outside")),
    "os.system as a loss": ({"task.loss": EVIL}, ("task.loss", "'os.system' lies outside")),
    "os.system as a source": ({"data.source": EVIL}, ("data.source", "'os.system'")),
    "os.system as a reader": ({"data.reader": EVIL}, ("data.reader", "'os.system' lies outside")),
    "os.system as a transform": ({"data.preprocess": [EVIL]}, ("data.preprocess.0", "'os.system'")),
    "os.system behind monai": (
        {"data.preprocess": [{**EVIL, "name": "monai.utils.module.os.system"}]},
        ("data.preprocess.0", "monai.utils.module.os.system"),
    ),
    "os.system as MONAI's reader": (
        {
            "data.preprocess": [
                {
                    "name": "LoadImaged",
                    "params": {"keys": "image", "reader": "os.system", "command": "touch pwned"},
                }
            ]
        },
        ("data.preprocess.0", "turns a text into code", "'data.reader'"),
    ),
    "a class of images that is none": (
        {"data.reader": {"name": "BioImageReader", "params": {"image_class": "os.system"}}},
        ("image_class 'os.system' is not allowed", "bioio.BioImage"),
    ),
    "a function inside parameters": (
        {"task.net.params.act": {"name": "os.system", "params": {"command": "touch pwned"}}},
        ("os.system",),
    ),
    "pickle allowed to a reader": (
        {"data.preprocess": [{"name": "monai.data.NumpyReader", "params": {"allow_pickle": True}}]},
        ("data.preprocess.0",),
    ),
    "a download": (
        {
            "task.net": {
                "name": "resnet18",
                "params": {"spatial_dims": 2, "n_input_channels": 1, "pretrained": True},
            }
        },
        ("pretrained", "task.start_from"),
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("verb", ["train", "check"])
def test_a_hostile_config_runs_nothing(place: Place, kind: str, verb: str) -> None:
    changes, words = HOSTILE[kind]
    place.config(changes)
    place.command(verb, "cells.yaml").refuses(*words)
    assert untouched(place)


@pytest.mark.parametrize("verb", ["train", "check"])
def test_a_plugin_that_nobody_trusts_is_not_imported(place: Place, verb: str) -> None:
    place.text("from pathlib import Path\nPath('pwned').write_text('x')\n", "evil.py")
    place.config({"plugins": ["evil.py"], "task.loss": "evil.Loss"})
    place.command(verb, "cells.yaml").refuses("plugins.0", "evil.py", "not trusted", "--trust")
    assert untouched(place)
    assert not (place.folder / "settings.yaml").exists()


def test_a_package_that_nobody_trusts_is_not_imported(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = place.folder / "evil_package"
    package.mkdir()
    (package / "__init__.py").write_text("from pathlib import Path\nPath('pwned').touch()\n")
    monkeypatch.syspath_prepend(str(place.folder))
    done = place.train({"plugins": ["evil_package"], "task.loss": "evil_package.Loss"})
    done.refuses("plugins.0", "the package 'evil_package'", "--trust")
    assert untouched(place)


def test_a_plugin_that_is_not_there(place: Place) -> None:
    place.train({"plugins": ["gone.py"]}).refuses("plugins.0", "no such file", "relative to")
    assert untouched(place)


def test_a_trusted_plugin_that_cannot_be_imported_is_named(place: Place) -> None:
    place.text("import torch\nraise ValueError('half finished')\n", "broken.py")
    done = place.train({"plugins": ["broken.py"]}, "--trust")
    done.refuses("plugins", "broken.py", "cannot be imported", "half finished")
    assert not place.runs()


def test_a_base_from_nowhere_is_told_where_it_was_written(place: Place) -> None:
    place.train({"base": "gone.yaml"}).refuses("base", "'gone.yaml' cannot be used", "no such file")


def test_a_refused_config_is_left_as_it_was(place: Place) -> None:
    path = place.config({"trainr": {}})
    before = path.read_bytes(), path.stat().st_mtime_ns
    place.command("train", Path(path.name)).refuses("trainr")
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
