"""Evaluate: measure a trained model on the images of a split, each once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from imtoolkit.callbacks.pictures import TestPictures
from imtoolkit.callbacks.predictions import SavePredictions
from imtoolkit.callbacks.progress import TestProgress
from imtoolkit.config import plugins as plugin_modules
from imtoolkit.config.sections import Component, Config, Role, SourceConfig
from imtoolkit.config.settings import runs_root
from imtoolkit.core.batch import Stage
from imtoolkit.core.errors import DataError, did_you_mean, listed
from imtoolkit.data.datamodule import ImageDataModule
from imtoolkit.runs import Run, find_run
from imtoolkit.runs.layout import EVALUATION, PREDICTIONS
from imtoolkit.tasks.base import Task
from imtoolkit.trainer import build, launch, scores
from imtoolkit.trainer.borrowed import attach_encoders
from imtoolkit.trainer.machine import Machine, choose_machine
from imtoolkit.trainer.scores import Scores
from imtoolkit.trainer.session import explained, quiet_libraries
from imtoolkit.trainer.state import load_state
from imtoolkit.trainer.tuned import config_of

SPLITS = ("train", "val", "test", "naive")


def evaluate(
    run: Run | str | Path,
    split: str = "test",
    *,
    checkpoint: str | None = None,
    against: Run | str | Path | None = None,
    source: Mapping[str, Any] | None = None,
    tuned: bool = True,
    quiet: bool = False,
) -> Scores:
    """Measure a trained model; for several that vote see `evaluate_ensemble`.

    Args:
        run: The run, its path, a prefix of its id, or ``latest``.
        split: ``test``, ``val``, ``train`` or ``naive``: the images that the run set aside. With
            ``source``, the name under which the result is kept.
        checkpoint: ``best``, ``last`` or ``best-<metric>``; left out, as the config says.
        against: Another run that is measured on the same images and compared, image by image.
        source: Other images than those of the run: a source as in the config, such as
            ``{"name": "folder", "params": {...}}``. All of them are evaluated, or the test images
            of a source that divides itself.
        tuned: Use the steps of post-processing that were tuned for a run, where there are some.
        quiet: Show no progress.

    Returns:
        The scores; they are also in ``evaluation/<split>`` of the run.

    Raises:
        RunError: If there is no such run or state.
        DataError: If the run has no images in this split.
    """
    found = find_run(run, runs_root())
    other = find_run(against, runs_root()) if against is not None else None
    first = _measure(found, split, checkpoint, source, tuned=tuned, quiet=quiet)
    if other is None:
        return _save(first, found, split)
    settings, seed = found.config.evaluation, found.config.seed
    second = _measure(other, split, None, source, tuned=tuned, quiet=quiet)
    compared = scores.compare(first, second, settings, seed)
    first.summary["against"] = {"run": other.id, **compared}
    return _save(first, found, split)


def evaluate_after_training(
    run: Run, config: Config, machine: Machine, task: Task, data: ImageDataModule, *, quiet: bool
) -> dict[str, Scores]:
    """Evaluate the splits that the config names, where they have images."""
    wanted = [name for name in config.evaluation.splits if data.facts.samples.get(name)]
    if not wanted:
        return {}
    name = load_state(task, run, config.inference.checkpoint)
    found = {}
    for split in wanted:
        made = test_split(run, config, machine, task, data, split, name, quiet=quiet)
        found[split] = made
        if launch.own_rank() == 0:
            found[split] = scores.save(made, _folder(run, split))
    return found


def test_split(
    run: Run,
    config: Config,
    machine: Machine,
    task: Task,
    data: ImageDataModule,
    split: str,
    checkpoint: str,
    *,
    quiet: bool,
    kept_as: str | None = None,
) -> Scores:
    """Apply a task to every image of a split and sum up.

    Pictures and predictions are kept under ``kept_as`` where images of another source are measured.
    """
    name = kept_as or split
    callbacks: list[pl.Callback] = [
        TestPictures(_folder(run, name), config.trainer.pictures.count, tuple(data.target.classes))
    ]
    if config.evaluation.save_predictions:
        callbacks.append(SavePredictions(run.path / PREDICTIONS / name))
    if not quiet and config.trainer.enable_progress_bar is not False:
        callbacks.append(TestProgress(split))
    tester = _tester(config, machine, callbacks)
    tester.test(task, dataloaders=data.dataloader(split), verbose=False)
    return scores.summarise(
        task.rows[Stage.TEST],
        config.evaluation,
        config.seed,
        task.metrics(Stage.TEST),
        split=name,
        checkpoint=checkpoint,
        run=run.id,
    )


def _measure(
    run: Run,
    split: str,
    checkpoint: str | None,
    source: Mapping[str, Any] | None,
    *,
    tuned: bool,
    quiet: bool,
) -> Scores:
    config, machine, data, where = images_to_measure(run, split, source, tuned=tuned)
    task = build.build_model(config, run.facts)
    name = load_state(task, run, checkpoint or config.inference.checkpoint)
    attach_encoders(task, config, needed=False)
    try:
        with quiet_libraries():
            return test_split(
                run, config, machine, task, data, where, name, quiet=quiet, kept_as=split
            )
    except Exception as error:
        better = explained(error)
        if better is error:
            raise
        raise better from error


def images_to_measure(
    run: Run, split: str, source: Mapping[str, Any] | None, *, tuned: bool = True
) -> tuple[Config, Machine, ImageDataModule, str]:
    """Return the images of a split of a run, or of another source.

    Returns:
        The config for one process, the machine, the images, and the split that they are in.

    Raises:
        DataError: If there is no such split, or it has no images.
    """
    if split not in SPLITS and source is None:
        msg = f"no split '{split}'.{did_you_mean(split, SPLITS)} There are {', '.join(SPLITS)}"
        raise DataError(msg)
    config = _one_process(config_of(run, tuned=tuned))
    plugin_modules.load(config)
    where = split
    if source is not None:
        config, where = _with_source(config, source), "test"
    machine = choose_machine(config)
    data = build.build_data(config, machine, run if source is None else None)
    data.prepare_data()
    if not data.facts.samples.get(where):
        there = [name for name, count in data.facts.samples.items() if count]
        msg = f"run {run.id} has no images in '{split}'; it has some in {listed(there)}"
        raise DataError(msg)
    return config, machine, data, where


def _one_process(config: Config) -> Config:
    """Evaluate on one device: every image counts once, whatever the training used."""
    settings = replace(config.trainer, devices=1, num_nodes=1, strategy="auto")
    return replace(config, trainer=settings)


def _with_source(config: Config, source: Mapping[str, Any]) -> Config:
    component = Component(str(source["name"]), dict(source.get("params", {})))
    sources = {"test": SourceConfig(component, role=Role.test)}
    return replace(config, data=replace(config.data, sources=sources))


def _save(found: Scores, run: Run, split: str) -> Scores:
    run.require()
    return scores.save(found, _folder(run, split))


def _folder(run: Run, split: str) -> Path:
    return run.path / EVALUATION / split


def _tester(config: Config, machine: Machine, callbacks: Sequence[pl.Callback]) -> pl.Trainer:
    settings = config.trainer
    given = build.trainer_arguments(settings)
    kept = ("devices", "num_nodes", "strategy", "deterministic", "benchmark", "inference_mode")
    arguments = {key: given[key] for key in kept if key in given}
    if settings.limit_test_batches is not None:
        arguments["limit_test_batches"] = settings.limit_test_batches
    return pl.Trainer(
        **arguments,
        accelerator=machine.accelerator,
        precision=machine.precision,  # type: ignore[arg-type]  # checked by Lightning
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=any(isinstance(item, TestProgress) for item in callbacks),
        use_distributed_sampler=False,
    )
