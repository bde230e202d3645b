"""imtoolkit: from a folder of biomedical images to a trained, evaluated, documented model.

    import imtoolkit as imt

    config = imt.load_config("configs/segmentation/nuclei_2d.yaml", {"trainer.max_epochs": 5})
    run = imt.train(config)                       # a Run: path, metrics, checkpoint
    labels = imt.predict(run, image)              # array in, array out; or paths in, files out
    scores = imt.evaluate(run, split="test")      # scores.per_image, scores.summary

Everything is imported when it is first used: ``import imtoolkit`` takes no time.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from imtoolkit.config.convert import Conversion, convert_config
    from imtoolkit.config.loading import load_config
    from imtoolkit.config.sections import Config
    from imtoolkit.core.errors import (
        ComponentError,
        ConfigError,
        DataError,
        ImtoolkitError,
        RunError,
    )
    from imtoolkit.core.facts import DataFacts, TargetKind, TargetSpec
    from imtoolkit.core.registry import add_plugin
    from imtoolkit.data.datamodule import ImageDataModule
    from imtoolkit.io.formats import read
    from imtoolkit.io.writer import write
    from imtoolkit.runs.run import Run
    from imtoolkit.tasks import target_spec
    from imtoolkit.tasks.base import Task
    from imtoolkit.trainer.check import CheckReport, check_run
    from imtoolkit.trainer.evaluate import evaluate
    from imtoolkit.trainer.evaluate_ensemble import evaluate_ensemble
    from imtoolkit.trainer.evaluate_uncertainty import evaluate_uncertainty
    from imtoolkit.trainer.predict import predict
    from imtoolkit.trainer.predictor import Predictor
    from imtoolkit.trainer.resume import resume
    from imtoolkit.trainer.scores import Scores
    from imtoolkit.trainer.train import train
    from imtoolkit.trainer.uncertain_results import UncertainPrediction

__version__ = "0.1.0"

__all__ = [
    "CheckReport",
    "ComponentError",
    "Config",
    "ConfigError",
    "Conversion",
    "DataError",
    "DataFacts",
    "ImageDataModule",
    "ImtoolkitError",
    "Predictor",
    "Run",
    "RunError",
    "Scores",
    "TargetKind",
    "TargetSpec",
    "Task",
    "UncertainPrediction",
    "add_plugin",
    "check_run",
    "convert_config",
    "evaluate",
    "evaluate_ensemble",
    "evaluate_uncertainty",
    "list_runs",
    "load_config",
    "open_run",
    "predict",
    "read",
    "resume",
    "target_spec",
    "train",
    "tune_postprocess",
    "write",
]

_HOMES: Final = {
    "CheckReport": "imtoolkit.trainer.check",
    "ComponentError": "imtoolkit.core.errors",
    "Config": "imtoolkit.config.sections",
    "ConfigError": "imtoolkit.core.errors",
    "Conversion": "imtoolkit.config.convert",
    "DataError": "imtoolkit.core.errors",
    "DataFacts": "imtoolkit.core.facts",
    "ImageDataModule": "imtoolkit.data.datamodule",
    "ImtoolkitError": "imtoolkit.core.errors",
    "Predictor": "imtoolkit.trainer.predictor",
    "Run": "imtoolkit.runs.run",
    "RunError": "imtoolkit.core.errors",
    "Scores": "imtoolkit.trainer.scores",
    "TargetKind": "imtoolkit.core.facts",
    "TargetSpec": "imtoolkit.core.facts",
    "Task": "imtoolkit.tasks.base",
    "UncertainPrediction": "imtoolkit.trainer.uncertain_results",
    "add_plugin": "imtoolkit.core.registry",
    "check_run": "imtoolkit.trainer.check",
    "convert_config": "imtoolkit.config.convert",
    "evaluate": "imtoolkit.trainer.evaluate",
    "evaluate_ensemble": "imtoolkit.trainer.evaluate_ensemble",
    "evaluate_uncertainty": "imtoolkit.trainer.evaluate_uncertainty",
    "load_config": "imtoolkit.config.loading",
    "predict": "imtoolkit.trainer.predict",
    "read": "imtoolkit.io.formats",
    "resume": "imtoolkit.trainer.resume",
    "target_spec": "imtoolkit.tasks",
    "train": "imtoolkit.trainer.train",
    "tune_postprocess": "imtoolkit.trainer.tuning",
    "write": "imtoolkit.io.writer",
}


def open_run(reference: str | Path = "latest", root: str | Path | None = None) -> Run:
    """Open a run.

    Args:
        reference: Its path, a prefix of its id, or ``latest``.
        root: Folder of all runs; left out, ``IMTOOLKIT_RUNS``, the user's settings, or ``runs``.

    Raises:
        RunError: If there is no such run, or several.
    """
    from imtoolkit.config.settings import runs_root
    from imtoolkit.runs.store import find_run

    return find_run(reference, Path(root) if root is not None else runs_root())


def list_runs(root: str | Path | None = None) -> list[Run]:
    """Return all runs, oldest first.

    Args:
        root: Folder of all runs; left out, ``IMTOOLKIT_RUNS``, the user's settings, or ``runs``.
    """
    from imtoolkit.config.settings import runs_root
    from imtoolkit.runs import store

    return store.list_runs(Path(root) if root is not None else runs_root())


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        found = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = found
        return found
    message = f"module 'imtoolkit' has no attribute '{name}'"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
