"""Per-image overlap and surface distance of label images, by class.

Dice and IoU are counted exactly; the surface measures are MONAI's. A class that neither prediction
nor target holds has no value (NaN) and is left out of means; background is not averaged in.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice

from .base import Array, Better, ImageMetric, mean_of_defined


class _ClassMetric(ImageMetric):
    """A metric of two label images with one value for each foreground class, and their mean."""

    def __init__(self, classes: Sequence[str]) -> None:
        if len(classes) < 2:
            message = f"got classes {list(classes)}; expected background and one more"
            raise ValueError(message)
        self.classes = tuple(classes)

    def __call__(
        self,
        prediction: Array,
        target: Array,
        *,
        weight: Array | None = None,
        spacing: Sequence[float] | None = None,
    ) -> dict[str, float]:
        if prediction.shape != target.shape:
            message = f"got shapes {prediction.shape} and {target.shape}; expected equal"
            raise ValueError(message)
        values = self.by_class(prediction, target, weight, _known(spacing))
        named = {f"{self.name}/{self.classes[label]}": value for label, value in values.items()}
        return {self.name: mean_of_defined(list(values.values())), **named}

    @abstractmethod
    def by_class(
        self,
        prediction: Array,
        target: Array,
        weight: Array | None,
        spacing: Sequence[float] | None,
    ) -> dict[int, float]:
        """Return the value of each foreground class by its label."""


class DiceMetric(_ClassMetric):
    r"""Dice coefficient of each class: :math:`2 |P \cap T| / (|P| + |T|)`.

    Args:
        classes: Names of the classes in the order of their labels, background first.

    Example:
        >>> labels = np.array([[0, 1], [1, 1]])
        >>> DiceMetric(["background", "nucleus"])(labels, labels)
        {'dice': 1.0, 'dice/nucleus': 1.0}
    """

    name = "dice"

    def by_class(
        self,
        prediction: Array,
        target: Array,
        weight: Array | None,
        spacing: Sequence[float] | None,
    ) -> dict[int, float]:
        """See the class."""
        del spacing  # an overlap has no unit
        counts = confusion_counts(prediction, target, len(self.classes), weight)
        both, sizes = np.diag(counts), counts.sum(0) + counts.sum(1)
        return {k: _ratio(2 * both[k], sizes[k]) for k in range(1, len(self.classes))}


class ForegroundDiceMetric(ImageMetric):
    """Dice coefficient of all objects together: what is labelled at all, against what is not.

    Example:
        >>> ForegroundDiceMetric()(np.array([[0, 1, 2]]), np.array([[0, 7, 7]]))
        {'foreground_dice': 1.0}
    """

    name = "foreground_dice"

    def __call__(
        self,
        prediction: Array,
        target: Array,
        *,
        weight: Array | None = None,
        spacing: Sequence[float] | None = None,
    ) -> dict[str, float]:
        """See `ImageMetric`; of object numbers ``([Z,] Y, X)``, 0 for background."""
        own = DiceMetric(["background", "foreground"])
        found = own(prediction > 0, target > 0, weight=weight, spacing=spacing)
        return {self.name: found["dice"]}


class IoUMetric(_ClassMetric):
    r"""Intersection over union (Jaccard index) of each class: :math:`|P \cap T| / |P \cup T|`.

    Args:
        classes: Names of the classes in the order of their labels, background first.
    """

    name = "iou"

    def by_class(
        self,
        prediction: Array,
        target: Array,
        weight: Array | None,
        spacing: Sequence[float] | None,
    ) -> dict[int, float]:
        """See the class."""
        del spacing  # an overlap has no unit
        counts = confusion_counts(prediction, target, len(self.classes), weight)
        both, sizes = np.diag(counts), counts.sum(0) + counts.sum(1)
        return {k: _ratio(both[k], sizes[k] - both[k]) for k in range(1, len(self.classes))}


class HausdorffMetric(_ClassMetric):
    """95th percentile of the surface distance (HD95), the larger of the two directions.

    In physical units where the pixel size is known and in pixels otherwise. Where one of the two
    holds the class and the other does not, the distance is the diagonal of the image: a missing
    object is the worst there is, and an average stays finite.

    Args:
        classes: Names of the classes in the order of their labels, background first.
        percentile: Percentile of the distances, 100 for the Hausdorff distance itself; part of the
            name, ``hd95`` or ``hd100``.
    """

    better: Better = "min"

    def __init__(self, classes: Sequence[str], percentile: float = 95.0) -> None:
        super().__init__(classes)
        self.percentile = percentile
        self.name = f"hd{percentile:g}"

    def by_class(
        self,
        prediction: Array,
        target: Array,
        weight: Array | None,
        spacing: Sequence[float] | None,
    ) -> dict[int, float]:
        """See the class."""
        step = np.ones(target.ndim) if spacing is None else np.asarray(spacing, dtype=float)
        diagonal = float(np.linalg.norm(np.asarray(target.shape) * step))
        values: dict[int, float] = {}
        for label in range(1, len(self.classes)):
            ours, theirs = _masks(prediction, target, label, weight)
            if not (ours.any() and theirs.any()):
                values[label] = diagonal if ours.any() or theirs.any() else float("nan")
                continue
            ours, theirs = _crop(ours, theirs)
            distance = compute_hausdorff_distance(
                _as_batch(ours),
                _as_batch(theirs),
                include_background=True,
                percentile=self.percentile,
                spacing=step.tolist(),
            )
            values[label] = float(distance)
        return values


class SurfaceDiceMetric(_ClassMetric):
    """Fraction of the two surfaces that lie within a tolerance of each other.

    Nikolov et al., "Clinically applicable segmentation of head and neck anatomy", JMIR 2021.

    Args:
        classes: Names of the classes in the order of their labels, background first.
        tolerance: Distance that still counts as met, in physical units where they are known.
    """

    name = "surface_dice"

    def __init__(self, classes: Sequence[str], tolerance: float = 1.0) -> None:
        super().__init__(classes)
        if tolerance < 0:
            message = f"got a tolerance of {tolerance}; expected a distance of 0 or more"
            raise ValueError(message)
        self.tolerance = tolerance

    def by_class(
        self,
        prediction: Array,
        target: Array,
        weight: Array | None,
        spacing: Sequence[float] | None,
    ) -> dict[int, float]:
        """See the class."""
        step = [1.0] * target.ndim if spacing is None else [float(side) for side in spacing]
        values: dict[int, float] = {}
        for label in range(1, len(self.classes)):
            ours, theirs = _masks(prediction, target, label, weight)
            if not (ours.any() and theirs.any()):
                values[label] = 0.0 if ours.any() or theirs.any() else float("nan")
                continue
            ours, theirs = _crop(ours, theirs)
            met = compute_surface_dice(
                _as_batch(ours),
                _as_batch(theirs),
                class_thresholds=[self.tolerance],
                include_background=True,
                spacing=step,
            )
            values[label] = float(met)
        return values


def confusion_counts(
    prediction: Array, target: Array, classes: int, weight: Array | None = None
) -> Array:
    """Count pixels by target class (rows) and predicted class (columns).

    Pixels whose weight is 0 are left out; other weights count as 1: a metric measures and does
    not emphasise.

    Raises:
        ValueError: If a label lies outside ``0 .. classes - 1``.
    """
    if weight is not None:
        kept = weight > 0
        prediction, target = prediction[kept], target[kept]
    for name, labels in (("prediction", prediction), ("target", target)):
        if labels.size and not 0 <= labels.min() <= labels.max() < classes:
            message = (
                f"got labels {labels.min()} to {labels.max()} in the {name}; "
                f"expected 0 to {classes - 1}"
            )
            raise ValueError(message)
    joint = target.astype(np.int64).ravel() * classes + prediction.astype(np.int64).ravel()
    return np.bincount(joint, minlength=classes * classes).reshape(classes, classes)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def _known(spacing: Sequence[float] | None) -> Sequence[float] | None:
    if spacing is None or not np.isfinite(np.asarray(spacing, dtype=float)).all():
        return None
    return spacing


def _masks(
    prediction: Array, target: Array, label: int, weight: Array | None
) -> tuple[Array, Array]:
    ours, theirs = prediction == label, target == label
    if weight is not None:
        ours, theirs = ours & (weight > 0), theirs & (weight > 0)
    return ours, theirs


def _crop(first: Array, second: Array) -> tuple[Array, Array]:
    """Cut both masks to the box that holds them, one pixel wider where the image goes on."""
    where = np.nonzero(first | second)
    box = tuple(slice(max(0, int(axis.min()) - 1), int(axis.max()) + 2) for axis in where)
    return first[box], second[box]


def _as_batch(mask: Array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(mask))[None, None]
