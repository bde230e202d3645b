"""The tasks: what is learnt, one file for each category.

A task composes a net, losses, optimizers and metrics that other rooms own. Data and tasks meet in
the batch keys of `imtoolkit.core.batch` only.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from imtoolkit.core import registry
from imtoolkit.core.errors import ConfigError, Problem, did_you_mean
from imtoolkit.core.facts import DataFacts, TargetKind, TargetSpec

from .targets import target_of_config

if TYPE_CHECKING:
    from imtoolkit.config.sections import InferenceConfig, TaskConfig

    from .base import Task

CATEGORIES: Final[dict[str, str]] = {
    "segmentation": "imtoolkit.tasks.segmentation:SegmentationTask",
    "classification": "imtoolkit.tasks.classification:ClassificationTask",
    "regression": "imtoolkit.tasks.regression:RegressionTask",
    "enhancement": "imtoolkit.tasks.enhancement:EnhancementTask",
    "noise2void": "imtoolkit.tasks.noise2void:Noise2VoidTask",
    "multitask": "imtoolkit.tasks.multitask:MultitaskTask",
    "pix2pix": "imtoolkit.tasks.pix2pix:Pix2PixTask",
    "probabilistic_unet": "imtoolkit.tasks.probabilistic_unet:ProbabilisticUNetTask",
    "embedseg": "imtoolkit.tasks.embedseg:EmbedSegTask",
    "cyclegan": "imtoolkit.tasks.cyclegan:CycleGANTask",
}
"""Category -> the class of its task."""


def target_spec(config: TaskConfig) -> TargetSpec:
    """Return what a task wants of the targets, without importing torch.

    Raises:
        ConfigError: If the category is unknown.
    """
    if config.category in CATEGORIES:
        return target_of_config(config)
    found = _plugin(config.category)
    if hasattr(found, "target_spec"):
        spec: TargetSpec = found.target_spec(config)
        return spec
    classes = tuple(getattr(config, "classes", None) or ())
    return TargetSpec(getattr(found, "target_kind", TargetKind.NONE), classes)


def build_task(
    config: TaskConfig, inference: InferenceConfig, facts: DataFacts, seed: int = 0
) -> Task:
    """Build the task of a config, with nets whose weights depend on the seed only.

    Args:
        config: The section ``task``.
        inference: The section ``inference``.
        facts: What the data module found.
        seed: Seed of the weights and of everything random in training.

    Raises:
        ConfigError: If the category is unknown, or something does not fit the data.
        ComponentError: If a part cannot be found or refuses its parameters.
    """
    task: Task = _task_class(config.category)(config, facts, inference, seed)
    return task


def _task_class(category: str) -> Any:
    if category not in CATEGORIES:
        return _plugin(category)
    module, _, name = CATEGORIES[category].partition(":")
    return getattr(importlib.import_module(module), name)


def _plugin(category: str) -> Any:
    """Find the task of a trusted plugin: a class whose attribute ``category`` has this value."""
    for module in registry.plugins():
        for found in vars(module).values():
            if isinstance(found, type) and vars(found).get("category") == category:
                return found
    message = f"unknown category '{category}'.{did_you_mean(category, CATEGORIES)}"
    raise ConfigError(Problem(message, where="task.category"))
