"""How well probabilities rank images and how far they can be believed: AUROC, AUPRC, Brier, ECE.

With two classes the probability of the last, the positive one, is measured; with more classes, and
with several labels, each class against the rest, and the name alone is the mean over classes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np

from .base import Array, Better, ratio
from .classification import ClassMetric


class _ProbabilityMetric(ClassMetric):
    """A measure of probabilities."""

    def weighted(
        self, predicted: Array, target: Array, probability: Array | None, weights: Array
    ) -> dict[str, Array]:
        """See `WeightedMetric`."""
        del predicted
        if probability is None:
            message = f"{self.name} needs the probability of each class; got none"
            raise ValueError(message)
        if np.isnan(probability).any():  # a net that returns NaN has no rank and no error
            return self._undefined(len(weights))
        values = [
            self.of_class(score, truth, weights * known)
            for score, truth, known in self.problems(target, probability)
        ]
        return {self.name: values[0]} if self.binary else self.with_parts(np.stack(values, 1))

    @abstractmethod
    def of_class(self, score: Array, truth: Array, weights: Array) -> Array:
        """Return the value of one class against the rest ``(R,)``.

        Args:
            score: Probability of the class ``(N,)``.
            truth: Whether an image has it ``(N,)``, 0 or 1.
            weights: ``(R, N)``; 0 where the target is not known.
        """

    def problems(self, target: Array, probability: Array) -> Iterator[tuple[Array, Array, Array]]:
        """Yield probability, truth and what is known ``(N,)`` of each class."""
        for k in [1] if self.binary else range(len(self.classes)):
            column = target[:, k] if self.multilabel else target == k
            known = ~np.isnan(column) if self.multilabel else np.ones(len(target))
            yield probability[:, k], np.nan_to_num(column).astype(float), known.astype(float)

    def _undefined(self, resamples: int) -> dict[str, Array]:
        nan = np.full((resamples, len(self.classes)), np.nan)
        return {self.name: nan[:, 0]} if self.binary else self.with_parts(nan)


class AurocMetric(_ProbabilityMetric):
    r"""Area under the ROC curve: how often a positive image has the higher probability.

    Hanley and McNeil, "The meaning and use of the area under a ROC curve", Radiology 1982. Equal
    probabilities count half.

    Args:
        classes: Names of the classes.
        multilabel: Whether an image may have any number of the classes.

    Example:
        >>> chances = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]])
        >>> AurocMetric(["healthy", "sick"])(chances.argmax(1), np.array([0, 0, 1, 1]), chances)
        {'auroc': 0.75}
    """

    name = "auroc"

    def of_class(self, score: Array, truth: Array, weights: Array) -> Array:
        """See `_ProbabilityMetric`."""
        positive, negative = _by_score(score, truth, weights)
        below = negative.cumsum(1) - negative
        won = (positive * (below + negative / 2)).sum(1)
        return ratio(won, positive.sum(1) * negative.sum(1))


class AuprcMetric(_ProbabilityMetric):
    r"""Average precision :math:`\sum_n (R_n - R_{n-1}) P_n`: area under the precision-recall curve.

    A guess has the fraction of positive images. There is no interpolation between thresholds, which
    would be too good: Davis and Goadrich, "The relationship between precision-recall and ROC
    curves", ICML 2006.

    Args:
        classes: Names of the classes.
        multilabel: Whether an image may have any number of the classes.
    """

    name = "auprc"

    def of_class(self, score: Array, truth: Array, weights: Array) -> Array:
        """See `_ProbabilityMetric`."""
        positive, negative = _by_score(-score, truth, weights)
        hits = positive.cumsum(1)
        found = hits + negative.cumsum(1)
        precision = np.divide(hits, found, out=np.zeros_like(hits), where=found > 0)
        area = ratio((positive * precision).sum(1), positive.sum(1))
        return np.where(negative.sum(1) > 0, area, np.nan)  # without negatives there is no task


class BrierMetric(_ProbabilityMetric):
    r"""Brier score: mean squared error of the probabilities; 0 is perfect.

    Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review
    1950. Of two classes :math:`(p - y)^2` of the positive one; of more :math:`\sum_k (p_k -
    y_k)^2`.

    Args:
        classes: Names of the classes.
        multilabel: Whether an image may have any number of the classes.
    """

    name = "brier"
    better: Better = "min"

    def of_class(self, score: Array, truth: Array, weights: Array) -> Array:
        """See `_ProbabilityMetric`."""
        return ratio(weights @ (score - truth) ** 2, weights.sum(1))

    def with_parts(self, values: Array) -> dict[str, Array]:
        """See `ClassMetric`."""
        if self.multilabel:
            return super().with_parts(values)
        return {self.name: values.sum(1)}


class EceMetric(_ProbabilityMetric):
    """Expected calibration error: how far the probability of what was predicted is from how often
    it is right.

    Guo et al., "On calibration of modern neural networks", ICML 2017: images are sorted into bins
    of equal width by the probability of their predicted class, and the gaps are averaged. With
    several labels the probability of each label is compared with how often it holds.

    Args:
        classes: Names of the classes.
        multilabel: Whether an image may have any number of the classes.
        bins: Number of bins.
    """  # noqa: D205 - the name of the measure needs its words

    name = "ece"
    better: Better = "min"

    def __init__(self, classes: Sequence[str], *, multilabel: bool = False, bins: int = 15) -> None:
        super().__init__(classes, multilabel=multilabel)
        if bins < 1:
            message = f"got {bins} bins; expected at least one"
            raise ValueError(message)
        self.bins = bins

    @property
    def binary(self) -> bool:
        """One number, of the predicted class, unless there are several labels."""
        return not self.multilabel

    def problems(self, target: Array, probability: Array) -> Iterator[tuple[Array, Array, Array]]:
        """See `_ProbabilityMetric`."""
        if self.multilabel:
            yield from super().problems(target, probability)
            return
        right = (probability.argmax(1) == target).astype(float)
        yield probability.max(1), right, np.ones(len(target))

    def of_class(self, score: Array, truth: Array, weights: Array) -> Array:
        """See `_ProbabilityMetric`."""
        _, sure, right = binned(score, truth, weights, self.bins)
        return ratio(np.abs(right - sure).sum(1), weights.sum(1))


def binned(score: Array, truth: Array, weights: Array, bins: int) -> tuple[Array, Array, Array]:
    """Sort images into bins of equal width by their probability.

    Args:
        score: Probabilities ``(N,)``.
        truth: Whether it holds ``(N,)``, 0 or 1.
        weights: ``(R, N)``.
        bins: Number of bins.

    Returns:
        Sums of weights, of weighted probabilities and of weighted truth in each bin ``(R, bins)``.
    """
    place = np.clip(np.ceil(score * bins).astype(int) - 1, 0, bins - 1)
    hot = (place[:, None] == np.arange(bins)).astype(float)
    return weights @ hot, weights @ (hot * score[:, None]), weights @ (hot * truth[:, None])


def _by_score(score: Array, truth: Array, weights: Array) -> tuple[Array, Array]:
    """Return the weights of positive and negative images at each value, from small to large."""
    if not len(score):
        nothing = np.zeros((len(weights), 1))
        return nothing, nothing
    order = np.argsort(score, kind="stable")
    ranked, held = score[order], weights[:, order]
    first = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    positive = np.add.reduceat(held * truth[order], first, axis=1)
    return positive, np.add.reduceat(held * (1 - truth[order]), first, axis=1)
