"""Trust in plugins goes from a config to the run that is made of it, also when it is changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from imtoolkit.config import load_config, load_run_config
from imtoolkit.config.examples import COMPLETE
from imtoolkit.core.errors import ConfigError
from imtoolkit.trainer.resume import rewrite_config
from imtoolkit.trainer.train import start_run

CODE = "import torch\n\nclass Zero(torch.nn.Module):\n    pass\n"


@pytest.mark.parametrize("plugin", ["xml.dom", "zero.py"])
def test_a_run_of_ones_own_asks_no_second_time(
    plugin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMTOOLKIT_SETTINGS", str(tmp_path / "user" / "settings.yaml"))
    file = tmp_path / "config.yaml"
    file.write_text(f"plugins: [{plugin}]\n{COMPLETE}")
    (tmp_path / "zero.py").write_text(CODE)
    run = start_run(load_config(file, trust=True), tmp_path / "run")
    longer = load_run_config(run.path, {"trainer.max_epochs": 30})
    rewrite_config(run, longer)
    assert load_run_config(run.path).trainer.max_epochs == 30
    (tmp_path / "user" / "trust.json").unlink()
    with pytest.raises(ConfigError, match="you have not trusted it"):
        load_run_config(run.path)
