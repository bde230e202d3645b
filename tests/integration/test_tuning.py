"""Post-processing is tuned on the validation images, kept in the run, and used from then on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imtoolkit as imt
from imtoolkit.core.errors import ConfigError, RunError
from imtoolkit.runs import Run
from tests.helpers.categories import config_of, merged, write_discs
from tests.helpers.command import command

STEPS: list[dict[str, Any]] = [
    {"name": "threshold", "params": {"of": "disc", "value": 0.9}},
    {"name": "remove_small", "params": {"size": 2}},
]
"""A threshold that takes a part of each disc only."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run whose threshold is a bad one."""
    root = write_discs(tmp_path_factory.mktemp("discs"), test=3)
    raw = config_of(
        "segmentation",
        trainer={"max_epochs": 15},
        inference={"postprocess": STEPS, "checkpoint": "last"},
    )
    source = {"name": "csv", "params": {"path": str(root / "discs.csv"), "target": "mask"}}
    raw = merged(raw, {"data": {"source": source}})
    return imt.train(imt.load_config(raw), path=root / "run", quiet=True).path


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Return a copy of the run, elsewhere: what is tuned must not hang on its place."""
    monkeypatch.chdir(tmp_path)
    yield imt.open_run(shutil.copytree(trained, tmp_path / "moved"))


def test_a_bad_threshold_gets_better_and_is_used_from_then_on(run: Run) -> None:
    image = np.zeros((32, 32), np.float32)
    image[10:20, 10:20] = 1
    before = imt.evaluate(run, split="val", quiet=True)
    labels = imt.predict(run, image)

    found = imt.tune_postprocess(run)

    assert found.metric == "dice"
    assert found.after > found.before
    assert found.before == pytest.approx(before.summary["metrics"]["dice"]["mean"])
    assert [step.name for step in found.steps] == ["threshold", "remove_small"]
    assert found.steps[0].params["value"] < 0.9
    after = imt.evaluate(run, split="val", quiet=True)
    assert after.summary["metrics"]["dice"]["mean"] == pytest.approx(found.after)
    assert imt.predict(run, image).sum() > labels.sum()
    assert np.array_equal(imt.predict(run, image, tuned=False), labels)
    plain = imt.evaluate(run, split="val", tuned=False, quiet=True)
    assert plain.summary["metrics"]["dice"]["mean"] == pytest.approx(found.before)


def test_tuning_again_begins_at_the_config_and_keeps_what_was_found_before(run: Run) -> None:
    first = imt.tune_postprocess(run)
    second = imt.tune_postprocess(run, metric="iou")

    assert second.metric == "iou"
    assert second.steps == first.steps
    kept = json.loads((run.path / "postprocess.json").read_text(encoding="utf-8"))
    assert [entry["metric"] for entry in kept["history"]] == ["dice", "iou"]
    assert kept["history"][0]["split"] == "val"
    assert kept["history"][0]["images"] == 3


def test_where_nothing_is_better_nothing_is_kept(run: Run) -> None:
    found = imt.tune_postprocess(run)
    config, kept = run.path / "config.yaml", run.path / "postprocess.json"
    text = config.read_text(encoding="utf-8")
    best = {"value": (0.9, found.steps[0].params), "size": (2, found.steps[1].params)}
    for name, (old, params) in best.items():
        assert f"{name}: {old}" in text
        text = text.replace(f"{name}: {old}", f"{name}: {params[name]}")
    config.write_text(text, encoding="utf-8")
    kept.unlink()

    done = command("evaluate", str(run.path), "--tune", "postprocess")

    assert "no combination makes dice better" in done.out
    assert not kept.exists()


def test_the_command_shows_what_changed(run: Run) -> None:
    done = command("evaluate", str(run.path), "--tune", "postprocess")

    assert done.code == 0, done.err
    assert "threshold.value" in done.out
    assert "postprocess.json" in done.out
    assert command("predict", str(run.path), "x.tif", "--output", "o", "--no-tuned").code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tune", "postproces"], "postprocess"),
        (["--tune", "postprocess", "--metric", "dise"], "dice"),
        (["--tune", "postprocess", "--head", "disc"], "no output"),
        (["--tune", "postprocess", "--against", "latest"], "leave"),
        (["--metric", "dice"], "--tune"),
    ],
)
def test_what_cannot_be_tuned_is_said(run: Run, words: list[str], said: str) -> None:
    command("evaluate", str(run.path), *words).refuses(said)


@pytest.mark.parametrize(
    "text",
    [
        '{"steps": {"": [3]}}',
        '{"steps": {"": [{"name": "threshold", "params": {"of": "disc", "value": "x"}}]}}',
        '{"steps": {"": [{"name": "os.system", "params": {"command": "true"}}]}}',
        '{"steps": {"head": [{"name": "fill_holes", "params": {}}]}}',
        '{"steps": ' + "[" * 100_000,
        '{"steps": [], "history": 5}',
        "not JSON",
    ],
    ids=["shape", "type", "code", "head", "deep", "history", "text"],
)
def test_a_damaged_file_is_no_excuse_for_a_traceback(run: Run, text: str) -> None:
    (run.path / "postprocess.json").write_text(text, encoding="utf-8")

    with pytest.raises(RunError, match="--tune postprocess"):
        imt.evaluate(run, split="val", quiet=True)
    assert imt.tune_postprocess(run).after > 0
    imt.evaluate(run, split="val", quiet=True)


def test_steps_without_anything_to_tune_are_said(run: Run) -> None:
    text = (run.path / "config.yaml").read_text(encoding="utf-8")
    config = imt.load_config(run.path / "config.yaml")
    assert config.inference.postprocess is not None and "postprocess:" in text
    from imtoolkit.trainer.tuning import tunable

    assert tunable(config.inference.postprocess).keys() == {(0, "value"), (1, "size")}
    raw = config_of("segmentation")
    assert imt.load_config(raw).inference.postprocess is None
    with pytest.raises(ConfigError, match="anything to tune"):
        _without_steps(run)


def test_steps_that_change_no_score_are_not_tuned(tmp_path: Path) -> None:
    root = write_discs(tmp_path)
    ends_with_mask = [{"name": "threshold", "params": {"value": 0.5}}]
    raw = config_of(
        "enhancement", trainer={"max_epochs": 1}, inference={"postprocess": ends_with_mask}
    )
    source = {"params": {"path": str(root / "discs.csv")}}
    raw = merged(raw, {"data": {"source": source}})
    run = imt.train(imt.load_config(raw), path=root / "run", quiet=True)
    with pytest.raises(ConfigError, match="compared before the steps"):
        imt.tune_postprocess(run)


def _without_steps(run: Run) -> None:
    import yaml

    path = run.path / "config.yaml"
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    raw["inference"]["postprocess"] = []
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    imt.tune_postprocess(imt.open_run(run.path))
