r"""How well the objects of an image were found: counted one by one, not pixel by pixel.

A predicted object is a true positive (TP) at a threshold if it is matched with a true object of at
least this intersection over union; what is left over is a false positive (FP) or a false negative
(FN). Objects are matched one to one, see `imtoolkit.labels.match`. Each metric is a formula of
counts that an image leaves as columns of its row, so that images can be pooled.

An image without objects on either side has no value (NaN) and leaves means as they are; one with
predicted objects where there are none has AP, F1 and PQ of 0. Where pixels are ignored (weight 0),
a true object that is ignored by more than half is left out, and its remaining pixels are ignored as
well; overlap is counted on the pixels that are left; and a predicted object that is ignored by more
than half is left out unless it matches a true object at an IoU of 1/2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from imtoolkit.labels.ignored import overlap_of_counted
from imtoolkit.labels.matching import Matching, match
from imtoolkit.labels.overlaps import Overlap

from .base import Array, Better, CountedMetric, PreparedMetric, ratio

THRESHOLDS: Final = tuple(percent / 100 for percent in range(50, 100, 5))
"""0.50, 0.55, ... 0.95."""
_TRUE: Final = "objects/true"
_PREDICTED: Final = "objects/predicted"


class MatchedObjects:
    """The objects of a predicted image beside the true ones, matched when asked.

    Args:
        overlap: How the true objects (first) overlap the predicted ones (second).
    """

    def __init__(self, overlap: Overlap) -> None:
        self.overlap = overlap
        self._known: dict[float, Matching] = {}

    def at(self, threshold: float) -> Matching:
        """Return the matching at an intersection over union."""
        if threshold not in self._known:
            # that at 1/2 holds all above
            self._known[threshold] = (
                self.at(0.5).at(threshold) if threshold > 0.5 else match(self.overlap, threshold)
            )
        return self._known[threshold]

    def count(self, column: str) -> float:
        """Return what stands in a column such as ``objects/fp/50``."""
        if column in (_TRUE, _PREDICTED):
            ids = self.overlap.first_ids if column == _TRUE else self.overlap.second_ids
            return len(ids)
        _, kind, percent = column.split("/")
        found = self.at(float(percent) / 100)
        if kind == "iou":
            return float(found.iou.sum())
        whole = {"tp": 2 * len(found), "fp": self.count(_PREDICTED), "fn": self.count(_TRUE)}
        return whole[kind] - len(found)


class InstanceMetric(PreparedMetric, CountedMetric):
    """A metric of matched objects; subclasses write `formula`."""

    @staticmethod
    def prepare(prediction: Array, target: Array, weight: Array | None) -> MatchedObjects:
        """Count how the objects overlap.

        Args:
            prediction: Object numbers ``([Z,] Y, X)``, 0 for background.
            target: Same shape.
            weight: See `ImageMetric`.

        Raises:
            ValueError: If the shapes differ, or labels are no integers or negative.
        """
        if prediction.shape != target.shape:
            message = f"got shapes {prediction.shape} and {target.shape}; expected equal"
            raise ValueError(message)
        ignored = None if weight is None else weight <= 0
        return MatchedObjects(overlap_of_counted(target, prediction, ignored))

    def of(self, found: MatchedObjects) -> dict[str, float]:
        """See `PreparedMetric`."""
        return self.row([found.count(name) for name in self.columns])


class ApMetric(InstanceMetric):
    r"""Average precision :math:`TP / (TP + FP + FN)` at thresholds of the overlap, and their mean.

    As the 2018 Data Science Bowl (Caicedo et al., Nature Methods 2019) and StarDist (Schmidt et
    al., MICCAI 2018) define it, and not the area under a precision-recall curve of COCO, which
    needs a score for each object. ``ap/50`` is the value at an IoU of 0.5, ``ap`` the mean.

    Args:
        thresholds: Intersections over union in (0, 1].

    Example:
        >>> true = np.array([[1, 1, 1, 1, 0, 2, 2, 2, 2]])
        >>> found = ApMetric(thresholds=[0.5, 0.8])(np.array([[1, 1, 1, 0, 0, 2, 2, 2, 2]]), true)
        >>> found["ap/50"], round(found["ap/80"], 3), round(found["ap"], 3)
        (1.0, 0.333, 0.667)
    """

    name = "ap"

    def __init__(self, thresholds: Sequence[float] = THRESHOLDS) -> None:
        self.percents = [percent_of(threshold) for threshold in thresholds]
        if not self.percents:
            message = "got no thresholds; expected some in (0, 1], such as [0.5, 0.75]"
            raise ValueError(message)
        self.columns = (
            *(_TRUE, _PREDICTED),
            *(f"objects/{kind}/{at}" for at in self.percents for kind in ("tp", "fp", "fn")),
        )

    def formula(self, sums: Array) -> dict[str, Array]:
        """See `CountedMetric`."""
        by_threshold = sums[:, 2:].reshape(len(sums), len(self.percents), 3)
        values = ratio(by_threshold[..., 0], by_threshold.sum(-1))  # (R, thresholds)
        parts = {f"ap/{at}": values[:, index] for index, at in enumerate(self.percents)}
        return {"ap": values.mean(1), **parts}


class _AtOneThreshold(InstanceMetric):
    """A metric at one threshold, which is part of the name where it is not 0.5.

    Args:
        threshold: Smallest intersection over union of a match, in (0, 1].
    """

    stem: str

    def __init__(self, threshold: float = 0.5) -> None:
        percent = percent_of(threshold)
        self.name = self.stem if percent == "50" else f"{self.stem}_{percent}"
        self.columns = tuple(f"objects/{kind}/{percent}" for kind in ("tp", "fp", "fn", "iou"))


class InstanceF1Metric(_AtOneThreshold):
    r"""F1 of the objects, :math:`2 TP / (2 TP + FP + FN)`, at an IoU of 0.5.

    Args:
        threshold: Smallest intersection over union of a match, in (0, 1].
    """

    name = stem = "instance_f1"

    def formula(self, sums: Array) -> dict[str, Array]:
        """See `CountedMetric`."""
        tp, fp, fn, _ = sums.T
        return {self.name: ratio(2 * tp, 2 * tp + fp + fn)}


class PanopticQualityMetric(_AtOneThreshold):
    r"""Panoptic quality: mean IoU of the matched objects (SQ) times their F1 (RQ).

    .. math:: PQ = \frac{\sum_{TP} IoU}{TP + FP / 2 + FN / 2}

    Kirillov et al., "Panoptic segmentation", CVPR 2019, for one class. A pair of an IoU of exactly
    0.5, which the paper does not match, counts here as in the other metrics.

    Args:
        threshold: Smallest intersection over union of a match, in (0, 1].
    """

    name = stem = "panoptic_quality"

    def formula(self, sums: Array) -> dict[str, Array]:
        """See `CountedMetric`."""
        tp, fp, fn, iou = sums.T
        return {
            self.name: ratio(iou, tp + (fp + fn) / 2),
            f"{self.name}/sq": ratio(iou, tp),
            f"{self.name}/rq": ratio(2 * tp, 2 * tp + fp + fn),
        }


class MatchedIoUMetric(_AtOneThreshold):
    """Mean IoU of the matched objects: how well what was found is outlined, whatever was missed.

    ``matched_iou/true`` is the mean over all true objects, those that were missed with 0, and
    ``matched_iou/predicted`` that over all predicted ones, false ones with 0. StarDist calls the
    first two ``mean_matched_score`` and ``mean_true_score``.

    Args:
        threshold: Smallest intersection over union of a match, in (0, 1].
    """

    name = stem = "matched_iou"

    def formula(self, sums: Array) -> dict[str, Array]:
        """See `CountedMetric`."""
        tp, fp, fn, iou = sums.T
        return {
            self.name: ratio(iou, tp),
            f"{self.name}/true": ratio(iou, tp + fn),
            f"{self.name}/predicted": ratio(iou, tp + fp),
        }


class ObjectCountMetric(InstanceMetric):
    """Relative error of the number of objects, ``|predicted - true| / true``.

    Where there is no true object, each predicted one is an error of 1. In the pooled value the
    errors of images cancel: it is the error of the number of objects in the whole set.
    """

    name = "object_count"
    better: Better = "min"
    columns = (_TRUE, _PREDICTED)

    def formula(self, sums: Array) -> dict[str, Array]:
        """See `CountedMetric`."""
        true, predicted = sums.T
        whole = np.where(predicted > 0, np.maximum(true, 1), true)
        return {"object_count": ratio(np.abs(predicted - true), whole)}


def percent_of(threshold: float) -> str:
    """Return a threshold as the part of a name.

    Raises:
        ValueError: If it lies outside (0, 1].

    Example:
        >>> percent_of(0.5), percent_of(0.125)
        ('50', '12.5')
    """
    if not 0 < threshold <= 1:
        message = f"got a threshold of {threshold}; an intersection over union is in (0, 1]"
        raise ValueError(message)
    return f"{round(100 * threshold, 6):g}"
