"""Whether a run is running, and how it ended.

A process that is killed cannot write its last words. So ``status.json`` names process and host, and
its time is renewed by a heartbeat: where the process is gone, or silent for too long on another
machine, the run counts as interrupted.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from imtoolkit.core.files import write_json
from imtoolkit.runs.layout import STATUS

BEAT_SECONDS: Final = 20.0
"""How often the heartbeat renews the time of ``status.json``."""
SILENT_SECONDS: Final = 300.0
"""After so long without a heartbeat, a run on another machine counts as dead."""


class State(StrEnum):
    """The states of a run."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Status:
    """What ``status.json`` holds.

    Attributes:
        state: See `State`.
        name: Name of the run, from its config.
        id: Name of its folder when it was made.
        host: Machine that works on it.
        pid: Process that works on it.
        born: When that process started, in clock ticks of the machine; tells it from a later
            process with the same number. ``None`` where the system does not say.
        started: When the run was made, ISO 8601 in UTC.
        updated: When the state changed last.
        reason: Why it failed or stopped.
        exit_code: What the command line returned.
        resumed: How often it was resumed.
    """

    state: State
    name: str = ""
    id: str = ""
    host: str = ""
    pid: int = 0
    born: int | None = None
    started: str = ""
    updated: str = ""
    reason: str = ""
    exit_code: int | None = None
    resumed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return {**asdict(self), "state": self.state.value}


def now() -> str:
    """Return the time in UTC as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def new_status(name: str, run_id: str) -> Status:
    """Return the status of a run that this process starts now."""
    status = Status(State.RUNNING, name=name, id=run_id, started=now())
    return _claimed(status)


def read_status(folder: Path) -> Status:
    """Read the status of a run; a dead process's ``running`` is read as ``interrupted``."""
    path = folder / STATUS
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        known = {item.name for item in fields(Status)}
        kept = {key: value for key, value in raw.items() if key in known}
        status = Status(**{**kept, "state": State(raw["state"])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Status(
            State.UNKNOWN, id=folder.name, reason=f"{STATUS} is missing or cannot be read"
        )
    if status.state is State.RUNNING and not is_alive(status, _age(path)):
        reason = f"its process {status.pid} on {status.host} is gone (killed, or power was cut)"
        return replace(status, state=State.INTERRUPTED, reason=reason)
    return status


def write_status(folder: Path, status: Status) -> None:
    """Write the status, atomically."""
    write_json(folder / STATUS, replace(status, updated=now()).to_dict())


def set_state(
    folder: Path, state: State, *, reason: str = "", exit_code: int | None = None
) -> Status:
    """Change the state of a run; a run that is set running belongs to this process from now on."""
    if not folder.is_dir():  # deleted meanwhile: a folder with nothing but a status is no run
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
    status = replace(read_status(folder), state=state, reason=reason, exit_code=exit_code)
    if state is State.RUNNING:
        status = _claimed(status)
    write_status(folder, status)
    return status


def is_alive(status: Status, silent: float) -> bool:
    """Tell whether the process of a running run still lives.

    Args:
        status: Status as written.
        silent: Seconds since the last heartbeat.
    """
    if status.host != socket.gethostname() or os.name == "nt":
        return (
            silent < SILENT_SECONDS
        )  # Windows has no harmless signal 0, and far hosts none at all
    try:
        os.kill(status.pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return status.born is None or _birth(status.pid) == status.born


@contextlib.contextmanager
def heartbeat(folder: Path) -> Iterator[None]:
    """Renew the time of ``status.json`` in the background while the block runs."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):  # a full disk or a moved folder must not end the run
                os.utime(folder / STATUS)

    thread = threading.Thread(target=beat, name="imtoolkit-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _claimed(status: Status) -> Status:
    pid = os.getpid()
    return replace(status, host=socket.gethostname(), pid=pid, born=_birth(pid))


def _birth(pid: int) -> int | None:
    """Return the start time of a process in clock ticks since boot; Linux only."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    return int(line.rpartition(")")[2].split()[19])  # the command's name may hold spaces


def _age(path: Path) -> float:
    return time.time() - path.stat().st_mtime
