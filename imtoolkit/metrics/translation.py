"""The metrics of a translation between two domains without pairs, and with those at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from torch import Tensor

from .base import Array, Better, SetMetric
from .distances import FrechetMetric, KernelMetric, features_of_rows
from .records import SetArrays
from .suite import MetricSuite, Row

DOMAINS: Final = ("a", "b")
FEATURES: Final = "features"
"""First word of the columns of features, which no table of numbers shows."""
CYCLE, IDENTITY = "cycle", "identity"
"""What stands before the names of metrics of an image that came back, and of one left as it is."""


class TranslationMetrics(MetricSuite):
    """Compares images that came back with the originals, and made with real images as sets.

    Each metric of ``metrics`` measures a translated image where its true counterpart is known, as
    ``psnr``; an image that was translated and back against itself, as ``cycle_psnr`` (and
    ``cycle_psnr/a`` for those of domain A); and an image that the generator into its own domain
    should leave as it is, as ``identity_psnr``. From features of the images come the distances of
    `FrechetMetric` and `KernelMetric`, of the whole set.

    Args:
        metrics: Metrics of images, see `MetricSuite`.
    """

    def __init__(self, metrics: Sequence[Any]) -> None:
        super().__init__(metrics)
        self.set_metrics = [FrechetMetric({}), KernelMetric({})]

    @property
    def directions(self) -> dict[str, Better]:
        """See `MetricSuite`."""
        own = {metric.name: metric.better for metric in self.metrics}
        again = {
            f"{word}_{name}": better for word in (CYCLE, IDENTITY) for name, better in own.items()
        }
        return {**own, **again, **{item.name: item.better for item in self.set_metrics}}

    def against(
        self,
        word: str,
        domain: str,
        image: Tensor,
        other: Tensor,
        weight: Tensor | None = None,
        spacing: Tensor | None = None,
    ) -> Row:
        """Compare an image with what it should be.

        Args:
            word: `CYCLE` or `IDENTITY`.
            domain: Domain of the image, ``a`` or ``b``.
            image: What came of it ``(1, C, [Z,] Y, X)``.
            other: The original.
            weight: Cost map ``(1, [Z,] Y, X)``.
            spacing: Pixel size ``(1, dims)``.
        """
        values = self.rows(image, other, weight, spacing)[0]
        row: Row = {}
        for name in (metric.name for metric in self.metrics):
            if name in values:
                row |= {f"{word}_{name}": values[name], f"{word}_{name}/{domain}": values[name]}
        return row

    def features(self, domain: str, kind: str, values: Array) -> Row:
        """Return the column of an image's features; ``kind`` is ``real`` or ``made``."""
        return {f"{FEATURES}/{domain}/{kind}": np.asarray(values, dtype=np.float32)}

    def sets(
        self, rows: Sequence[Mapping[str, Any]], prefix: str = ""
    ) -> list[tuple[SetMetric, SetArrays]]:
        """See `MetricSuite`."""
        del prefix  # there is one output
        sizes, made, real = features_of_rows(rows, DOMAINS, FEATURES)
        kept = np.flatnonzero(~(np.isnan(made).all(1) & np.isnan(real).all(1)))
        if not sizes or not len(kept):
            return []
        arrays = SetArrays(made[kept], real[kept], None, kept)
        return [(FrechetMetric(sizes), arrays), (KernelMetric(sizes), arrays)]

    def is_record(self, name: str, prefix: str = "") -> bool:
        """See `MetricSuite`."""
        return name.partition("/")[0] == FEATURES or super().is_record(name, prefix)
