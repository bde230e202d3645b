"""The contracts of metrics: of one image, of several predictions of it, and of a set of images.

An `ImageMetric` is computed for each image by itself; means, intervals and comparisons are made
from the rows afterwards. A `SetMetric`, such as the area under a ROC curve, has no value for one
image: it is computed from the records that each image leaves (see `records`). Both are exact for
any number of ranks and any batch size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Better = Literal["max", "min"]


class ImageMetric(ABC):
    """A measure of one predicted image against its target.

    Attributes:
        name: Name under which it is logged; ``name/part`` for its parts, such as classes.
        better: Whether larger (``"max"``) or smaller (``"min"``) values are better.
    """

    name: str
    better: Better = "max"

    @abstractmethod
    def __call__(
        self,
        prediction: Array,
        target: Array,
        *,
        weight: Array | None = None,
        spacing: Sequence[float] | None = None,
    ) -> dict[str, float]:
        """Measure one image.

        Args:
            prediction: What `Task.postprocess` gives, such as labels ``([Z,] Y, X)``.
            target: Same shape.
            weight: Cost map ``([Z,] Y, X)``; pixels with weight 0 do not count.
            spacing: Pixel size ``([Z,] Y, X)``; ``None`` counts in pixels.

        Returns:
            ``{name: value, name/part: value}``; NaN where the image does not define a value.
        """


class PreparedMetric(ImageMetric):
    """A measure of something that takes long to find and that several metrics are made of.

    A suite prepares an image once for all metrics of one `prepare`.
    """

    @staticmethod
    @abstractmethod
    def prepare(prediction: Array, target: Array, weight: Array | None) -> Any:
        """Return what `of` measures; see `ImageMetric` for the arguments."""

    @abstractmethod
    def of(self, found: Any) -> dict[str, float]:
        """Measure what was prepared; see `ImageMetric`."""

    def __call__(
        self,
        prediction: Array,
        target: Array,
        *,
        weight: Array | None = None,
        spacing: Sequence[float] | None = None,
    ) -> dict[str, float]:
        """See `ImageMetric`."""
        del spacing
        return self.of(self.prepare(prediction, target, weight))


class CountedMetric(ImageMetric):
    """A measure that is a formula of counts, which may be summed over images before.

    Each image leaves its counts as columns of its row. The value of an image comes from its own
    counts, and the pooled value of a set, ``pooled_<name>``, from the sums over the set.

    Attributes:
        columns: Names of the columns that hold the counts.
    """

    columns: tuple[str, ...]

    @abstractmethod
    def formula(self, sums: Array) -> dict[str, Array]:
        """Return the values of several sets.

        Args:
            sums: The counts, summed over each of ``R`` sets: ``(R, columns)``, float64.

        Returns:
            ``{name: values (R,), name/part: values (R,)}``; NaN where a set defines no value.
        """

    def row(self, counts: Sequence[float]) -> dict[str, float]:
        """Return the values of one image, and its counts by the name of their column."""
        values = self.formula(np.asarray(counts, float)[None])
        found = {name: float(value[0]) for name, value in values.items()}
        return {**found, **dict(zip(self.columns, counts, strict=True))}


class SetMetric(ABC):
    """A measure of what was predicted for a whole set of images, one class or number for each.

    Attributes:
        name: Name under which it is logged; ``name/part`` for its parts, such as classes.
        better: Whether larger (``"max"``) or smaller (``"min"``) values are better.
        most_resamples: Bootstrap samples at most, for metrics that are slow to compute.
    """

    name: str
    better: Better = "max"
    most_resamples: ClassVar[int | None] = 500

    @abstractmethod
    def __call__(
        self, predicted: Array, target: Array, probability: Array | None = None
    ) -> dict[str, float]:
        """Measure a set of ``N`` images.

        Args:
            predicted: Classes ``(N,)``, 0 or 1 for each of several classes ``(N, K)``, or numbers
                ``(N, n)``.
            target: Same shape. In ``(N, K)`` and ``(N, n)`` NaN where it is not known.
            probability: Probability of each class ``(N, K)``, where the task has classes.

        Returns:
            ``{name: value, name/part: value}``; NaN where the set does not define a value, as where
            it shows one class only.
        """

    def resampled(
        self, predicted: Array, target: Array, probability: Array | None, counts: Array
    ) -> dict[str, Array]:
        """Measure several sets that are drawn from one, as a bootstrap does.

        Args:
            predicted: See `__call__`.
            target: See `__call__`.
            probability: See `__call__`.
            counts: How often each image is in each set, ``(R, N)``.

        Returns:
            ``{name: values (R,)}``.
        """
        found: list[dict[str, float]] = []
        for row in counts:
            index = np.repeat(np.arange(len(target)), row.astype(np.int64))
            of_drawn = None if probability is None else probability[index]
            found.append(self(predicted[index], target[index], of_drawn))
        names = dict.fromkeys(name for values in found for name in values)
        nan = float("nan")
        return {name: np.array([one.get(name, nan) for one in found]) for name in names}


class SamplesMetric(ABC):
    """A measure of several predicted segmentations of one image.

    Args:
        classes: Names of the classes in the order of their labels, background first.

    Attributes:
        name: Name under which it is logged; ``name/part`` for its parts.
        better: Whether larger (``"max"``) or smaller (``"min"``) values are better.
    """

    name: str
    better: Better = "max"

    def __init__(self, classes: Sequence[str]) -> None:
        if len(classes) < 2:
            message = f"got classes {list(classes)}; expected background and one more"
            raise ValueError(message)
        self.classes = tuple(classes)

    @abstractmethod
    def __call__(self, samples: Array, truths: Array) -> dict[str, float]:
        """Measure one image.

        Args:
            samples: Predicted labels ``(S, N)`` of the pixels that count.
            truths: Annotated labels ``(M, N)``.

        Returns:
            ``{name: value, name/part: value}``; NaN where the image does not define a value.
        """


class WeightedMetric(SetMetric):
    """A set metric that is a formula of weights, so that a bootstrap needs no loop."""

    most_resamples = None

    @abstractmethod
    def weighted(
        self, predicted: Array, target: Array, probability: Array | None, weights: Array
    ) -> dict[str, Array]:
        """Measure a set with weights.

        Args:
            predicted: See `SetMetric`.
            target: See `SetMetric`.
            probability: See `SetMetric`.
            weights: How much each image counts, ``(R, N)``, float64.

        Returns:
            ``{name: values (R,)}``.
        """

    def __call__(
        self, predicted: Array, target: Array, probability: Array | None = None
    ) -> dict[str, float]:
        """See `SetMetric`."""
        weights = np.ones((1, len(target)))
        found = self.weighted(predicted, target, probability, weights)
        return {name: float(values[0]) for name, values in found.items()}

    def resampled(
        self, predicted: Array, target: Array, probability: Array | None, counts: Array
    ) -> dict[str, Array]:
        """See `SetMetric`."""
        return self.weighted(predicted, target, probability, counts.astype(np.float64))


def mean_of_defined(values: Sequence[float]) -> float:
    """Return the mean of the values that are not NaN, or NaN if there are none."""
    kept = np.asarray(values, dtype=float)
    kept = kept[~np.isnan(kept)]
    return float(kept.mean()) if kept.size else float("nan")


def means_of_defined(values: Array) -> Array:
    """Return the mean over the last axis of the values that are not NaN; NaN where there are none.

    Example:
        >>> means_of_defined(np.array([[1.0, np.nan], [np.nan, np.nan]])).tolist()
        [1.0, nan]
    """
    there = ~np.isnan(values)
    return ratio(np.where(there, values, 0.0).sum(-1), there.sum(-1))


def ratio(part: Array, whole: Array) -> Array:
    """Divide; NaN where the denominator is 0.

    Example:
        >>> ratio(np.array([1.0, 0.0]), np.array([2.0, 0.0])).tolist()
        [0.5, nan]
    """
    part, whole = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    found: Array = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole != 0)
    return found
