"""The sections of a config as frozen dataclasses; each field is documented where it stands.

Annotations are real types on purpose (no ``from __future__ import annotations``, no ``int | None``):
pyrallis reads them at run time and understands ``Optional``, ``Union`` and plain ``Enum`` only.
"""

from dataclasses import dataclass, field
from typing import Optional

from .adversarial import AdversarialConfig, Pix2PixConfig
from .categories import CATEGORIES
from .components import Component, LossTerm, OptimizerConfig, SchedulerConfig, WeightGroup
from .cyclegan import CycleGANConfig, EncoderConfig
from .data import (
    AugmentOn,
    CacheConfig,
    CacheKind,
    DataConfig,
    LoaderConfig,
    PatchConfig,
    Role,
    SourceConfig,
    SplitConfig,
    TabularConfig,
)
from .embedseg import EmbedSegConfig
from .objects import BoundaryConfig, DistanceConfig
from .probabilistic import ProbabilisticUNetConfig, UncertaintyConfig
from .task import (
    ClassificationConfig,
    EnhancementConfig,
    HeadConfig,
    MultitaskConfig,
    Noise2VoidConfig,
    RegressionConfig,
    SegmentationConfig,
    StartConfig,
    TaskConfig,
)
from .training import (
    CheckpointConfig,
    EarlyStoppingConfig,
    EmaConfig,
    PicturesConfig,
    TrainerConfig,
)
from .use import Blend, EvaluationConfig, InferenceConfig, TrackingConfig

__all__ = [
    "CATEGORIES",
    "CONFIG_VERSION",
    "AdversarialConfig",
    "AugmentOn",
    "Blend",
    "BoundaryConfig",
    "CacheConfig",
    "CacheKind",
    "CheckpointConfig",
    "ClassificationConfig",
    "Component",
    "Config",
    "CycleGANConfig",
    "DataConfig",
    "DistanceConfig",
    "EarlyStoppingConfig",
    "EmaConfig",
    "EmbedSegConfig",
    "EncoderConfig",
    "EnhancementConfig",
    "EvaluationConfig",
    "HeadConfig",
    "InferenceConfig",
    "LoaderConfig",
    "LossTerm",
    "MultitaskConfig",
    "Noise2VoidConfig",
    "OptimizerConfig",
    "PatchConfig",
    "PicturesConfig",
    "Pix2PixConfig",
    "ProbabilisticUNetConfig",
    "RegressionConfig",
    "Role",
    "SchedulerConfig",
    "SegmentationConfig",
    "SourceConfig",
    "SplitConfig",
    "StartConfig",
    "TabularConfig",
    "TaskConfig",
    "TrackingConfig",
    "TrainerConfig",
    "UncertaintyConfig",
    "WeightGroup",
]

CONFIG_VERSION = 1
"""Version of the format that this release writes."""


@dataclass(frozen=True)
class Config:
    """A whole config: everything that makes a model but the images."""

    data: DataConfig
    """Images, and what is done to them before the net sees them."""
    task: TaskConfig
    """What is learnt, with which nets, losses and optimizers."""
    name: str = "run"
    """Name of the run folder; left out, that of the file."""
    seed: int = 0
    """Seed of everything random: splits, weights, patches, augmentation."""
    config_version: int = CONFIG_VERSION
    """Version of this format; older files are read."""
    base: Optional[str] = None
    """A config to start from, relative to this file; one level."""
    plugins: list[str] = field(default_factory=list)
    """Your own modules: files relative to this one, or package names. They run only if you trust the file."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    """How long and on what it trains."""
    callbacks: list[Component] = field(default_factory=list)
    """More Lightning callbacks."""
    loggers: list[Component] = field(default_factory=list)
    """More Lightning loggers; `metrics.csv` is always written."""
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    """How a net is applied to whole images."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """How the trained model is measured."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    """Where runs are kept."""
