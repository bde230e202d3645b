"""The command ``imtoolkit samples``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imtoolkit.cli.main import main


def test_it_draws_and_tells_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "nuclei"
    assert main(["samples", "nuclei", str(folder), "--count", "2", "--seed", "4"]) == 0
    assert str(folder) in capsys.readouterr().out
    assert len(list((folder / "images").iterdir())) == 2
    assert json.loads((folder / "samples.json").read_text())["seed"] == 4


def test_it_draws_in_three_dimensions(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    assert main(["samples", "shapes", str(folder), "--count", "1", "--dims", "3", "--quiet"]) == 0
    assert json.loads((folder / "samples.json").read_text())["dims"] == 3


def test_it_answers_scripts_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["samples", "denoise", str(tmp_path / "set"), "--count", "1", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["parts"] == ["again", "clean", "noisy"]
    assert answer["folder"] == str(tmp_path / "set")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nuclie", "x"], "Did you mean 'nuclei'"),
        (["nuclei", "x", "--dims", "4"], "not in 4"),
        (["nuclei", "x", "--count", "0"], "at least 1"),
        (["mednist", "x", "--count", "3"], "is a public set"),
        (["decathlon:Task99", "x"], "unknown task 'Task99'"),
        (["nuclei"], "folder"),
    ],
)
def test_mistakes_end_with_a_message_and_code_two(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["samples", *words]) == 2
    assert message.lower() in capsys.readouterr().err.lower()
    assert list(tmp_path.iterdir()) == []


def test_it_fetches_a_public_set_and_tells_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from imtoolkit.samples import public

    source = {"name": "class_folders", "params": {"root": "data/MedNIST"}}
    fetched = public.Fetched(tmp_path / "MedNIST", source, 5)
    monkeypatch.setattr(public, "fetch", lambda name, folder, progress: fetched)
    assert main(["samples", "mednist", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "5 images of mednist" in text
    assert "{name: class_folders, params: {root: data/MedNIST}}" in text
