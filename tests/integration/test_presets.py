"""Every preset trains for two steps on drawn samples, is evaluated, and predicts."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import imtoolkit as imt

ROOT = Path(__file__).resolve().parents[2]
PRESETS = sorted((ROOT / "configs").rglob("*.yaml"))
COUNT = 8
TWO_STEPS = {
    "trainer.max_epochs": 1,
    "trainer.limit_train_batches": 2,
    "trainer.accelerator": "cpu",
    "trainer.limit_val_batches": 1,
    "evaluation.resamples": 50,
}


def samples_of(preset: Path) -> tuple[str, str, int | None]:
    """Return what the preset's comment says to draw: name, folder, dimensions."""
    text = preset.read_text(encoding="utf-8")
    line = re.search(r"^#.*imtoolkit samples (\S+) (\S+)(.*)$", text, flags=re.MULTILINE)
    assert line is not None, f"{preset.name} does not say which samples it runs on"
    dims = re.search(r"--dims (\d)", line[3])
    return line[1], line[2], int(dims[1]) if dims else None


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_a_preset_trains_is_evaluated_and_predicts(
    preset: Path, workdir: Path, drawn: Callable[..., Path]
) -> None:
    name, folder, dims = samples_of(preset)
    shutil.copytree(drawn(name, count=COUNT, dims=dims), workdir / folder)
    config = imt.load_config(preset, TWO_STEPS)

    run = imt.train(config)

    assert run.status.state.value == "finished"
    assert {"best", "last"} <= set(run.checkpoints)
    scores = imt.evaluate(run, split="test")
    classes = config.task.classes
    assert len(scores.per_image) == run.facts.samples["test"] > 0
    for label in classes[1:]:
        assert scores.per_image[f"dice/{label}"].dropna().between(0, 1).all()

    picture = sorted(path for path in (workdir / folder).rglob("*") if is_input(path))[0]
    labels = imt.predict(run, imt.read(picture).pixels[0])
    assert labels.shape == imt.read(picture).pixels.shape[1:]
    assert set(np.unique(labels)) <= set(range(len(classes)))

    (written,) = imt.predict(run, [picture], output=workdir / "predicted")
    again = imt.read(written).pixels
    assert np.array_equal(again[0], labels)


def is_input(path: Path) -> bool:
    return path.parent.name in {"images", "imagesTr"} and path.is_file()
