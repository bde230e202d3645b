"""``check``, ``explain``, ``components`` and ``schema`` as a user meets them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from imtoolkit.cli.main import main
from imtoolkit.config.examples import COMPLETE


@pytest.fixture
def config(workdir: Path) -> Path:
    path = workdir / "nuclei.yaml"
    path.write_text(COMPLETE)
    return path


def test_a_static_check_needs_no_data_and_no_torch(config: Path) -> None:
    code = (
        "import sys\nfrom imtoolkit.cli.main import main\n"
        f"assert main(['check', {str(config)!r}, '--static', '--seed', '3']) == 0\n"
        "print('torch' in sys.modules, 'monai' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False False\n")
    assert "the config is sound" in done.stdout


def test_a_check_tells_problems_of_file_and_overrides(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(COMPLETE.replace("max_epochs", "max_epoch"))
    assert main(["check", str(config), "--static", "--data.patch.per_image", "many"]) == 2
    shown = capsys.readouterr().err
    assert "trainer.max_epoch: unknown key 'max_epoch'. Did you mean 'max_epochs'?" in shown
    assert "--data.patch.per_image: expects a whole number, got the text 'many'" in shown


def test_an_untrusted_plugin_costs_exit_code_2(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = config.with_name("ran")
    config.with_name("mine.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    config.write_text(f"plugins: [mine.py]\n{COMPLETE}")
    assert main(["check", str(config), "--static"]) == 2
    assert "add --trust" in capsys.readouterr().err
    assert main(["check", str(config), "--static", "--trust"]) == 0
    assert not ran.exists()  # a static check reads it only


def test_explain_alone_shows_sections_and_a_whole_config(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["explain"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {section} " in shown for section in ("data", "task", "trainer", "inference"))
    assert "category: segmentation" in shown
    assert main(["explain", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["example"] == COMPLETE


def test_explain_a_key_tells_type_default_and_how_to_go_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["explain", "data.preprocess"]) == 0
    shown = capsys.readouterr().out
    assert "imtoolkit components transform" in shown
    assert "normalize_percentiles" in shown
    assert main(["explain", "patch.sise"]) == 2
    assert "data.patch.size" in capsys.readouterr().err


def test_components_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["components"]) == 0
    assert "transform" in capsys.readouterr().out
    assert main(["components", "loss"]) == 0
    assert "dice_ce" in capsys.readouterr().out
    assert main(["components", "net", "UNet", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["path"] == "monai.networks.nets.unet.UNet"
    assert main(["components", "nat"]) == 2
    assert "Did you mean 'net'?" in capsys.readouterr().err


def test_components_of_an_own_module_are_read_and_not_run(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "import torch.nn as nn\nclass Mine(nn.Module):\n    '''My own.'''\nraise SystemExit(9)\n"
    (workdir / "mine.py").write_text(code)
    assert main(["components", "net", "--plugin", "mine.py"]) == 0
    assert "Mine" in capsys.readouterr().out


def test_the_schema_is_printed_or_written(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schema"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert main(["schema", "--output", "s.json"]) == 0
    assert "wrote  schema: s.json" in capsys.readouterr().out
    assert json.loads((workdir / "s.json").read_text()) == printed
    assert printed["$schema"].endswith("2020-12/schema")
