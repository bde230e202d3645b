"""A category of one's own: a task in a plugin, its fields in the config, nothing run untrusted."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from imtoolkit.config import load_config, load_run_config, plugins, to_yaml
from imtoolkit.config.dump import from_dict, to_dict
from imtoolkit.config.sections import InferenceConfig
from imtoolkit.core.errors import ConfigError
from imtoolkit.core.facts import DataFacts, TargetKind
from imtoolkit.tasks import build_task, target_spec

pytestmark = pytest.mark.usefixtures("no_plugins")

CODE = '''
"""Learn how bright an image is on the whole."""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from imtoolkit.config.sections import TaskConfig
from imtoolkit.core.facts import TargetKind
from imtoolkit.tasks.goals import NumbersGoal
from imtoolkit.tasks.supervised import SupervisedTask

Path(__file__).with_suffix(".ran").touch()


@dataclass(frozen=True)
class Limits:
    low: float = 0.0


@dataclass(frozen=True)
class BrightnessConfig(TaskConfig):
    """Settings of the task."""

    factor: float = 1.0
    note: str | None = None
    limits: Limits = field(default_factory=Limits)


class BrightnessTask(SupervisedTask):
    category = "brightness"
    target_kind = TargetKind.NUMBER
    config_class = BrightnessConfig

    def build_goal(self):
        return NumbersGoal(self.facts, standardize=False)

    def postprocess(self, raw, spacing=None):
        return super().postprocess(raw, spacing) * self.config.factor
'''
TEXT = """\
plugins: [my_task.py]
data: {source: {name: csv, params: {path: table.csv}}, axes: YX}
task:
  category: brightness
  factor: 2
  note: a trial
  limits: {low: 0.5}
  net: {name: DenseNet, params: {init_features: 4, block_config: [1]}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "my_task.py").write_text(CODE)
    path = tmp_path / "config.yaml"
    path.write_text(TEXT)
    return path


def _messages(path: Path, **how: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, **how)
    return [str(problem) for problem in caught.value.problems]


def test_fields_of_an_own_category_are_decoded(file: Path) -> None:
    task: Any = load_config(file, trust=True).task
    assert type(task).__name__ == "BrightnessConfig"
    assert (task.factor, task.note, task.limits.low) == (2, "a trial", 0.5)
    text = file.read_text().replace("  note: a trial\n", "").replace("  factor: 2\n", "")
    file.write_text(text)
    assert load_config(file).task.note is None  # type: ignore[attr-defined]


def test_an_untrusted_task_is_told_and_neither_run_nor_called_unknown(file: Path) -> None:
    (message,) = _messages(file)
    assert "add --trust" in message
    assert not file.with_name("my_task.ran").exists()


def test_other_mistakes_are_told_before_the_task_is_trusted(file: Path) -> None:
    file.write_text(TEXT.replace("axes: YX", "axis: YX").replace("DenseNet", "DensNet"))
    messages = _messages(file)
    assert any("unknown key 'axis'" in message for message in messages)
    assert any("unknown net 'DensNet'" in message for message in messages)
    assert not file.with_name("my_task.ran").exists()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("factor: 2", "faktor: 2", "unknown key 'faktor'. Did you mean 'factor'"),
        ("factor: 2", "factor: much", "expects a number, got the text 'much'"),
        ("note: a trial", "note: 3", "expects a text, got the number 3"),
        ("{low: 0.5}", "{lower: 0.5}", "unknown key 'lower'"),
        ("category: brightness", "category: brightnes", "Did you mean 'brightness'"),
    ],
)
def test_fields_of_an_own_category_are_checked(
    file: Path, old: str, new: str, expected: str
) -> None:
    file.write_text(TEXT.replace(old, new))
    assert any(expected in message for message in _messages(file, trust=True))


def test_a_config_without_the_decorator_is_refused_with_a_remedy(file: Path) -> None:
    plugin = file.with_name("my_task.py")
    plugin.write_text(CODE.replace("@dataclass(frozen=True)\nclass Bright", "class Bright"))
    (message,) = _messages(file, trust=True)
    assert "put @dataclass(frozen=True) above it" in message
    assert "config.yaml:4" in message


def test_a_plugin_that_cannot_be_imported_is_told(file: Path) -> None:
    file.with_name("my_task.py").write_text(CODE + "\nraise RuntimeError('broken')\n")
    (message,) = _messages(file, trust=True)
    assert "cannot be imported: RuntimeError: broken" in message


def test_the_config_is_written_and_read_again(file: Path, tmp_path: Path) -> None:
    config = load_config(file, trust=True)
    assert from_dict(to_dict(config)) == config
    run = tmp_path / "run"
    run.mkdir()
    copied = plugins.copy_into(config, run)
    (run / "config.yaml").write_text(to_yaml(copied, relative_to=run))
    assert to_dict(load_run_config(run))["task"] == to_dict(config)["task"]


def test_an_own_task_is_built_and_says_what_it_wants(file: Path) -> None:
    config = load_config(file, trust=True)
    assert target_spec(config.task).kind is TargetKind.NUMBER
    facts = DataFacts(2, 1, patch_size=(32, 32))
    task: Any = build_task(config.task, InferenceConfig(), facts)
    import torch

    raw = task.predict_image(torch.rand(1, 32, 32))
    torch.testing.assert_close(task.postprocess(raw), 2 * raw)


def test_metrics_of_an_own_category_are_left_to_the_task(file: Path) -> None:
    file.write_text(f"{TEXT}trainer: {{checkpoint: {{monitor: [val/mae]}}}}\n")
    assert load_config(file, trust=True).trainer.checkpoint.monitor == ["val/mae"]


@pytest.mark.slow
def test_a_spawned_process_decodes_it_as_well(file: Path) -> None:
    config = load_config(file, trust=True)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_factor, (config,)) == 2


def _factor(config: Any) -> float:
    return float(config.task.factor)
