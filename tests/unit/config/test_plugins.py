"""Own modules run only when they are trusted, and are found again in workers and runs."""

from __future__ import annotations

import errno
import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imtoolkit.config import load_config, load_run_config, plugins, to_yaml
from imtoolkit.core import registry
from imtoolkit.core.errors import ConfigError

pytestmark = pytest.mark.usefixtures("no_plugins")

CODE = '''
"""A loss of one's own."""
from pathlib import Path
Path(__file__).with_suffix(".ran").touch()
import torch

class MyLoss(torch.nn.Module):
    """The mean, times alpha."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, logits, target):
        return self.alpha * logits.mean()

class Other:
    pass
'''


@pytest.fixture
def config_file(tmp_path: Path, good: dict[str, Any], write: Callable[..., Path]) -> Path:
    (tmp_path / "my_loss.py").write_text(CODE)
    text = write().read_text().replace("loss: DiceCELoss", "loss: MyLoss")
    return write(f"plugins: [my_loss.py]\n{text}")


def test_an_untrusted_plugin_is_refused_and_not_run(config_file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(config_file)
    (problem,) = caught.value.problems
    assert "add --trust" in str(problem)
    assert problem.line == 1
    assert not config_file.with_name("my_loss.ran").exists()


def test_its_classes_are_checked_before_anyone_trusts_it(config_file: Path) -> None:
    text = config_file.read_text().replace("MyLoss", "{name: MyLoss, params: {alfa: 2}}")
    config_file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(config_file)
    assert any(
        "takes no parameter 'alfa'. Did you mean 'alpha'" in str(p) for p in caught.value.problems
    )
    config_file.write_text(text.replace("{name: MyLoss, params: {alfa: 2}}", "my_loss.MyLoss"))
    with pytest.raises(ConfigError) as caught:
        load_config(config_file)
    assert len(caught.value.problems) == 1  # only that it is not trusted
    config_file.write_text(text.replace("{name: MyLoss, params: {alfa: 2}}", "my_loss.Other"))
    with pytest.raises(ConfigError, match=r"'my_loss.Other' is not a loss"):
        load_config(config_file)
    assert not config_file.with_name("my_loss.ran").exists()


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("Other", r"'Other' of the plugin 'my_loss' is not a loss: derive the class from torch"),
        ("my_loss.Other", r"'my_loss.Other' is not a loss: derive the class from torch\.nn"),
    ],
)
def test_a_class_of_another_kind_is_told_what_it_must_derive_from(
    config_file: Path, loss: str, message: str
) -> None:
    config_file.write_text(config_file.read_text().replace("MyLoss", loss))
    with pytest.raises(ConfigError, match=message):
        load_config(config_file, trust=True)


def test_trust_is_remembered_until_the_file_changes(config_file: Path) -> None:
    load_config(config_file, trust=True)
    load_config(config_file)  # remembered
    load_config(config_file, {"seed": 5})
    plugin = config_file.with_name("my_loss.py")
    plugin.write_text(CODE + "\n# changed\n")
    with pytest.raises(ConfigError, match="you have not trusted it"):
        load_config(config_file)


def test_a_package_is_trusted_by_the_settings_or_with_this_very_config(
    good: dict[str, Any], tmp_path: Path, write: Callable[..., Path]
) -> None:
    path = write(f"plugins: [xml.dom]\n{write().read_text()}")
    with pytest.raises(ConfigError, match=r"the package 'xml.dom' would run"):
        load_config(path)
    load_config(path, trust=True)
    load_config(path)
    path.write_text(path.read_text() + "# changed\n")
    with pytest.raises(ConfigError, match=r"the package 'xml.dom' would run"):
        load_config(path)
    settings = tmp_path / "user" / "settings.yaml"
    settings.write_text("trusted_packages: [xml]\n")
    assert load_config(path).plugins == ["xml.dom"]


def test_a_loaded_plugin_gives_its_names_to_the_registry(config_file: Path) -> None:
    config = load_config(config_file, trust=True)
    plugins.load(config)
    loss = registry.build("loss", "MyLoss", {"alpha": 2.0})
    assert loss.alpha == 2.0
    assert type(loss).__module__ == "imtoolkit.config.plugins.my_loss"
    assert config_file.with_name("my_loss.ran").exists()


def _alpha(loss: Any) -> float:
    return float(loss.alpha)


def test_objects_of_a_plugin_reach_spawned_workers(config_file: Path) -> None:
    plugins.load(load_config(config_file, trust=True))
    loss = registry.build("loss", "MyLoss", {"alpha": 3.0})
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_alpha, (loss,)) == 3.0


def test_plugins_may_import_each_other(config_file: Path) -> None:
    text = "from imtoolkit.config.plugins.my_loss import MyLoss\nclass Twice(MyLoss): pass\n"
    config_file.with_name("more.py").write_text(text)
    raw = config_file.read_text().replace("[my_loss.py]", "[more.py, my_loss.py]")
    config_file.write_text(raw.replace("loss: MyLoss", "loss: {name: Twice, params: {alpha: 2}}"))
    plugins.load(load_config(config_file, trust=True))
    assert registry.build("loss", "Twice").alpha == 1.0


def test_an_error_inside_a_plugin_names_the_file(config_file: Path) -> None:
    config_file.with_name("my_loss.py").write_text(CODE + "\nraise RuntimeError('no GPU')\n")
    config = load_config(config_file, trust=True)
    with pytest.raises(ConfigError, match=r"my_loss.py: plugins: cannot be imported: .*no GPU"):
        plugins.load(config)


def test_two_plugins_of_one_name_are_refused(config_file: Path) -> None:
    (config_file.parent / "sub").mkdir()
    (config_file.parent / "sub" / "my_loss.py").write_text(CODE)
    text = config_file.read_text().replace("[my_loss.py]", "[my_loss.py, sub/my_loss.py]")
    config_file.write_text(text)
    with pytest.raises(ConfigError, match=r"two plugins are named 'my_loss.py'"):
        load_config(config_file, trust=True)


def test_a_run_of_someone_else_runs_no_code_unasked(config_file: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    config = plugins.copy_into(load_config(config_file, trust=True), run)
    (run / "config.yaml").write_text(to_yaml(config, relative_to=run))
    (tmp_path / "user" / "trust.json").unlink()  # as on the machine of another
    with pytest.raises(ConfigError, match=r"load_run_config\(path, trust=True\)"):
        load_run_config(run)
    assert not config_file.with_name("my_loss.ran").exists()
    assert load_run_config(run, trust=True) == config
    assert load_run_config(run) == config  # remembered


def test_trust_lasts_for_the_process_where_it_cannot_be_remembered(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, value: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("imtoolkit.config.settings.write_json", refuse)
    monkeypatch.setattr("imtoolkit.config.settings._trusted_now", set())
    load_config(config_file, trust=True)
    load_config(config_file)


def test_a_run_keeps_copies_that_stay_trusted_while_unchanged(
    config_file: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    config = plugins.copy_into(load_config(config_file, trust=True), run)
    text = to_yaml(config, relative_to=run)
    assert "plugins: [plugins/my_loss.py]" in text
    (run / "config.yaml").write_text(text)
    assert load_run_config(run) == config
    run.rename(tmp_path / "moved")
    moved = load_run_config(tmp_path / "moved")
    assert moved.plugins == [str(tmp_path / "moved" / "plugins" / "my_loss.py")]
    (tmp_path / "moved" / "plugins" / "my_loss.py").write_text(CODE + "\n# changed\n")
    with pytest.raises(ConfigError, match=r"changed since the run was made: my_loss.py"):
        load_run_config(tmp_path / "moved")


def test_nothing_is_left_on_the_import_path(config_file: Path) -> None:
    before = list(sys.path)
    plugins.load(load_config(config_file, trust=True))
    assert sys.path == before
    assert os.environ[plugins.ENVIRONMENT] == str(config_file.with_name("my_loss.py"))
