"""A term that is not a number is an error that names the term and the images, never skipped."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import imtoolkit as imt
from imtoolkit.config import plugins
from imtoolkit.config.settings import SETTINGS_VARIABLE
from imtoolkit.core import registry
from imtoolkit.core.errors import RunFailedError
from tests.helpers.categories import config_of, write_discs

CODE = """
from torch import nn

class NeverANumber(nn.Module):
    def forward(self, prediction, target):
        return (prediction - target).mean() * float("nan")
"""
LOSSES = {"odd": {"name": "NeverANumber", "weight": 0.1}, "plain": {"name": "mse"}}


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    monkeypatch.chdir(write_discs(tmp_path, train=4, val=2))
    monkeypatch.setenv("IMTOOLKIT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv(SETTINGS_VARIABLE, str(tmp_path / "settings.yaml"))
    monkeypatch.setenv(plugins.ENVIRONMENT, "")
    monkeypatch.setattr(registry, "_plugins", {})
    (tmp_path / "odd_loss.py").write_text(CODE)
    yield config_of("enhancement", plugins=["odd_loss.py"], task={"losses": LOSSES})
    for name in [name for name in sys.modules if name.startswith(f"{plugins.__name__}.")]:
        del sys.modules[name]


def test_check_names_the_term_and_the_images(raw: dict[str, Any]) -> None:
    with pytest.raises(RunFailedError, match=r"loss \(term 'odd'\) of the first batch is nan"):
        imt.check_run(imt.load_config(raw, trust=True))


def test_training_stops_at_the_term_and_tells_the_images(raw: dict[str, Any]) -> None:
    with pytest.raises(RunFailedError, match=r"loss \(term 'odd'\) is NaN or infinite"):
        imt.train(imt.load_config(raw, trust=True))
    (path,) = Path("runs").rglob("bad_batch.json")
    found = json.loads(path.read_text())
    assert found["terms"] == ["odd"]
    assert found["ids"]
