"""The status of a run is true however the work on it ends."""

import logging

import pytest
import torch

from imtoolkit.core.errors import ConfigError, DataError, RunFailedError, RunInterruptedError
from imtoolkit.runs import Run, State, create_run
from imtoolkit.trainer.debug import MODES, debug_overrides
from imtoolkit.trainer.session import explained, working_on


@pytest.fixture
def run(tmp_path) -> Run:
    def fill(folder):
        (folder / "config.yaml").write_text("name: x\n")

    return create_run("x", tmp_path, fill)


def test_work_that_ends_well_is_finished_and_its_log_is_kept(run):
    with working_on(run):
        assert run.status.state is State.RUNNING
        logging.getLogger("imtoolkit.anything").info("hello")
    assert run.status.state is State.FINISHED
    assert "hello" in (run.path / "log.txt").read_text()


@pytest.mark.parametrize(
    ("error", "state", "code"),
    [
        (DataError("a bad image"), State.FAILED, 2),
        (RunFailedError("NaN"), State.FAILED, 1),
        (ZeroDivisionError("a bug"), State.FAILED, 1),
        (RunInterruptedError("stopped", 15), State.INTERRUPTED, 143),
        (KeyboardInterrupt(), State.INTERRUPTED, 130),
        (SystemExit(143), State.INTERRUPTED, 143),
    ],
)
def test_work_that_ends_badly_says_why(run, error, state, code):
    with pytest.raises(type(error)), working_on(run):
        raise error
    assert run.status.state is state
    assert run.status.exit_code == code
    assert run.status.reason == (str(error) or type(error).__name__)


def test_a_failed_run_with_a_saved_state_says_how_to_go_on(run):
    (run.path / "checkpoints").mkdir()
    (run.path / "checkpoints" / "last.ckpt").touch()
    with pytest.raises(RunFailedError) as caught, working_on(run):
        message = "NaN"
        raise RunFailedError(message)
    assert "imtoolkit runs resume" in caught.value.__notes__[0]


def test_other_processes_write_only_failures(run):
    with working_on(run, rank=1):
        pass
    assert run.status.state is State.RUNNING
    with pytest.raises(RunFailedError), working_on(run, rank=1):
        message = "here"
        raise RunFailedError(message)
    assert run.status.state is State.FAILED


def test_errors_of_torch_and_lightning_say_what_to_change():
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    assert isinstance(explained(MisconfigurationException("no")), ConfigError)
    assert "batch_size" in str(explained(torch.OutOfMemoryError("CUDA out of memory")))
    died = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")
    assert "memory ran out" in str(explained(died))
    other = RuntimeError("something else")
    assert explained(other) is other


def test_an_error_from_a_loading_worker_comes_without_its_traceback():
    text = (
        "Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent call "
        'last):\n  File "x.py", line 1, in f\nimtoolkit.core.errors.DataError: im7: torn file\n'
    )
    assert str(explained(DataError(text))) == "im7: torn file"


def test_debug_modes_are_keys_of_the_config():
    from imtoolkit.config.validate import all_keys

    known = set(all_keys())
    for mode in MODES:
        assert set(debug_overrides(mode)) <= known
    with pytest.raises(ConfigError, match="Did you mean 'fast'"):
        debug_overrides("fats")
