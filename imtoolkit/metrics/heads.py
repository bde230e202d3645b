"""The metrics of a net of several heads: a suite for each, with the name of the head before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .base import Better
from .suite import MetricSuite, reduce_rows


class HeadMetrics(MetricSuite):
    """Metrics by head.

    Args:
        heads: The metrics of each head by its name.
    """

    def __init__(self, heads: Mapping[str, MetricSuite]) -> None:
        super().__init__([])
        self.heads = dict(heads)

    @property
    def parts(self) -> dict[str, MetricSuite]:
        """See `MetricSuite`."""
        return dict(self.heads)

    @property
    def directions(self) -> dict[str, Better]:
        """Whether larger or smaller is better, by ``<head>/<metric>``."""
        return {
            f"{head}/{name}": better
            for head, suite in self.heads.items()
            for name, better in suite.directions.items()
        }

    def summarise(self, rows: Sequence[Mapping[str, Any]], prefix: str = "") -> dict[str, float]:
        """See `MetricSuite`; columns of no head, such as the loss, are averaged.

        Raises:
            ValueError: For a prefix: the heads have their own.
        """
        if prefix:
            message = f"got the prefix '{prefix}'; the metrics of heads have that of their head"
            raise ValueError(message)
        own = [
            {name: value for name, value in row.items() if name.partition("/")[0] not in self.heads}
            for row in rows
        ]
        found = reduce_rows(own)
        for head, suite in self.heads.items():
            found |= suite.summarise(rows, head)
        return found

    def of_set(self, rows: Sequence[Mapping[str, Any]], prefix: str = "") -> dict[str, float]:
        """See `MetricSuite`."""
        del prefix
        found: dict[str, float] = {}
        for head, suite in self.heads.items():
            found |= suite.of_set(rows, head)
        return found

    def is_record(self, name: str, prefix: str = "") -> bool:
        """See `MetricSuite`."""
        del prefix
        return any(suite.is_record(name, head) for head, suite in self.heads.items())
