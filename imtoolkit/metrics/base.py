"""The contract of a metric: one image in, named numbers out.

A metric is computed for each image by itself; means, intervals and comparisons are made from the
rows afterwards, so that they are exact for any number of ranks and any batch size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

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
            weight: Cost map of the same shape; pixels with weight 0 do not count.
            spacing: Pixel size ``([Z,] Y, X)``; ``None`` counts in pixels.

        Returns:
            ``{name: value, name/part: value}``; NaN where the image does not define a value.
        """


def mean_of_defined(values: Sequence[float]) -> float:
    """Return the mean of the values that are not NaN, or NaN if there are none."""
    kept = np.asarray(values, dtype=float)
    kept = kept[~np.isnan(kept)]
    return float(kept.mean()) if kept.size else float("nan")
