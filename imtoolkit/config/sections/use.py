"""The sections for what comes after training: prediction, evaluation, and where runs are kept."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Optional

from .components import Component
from .probabilistic import UncertaintyConfig


class Blend(Enum):
    """How overlapping tiles are joined."""

    gaussian = "gaussian"
    constant = "constant"


@dataclass(frozen=True)
class InferenceConfig:
    """How a net is applied to whole images, in validation, test and prediction."""

    tile: Optional[list[int]] = None
    """Size of a tile `[Z,] Y, X`; left out, the patch size, or the whole image where there is none."""
    overlap: float = 0.25
    """Fraction of a tile that neighbours share."""
    blend: Blend = Blend.gaussian
    """`gaussian` trusts the middle of a tile more than its border, `constant` does not."""
    batch_size: int = 4
    """Tiles in a batch."""
    flips: bool = False
    """Average over mirrored copies in prediction and test (test-time augmentation)."""
    block: Optional[list[int]] = None
    """Size `[Z,] Y, X` of the blocks in which larger images are predicted where the result is objects: those of neighbouring blocks are joined, so that memory holds one block beside image and result. Left out, images of more than 67 million pixels go by blocks of 4096 x 4096, stacks of 256 x 256 x 256."""
    block_overlap: Optional[list[int]] = None
    """Pixels `[Z,] Y, X` that neighbouring blocks share: twice the length of an object is safe, and a longer one is joined from parts. Left out, a quarter of the block, at most 256."""
    checkpoint: str = "best"
    """Which state predicts and is evaluated: `best`, `last`, or `best-<metric>`."""
    format: Optional[str] = None
    """Suffix of written predictions: `.ome.tif`, `.nii.gz`, `.npy`, `.png`; left out, as the input has it."""
    probabilities: bool = False
    """Write the probability of each class beside the labels."""
    postprocess: Optional[list[Component]] = None
    """Steps from the output of the net to the result, the same in prediction, evaluation and pictures; left out, what the category does, and `[]` for none."""
    uncertainty: UncertaintyConfig = field(default_factory=UncertaintyConfig)
    """How `predict --uncertainty` makes several predictions of an image."""


@dataclass(frozen=True)
class EvaluationConfig:
    """How the trained model is measured."""

    splits: list[str] = field(default_factory=lambda: ["test"])
    """Splits that are evaluated after training, where they have images: `val`, `test`, `naive`."""
    confidence: float = 0.95
    """Level of the bootstrap intervals."""
    resamples: int = 2000
    """Bootstrap samples over the images."""
    stratify: bool = False
    """Whether each class keeps its number of images in every bootstrap sample of a classification."""
    save_predictions: bool = False
    """Write the predictions of the evaluated images into the run folder."""


@dataclass(frozen=True)
class TrackingConfig:
    """Where runs are kept."""

    runs: Optional[str] = None
    """Folder of all runs; left out, `IMTOOLKIT_RUNS`, the user's settings, or `runs`."""
