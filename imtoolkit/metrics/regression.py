"""How well numbers of whole images are predicted: errors, correlation, explained variance.

With several numbers each has its own value, and the name alone is their mean. Targets that are NaN
are not known and left out.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from .base import Array, Better, WeightedMetric, means_of_defined, ratio


class NumberMetric(WeightedMetric):
    """A measure of predicted numbers.

    Args:
        columns: Names of the numbers, where there are several.
    """

    def __init__(self, columns: Sequence[str] = ()) -> None:
        self.columns = tuple(columns)

    def weighted(
        self, predicted: Array, target: Array, probability: Array | None, weights: Array
    ) -> dict[str, Array]:
        """See `WeightedMetric`."""
        del probability
        predicted, target = (np.asarray(item, float).reshape(len(item), -1)
                             for item in (predicted, target))  # fmt: skip
        values = []
        for j in range(target.shape[1]):
            known = ~np.isnan(target[:, j])
            values.append(self.of(predicted[known, j], target[known, j], weights[:, known]))
        if len(values) == 1:
            return {self.name: values[0]}
        names = self.columns or tuple(str(j) for j in range(len(values)))
        parts = {f"{self.name}/{name}": one for name, one in zip(names, values, strict=True)}
        return {self.name: means_of_defined(np.stack(values, 1)), **parts}

    @abstractmethod
    def of(self, predicted: Array, target: Array, weights: Array) -> Array:
        """Return the value ``(R,)`` of one number ``(N,)`` with weights ``(R, N)``."""


class MeanAbsoluteError(NumberMetric):
    """Mean absolute error, in the unit of the target.

    Args:
        columns: Names of the numbers, where there are several.
    """

    name = "mae"
    better: Better = "min"

    def of(self, predicted: Array, target: Array, weights: Array) -> Array:
        """See `NumberMetric`."""
        return ratio(weights @ np.abs(predicted - target), weights.sum(1))


class RootMeanSquaredError(NumberMetric):
    """Root of the mean squared error, in the unit of the target.

    Args:
        columns: Names of the numbers, where there are several.
    """

    name = "rmse"
    better: Better = "min"

    def of(self, predicted: Array, target: Array, weights: Array) -> Array:
        """See `NumberMetric`."""
        return np.sqrt(ratio(weights @ (predicted - target) ** 2, weights.sum(1)))


class PearsonCorrelation(NumberMetric):
    """Pearson's correlation of prediction and target, from -1 to 1.

    Args:
        columns: Names of the numbers, where there are several.
    """

    name = "pearson"

    def of(self, predicted: Array, target: Array, weights: Array) -> Array:
        """See `NumberMetric`."""
        x, y = _scaled(predicted), _scaled(target)
        every = weights.sum(1)
        mean_x, mean_y = ratio(weights @ x, every), ratio(weights @ y, every)
        covariance = ratio(weights @ (x * y), every) - mean_x * mean_y
        spread_x = _spread(ratio(weights @ x**2, every) - mean_x**2)
        spread_y = _spread(ratio(weights @ y**2, every) - mean_y**2)
        return ratio(covariance, np.sqrt(spread_x * spread_y))


class R2Score(NumberMetric):
    r"""Explained variance :math:`R^2 = 1 - \sum (y - \hat y)^2 / \sum (y - \bar y)^2`.

    1 is perfect, 0 is no better than the mean of the targets, and it may be negative.

    Args:
        columns: Names of the numbers, where there are several.

    Example:
        >>> numbers = np.array([[1.0], [2.0], [3.0]])
        >>> R2Score()(np.full((3, 1), 2.0), numbers)
        {'r2': 0.0}
    """

    name = "r2"

    def of(self, predicted: Array, target: Array, weights: Array) -> Array:
        """See `NumberMetric`."""
        size = np.abs(target - target.mean()).max() if len(target) else 1.0
        centred = (target - target.mean()) / (size or 1.0) if len(target) else target
        error = (predicted - target) / (size or 1.0)
        every = weights.sum(1)
        spread = _spread(ratio(weights @ centred**2, every) - ratio(weights @ centred, every) ** 2)
        return 1 - ratio(ratio(weights @ error**2, every), spread)


def _scaled(values: Array) -> Array:
    """Move and scale numbers to -1..1, which changes no correlation and keeps sums exact."""
    if not len(values):
        return values
    centred = values - values.mean()
    size = np.abs(centred).max()
    # what is left of equal numbers is rounding
    return centred / size if size > 1e-12 * np.abs(values).max() else np.zeros_like(values)


def _spread(variance: Array) -> Array:
    """Return 0 for the variance of equal numbers, of which rounding leaves a little."""
    return np.where(variance > 1e-14, variance, np.where(np.isnan(variance), np.nan, 0.0))
