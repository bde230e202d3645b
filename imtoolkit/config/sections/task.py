"""The section ``task``: what is learnt; a category adds its own fields.

A new category is a dataclass here and a line in ``CATEGORIES``.
"""

from dataclasses import dataclass, field
from typing import Optional

from .components import Component, LossTerm, SchedulerConfig


@dataclass(frozen=True)
class StartConfig:
    """Weights to start from: those of another run."""

    run: str
    """Run folder, prefix of its id, `latest`, or a checkpoint file."""
    checkpoint: str = "best"
    """`best`, `last`, or `best-<metric>`."""
    exclude: list[str] = field(default_factory=list)
    """Patterns of weight names to leave as initialised, such as `*.final.*`."""


@dataclass(frozen=True)
class TaskConfig:
    """What is learnt; `category` chooses the fields that a task adds to these."""

    category: str
    """Kind of task: `segmentation`."""
    nets: dict[str, Component] = field(default_factory=dict)
    """Net for each role of the task; `net:` alone is the single entry."""
    losses: dict[str, LossTerm] = field(default_factory=dict)
    """Named terms of the loss; `loss:` alone is the single entry."""
    optimizers: dict[str, Component] = field(default_factory=dict)
    """Optimizer for each role; `optimizer:` alone is the single entry."""
    schedulers: dict[str, SchedulerConfig] = field(default_factory=dict)
    """Learning-rate schedule for each role; `scheduler:` alone is the single entry."""
    metrics: Optional[list[Component]] = None
    """Metrics computed for each image; left out, those of the category."""
    start_from: Optional[StartConfig] = None
    """Fine-tune: load the weights that fit from another run, and report the rest."""
    freeze: list[str] = field(default_factory=list)
    """Patterns of weight names that are not trained, such as `nets.net.model.0.*`."""
    compile: bool = False
    """Compile the nets with `torch.compile`."""


@dataclass(frozen=True)
class SegmentationConfig(TaskConfig):
    """Semantic segmentation: a class for each pixel, 2D or 3D."""

    classes: list[str] = field(default_factory=list)
    """Names of the classes in the order of their labels, background first."""
    class_weights: Optional[list[float]] = None
    """Weight of each class in the losses that take weights."""
    deep_supervision: bool = False
    """Train on the decoder's lower resolutions as well; the net must offer it (DynUNet)."""
    surface_tolerance: float = 1.0
    """Distance, in physical units where known and pixels otherwise, within which a surface counts as met."""


CATEGORIES: dict[str, type[TaskConfig]] = {"segmentation": SegmentationConfig}
"""Value of `task.category` -> the dataclass that decodes the section; a new task adds one line."""
