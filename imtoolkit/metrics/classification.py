"""How well classes of whole images are predicted: counts of a confusion matrix, and how often.

One class for each image, or any number (``multilabel``). With one class, ``sensitivity`` and
``specificity`` of two classes are those of the last, the positive one; with more classes, and with
several labels, each class is measured against the rest and the name alone is the mean over classes.
A class that a value is not defined for (it has no image, say) is NaN and left out of the mean.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .base import Array, WeightedMetric, means_of_defined, ratio


class ClassMetric(WeightedMetric):
    """A measure of predicted classes.

    Args:
        classes: Names of the classes; of two, the last is the positive one.
        multilabel: Whether an image may have any number of the classes.
    """

    def __init__(self, classes: Sequence[str], *, multilabel: bool = False) -> None:
        least = 1 if multilabel else 2
        if len(classes) < least:
            message = f"got classes {list(classes)}; expected at least {least}"
            raise ValueError(message)
        self.classes = tuple(classes)
        self.multilabel = multilabel

    @property
    def binary(self) -> bool:
        """Whether one of two classes is predicted."""
        return len(self.classes) == 2 and not self.multilabel

    def with_parts(self, values: Array) -> dict[str, Array]:
        """Return the mean over classes and each class; ``values`` are ``(R, K)``."""
        parts = {f"{self.name}/{name}": values[:, k] for k, name in enumerate(self.classes)}
        return {self.name: means_of_defined(values), **parts}


class Counts(NamedTuple):
    """Weighted counts of each class against the rest, each ``(R, K)``."""

    hits: Array
    false: Array
    missed: Array
    others: Array

    @property
    def every(self) -> Array:
        """All that was counted."""
        return self.hits + self.false + self.missed + self.others


class AccuracyMetric(ClassMetric):
    """Fraction of the images whose class is right; of the labels, where there are several.

    Args:
        classes: Names of the classes.
        multilabel: Whether an image may have any number of the classes.

    Example:
        >>> AccuracyMetric(["healthy", "sick"])(np.array([0, 1, 1, 1]), np.array([0, 1, 0, 1]))
        {'accuracy': 0.75}
    """

    name = "accuracy"

    def weighted(
        self, predicted: Array, target: Array, probability: Array | None, weights: Array
    ) -> dict[str, Array]:
        """See `WeightedMetric`."""
        del probability
        if self.multilabel:
            counts = label_counts(predicted, target, weights)
            return self.with_parts(ratio(counts.hits + counts.others, counts.every))
        right = (predicted == target).astype(float)
        return {self.name: ratio(weights @ right, weights.sum(1))}


class BalancedAccuracyMetric(ClassMetric):
    """Mean over the classes of the fraction of their images that is found.

    Brodersen et al., "The balanced accuracy and its posterior distribution", ICPR 2010. With
    several labels, the mean of sensitivity and specificity of each label.

    Args:
        classes: Names of the classes.
        multilabel: Whether an image may have any number of the classes.
    """

    name = "balanced_accuracy"

    def weighted(
        self, predicted: Array, target: Array, probability: Array | None, weights: Array
    ) -> dict[str, Array]:
        """See `WeightedMetric`."""
        del probability
        found = self.counts(predicted, target, weights)
        sensitivity = ratio(found.hits, found.hits + found.missed)
        if not self.multilabel:
            return {self.name: means_of_defined(sensitivity)}
        specificity = ratio(found.others, found.others + found.false)
        return self.with_parts((sensitivity + specificity) / 2)

    def counts(self, predicted: Array, target: Array, weights: Array) -> Counts:
        """Count each class against the rest."""
        return class_counts(predicted, target, weights, len(self.classes), self.multilabel)


class _RatioMetric(ClassMetric):
    """A ratio of the counts of each class against the rest."""

    def weighted(
        self, predicted: Array, target: Array, probability: Array | None, weights: Array
    ) -> dict[str, Array]:
        """See `WeightedMetric`."""
        del probability
        found = class_counts(predicted, target, weights, len(self.classes), self.multilabel)
        return self.with_parts(self.of(found))

    @abstractmethod
    def of(self, counts: Counts) -> Array:
        """Return the value of each class ``(R, K)``."""


class F1Metric(_RatioMetric):
    r"""F1 score of each class, :math:`2 TP / (2 TP + FP + FN)`, and their mean (macro F1).

    Args:
        classes: Names of the classes.
        multilabel: Whether an image may have any number of the classes.
    """

    name = "f1"

    def of(self, counts: Counts) -> Array:
        """See `_RatioMetric`."""
        return ratio(2 * counts.hits, 2 * counts.hits + counts.false + counts.missed)


class SensitivityMetric(_RatioMetric):
    r"""Fraction of the images of a class that is found, :math:`TP / (TP + FN)`, also called recall.

    Of two classes that of the last, the positive one, and that alone.

    Args:
        classes: Names of the classes.
        multilabel: Whether an image may have any number of the classes.
    """

    name = "sensitivity"

    def of(self, counts: Counts) -> Array:
        """See `_RatioMetric`."""
        return ratio(counts.hits, counts.hits + counts.missed)

    def with_parts(self, values: Array) -> dict[str, Array]:
        """See `ClassMetric`."""
        return {self.name: values[:, 1]} if self.binary else super().with_parts(values)


class SpecificityMetric(SensitivityMetric):
    r"""Fraction of the images of other classes that is told apart, :math:`TN / (TN + FP)`.

    Of two classes that of the last, the positive one, and that alone.

    Args:
        classes: Names of the classes.
        multilabel: Whether an image may have any number of the classes.
    """

    name = "specificity"

    def of(self, counts: Counts) -> Array:
        """See `_RatioMetric`."""
        return ratio(counts.others, counts.others + counts.false)


class MccMetric(ClassMetric):
    r"""Matthews correlation of predicted and true classes, from -1 to 1; 0 for guessing.

    For more than two classes Gorodkin's :math:`R_K`, "Comparing two K-category assignments by a
    K-category correlation coefficient", Computational Biology and Chemistry 2004; for several
    labels that of each.

    Args:
        classes: Names of the classes.
        multilabel: Whether an image may have any number of the classes.
    """

    name = "mcc"

    def weighted(
        self, predicted: Array, target: Array, probability: Array | None, weights: Array
    ) -> dict[str, Array]:
        """See `WeightedMetric`."""
        del probability
        if self.multilabel:
            tp, fp, fn, tn = label_counts(predicted, target, weights)
            spread = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
            return self.with_parts(ratio(tp * tn - fp * fn, np.sqrt(spread)))
        table = confusion(predicted, target, weights, len(self.classes))
        true, guessed, every = table.sum(2), table.sum(1), table.sum((1, 2))
        right = np.trace(table, axis1=1, axis2=2)
        covariance = right * every - (true * guessed).sum(1)
        spread = (every**2 - (guessed**2).sum(1)) * (every**2 - (true**2).sum(1))
        return {self.name: ratio(covariance, np.sqrt(np.maximum(spread, 0)))}


def confusion(predicted: Array, target: Array, weights: Array, classes: int) -> Array:
    """Return weighted counts ``(R, K, K)`` by target class (rows) and predicted class (columns).

    Example:
        >>> confusion(np.array([0, 1, 1]), np.array([0, 1, 0]), np.ones((1, 3)), 2)[0].tolist()
        [[1.0, 1.0], [0.0, 1.0]]
    """
    cell = target.astype(np.int64) * classes + predicted.astype(np.int64)
    hot = (cell[:, None] == np.arange(classes * classes)).astype(float)
    table: Array = weights @ hot
    return table.reshape(-1, classes, classes)


def class_counts(
    predicted: Array, target: Array, weights: Array, classes: int, multilabel: bool
) -> Counts:
    """Count each class against the rest."""
    if multilabel:
        return label_counts(predicted, target, weights)
    table = confusion(predicted, target, weights, classes)
    hits = np.diagonal(table, axis1=1, axis2=2)
    false, missed = table.sum(1) - hits, table.sum(2) - hits
    return Counts(hits, false, missed, table.sum((1, 2))[:, None] - hits - false - missed)


def label_counts(predicted: Array, target: Array, weights: Array) -> Counts:
    """Count each label ``(N, K)`` of 0 and 1; targets that are NaN do not count."""
    yes, no, said = target == 1, target == 0, predicted > 0
    pairs = (yes & said, no & said, yes & ~said, no & ~said)
    return Counts(*(weights @ mask.astype(float) for mask in pairs))
