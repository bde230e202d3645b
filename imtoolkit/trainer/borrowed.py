"""What a translation between domains takes from other runs: generators, and encoders to measure by.

Where `task.start_from` takes weights of one run for the whole model, each generator may start from
a run of its own. An encoder is a run whose net tells how alike images are; it is never trained
here, and not needed to predict.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from imtoolkit.callbacks.checkpoint_io import load_checkpoint
from imtoolkit.config import load_run_config
from imtoolkit.config import plugins as plugin_modules
from imtoolkit.config.sections import Config, CycleGANConfig, StartConfig
from imtoolkit.config.settings import runs_root
from imtoolkit.core.errors import ConfigError, ImtoolkitError, Problem, RunError
from imtoolkit.nets.loading import LoadReport
from imtoolkit.runs import Run, find_run
from imtoolkit.tasks.base import Task
from imtoolkit.tasks.cyclegan import INTO, OTHER, CycleGANTask
from imtoolkit.tasks.encoder import NetEncoder, check_encoder
from imtoolkit.trainer.state import load_state

log = logging.getLogger(__name__)

_NETS = ("generator", "net")
"""Roles of nets in other categories that may become a generator."""


def named_for_good(config: Config) -> Config:
    """Return a config that names the runs it takes from by their id, and not as the latest.

    Raises:
        ConfigError: If there is no such run or file.
    """
    task = config.task
    if not isinstance(task, CycleGANConfig):
        return config
    starts, encoders = dict(task.starts), dict(task.encoders)
    for role, start in starts.items():
        file = _file_of(start, config, f"task.starts.{role}.run")
        if not Path(start.run).expanduser().exists():
            starts[role] = replace(start, run=file.parent.parent.name)
    for domain, encoder in encoders.items():
        run = _run_of(encoder.run, config, f"task.encoders.{domain}.run")
        if not Path(encoder.run).expanduser().exists():
            encoders[domain] = replace(encoder, run=run.id)
    return replace(config, task=replace(task, starts=starts, encoders=encoders))


def start_generators(task: Task, config: Config) -> None:
    """Load the weights of ``task.starts`` into the generators.

    Raises:
        ConfigError: If there is no such run or state, or nothing in it fits.
    """
    if not isinstance(task, CycleGANTask):
        return
    before = task.load_report
    states = dict(task.start_states)
    for role, start in task.config.starts.items():
        where = f"task.starts.{role}"
        checkpoint = load_checkpoint(_file_of(start, config, f"{where}.run"))
        state = checkpoint["state_dict"]
        try:
            report = task.start_from(
                state,
                start.exclude,
                include=start.include or [f"nets.{role}.*"],
                rename=start.rename or _renamed(role, state),
                checkpoint=checkpoint if start.optimizer else None,
            )
        except RunError as error:
            raise ConfigError(Problem(str(error), where)) from error
        before = report if before is None else _both(before, report)
        states |= task.start_states
    task.load_report, task.start_states = before, states


def attach_encoders(task: Task, config: Config, *, needed: bool = True) -> None:
    """Give a translation the encoders of its config.

    Args:
        task: The task.
        config: Its config.
        needed: Whether a run that is gone is an error; otherwise its distance is left out.

    Raises:
        ConfigError: If a run does not exist, or was trained on other images.
    """
    if not isinstance(task, CycleGANTask):
        return
    for domain, wanted in task.config.encoders.items():
        where = f"task.encoders.{domain}"
        try:
            run = _run_of(wanted.run, config, f"{where}.run")
            encoder = _encoder(run, wanted.checkpoint, wanted.layer, where)
        except ImtoolkitError as error:
            if needed:
                raise
            log.warning("domain %s is not compared by features: %s", domain.upper(), error)
            task.encoders.pop(domain, None)
            continue
        check_encoder(encoder, task.facts_of(INTO[OTHER[domain]]), domain)
        _compare(run, config, domain)
        task.encoders[domain] = encoder
        log.info(
            "domain %s is compared by layer '%s' of run %s", domain.upper(), encoder.layer, run.id
        )


def _encoder(run: Run, checkpoint: str, layer: str | None, where: str) -> NetEncoder:
    from imtoolkit.trainer.build import build_model  # which takes weights by way of this module

    config = load_run_config(run.path)
    plugin_modules.load(config)
    task = build_model(config, run.facts)
    try:
        load_state(task, run, checkpoint)
    except RunError as error:
        raise ConfigError(Problem(str(error), f"{where}.checkpoint")) from error
    return NetEncoder(task, layer, where=where)


def _compare(run: Run, config: Config, domain: str) -> None:
    """Tell where an encoder has learnt from images that were preprocessed otherwise."""
    theirs = load_run_config(run.path).data.preprocess
    ours = config.data.preprocess
    if [(step.name, step.params) for step in theirs] != [(step.name, step.params) for step in ours]:
        log.warning(
            "run %s, the encoder of domain %s, was trained on images that were preprocessed by "
            "other steps than here: its features may mean little",
            run.id,
            domain.upper(),
        )


def _file_of(start: StartConfig, config: Config, where: str) -> Path:
    given = Path(start.run).expanduser()
    if given.is_file():
        return given
    try:
        return _run_of(start.run, config, where).checkpoint(start.checkpoint)
    except RunError as error:
        raise ConfigError(Problem(str(error), where)) from error


def _run_of(reference: str, config: Config, where: str) -> Run:
    try:
        return find_run(reference, runs_root(config))
    except RunError as error:
        raise ConfigError(Problem(str(error), where)) from error


def _renamed(role: str, state: Mapping[str, Any]) -> dict[str, str]:
    """Return which net of another run becomes a generator: one of its role, or its only one."""
    there = {name.split(".")[1] for name in state if name.startswith("nets.")}
    found = next((name for name in (role, *_NETS) if name in there), role)
    return {f"nets.{found}.": f"nets.{role}."}


def _both(first: LoadReport, second: LoadReport) -> LoadReport:
    """Return what two reports tell together."""
    loaded = (*first.loaded, *second.loaded)
    return LoadReport(
        loaded=loaded,
        missing=(*first.missing, *second.missing),
        unused=(*first.unused, *second.unused),
        mismatched=(*first.mismatched, *second.mismatched),
        excluded=(*first.excluded, *second.excluded),
        outside=tuple(name for name in first.outside if name not in loaded),
        renamed=(*first.renamed, *second.renamed),
        moments=(*first.moments, *second.moments),
        notes=(*first.notes, *second.notes),
    )
