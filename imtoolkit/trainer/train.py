"""Train: from a config to a run folder with a trained and evaluated model."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from imtoolkit.callbacks.checkpoints import keeps_nothing
from imtoolkit.callbacks.interrupt import signals_given_back
from imtoolkit.config import load_config, to_yaml
from imtoolkit.config import plugins as plugin_modules
from imtoolkit.config.sections import Config
from imtoolkit.config.settings import runs_root
from imtoolkit.core.errors import ImtoolkitError
from imtoolkit.core.facts import DataFacts
from imtoolkit.core.files import write_json, write_text
from imtoolkit.data.datamodule import ImageDataModule
from imtoolkit.runs import Run, create_run
from imtoolkit.runs.layout import CHECKPOINTS, CONFIG, LAST, METRICS, PROVENANCE, RESOLVED, SPLITS
from imtoolkit.runs.provenance import provenance
from imtoolkit.tasks.base import Task
from imtoolkit.tasks.optimization import build_optimizers
from imtoolkit.trainer import build, launch
from imtoolkit.trainer.borrowed import attach_encoders
from imtoolkit.trainer.evaluate import evaluate_after_training
from imtoolkit.trainer.machine import Machine, choose_machine
from imtoolkit.trainer.session import working_on

log = logging.getLogger(__name__)


def train(
    config: Config | str | Path | Mapping[str, Any],
    *,
    path: str | Path | None = None,
    quiet: bool = False,
) -> Run:
    """Train a model as a config says, and evaluate it.

    Args:
        config: A config, or what `imtoolkit.load_config` takes.
        path: The run folder to make; left out, a new one below the folder of all runs.
        quiet: Show no progress.

    Returns:
        The finished run.

    Raises:
        ConfigError: If the config does not fit the data or the machine.
        DataError: If images or tables are wrong; all of them are listed.
        RunError: If the run folder exists, or the run fails.
    """
    if not isinstance(config, Config):
        config = load_config(config)
    config = launch.as_launched(config)
    machine = choose_machine(config)
    config = build.pinned(config)  # before there is a new latest run
    asked = config

    def make() -> Path:
        return start_run(asked, Path(path) if path is not None else None).path

    launched = launch.is_launched()
    run = Run(launch.shared(make, machine) if launched else make())
    if launched:
        return carry_out(run, config, machine, resume=False, quiet=quiet)
    with unless_refused(run):
        return carry_out(run, config, machine, resume=False, quiet=quiet)


@contextlib.contextmanager
def unless_refused(run: Run) -> Iterator[None]:
    """Take a new run folder away where the data or the config are refused before a first step.

    There is nothing in it that the message does not tell, and the same ``--folder`` can be given
    again once the mistake is mended.
    """
    try:
        yield
    except ImtoolkitError as error:
        began = run.checkpoints or (run.path / METRICS).is_file()
        if error.exit_code == 2 and not began:
            shutil.rmtree(run.path, ignore_errors=True)
            with contextlib.suppress(OSError):
                run.path.parent.rmdir()  # the folder of this name, where nothing else is in it
        raise


def start_run(config: Config, path: Path | None = None) -> Run:
    """Make the run folder, with the config and its plugins in it, before anything is built."""

    def fill(folder: Path) -> None:
        copied = plugin_modules.copy_into(config, folder)
        write_text(folder / CONFIG, to_yaml(copied, relative_to=folder))
        plugin_modules.trust(copied.plugins, folder / CONFIG)

    return create_run(config.name, runs_root(config), fill, path=path)


def carry_out(run: Run, config: Config, machine: Machine, *, resume: bool, quiet: bool) -> Run:
    """Work on a run in this process, or in several that are started here."""
    if machine.processes * machine.nodes > 1 and not launch.is_launched():
        return launch.run_processes(run, config, resume=resume, quiet=quiet)
    return work(run, config, machine, resume=resume, quiet=quiet or launch.own_rank() > 0)


def work(run: Run, config: Config, machine: Machine, *, resume: bool, quiet: bool) -> Run:
    """Prepare the data, build the model, train and evaluate it; one process of a run."""
    rank = launch.own_rank()
    with working_on(run, rank=rank), threads(machine.threads):
        log.debug("uses %s", machine)
        plugin_modules.load(config)
        data = build.build_data(config, machine, run)
        data.prepare_data()
        ranks = machine.processes * machine.nodes
        facts = replace(data.facts, steps_per_epoch=data.steps_per_epoch(ranks))
        task = build.build_model(config, facts)
        last = run.path / CHECKPOINTS / LAST
        continues = resume and last.is_file()
        if not continues:
            build.start_weights(task, config)
            build_optimizers(task)
        attach_encoders(task, config)
        if rank == 0:
            write_facts(run, task, data, facts, machine)
        callbacks = build.build_callbacks(config, task, run, machine, quiet=quiet)
        by_itself = not task.automatic_optimization
        trainer = build.build_trainer(
            config, machine, facts, run, callbacks, steps_itself=by_itself
        )
        with signals_given_back():
            trainer.fit(task, datamodule=data, ckpt_path=last if continues else None)
        if not keeps_nothing(trainer) and not config.trainer.barebones:
            evaluate_after_training(run, config, machine, task, data, quiet=quiet)
    return run


def write_facts(
    run: Run, task: Task, data: ImageDataModule, facts: DataFacts, machine: Machine
) -> None:
    """Write what the data filled in, and where everything comes from."""
    weights = [weight.numel() for weight in task.parameters()]
    trained = [weight.numel() for weight in task.parameters() if weight.requires_grad]
    before = run.resolved if (run.path / RESOLVED).is_file() else None
    if before is not None and before["facts"].get("fingerprint") != facts.fingerprint:
        log.warning(
            "the images are not those that the run began with; it continues with the new ones"
        )
    resolved = {
        "facts": facts.to_dict(),
        "machine": machine.to_dict(),
        "parameters": {"all": sum(weights), "trained": sum(trained)},
    }
    if task.load_report is not None:
        log.info("started from other weights: %s", task.load_report)
        resolved["loaded"] = task.load_report.to_dict()
    elif before is not None and "loaded" in before:
        resolved["loaded"] = before["loaded"]
    write_json(run.path / RESOLVED, resolved)
    if not (run.path / SPLITS).is_file():
        data.write_splits(run.path / SPLITS)
    if before is None:
        told = provenance(
            device=machine.device, threads=machine.threads, data_fingerprint=facts.fingerprint
        )
        write_json(run.path / PROVENANCE, told)
    counts = ", ".join(f"{count} {split}" for split, count in facts.samples.items())
    log.info("images: %s", counts)
    log.info("weights: %s", weights_in_words(sum(weights), sum(trained)))


def weights_in_words(count: int, trained: int) -> str:
    """Return how many weights there are, and how many are trained where some are not.

    Example:
        >>> weights_in_words(37_718, 37_718), weights_in_words(37_718, 66)
        ('37,718', '37,718, 66 of them trained')
    """
    return f"{count:,}" if trained == count else f"{count:,}, {trained:,} of them trained"


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use so many threads while the block runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
