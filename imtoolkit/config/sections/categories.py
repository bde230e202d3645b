"""Which dataclass decodes the section ``task``; a new category adds one line."""

from .adversarial import Pix2PixConfig
from .cyclegan import CycleGANConfig
from .embedseg import EmbedSegConfig
from .probabilistic import ProbabilisticUNetConfig
from .task import (
    ClassificationConfig,
    EnhancementConfig,
    MultitaskConfig,
    Noise2VoidConfig,
    RegressionConfig,
    SegmentationConfig,
    TaskConfig,
)

CATEGORIES: dict[str, type[TaskConfig]] = {
    "segmentation": SegmentationConfig,
    "classification": ClassificationConfig,
    "regression": RegressionConfig,
    "enhancement": EnhancementConfig,
    "noise2void": Noise2VoidConfig,
    "multitask": MultitaskConfig,
    "pix2pix": Pix2PixConfig,
    "probabilistic_unet": ProbabilisticUNetConfig,
    "embedseg": EmbedSegConfig,
    "cyclegan": CycleGANConfig,
}
"""Value of `task.category` -> the dataclass that decodes the section; a new task adds one line."""
