"""A config that is right, as text and as a file, for tests that spoil it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imtoolkit.config import load_config, plugins
from imtoolkit.config.nodes import parse
from imtoolkit.config.settings import SETTINGS_VARIABLE
from imtoolkit.core import registry
from imtoolkit.core.errors import ConfigError

GOOD = """\
name: nuclei
seed: 0
data:
  source: {name: folder, params: {root: data/nuclei, image: images/*.tif, target: labels/*.tif}}
  axes: YX
  split: {val: 0.2, test: 0.2}
  patch: {size: [128, 128], per_image: 4}
  augment: [{name: RandFlipd, params: {keys: [image, target], prob: 0.5}}]
  loader: {batch_size: 8}
task:
  category: segmentation
  classes: [background, nucleus]
  net: {name: UNet, params: {channels: [16, 32, 64, 128], strides: [2, 2, 2], num_res_units: 2}}
  loss: DiceCELoss
  optimizer: {name: AdamW, params: {lr: 1e-3}}
trainer: {max_epochs: 20}
"""


@pytest.fixture
def good() -> dict[str, Any]:
    """Return a right config as plain values, in short forms."""
    raw: dict[str, Any] = parse(GOOD).plain()
    return raw


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return ``write(text, name="nuclei.yaml")``, which writes a file beside others."""

    def write_file(text: str = GOOD, name: str = "nuclei.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


@pytest.fixture
def problems() -> Callable[..., list[str]]:
    """Return ``problems(source, overrides)``: the messages that loading a config ends with."""

    def find(source: Any, overrides: Any = ()) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load_config(source, overrides)
        return [str(problem) for problem in caught.value.problems]

    return find


@pytest.fixture
def no_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give a test a memory of trust and a table of plugins of its own."""
    monkeypatch.setenv(SETTINGS_VARIABLE, str(tmp_path / "user" / "settings.yaml"))
    monkeypatch.setenv(plugins.ENVIRONMENT, "")
    monkeypatch.setattr(registry, "_plugins", {})
    yield
    for name in [name for name in sys.modules if name.startswith(f"{plugins.__name__}.")]:
        del sys.modules[name]
