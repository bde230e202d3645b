"""What is chosen for a run fits the machine; what the machine lacks is refused."""

import pytest
import torch

from imtoolkit.config.sections import Config, DataConfig, LoaderConfig, TaskConfig, TrainerConfig
from imtoolkit.core.errors import ConfigError
from imtoolkit.trainer import machine as room
from imtoolkit.trainer.machine import choose_machine


def config(workers=None, **trainer):
    data = DataConfig(sources={}, loader=LoaderConfig(workers=workers))
    return Config(data=data, task=TaskConfig("segmentation"), trainer=TrainerConfig(**trainer))


@pytest.fixture
def cores(monkeypatch):
    def have(count, *, gpus=0, bf16=True):
        monkeypatch.setattr(room, "usable_cores", lambda: count)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda *a: "A GPU")
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **k: bf16)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)

    return have


@pytest.mark.parametrize(
    ("count", "processes", "workers", "threads"),
    [(1, 1, 0, 1), (2, 1, 0, 2), (4, 1, 1, 3), (16, 1, 4, 12), (16, 2, 2, 6), (2, 4, 0, 1)],
)
def test_workers_and_threads_together_use_the_cores_of_a_cpu(
    cores, count, processes, workers, threads
):
    cores(count)
    found = choose_machine(config(accelerator="cpu", devices=processes))
    assert (found.workers, found.threads) == (workers, threads)
    assert processes > count or processes * (found.workers + found.threads) <= count


def test_what_the_user_gives_is_kept(cores):
    cores(8)
    found = choose_machine(config(workers=3, threads=5, precision="64-true", accelerator="cpu"))
    assert (found.workers, found.threads, found.precision) == (3, 5, "64-true")


def test_a_gpu_gets_half_precision_pinned_memory_and_workers(cores):
    cores(12, gpus=2)
    found = choose_machine(config(devices="auto"))
    assert (found.accelerator, found.processes) == ("cuda", 2)
    assert (found.precision, found.pin_memory, found.workers) == ("bf16-mixed", True, 5)


def test_a_gpu_without_bf16_and_a_cpu_get_32_bits(cores):
    cores(4, gpus=1, bf16=False)
    assert choose_machine(config()).precision == "32-true"
    assert choose_machine(config(accelerator="cpu")).precision == "32-true"


@pytest.mark.parametrize("asked", ["gpu", "cuda"])
def test_a_gpu_where_there_is_none_is_refused_with_the_remedy(cores, asked):
    cores(2)
    with pytest.raises(ConfigError, match=r"trainer\.accelerator: asks for .*accelerator auto"):
        choose_machine(config(accelerator=asked))


@pytest.mark.parametrize("devices", [3, [0, 2], "3", "0,2"])
def test_more_gpus_than_there_are_are_refused(cores, devices):
    cores(2, gpus=2)
    with pytest.raises(ConfigError, match=r"trainer\.devices: .* has 2 GPUs"):
        choose_machine(config(devices=devices))


@pytest.mark.parametrize("devices", [0, "many", []])
def test_a_number_of_devices_that_is_none_is_refused(cores, devices):
    cores(2)
    with pytest.raises(ConfigError, match="expected a number of devices"):
        choose_machine(config(devices=devices, accelerator="cpu"))


def test_an_unknown_accelerator_lists_the_known(cores):
    cores(2)
    with pytest.raises(ConfigError, match="expected one of auto, cpu"):
        choose_machine(config(accelerator="gpuu"))


def test_a_limit_on_threads_from_outside_is_respected(cores, monkeypatch):
    cores(8)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert choose_machine(config(accelerator="cpu")).threads == 2


def test_a_machine_says_how_many_of_each_it_uses(cores, monkeypatch):
    cores(1)
    words = str(choose_machine(config(workers=0, accelerator="cpu")))
    assert words == "CPU with 1 core, precision 32-true, 1 thread, no loading workers"
    cores(8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    words = str(choose_machine(config(workers=1, accelerator="cpu")))
    assert words.endswith("7 threads, 1 loading worker")
