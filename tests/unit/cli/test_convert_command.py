"""``imtoolkit convert`` as a user meets it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from imtoolkit.cli.main import main

OLD = Path(__file__).parents[1] / "config" / "old"


@pytest.fixture
def old(workdir: Path) -> Path:
    path = workdir / "old.yaml"
    shutil.copy(OLD / "fcn_segmentation_2d.yaml", path)
    return path


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """Run the command, which must fail with a message and no traceback; return the message."""
    assert main(["convert", *map(str, words)]) == 2
    shown = capsys.readouterr()
    assert "Traceback" not in shown.out + shown.err
    assert "not expected" not in shown.err
    return shown.err


def test_a_file_becomes_another_and_every_key_is_shown(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(old), "new.yaml"]) == 0
    shown = capsys.readouterr().out
    assert "trainer.max_epochs" in shown
    assert "no counterpart" in shown
    assert "imtoolkit train new.yaml" in shown
    assert main(["check", "new.yaml", "--static"]) == 0


def test_a_file_that_is_there_is_overwritten_only_when_asked(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(old)]) == 0
    new = old.with_name("old_imtoolkit.yaml")
    new.write_text("mine: 1\n\ntask: {}\n")
    capsys.readouterr()
    assert "is not overwritten" in refused(capsys, old)
    assert "is not overwritten" in refused(capsys, old, new)
    assert new.read_text() == "mine: 1\n\ntask: {}\n"
    assert main(["convert", str(old), "--force"]) == 0
    assert "fcn" not in new.read_text()
    assert yaml.safe_load(new.read_text())["task"]["category"] == "segmentation"


def test_an_old_file_is_never_overwritten_by_its_own_conversion(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = old.read_text()
    assert "is the old file itself" in refused(capsys, old, old, "--force")
    assert "is the old file itself" in refused(capsys, old, "--output", ".", "--force")
    assert old.read_text() == before


def test_folders_are_converted_file_by_file(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(OLD, workdir / "old")
    (workdir / "old" / "other.yaml").write_text("services: {web: {}}\n")
    message = refused(capsys, "old", "--output", "new")
    assert "other.yaml: has no section 'data', 'model'" in message
    made = sorted(path.name for path in (workdir / "new").iterdir())
    assert made == sorted(path.name for path in OLD.glob("*.yaml"))


def test_json_holds_config_report_and_commands(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(old), "new.yaml", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["output"] == "new.yaml"
    assert found["config"]["task"]["category"] == "segmentation"
    assert found["direction"] == "train"
    outcomes = {entry["outcome"] for entry in found["report"]}
    assert outcomes == {"carried over", "implied", "no counterpart"}
    assert sum(found["counts"].values()) == len(found["report"])
    lines = {entry["key"]: entry["line"] for entry in found["report"]}
    assert old.read_text().splitlines()[lines["trainer.params.max_epochs"] - 1].strip() == (
        "max_epochs: 40"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("- a\n- b\n", "is no mapping"),
        ("data: {a: [1\nmodel: 2\n", "is not valid YAML"),
        ("data: {}\nmodel:\n\tframework: FCN\n", "is not valid YAML"),
        ("a: &x [*x]\nmodel: {}\ndata: {}\n", "holds itself"),
        ("data: {}\ntrainer: {}\n", "has no section 'model'"),
        ("data: {}\nmodel: {net: {}}\n", "model.framework: is missing"),
        ("data: {}\nmodel: {framework: cycleGAM}\n", "Did you mean 'cyclegan'?"),
        ("data: {}\nmodel: {framework: dints}\n", "has no counterpart: it searched for a net"),
        ("mode: trane\ndata: {}\nmodel: {framework: FCN}\n", "Did you mean 'train'?"),
        ("data: {}\ntask: {category: segmentation}\n", "is a config of imtoolkit already"),
    ],
)
def test_what_is_no_old_file_is_refused_with_one_message(
    workdir: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    (workdir / "bad.yaml").write_text(text)
    message = refused(capsys, "bad.yaml")
    assert words in message
    assert "bad.yaml" in message
    assert not (workdir / "bad_imtoolkit.yaml").exists()


def test_files_that_cannot_be_read_are_told(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no such file" in refused(capsys, "missing.yaml")
    (workdir / "latin.yaml").write_bytes(b"data: {name: \xe9}\n")
    assert "UTF-8" in refused(capsys, "latin.yaml")
    (workdir / "empty").mkdir()
    assert "no files ending in .yaml" in refused(capsys, "empty")


def test_a_value_that_makes_no_sense_is_told_after_writing(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old.write_text(old.read_text().replace("batch_size: 3", "batch_size: 0"))
    message = refused(capsys, old, "new.yaml")
    assert "data.loader.batch_size: must be at least 1, got 0" in message
    assert Path("new.yaml").exists()


ODD = "data: {{{data}}}\nmodel: {{framework: {framework}, net: {net}}}\n"


@pytest.mark.parametrize(
    ("framework", "data", "net", "key"),
    [
        ("cyclegan", "", "{discriminator: {params: five}}", "model.net.discriminator.params"),
        ("FCN", "data_path: '~nobody-of-this-name/x'", "{}", "data.data_path"),
        ("FCN", "preprocess: [{func_name: LoadImaged, params: {keys: [[IM]]}}]", "{}", "data."),
    ],
)
def test_a_value_of_an_unexpected_kind_is_told_with_its_key(
    workdir: Path,
    capsys: pytest.CaptureFixture[str],
    framework: str,
    data: str,
    net: str,
    key: str,
) -> None:
    (workdir / "odd.yaml").write_text(ODD.format(framework=framework, data=data, net=net))
    message = refused(capsys, "odd.yaml")
    assert "odd.yaml" in message
    assert key in message
    assert "Mend it, or remove it" in message
    assert not (workdir / "odd_imtoolkit.yaml").exists()


@pytest.mark.parametrize("break_", ["\\u2028", "\\x85", "\\n", "\\r", "\\0", "\\e[31m"])
def test_what_stands_in_comments_stays_there(
    workdir: Path, capsys: pytest.CaptureFixture[str], break_: str
) -> None:
    hostile = f"a{break_}plugins: [evil.py]{break_}#"
    (workdir / "hostile.yaml").write_text(
        f'data: {{inference_input: {{dir: "{hostile}"}}, "{hostile}": 1}}\n'
        f'model: {{framework: FCN, net: {{module_name: "{hostile}", func_name: Net}}}}\n'
    )
    main(["convert", "hostile.yaml", "new.yaml"])
    shown = capsys.readouterr()
    found = yaml.safe_load((workdir / "new.yaml").read_text(encoding="utf-8"))
    assert "plugins" not in found
    assert found["task"]["category"] == "enhancement"
    assert "\x1b[31m" not in shown.out
