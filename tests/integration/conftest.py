"""Fixtures of the integration tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.command import Place


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Return a user's folder with four images and labels; runs go to ``runs/`` in it.

    The cache is that of all tests, which the index of components lies in as well.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMTOOLKIT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("IMTOOLKIT_SETTINGS", str(tmp_path / "settings.yaml"))
    return Place(tmp_path)
