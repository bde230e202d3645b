"""From a config to the objects that train: data module, task, callbacks, Lightning's trainer."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import pytorch_lightning as pl

from imtoolkit.callbacks.checkpoint_io import AtomicCheckpointIO, load_checkpoint
from imtoolkit.callbacks.checkpoints import Checkpoints
from imtoolkit.callbacks.early_stopping import EarlyStopping
from imtoolkit.callbacks.ema import Ema
from imtoolkit.callbacks.final_validation import FinalValidation
from imtoolkit.callbacks.interrupt import Interrupt
from imtoolkit.callbacks.metrics_csv import MetricsCsv
from imtoolkit.callbacks.nan_guard import NanGuard
from imtoolkit.callbacks.pace import Pace
from imtoolkit.callbacks.pictures import Pictures
from imtoolkit.callbacks.progress import Progress
from imtoolkit.callbacks.schedules import Schedules
from imtoolkit.config.sections import Component, Config, StartConfig, TrainerConfig
from imtoolkit.config.settings import cache_root, runs_root
from imtoolkit.core import registry
from imtoolkit.core.errors import ComponentError, ConfigError, Problem, RunError
from imtoolkit.core.facts import DataFacts
from imtoolkit.core.schedules import NumberSchedule, build_schedule
from imtoolkit.data.datamodule import ImageDataModule
from imtoolkit.runs import Run, find_run
from imtoolkit.runs.layout import CHECKPOINTS, METRICS, PICTURES, SPLITS
from imtoolkit.tasks import build_task, target_spec
from imtoolkit.tasks.adversarial import AdversarialTask
from imtoolkit.tasks.numbers import setter_of
from imtoolkit.trainer import borrowed
from imtoolkit.trainer.machine import Machine
from imtoolkit.trainer.session import resume_command

if TYPE_CHECKING:
    from imtoolkit.tasks.base import Task

OURS: Final = (
    *("threads", "channels_last", "ema", "early_stopping", "checkpoint", "pictures", "schedules"),
)
"""Fields of the section ``trainer`` that Lightning's trainer does not know."""
_STEPPING: Final = ("accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm")
DEFAULT_EPOCHS: Final = 100
_A_DAY: Final = 86_400.0  # how long does not matter where a schedule is only tried
NO_LIMIT: Final = 1_000_000_000
"""Epochs where steps or time end the training: Lightning's own -1 restarts epochs that are done."""


def build_data(config: Config, machine: Machine, run: Run | None = None) -> ImageDataModule:
    """Build the data module with workers and memory as the machine has them.

    Args:
        config: The whole config.
        machine: What was chosen.
        run: Where to look for the splits that were drawn when the run was made.
    """
    loader = replace(config.data.loader, workers=machine.workers, pin_memory=machine.pin_memory)
    drawn = run.path / SPLITS if run is not None else None
    if run is not None and run.checkpoints and not (run.path / SPLITS).is_file():
        message = (
            f"run {run.id} has lost its {SPLITS}: nobody can tell which images it was trained on. "
            "Restore the file, or evaluate other images (--images and --targets)"
        )
        raise RunError(message)
    return ImageDataModule(
        replace(config.data, loader=loader),
        target_spec(config.task),
        seed=config.seed,
        plugins=tuple(config.plugins),
        splits_file=drawn if drawn is not None and drawn.is_file() else None,
        cache_root=cache_root(config),
        schedules=build_schedules(config, "data."),
    )


def pinned(config: Config) -> Config:
    """Return a config that names the runs it takes weights from for good, and not as the latest.

    Raises:
        ConfigError: If there is no such run, state or file.
    """
    config = borrowed.named_for_good(config)
    start = config.task.start_from
    file = start_file(config)
    if start is None or file is None or Path(start.run).expanduser().exists():
        return config
    named = replace(start, run=find_run(start.run, runs_root(config)).id)
    return replace(config, task=replace(config.task, start_from=named))


def build_schedules(config: Config, below: str = "") -> dict[str, NumberSchedule]:
    """Return key of the config -> the schedule of the number there.

    Args:
        config: The whole config.
        below: Only keys that begin so.

    Raises:
        ConfigError: If a schedule refuses its parameters.
    """
    settings = config.trainer
    limited = settings.max_steps != -1 or settings.max_time is not None
    epochs = settings.max_epochs or (None if limited else DEFAULT_EPOCHS)
    built = {}
    for key, component in settings.schedules.items():
        if not key.startswith(below):
            continue
        try:
            length = None if epochs == -1 else epochs
            built[key] = build_schedule(component.name, component.params, length)
        except ComponentError as error:
            where = f"trainer.schedules.{key}"
            raise ConfigError(Problem(str(error), where=where)) from error
    return built


def schedule_numbers(config: Config, task: Task) -> Schedules:
    """Return the callback that changes numbers with the epochs.

    Raises:
        ConfigError: If a key leads to no number.
    """
    return Schedules(
        {
            key: (schedule, None if key.startswith("data.") else setter_of(task, key))
            for key, schedule in build_schedules(config).items()
        }
    )


def build_model(config: Config, facts: DataFacts) -> Task:
    """Build the task, with the weights of ``task.start_from`` where it is given.

    Raises:
        ConfigError: If parts do not fit each other or the data.
    """
    task = build_task(config.task, config.inference, facts, config.seed)
    if config.trainer.channels_last:
        task.use_channels_last()
    if isinstance(task, AdversarialTask):
        task.updates = replace(task.updates, **_updates(config.trainer))
    return task


def start_weights(task: Task, config: Config) -> None:
    """Load the weights of other runs into a task, where the config names any."""
    start = config.task.start_from
    if start is not None:
        _start_whole(task, config, start)
    borrowed.start_generators(task, config)


def _start_whole(task: Task, config: Config, start: StartConfig) -> None:
    try:
        path = start_file(config)
        assert path is not None
        checkpoint = load_checkpoint(path)
        task.start_from(
            checkpoint["state_dict"],
            start.exclude,
            include=start.include,
            rename=start.rename,
            checkpoint=checkpoint if start.optimizer else None,
        )
    except RunError as error:
        raise ConfigError(Problem(str(error), where="task.start_from")) from error


def start_file(config: Config) -> Path | None:
    """Return the file of ``task.start_from``; ``None`` where the config names none.

    Raises:
        ConfigError: If there is no such run, state or file.
    """
    start = config.task.start_from
    if start is None:
        return None
    given = Path(start.run).expanduser()
    if given.is_file():
        return given
    try:
        return find_run(start.run, runs_root(config)).checkpoint(start.checkpoint)
    except RunError as error:
        raise ConfigError(Problem(str(error), where="task.start_from")) from error


def closure_settings(config: Config, machine: Machine) -> dict[str, Any]:
    """Return what decides whether optimizers that evaluate a batch several times can work."""
    settings = config.trainer
    return {
        "accumulate": settings.accumulate_grad_batches,
        "precision": machine.precision,
        "clip_value": settings.gradient_clip_val,
        "clip_algorithm": settings.gradient_clip_algorithm,
        "strategy": settings.strategy,
    }


def monitored(config: Config, task: Task) -> dict[str, Literal["min", "max"]]:
    """Return the metrics of which the best state is kept, and which way each is better."""
    names = config.trainer.checkpoint.monitor or [task.main_metric]
    return {name: task.better(name) for name in names}


def build_callbacks(
    config: Config, task: Task, run: Run, machine: Machine, *, quiet: bool
) -> list[pl.Callback]:
    """Build the callbacks of a training, in the order in which they run."""
    settings = config.trainer
    modes = monitored(config, task)
    changing = [schedule_numbers(config, task)] if settings.schedules else []
    if settings.barebones:  # Lightning measures speed: nothing is logged, drawn or kept
        own = [_build("callback", item, run) for item in config.callbacks]
        return [NanGuard(run.path), *changing, *own]
    keep = settings.checkpoint
    checkpoints = Checkpoints(
        run.path / CHECKPOINTS,
        modes,
        every_epochs=keep.every_epochs,
        every_steps=keep.every_steps,
        every_minutes=keep.every_minutes,
    )
    made: list[pl.Callback] = [NanGuard(run.path), Pace(), *changing]
    if settings.ema is not None:
        made.append(_ema(settings))
    made.append(
        Pictures(
            run.path / PICTURES,
            every_epochs=settings.pictures.every_epochs,
            count=settings.pictures.count,
            classes=target_spec(config.task).classes,
        )
    )
    if settings.enable_progress_bar is not False and not quiet:
        made.append(Progress(modes, checkpoints, f"run {run.path}\nuses {machine}"))
    made += [_build("callback", component, run) for component in config.callbacks]
    if settings.early_stopping is not None:
        stop = settings.early_stopping
        name = stop.monitor or next(iter(modes))
        made.append(
            EarlyStopping(
                name,
                task.better(name, "trainer.early_stopping.monitor"),
                patience=stop.patience,
                min_delta=stop.min_delta,
            )
        )
    return [*made, FinalValidation(), checkpoints, Interrupt(checkpoints, resume_command(run))]


def build_trainer(
    config: Config,
    machine: Machine,
    facts: DataFacts,
    run: Run,
    callbacks: list[pl.Callback],
    *,
    steps_itself: bool = False,
) -> pl.Trainer:
    """Build Lightning's trainer from the section ``trainer`` and the machine.

    Args:
        config: The whole config.
        machine: What was chosen.
        facts: What the data module found.
        run: The run.
        callbacks: What `build_callbacks` returned.
        steps_itself: Whether the task steps its optimizers itself: it is then the task that
            gathers and clips gradients, and Lightning must not be told of it.

    Raises:
        ConfigError: If Lightning refuses a value.
    """
    settings = config.trainer
    limits = trainer_arguments(settings)
    limits.update(_until(settings))
    if steps_itself:
        limits = {key: value for key, value in limits.items() if key not in _STEPPING}
    if settings.log_every_n_steps is None and not settings.barebones:
        limits["log_every_n_steps"] = max(1, min(50, _steps(facts, settings)))
    if settings.profiler is not None:
        limits["profiler"] = _profiler(settings.profiler, run)
    loggers = [MetricsCsv(run.path / METRICS)]
    loggers += [_build("logger", component, run) for component in config.loggers]
    has_bar = any(isinstance(item, Progress) for item in callbacks)
    try:
        return pl.Trainer(
            **{
                **limits,
                "accelerator": machine.accelerator,
                "precision": machine.precision,
                "callbacks": callbacks,
                "logger": False if settings.barebones else loggers,
                "enable_progress_bar": has_bar,
                "enable_model_summary": bool(settings.enable_model_summary),
                "plugins": [AtomicCheckpointIO()],
                "default_root_dir": run.path,
                "use_distributed_sampler": False,
            }
        )
    except (ValueError, TypeError) as error:
        raise ConfigError(Problem(str(error), where="trainer")) from error


def _updates(settings: TrainerConfig) -> dict[str, Any]:
    """Return what Lightning refuses to do for several optimizers, and the task does itself."""
    return {
        "accumulate": settings.accumulate_grad_batches,
        "clip_value": settings.gradient_clip_val,
        "clip_algorithm": settings.gradient_clip_algorithm or "norm",
    }


def trainer_arguments(settings: TrainerConfig) -> dict[str, Any]:
    """Return the given fields of the section ``trainer`` that are Lightning's."""
    values = {item.name: getattr(settings, item.name) for item in fields(settings)}
    return {key: value for key, value in values.items() if key not in OURS and value is not None}


def _until(settings: TrainerConfig) -> dict[str, Any]:
    if settings.max_epochs is not None:
        return {}
    limited = settings.max_steps != -1 or settings.max_time is not None
    return {"max_epochs": NO_LIMIT if limited else DEFAULT_EPOCHS}


def length_of(config: Config, facts: DataFacts) -> tuple[float, float, float | None]:
    """Return the steps, epochs and seconds after which a training ends, as the config says."""
    settings = config.trainer
    limit = {"max_epochs": settings.max_epochs, **_until(settings)}["max_epochs"]
    epochs = math.inf if limit is None or limit < 1 else float(limit)
    steps = epochs * _steps(facts, settings)
    if settings.max_steps != -1:
        steps = min(steps, float(settings.max_steps))
    return steps, epochs, None if settings.max_time is None else _A_DAY


def _steps(facts: DataFacts, settings: TrainerConfig) -> int:
    return -(-facts.steps_per_epoch // settings.accumulate_grad_batches)


def _ema(settings: TrainerConfig) -> Ema:
    assert settings.ema is not None
    if settings.strategy.startswith(("fsdp", "deepspeed", "tp", "model_parallel")):
        message = (
            f"the average needs whole weights in each process, and '{settings.strategy}' cuts them "
            "up. Leave trainer.ema out, or use the strategy ddp"
        )
        raise ConfigError(Problem(message, where="trainer.ema"))
    return Ema(settings.ema.decay, settings.ema.warmup)


def _build(kind: str, component: Component, run: Run) -> Any:
    """Build a callback or logger; one that asks for a folder gets that of the run."""
    factory = registry.resolve(kind, component.name)
    wanted: Mapping[str, Any] = inspect.signature(factory).parameters
    filled = {name: run.path for name in ("save_dir", "folder") if name in wanted}
    return registry.build(kind, component.name, component.params, **filled)


def _profiler(name: str, run: Run) -> Any:
    from pytorch_lightning.profilers import AdvancedProfiler, PyTorchProfiler, SimpleProfiler

    kinds = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}
    if name not in kinds:
        message = f"got '{name}'; expected {', '.join(kinds)}"
        raise ConfigError(Problem(message, where="trainer.profiler"))
    return kinds[name](dirpath=run.path, filename="profile")
