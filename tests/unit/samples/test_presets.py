"""Every preset reads what its own comment tells the user to draw."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from imtoolkit.cli.main import main
from imtoolkit.config import load_config
from imtoolkit.core import registry
from imtoolkit.samples.folder import SAMPLES

CONFIGS = Path(__file__).parents[3] / "configs"
PRESETS = sorted(CONFIGS.rglob("*.yaml"))


def drawn_by(preset: Path) -> list[str]:
    """Return the words of the first ``imtoolkit samples`` line in a preset's comment."""
    found = re.search(r"^#\s+(imtoolkit samples .*)$", preset.read_text(), re.MULTILINE)
    assert found, f"{preset} does not say how its images are drawn"
    return shlex.split(found[1])[1:]


def test_there_are_presets() -> None:
    names = {path.stem for path in (CONFIGS / "segmentation").glob("*.yaml")}
    assert names >= {"nuclei_2d", "nuclei_3d", "membranes_2d", "hippocampus_3d"}


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_preset_loads_and_its_run_is_named_as_its_file(preset: Path) -> None:
    config = load_config(preset)
    same = [other for other in PRESETS if other.stem == preset.stem]
    full = f"{preset.parent.name}_{preset.stem}"
    assert config.name in ({preset.stem} if len(same) == 1 else {preset.stem, full})
    assert [load_config(other).name for other in same].count(config.name) == 1
    assert config.task.category == preset.parent.name


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_preset_finds_the_images_that_it_tells_to_draw(
    preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = drawn_by(preset)
    assert words[1] in SAMPLES
    if "--count" in words:
        del words[words.index("--count") : words.index("--count") + 2]
    count = 5 if words[1] == "shapes" else 3  # one of each class
    assert main([*words, "--count", str(count), "--quiet"]) == 0
    data = yaml.safe_load(preset.read_text())["data"]
    sources = data.get("sources") or {"main": {"source": data["source"]}}
    section = sources["main"]["source"]
    manifest = registry.build("source", section["name"], section["params"]).samples()
    assert len(manifest) == count
    if section["name"] == "unpaired":  # both domains are there, and no image has a target
        assert set(manifest.column("domain")) == {"A", "B"}
        return
    degraded = "degrade" in data  # the image is the target
    assert degraded != bool(manifest.row(0).get("target"))
