"""What surrounds the work on a run: its status, its log file, and what becomes of an error."""

from __future__ import annotations

import contextlib
import logging
import re
import signal
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from imtoolkit.callbacks.checkpoint_io import CheckpointError
from imtoolkit.core.errors import (
    ConfigError,
    ImtoolkitError,
    Problem,
    RunFailedError,
    RunInterruptedError,
)
from imtoolkit.runs import Run, State
from imtoolkit.runs.layout import CHECKPOINTS, LAST, LOG
from imtoolkit.runs.status import heartbeat, set_state

log = logging.getLogger(__name__)

LOGGERS: Final = ("imtoolkit", "pytorch_lightning", "lightning.pytorch", "py.warnings")
_FORMAT: Final = "%(asctime)s %(levelname)s %(message)s"


@contextlib.contextmanager
def working_on(run: Run, *, rank: int = 0) -> Iterator[None]:
    """Keep the status of a run true while the block works on it.

    The first process writes ``running`` and ``finished``; any process writes ``failed``. Errors of
    torch and Lightning that a user can mend become errors that say how.

    Args:
        run: The run.
        rank: Number of this process; 0 writes.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(quiet_libraries())
        if rank == 0:
            set_state(run.path, State.RUNNING)
            stack.enter_context(heartbeat(run.path))
            stack.enter_context(log_file(run.path / LOG))
        try:
            yield
        except BaseException as error:
            mended = explained(error)
            if isinstance(error, OSError):
                run.require()  # a missing file means nothing more where the whole folder is gone
            _tell(run, mended, rank)
            if mended is error:
                raise
            raise mended from error
        if rank == 0:
            set_state(run.path, State.FINISHED, exit_code=0)


def resume_command(run: Run) -> str:
    """Return the command that continues a run."""
    return f"imtoolkit runs resume {_short(run.path)}"


def _short(path: Path) -> str:
    """Return a path relative to where the user stands, if that is shorter."""
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def _tell(run: Run, error: BaseException, rank: int) -> None:
    """Write how the run ended, and hang onto the error how to go on."""
    if isinstance(error, RunInterruptedError):
        state, code = State.INTERRUPTED, error.exit_code
    elif isinstance(error, KeyboardInterrupt):
        state, code = State.INTERRUPTED, 128 + signal.SIGINT
    elif isinstance(error, SystemExit):
        state, code = State.INTERRUPTED, error.code if isinstance(error.code, int) else 1
    else:
        state, code = State.FAILED, error.exit_code if isinstance(error, ImtoolkitError) else 1
    reason = str(error).strip() or type(error).__name__
    log.debug("%s: %s", state.value, reason)  # the caller shows it
    if state is State.FAILED:
        log.debug("%s", "".join(traceback.format_exception(error)))
        if (run.path / CHECKPOINTS / LAST).is_file() and not isinstance(error, CheckpointError):
            error.add_note(f"The last saved state is kept. Continue with: {resume_command(run)}")
    if rank > 0 and state is State.INTERRUPTED:
        return  # the first process knows which signal it was
    with contextlib.suppress(OSError):  # a full disk, perhaps the very reason
        set_state(run.path, state, reason=reason, exit_code=int(code))


def explained(error: BaseException) -> BaseException:
    """Return an error that says what to change, where one is known; otherwise the error itself."""
    import torch
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    text = str(error)
    if isinstance(error, ImtoolkitError):
        return _without_traceback(error)
    if isinstance(error, MisconfigurationException):
        return ConfigError(Problem(text, where="trainer"))
    if isinstance(error, torch.OutOfMemoryError):
        message = (
            "the GPU has no memory left. Use a smaller data.loader.batch_size with "
            "trainer.accumulate_grad_batches, a smaller data.patch.size, or --trainer.precision "
            "bf16-mixed"
        )
        return RunFailedError(message)
    if isinstance(error, RuntimeError) and "DataLoader worker" in text:
        message = (
            f"a process that loads data died ({text.splitlines()[0]}), most often because memory "
            "ran out. Use fewer data.loader.workers, or smaller batches"
        )
        return RunFailedError(message)
    return error


def _without_traceback(error: ImtoolkitError) -> ImtoolkitError:
    """Leave out the traceback that torch writes into an error from a loading worker."""
    text = str(error)
    if "Original Traceback" not in text:
        return error
    match = re.search(
        rf"^(?:[\w.]*\.)?{type(error).__name__}: (.*)", text, re.DOTALL | re.MULTILINE
    )
    plain = match.group(1).strip() if match else text
    return type(error)(plain)


@contextlib.contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Write what is logged and warned into a file while the block runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter(_FORMAT))
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    logging.captureWarnings(capture=True)
    for name in LOGGERS:
        logging.getLogger(name).addHandler(handler)
    own = logging.getLogger("imtoolkit")
    if own.getEffectiveLevel() > logging.DEBUG:
        own.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(handler)
            logging.getLogger(name).setLevel(levels[name])
        handler.close()


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence advice of the libraries that does not hold here."""
    with warnings.catch_warnings():
        for message in (
            ".*does not have many workers.*",  # chosen together with the threads
            ".*not resumable.*",  # our sampler is
            ".*ended before the epoch ended.*",
            ".*lower value for log_every_n_steps.*",
            ".*Checkpoint directory.*exists and is not empty.*",
            ".*sync_dist=True.*",  # metrics are gathered by sample
            ".*LeafSpec.*is deprecated.*",
            ".*epoch parameter in `scheduler.step.*",
        ):
            warnings.filterwarnings("ignore", message=message)
        warnings.filterwarnings("ignore", category=FutureWarning, module="monai")
        lightning = logging.getLogger("pytorch_lightning.utilities.rank_zero")
        level = lightning.level
        lightning.setLevel(logging.WARNING)
        try:
            yield
        finally:
            lightning.setLevel(level)
