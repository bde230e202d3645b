"""Runs of several processes: who starts them, and how they find their run folder.

`train` with several devices starts one fresh Python (`imtoolkit.trainer.worker`) on the run folder,
and Lightning starts the others from there. So it is the same from the command line, a script and a
notebook, whose own process could not be copied. Where torchrun or Slurm has started all processes
already, the first one makes the run folder and tells the others.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import Any, Final

from imtoolkit.config.sections import Config
from imtoolkit.core.errors import (
    ConfigError,
    Problem,
    RunError,
    RunFailedError,
    RunInterruptedError,
)
from imtoolkit.runs import Run, State
from imtoolkit.runs.status import set_state
from imtoolkit.trainer.machine import Machine

SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


def is_launched() -> bool:
    """Tell whether torchrun, Slurm or Lightning has started this process as one of many."""
    if "LOCAL_RANK" in os.environ:
        return True
    tasks = os.environ.get("SLURM_NTASKS", "1")
    in_step = "SLURM_STEP_ID" in os.environ or "SLURM_PROCID" in os.environ
    return in_step and tasks.isdigit() and int(tasks) > 1


def own_rank() -> int:
    """Return the number of this process among all, 0 where there is only one."""
    from pytorch_lightning.utilities import rank_zero_only

    return int(getattr(rank_zero_only, "rank", 0) or 0)


def as_launched(config: Config) -> Config:
    """Fill in the number of processes that torchrun has started, where the config asks for one."""
    local, world = os.environ.get("LOCAL_WORLD_SIZE"), os.environ.get("WORLD_SIZE")
    if local is None or world is None or config.trainer.devices != 1:
        return config
    nodes = max(1, int(world) // int(local))
    settings = replace(config.trainer, devices=int(local), num_nodes=nodes)
    return replace(config, trainer=settings)


def shared(make: Callable[[], Any], machine: Machine) -> Any:
    """Return what the first of all launched processes made; the others get it from there.

    Args:
        make: Called by the first process only.
        machine: Tells how the processes talk.

    Raises:
        RunError: On the others, if the first one failed.
    """
    import torch
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    from lightning_fabric.utilities.distributed import _init_dist_connection

    by_torchrun = "LOCAL_WORLD_SIZE" in os.environ
    environment = TorchElasticEnvironment() if by_torchrun else SLURMEnvironment()
    if machine.accelerator == "cuda":
        torch.cuda.set_device(environment.local_rank())
    _init_dist_connection(environment, "nccl" if machine.accelerator == "cuda" else "gloo")
    box: list[Any] = [None, None]
    failure: Exception | None = None
    if torch.distributed.get_rank() == 0:
        try:
            box[0] = make()
        except Exception as error:  # noqa: BLE001 - raised again below, once the others know
            failure, box[1] = error, str(error)
    torch.distributed.broadcast_object_list(box)
    if failure is not None:
        raise failure
    if box[1] is not None:
        raise RunError(box[1])
    return box[0]


def run_processes(run: Run, config: Config, *, resume: bool, quiet: bool) -> Run:
    """Start the processes of a run, wait for them, and raise what went wrong.

    Raises:
        ConfigError: If the config holds arrays, which only this process has.
        RunError: As the run ended.
    """
    if _holds_arrays(config):
        message = (
            "arrays in memory cannot go to other processes. Save them as .npy or .npz and name the "
            "files, or train with trainer.devices 1"
        )
        raise ConfigError(Problem(message, where="data.sources"))
    command = [sys.executable, "-m", "imtoolkit.trainer.worker", str(run.path)]
    command += ["--resume"] * resume + ["--quiet"] * quiet
    # a session of its own: a Ctrl-C reaches it once, through us, and not again from the terminal
    child = subprocess.Popen(command, start_new_session=os.name != "nt")
    code = _wait(child)
    status = run.status
    if code == 0 and status.state is State.FINISHED:
        return run
    if status.state is State.INTERRUPTED and status.exit_code is not None:
        raise RunInterruptedError(status.reason, status.exit_code - 128)
    if status.state is not State.FAILED:
        reason = (
            f"a process of the run died with code {code}, most often because memory ran out. What "
            f"it said stands above and in {run.path / 'log.txt'}"
        )
        status = set_state(run.path, State.FAILED, reason=reason, exit_code=1)
    raise RunError(status.reason) if status.exit_code == 2 else RunFailedError(status.reason)


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Wait for a process and hand signals on to it."""

    def hand_on(number: int, frame: FrameType | None) -> None:
        if child.poll() is None:
            child.send_signal(number)

    if threading.current_thread() is not threading.main_thread():
        return child.wait()
    before = {number: signal.signal(number, hand_on) for number in SIGNALS}
    try:
        return child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _holds_arrays(config: Config) -> bool:
    def holds(value: Any) -> bool:
        if isinstance(value, dict):
            return any(holds(item) for item in value.values())
        if isinstance(value, (list, tuple)):
            return any(holds(item) for item in value)
        return hasattr(value, "__array__")

    return any(holds(entry.source.params) for entry in config.data.sources.values())
