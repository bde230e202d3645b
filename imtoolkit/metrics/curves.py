"""Curves of a classification: ROC, precision and recall, reliability of probabilities."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from .base import Array
from .classification import confusion
from .ranking import binned
from .records import ClassRecords, MultilabelRecords, Records, SetArrays

BINS: Final = 15
"""Bins of a reliability diagram, as of the calibration error."""
MOST_POINTS: Final = 200
"""Points of a curve that are kept: a screen shows no more."""


def roc_curve(score: Array, truth: Array) -> dict[str, list[float]]:
    """Return the ROC curve of a class: false and true positive rate at each threshold.

    Args:
        score: Probability of the class ``(N,)``.
        truth: Whether an image has it ``(N,)``, 0 or 1.

    Returns:
        ``fpr`` and ``tpr`` from (0, 0) to (1, 1); empty where the set holds one class only.

    Example:
        >>> roc_curve(np.array([0.9, 0.1]), np.array([1, 0]))
        {'fpr': [0.0, 0.0, 1.0], 'tpr': [0.0, 1.0, 1.0]}
    """
    hits, found = _at_thresholds(score, truth)
    positive, negative = hits[-1], found[-1] - hits[-1]
    if positive == 0 or negative == 0:
        return {"fpr": [], "tpr": []}
    kept = _thinned(len(hits))
    return {
        "fpr": ((found - hits) / negative)[kept].tolist(),
        "tpr": (hits / positive)[kept].tolist(),
    }


def precision_recall_curve(score: Array, truth: Array) -> dict[str, list[float]]:
    """Return precision and recall at each threshold, from the highest on.

    Args:
        score: Probability of the class ``(N,)``.
        truth: Whether an image has it ``(N,)``, 0 or 1.

    Returns:
        ``recall`` and ``precision``; empty where the set holds one class only.
    """
    hits, found = _at_thresholds(score, truth)
    if hits[-1] == 0 or hits[-1] == found[-1]:
        return {"recall": [], "precision": []}
    hits, found = hits[1:], found[1:]
    kept = _thinned(len(hits))
    return {
        "recall": (hits / hits[-1])[kept].tolist(),
        "precision": (hits / found)[kept].tolist(),
    }


def reliability(score: Array, truth: Array, bins: int = BINS) -> list[dict[str, float]]:
    """Return how often what was said with a probability is right, for bins of probabilities.

    Args:
        score: Probabilities ``(N,)``.
        truth: Whether it holds ``(N,)``, 0 or 1.
        bins: Number of bins of equal width.

    Returns:
        For each bin that holds images ``low``, ``high``, ``count``, the mean ``probability`` and
        the ``frequency`` with which it holds.
    """
    counts, sure, right = (part[0] for part in binned(score, truth, np.ones((1, len(score))), bins))
    return [
        {
            "low": k / bins,
            "high": (k + 1) / bins,
            "count": int(counts[k]),
            "probability": float(sure[k] / counts[k]),
            "frequency": float(right[k] / counts[k]),
        }
        for k in range(bins)
        if counts[k]
    ]


def class_curves(arrays: SetArrays, records: Records) -> dict[str, Any]:
    """Return confusion matrix, reliability, ROC and precision-recall curves of a classification.

    Args:
        arrays: Records of the images that have a target.
        records: `ClassRecords` or `MultilabelRecords`.

    Returns:
        Plain values that JSON can hold. ``confusion`` has a row for each true class and a column
        for each predicted one; for several labels there is one of two rows for each label.
    """
    chances = arrays.probability
    if chances is None or np.isnan(chances).any():
        chances = np.zeros((0, len(records.names)))
    if isinstance(records, MultilabelRecords):
        return _of_labels(arrays, records, chances)
    assert isinstance(records, ClassRecords)
    names = records.names
    table = confusion(arrays.predicted, arrays.target, np.ones((1, len(arrays))), len(names))[0]
    target = arrays.target[: len(chances)]
    shown = [1] if len(names) == 2 else range(len(names))
    curves = {names[k]: (chances[:, k], (target == k).astype(float)) for k in shown}
    right = (chances.argmax(1) == target).astype(float) if len(chances) else np.zeros(0)
    sure = chances.max(1) if len(chances) else np.zeros(0)
    return {
        "classes": list(names),
        "confusion": table.astype(int).tolist(),
        "reliability": reliability(sure, right),
        **_curves(curves),
    }


def _of_labels(arrays: SetArrays, records: MultilabelRecords, chances: Array) -> dict[str, Any]:
    curves, tables = {}, {}
    for k, name in enumerate(records.names):
        known = ~np.isnan(arrays.target[:, k])
        truth = arrays.target[known, k]
        said = arrays.predicted[known, k]
        tables[name] = confusion(said, truth, np.ones((1, len(truth))), 2)[0].astype(int).tolist()
        if len(chances):
            curves[name] = (chances[known, k], truth)
    parts = list(curves.values())
    score = np.concatenate([part[0] for part in parts]) if parts else np.zeros(0)
    truth = np.concatenate([part[1] for part in parts]) if parts else np.zeros(0)
    return {
        "classes": list(records.names),
        "confusion": tables,
        "reliability": reliability(score, truth),
        **_curves(curves),
    }


def _curves(of_classes: dict[str, tuple[Array, Array]]) -> dict[str, Any]:
    kinds = {"roc": roc_curve, "precision_recall": precision_recall_curve}
    return {
        kind: {name: curve(*pair) for name, pair in of_classes.items()}
        for kind, curve in kinds.items()
    }


def _at_thresholds(score: Array, truth: Array) -> tuple[Array, Array]:
    """Return true positives, and all that is found, from the highest threshold to the lowest."""
    if not len(score):
        return np.zeros(1), np.zeros(1)
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    last = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    return np.r_[0.0, truth[order].cumsum()[last]], np.r_[0.0, last + 1.0]


def _thinned(points: int) -> Array:
    """Return which points of a curve are kept: both ends, and the others evenly spread."""
    if points <= MOST_POINTS:
        return np.arange(points)
    return np.unique(np.linspace(0, points - 1, MOST_POINTS).round().astype(int))
