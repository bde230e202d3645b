"""Segmentations of which there are several: the probabilistic U-Net, and uncertainty in prediction."""

from dataclasses import dataclass, field
from typing import Optional

from .components import Component
from .task import TaskConfig


@dataclass(frozen=True)
class ProbabilisticUNetConfig(TaskConfig):
    """Semantic segmentation of ambiguous images: a distribution of segmentations, learnt from one annotation of each image or from several."""

    classes: list[str] = field(default_factory=list)
    """Names of the classes in the order of their labels, background first."""
    class_weights: Optional[list[float]] = None
    """Weight of each class in the losses that take weights."""
    beta: float = 1.0
    """Factor of the divergence of posterior from prior; 1 makes the loss minus the evidence lower bound. Schedule it as `task.beta`."""
    reduction: str = "mean"
    """Whether the loss is a `mean` over pixels, the divergence divided by their number, or a `sum` over the pixels of an image, as the paper has it. Both have one minimum."""
    samples: int = 16
    """Segmentations drawn for an image in validation, test and prediction."""
    surface_tolerance: float = 1.0
    """Distance, in physical units where known and pixels otherwise, within which a surface counts as met."""


@dataclass(frozen=True)
class UncertaintyConfig:
    """How `predict --uncertainty` makes several predictions of an image."""

    method: str = "auto"
    """`posterior` (samples of a probabilistic U-Net), `dropout`, `perturb`, `flips`, `ensemble` (several runs), or `auto`: the runs together where there are several, else the transforms of `perturb` where there are, else samples, else dropout, else `perturb` with transforms of training."""
    samples: Optional[int] = None
    """Predictions of an image where they are drawn; left out, 16. Mirrored copies and runs have a number of their own."""
    perturb: list[Component] = field(default_factory=list)
    """Random transforms of `perturb`, of the kind of `data.augment`: noise, brightness, flips, turns by 90 degrees. Left out, those of `data.augment` that can be undone, else noise and brightness."""
    keep_samples: bool = False
    """Write the single predictions as well, one channel each; memory then grows with their number."""
    seed: Optional[int] = None
    """Seed of what is drawn; the run's seed when left out."""
