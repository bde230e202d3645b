"""Where runs and caches go: config, environment, settings, default, in this order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imtoolkit.config import load_config, settings
from imtoolkit.core.errors import ConfigError


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the settings file of a user without environment variables."""
    path = tmp_path / "settings.yaml"
    monkeypatch.setenv(settings.SETTINGS_VARIABLE, str(path))
    monkeypatch.delenv(settings.RUNS_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    return path


def test_the_folder_of_runs_is_looked_up_in_order(
    user: Path, good: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.runs_root() == Path.cwd() / "runs"
    user.write_text("runs: from_settings\n")
    assert settings.runs_root() == Path.cwd() / "from_settings"
    monkeypatch.setenv(settings.RUNS_VARIABLE, "/from_environment")
    assert settings.runs_root() == Path("/from_environment")
    config = load_config({**good, "tracking": {"runs": "/from_config"}})
    assert settings.runs_root(config) == Path("/from_config")


def test_the_folder_of_caches_is_looked_up_in_order(
    user: Path, good: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(settings.CACHE_VARIABLE, "/from_environment")
    user.write_text("cache: ~/from_settings\n")
    assert settings.cache_root() == Path("/from_environment")
    monkeypatch.delenv(settings.CACHE_VARIABLE)
    assert settings.cache_root() == Path("~/from_settings").expanduser()
    user.unlink()
    assert settings.cache_root().name == "imtoolkit"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run: x\n", "unknown setting. Did you mean 'runs'"),
        ("runs: 3\n", "expects a text, got the number 3"),
        ("trusted_packages: mine\n", "expects a list"),
    ],
)
def test_a_mistake_in_the_settings_is_told(user: Path, text: str, message: str) -> None:
    user.write_text(text)
    with pytest.raises(ConfigError, match=message):
        settings.load_settings()


def test_a_broken_memory_of_trust_trusts_nothing(user: Path) -> None:
    settings.remember({"abc": "a.py"})
    assert settings.is_remembered("abc")
    user.with_name("trust.json").write_text("{")
    assert not settings.is_remembered("abc")
    settings.remember({"def": "b.py"})
    assert settings.is_remembered("def")
