"""The command line: lazy, exact, with exit codes and without tracebacks."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imtoolkit.cli import main as main_room
from imtoolkit.cli.main import COMMANDS, main, split_overrides
from imtoolkit.cli.output import Output, format_table, out, overrides, plain
from imtoolkit.core.errors import ConfigError, DataError, Problem, RunFailedError

Command = Callable[..., None]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[[Command], None]:
    """Return ``fake(function)``, which makes a function the command ``check``."""

    def install(function: Command) -> None:
        module = types.ModuleType("fake_command")
        module.run = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "fake_command", module)
        monkeypatch.setitem(COMMANDS, "check", ("fake_command:run", "test"))

    return install


def _run(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "imtoolkit.cli.main", *words],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom imtoolkit.cli.main import main\nassert main(['--help']) == 0\n"
        "print(sorted({'torch', 'typer', 'rich', 'numpy', 'yaml', 'monai'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_exists_and_explains_itself(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    from imtoolkit import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"imtoolkit {__version__}\n"
    assert main(["--version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"version": __version__}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "no such command 'trian'. Did you mean 'train'?"),
        (["--trainer.max_epochs", "3"], "no such option '--trainer.max_epochs'"),
        (["check"], "Missing argument"),
        (["check", "a.yaml", "--max_epochs", "3"], "--trainer.max_epochs"),
        (["check", "a.yaml", "--stat"], "No such option"),
        (["explain", "a", "b"], "unexpected extra argument"),
        (["check", "none.yaml"], "none.yaml: no such file"),
    ],
)
def test_a_mistake_on_the_command_line_costs_exit_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ConfigError("wrong"), 2, "error: wrong"),
        (DataError([Problem("a"), Problem("b")]), 2, "a\nb"),
        (RunFailedError("NaN"), 1, "error: NaN"),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), 2, "/x: the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 2, "/x: no permission"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/x"), 2, "/x: No such file"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (SystemExit(143), 143, ""),
        (MemoryError(), 1, "out of memory"),
        (ZeroDivisionError("oops"), 1, "ZeroDivisionError: oops"),
    ],
)
def test_errors_become_exit_codes_and_one_message(
    fake: Callable[[Command], None],
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    message: str,
) -> None:
    def run() -> None:
        raise error

    fake(run)
    assert main(["check"]) == code
    shown = capsys.readouterr()
    assert message in shown.err
    assert "Traceback" not in shown.err


def test_a_traceback_is_shown_when_asked_for(
    fake: Callable[[Command], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> None:
        raise ConfigError("wrong")

    fake(run)
    with pytest.raises(ConfigError):
        main(["check", "--traceback"])
    monkeypatch.setenv(main_room.TRACEBACK_VARIABLE, "1")
    with pytest.raises(ConfigError):
        main(["check"])


def test_scripts_get_one_json_object_also_for_errors(
    fake: Callable[[Command], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def run(fail: bool = False) -> None:
        out().say("talk")
        out().result(dice=float("nan"), path=Path("a"), n=3)
        if fail:
            raise ConfigError(Problem("wrong", where="seed", file="a.yaml", line=2))

    fake(run)
    assert main(["check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"dice": None, "path": "a", "n": 3}
    assert main(["check", "--fail", "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert found["exit_code"] == 2
    assert found["problems"] == [{"message": "wrong", "where": "seed", "file": "a.yaml", "line": 2}]


def test_quiet_prints_nothing_but_what_was_asked_for(
    fake: Callable[[Command], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> None:
        out().say("talk")
        out().wrote("config", "a")
        out().table(["a"], [[1]])
        out().show("answer")

    fake(run)
    assert main(["check", "--quiet"]) == 0
    assert capsys.readouterr().out == "answer\n"
    assert main(["check"]) == 0
    assert "talk" in capsys.readouterr().out


def test_keys_of_the_config_are_separated_from_options(
    fake: Callable[[Command], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def run(config: str, static: bool = False) -> None:
        out().result(config=config, static=static, overrides=overrides())

    fake(run)
    words = ["--seed=3", "a.yaml", "--task.net.params.x", "-1", "--static", "--data.axes=YX"]
    assert main(["check", *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "config": "a.yaml",
        "static": True,
        "overrides": ["--seed=3", "--task.net.params.x", "-1", "--data.axes=YX"],
    }
    assert main(["check", "a.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["overrides"] == []


def test_an_option_of_the_command_is_not_an_override() -> None:
    assert split_overrides(["--seed", "3"], {"--seed"}) == ([], ["--seed", "3"])
    assert split_overrides(["--", "--a.b", "1"], set()) == ([], ["--", "--a.b", "1"])


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_termination_ends_with_143() -> None:
    code = (
        "import time, sys, types\nfrom imtoolkit.cli import main as m\n"
        "module = types.ModuleType('slow'); sys.modules['slow'] = module\n"
        "def run():\n    print('ready', flush=True); time.sleep(60)\n"
        "module.run = run; m.COMMANDS['check'] = ('slow:run', '')\nsys.exit(m.main(['check']))"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.1)
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=30) == 143
    child.stdout.close()


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m imtoolkit.cli.main components transform | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_tables_align_numbers_and_show_gaps() -> None:
    table = format_table(["name", "dice"], [["a", 0.5], ["long", None]])
    assert table.splitlines() == ["name   dice", "a     0.500", "long      -"]


def test_plain_values_hold_no_objects() -> None:
    assert plain({1: (Path("a"), {"b"}, float("inf"))}) == {"1": ["a", ["b"], None]}
    assert Output(json=True).talks is False


def test_the_installed_command_refuses_a_bad_config_with_all_its_problems(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("seed: x\ndata: {source: os.system}\ntask: {category: segmentation, nett: 1}\n")
    done = _run("check", str(path), "--static", cwd=tmp_path)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith(str(path))]
    assert len(lines) >= 3
    assert any(f"{path}:1: seed: " in line for line in lines)
    assert any("lies outside the packages" in line for line in lines)
    assert "Traceback" not in done.stderr
