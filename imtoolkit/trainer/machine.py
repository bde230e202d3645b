"""What the machine offers and how a run uses it: device, precision, workers and threads."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch

from imtoolkit.config.sections import Config
from imtoolkit.core.errors import ConfigError, Problem

GPUS: Final = ("gpu", "cuda")
ACCELERATORS: Final = ("auto", "cpu", *GPUS, "mps", "tpu")
_MOST_WORKERS: Final = 8  # more of them wait for the same disk


@dataclass(frozen=True)
class Machine:
    """What was chosen for a run.

    Attributes:
        accelerator: ``cpu``, ``cuda``, ``mps`` or ``tpu``.
        device: Name of the device, for people.
        processes: Processes on this machine, one for each device.
        nodes: Machines that take part.
        precision: Lightning's name of the number format.
        workers: Processes that load data, for each training process.
        threads: Threads of torch in each training process.
        cores: Cores that this program may use.
        pin_memory: Whether batches lie in page-locked memory.
    """

    accelerator: str
    device: str
    processes: int
    nodes: int
    precision: str
    workers: int
    threads: int
    cores: int
    pin_memory: bool

    def __str__(self) -> str:
        many = f"{self.processes} x " if self.processes > 1 else ""
        nodes = f" on each of {self.nodes} machines" if self.nodes > 1 else ""
        return (
            f"{many}{self.device}{nodes}, precision {self.precision}, "
            f"{_counted(self.threads, 'thread')}, {_counted(self.workers, 'loading worker')}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return asdict(self)


def choose_machine(config: Config) -> Machine:
    """Choose what the config leaves open, and refuse what the machine does not have.

    Raises:
        ConfigError: If a GPU is asked for where there is none, or more devices than there are.
    """
    asked = config.trainer
    accelerator = _accelerator(asked.accelerator)
    processes = _processes(accelerator, asked.devices)
    cores = usable_cores()
    workers, threads = _share(
        max(1, cores // processes), config.data.loader.workers, asked.threads, accelerator
    )
    on_gpu = accelerator == "cuda"
    pin = config.data.loader.pin_memory
    return Machine(
        accelerator=accelerator,
        device=_device_name(accelerator, cores),
        processes=processes,
        nodes=asked.num_nodes,
        precision=str(asked.precision) if asked.precision is not None else _precision(accelerator),
        workers=workers,
        threads=threads,
        cores=cores,
        pin_memory=on_gpu if pin is None else pin,
    )


def usable_cores() -> int:
    """Return the cores that this process may use, which a scheduler may have limited."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _accelerator(asked: str) -> str:
    if asked not in ACCELERATORS:
        message = f"got '{asked}'; expected one of {', '.join(ACCELERATORS)}"
        raise ConfigError(Problem(message, where="trainer.accelerator"))
    has_cuda, has_mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if asked in GPUS and not has_cuda and not (asked == "gpu" and has_mps):
        build = "is built without CUDA" if torch.version.cuda is None else "sees no GPU"
        message = (
            f"asks for '{asked}', but torch {torch.__version__} {build} on this machine. Use "
            "--trainer.accelerator auto (or cpu), or install the driver and a CUDA build of torch"
        )
        raise ConfigError(Problem(message, where="trainer.accelerator"))
    if asked == "mps" and not has_mps:
        message = "asks for 'mps', which only Macs with Apple silicon have. Use auto or cpu"
        raise ConfigError(Problem(message, where="trainer.accelerator"))
    if asked in (*GPUS, "auto") and has_cuda:
        return "cuda"
    if asked in ("gpu", "mps", "auto") and has_mps:
        return "mps"
    return "tpu" if asked == "tpu" else "cpu"


def _processes(accelerator: str, devices: int | str | list[int]) -> int:
    there = torch.cuda.device_count() if accelerator == "cuda" else 1
    count: int
    if isinstance(devices, str) and "," in devices:  # as Lightning reads it, numbers of devices
        devices = [int(number) for number in devices.split(",") if number.strip().isdigit()]
    if isinstance(devices, list):
        count, largest = len(devices), max(devices, default=-1)
        wrong = accelerator == "cuda" and largest >= there
    elif devices in ("auto", "-1", -1):
        return there
    else:
        try:
            count = int(devices)
        except ValueError:
            count = 0
        wrong = accelerator in ("cuda", "mps") and count > there
    if count < 1 or wrong:
        unit = "GPUs" if accelerator == "cuda" else "devices"
        message = f"got {devices!r}, but this machine has {there} {unit}"
        if count < 1:
            message = f"got {devices!r}; expected a number of devices, a list of them, or 'auto'"
        raise ConfigError(Problem(message, where="trainer.devices"))
    return count


def _share(
    cores: int, workers: int | None, threads: int | None, accelerator: str
) -> tuple[int, int]:
    """Divide the cores of one process between loading workers and torch's threads.

    On a CPU the net needs the cores, and reading memory-mapped patches costs little: a quarter of
    the cores load. On a GPU the cores have nothing else to do.
    """
    if workers is None:
        on_cpu = accelerator == "cpu"
        workers = min(_MOST_WORKERS, cores // 4 if on_cpu else max(1, cores - 1))
    if threads is None:
        limit = os.environ.get("OMP_NUM_THREADS", "")
        threads = int(limit) if limit.isdigit() and int(limit) > 0 else cores
        if accelerator == "cpu":
            threads = max(1, min(threads, cores - min(workers, cores // 4)))
    return workers, threads


def _precision(accelerator: str) -> str:
    if accelerator == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16-mixed"
    return "32-true"


def _counted(count: int, what: str) -> str:
    """Return a number with its noun: ``no threads``, ``1 thread``, ``2 threads``."""
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"


def _device_name(accelerator: str, cores: int) -> str:
    if accelerator == "cuda":
        return torch.cuda.get_device_name()
    return {"mps": "Apple GPU", "tpu": "TPU"}.get(
        accelerator, f"CPU with {_counted(cores, 'core')}"
    )
