"""What a batch holds: the keys by which data and tasks meet, stages, and what a step returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from torch import Tensor

IMAGE: Final = "image"
"""Float32 tensor ``(B, C, [Z,] Y, X)``."""
TARGET: Final = "target"
"""What the net shall learn: labels ``(B, 1, [Z,] Y, X)``, an image, or class numbers ``(B,)``."""
WEIGHT: Final = "weight"
"""Cost map, float32 ``(B, 1, [Z,] Y, X)``: 0 ignores a pixel. Absent where a source has none."""
ID: Final = "id"
"""List of sample ids, one for each image in the batch, unique within a data set."""
DATASET: Final = "dataset"
"""List of the names of the data sets (keys of ``data.sources``) that the samples come from."""
SPACING: Final = "spacing"
"""Float32 tensor ``(B, dims)``: pixel size ``[Z,] Y, X``; NaN where a file does not tell."""
AFFINE: Final = "affine"
"""Float64 tensor ``(B, 4, 4)``, voxel to world, for NIfTI and DICOM. Absent otherwise."""
TABULAR: Final = "tabular"
"""Float32 tensor ``(B, F)``: encoded, standardised columns of ``data.tabular``, where there are."""
DOMAIN: Final = "domain"
"""List of ``A`` or ``B``: which of two unpaired domains each whole image is from.

A training batch of unpaired domains has none: ``image`` holds patches of A and ``target`` patches
of B, which have nothing to do with each other.
"""
TARGET_ID: Final = "target_id"
"""List of the ids of the images of domain B that the patches of an unpaired batch are from."""
DRAW: Final = "draw"
"""Int64 tensor ``(B,)``: seeds what is drawn for a training patch on the device.

A function of (seed, epoch, sample, patch); only training batches have it.
"""
TARGET_DRAW: Final = "target_draw"
"""Int64 tensor ``(B,)``: the same for the patches of domain B in an unpaired batch."""
PIXEL_CLASSES: Final = "pixel_classes"
"""Made of instances: uint8 ``(B, 1, [Z,] Y, X)``: background, inside, boundary of an object."""
DISTANCE: Final = "distance"
"""Made of instances: float32 ``(B, 1, [Z,] Y, X)``, distance to the edge of the object."""
CENTRE_OFFSETS: Final = "centre_offsets"
"""Made of instances: float32 ``(B, dims, [Z,] Y, X)``, from each pixel to the centre of its object.

In pixels, one channel for each of the axes ``[Z,] Y, X``; 0 on background.
"""
MISSING_CLASS: Final = -100
"""Class of an image whose label is not known; unknown numbers and multi-label entries are NaN."""
PREDICTION: Final = "prediction"
"""In what a step of validation or test returns: a list, for each image what was predicted."""
BESIDE: Final = "beside"
"""Beside it: a list, for each image what a task tells of it for pictures, by name, or ``None``."""
SAMPLES: Final = "samples"
"""Told for pictures: labels of several predictions ``(S, [Z,] Y, X)``."""
PROBABILITIES: Final = "probabilities"
"""Told for pictures: probability of each class, averaged over them, ``(K, [Z,] Y, X)``."""
ANNOTATIONS: Final = "annotations"
"""Told for pictures: labels of several readers ``(M, [Z,] Y, X)``."""
MAIN_KEYS: Final = (IMAGE, TARGET, WEIGHT, ID, DATASET, SPACING, AFFINE)

Batch = dict[str, Any]


class Stage(StrEnum):
    """The four uses of a task; the value is the prefix of logged names."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"
    PREDICT = "predict"


@dataclass
class StepOutput:
    """What `Task.step` returns.

    Attributes:
        loss: Scalar that is minimised; ``None`` where no target is at hand.
        terms: Each named loss term, unweighted, as a scalar.
        raw: The net's output for the metrics: ``(B, K, [Z,] Y, X)`` or ``(B, K)``, or a dict of
            named tensors.
        counts: How many images of the batch each term is the mean of, where some lack its label;
            left out, all.
    """

    loss: Tensor | None
    terms: dict[str, Tensor] = field(default_factory=dict)
    raw: Tensor | dict[str, Tensor] | None = None
    counts: dict[str, int] = field(default_factory=dict)
