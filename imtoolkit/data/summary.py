"""What the samples have in common, gathered while the cache is filled: the facts for the task."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np

from imtoolkit.core.batch import DOMAIN
from imtoolkit.core.errors import DataError, Problem, listed
from imtoolkit.data.cache.content import OBJECTS
from imtoolkit.data.objects import ObjectSummary
from imtoolkit.data.table import Manifest

_EXAMPLES = 3
_WARNINGS = 20


class Summary:
    """Counts over samples; it grows with the number of different shapes, not of samples.

    Args:
        manifest: The samples.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.channels: Counter[int] = Counter()
        self.target_channels: Counter[int] = Counter()
        self.dims: Counter[int] = Counter()
        self.shapes: Counter[tuple[int, ...]] = Counter()
        self.spacings: Counter[tuple[float, ...]] = Counter()
        self.units: Counter[str] = Counter()
        self.labels: Counter[int] = Counter()
        self.dtypes: Counter[str] = Counter()
        self.warnings: list[str] = []
        self.objects = ObjectSummary()
        self._examples: dict[tuple[str, Any], list[str]] = defaultdict(list)
        self._splits = manifest.table.column("split")

    def add(self, index: int, meta: dict[str, Any]) -> None:
        """Take the metadata of one sample into account."""
        channels, *shape = meta["shape"]
        self._count("channels", self.channels, channels, index)
        self._count("dims", self.dims, len(shape), index)
        if "target_channels" in meta:
            self._count("target", self.target_channels, meta["target_channels"], index)
        self.dtypes[meta["dtype"]] += 1
        self.warnings += meta["warnings"]
        split = self._splits[index].as_py()
        if OBJECTS in meta:
            self.objects.add(self._id(index), split, meta[OBJECTS])
        if split != "train":
            return
        self._count("shape", self.shapes, tuple(shape), index)
        if meta["spacing"]:
            self.spacings[tuple(meta["spacing"])] += 1
            self.units[meta["unit"]] += 1
        self.labels.update({int(label): count for label, count in meta["counts"].items()})

    def check(self) -> None:
        """See that the samples fit together.

        Raises:
            DataError: If channels or dimensions vary, with examples of each, or labels of instances
                are none.
        """
        found = [problem for problem in self._unequal() if problem is not None]
        found += self.objects.problems()
        if found:
            raise DataError(found)

    def _unequal(self) -> list[Problem | None]:
        return [
            self._vary("dims", self.dims, "dimensions", "data.axes"),
            self._vary("channels", self.channels, "image channels", "data.channels"),
            self._vary("target", self.target_channels, "target channels", "data.target_channels"),
        ]

    def told(self, patch: tuple[int, ...] | None = None) -> list[str]:
        """Return what the user should know, though training can go on.

        Args:
            patch: Size of the patches in training.
        """
        warnings = list(self.warnings[:_WARNINGS])
        if len(self.warnings) > _WARNINGS:
            warnings.append(f"and {len(self.warnings) - _WARNINGS} more warnings of this kind")
        warnings += self.objects.told(patch)
        if len(self.dtypes) > 1:
            table = ", ".join(f"{count} {name}" for name, count in self.dtypes.most_common())
            warnings.append(
                f"images are stored as different types ({table}): normalise each by its own "
                "values, as normalize_percentiles does"
            )
        return warnings

    def median_spacing(self, dims: int) -> tuple[float, ...] | None:
        """Return the median pixel size of the training images; ``None`` where files do not tell."""
        known = {size: count for size, count in self.spacings.items() if len(size) == dims}
        if not known:
            return None
        sizes, counts = np.array(list(known)), np.array(list(known.values()))
        return tuple(float(_weighted_median(sizes[:, axis], counts)) for axis in range(dims))

    def class_fractions(self, classes: int) -> tuple[float, ...] | None:
        """Return the fraction of training pixels of each class; ``None`` without labels."""
        total = sum(self.labels.values())
        if not total or not classes:
            return None
        return tuple(self.labels[label] / total for label in range(classes))

    def smaller_than(self, size: tuple[int, ...]) -> tuple[int, list[str]]:
        """Return how many training images are smaller than a patch, and some of their ids."""
        small = [
            shape
            for shape in self.shapes
            if len(shape) == len(size) and any(np.array(shape) < np.array(size))
        ]
        names = [name for shape in small for name in self._examples["shape", shape]]
        return sum(self.shapes[shape] for shape in small), names[:_EXAMPLES]

    def _count(self, what: str, counter: Counter[Any], value: Any, index: int) -> None:
        counter[value] += 1
        examples = self._examples[what, value]
        if len(examples) < _EXAMPLES:
            examples.append(self._id(index))

    def _id(self, index: int) -> str:
        return str(self.manifest.table.column("id")[index].as_py())

    def _vary(self, what: str, counter: Counter[Any], words: str, where: str) -> Problem | None:
        if len(counter) < 2:
            return None
        parts = [
            f"{count} of {value} (such as {listed(self._examples[what, value], _EXAMPLES)})"
            for value, count in counter.most_common()
        ]
        return Problem(
            f"the number of {words} varies: {', '.join(parts)}. All samples must agree: choose "
            f"with {where}, or leave the others out",
            where,
        )


class UnpairedSummary(Summary):
    """Counts over samples of two domains: those of A, and beside them those of B.

    Images agree within each domain; the number of dimensions is the same in both.

    Args:
        manifest: The samples, each of a domain.

    Attributes:
        other: The counts over the images of domain B.
    """

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        self.other = Summary(manifest)
        self._domains = manifest.table.column(DOMAIN)

    def add(self, index: int, meta: dict[str, Any]) -> None:
        """See `Summary`; the target of a true pair counts as an image of B."""
        if self._domains[index].as_py() == "B":
            self.other.add(index, meta)
        else:
            super().add(index, meta)
        if "target_channels" in meta:
            self.other._count("channels", self.other.channels, meta["target_channels"], index)

    def told(self, patch: tuple[int, ...] | None = None) -> list[str]:
        """See `Summary`."""
        return [*super().told(patch), *self.other.told(patch)]

    def smaller_than(self, size: tuple[int, ...]) -> tuple[int, list[str]]:
        """See `Summary`."""
        (count, names), (more, others) = super().smaller_than(size), self.other.smaller_than(size)
        return count + more, [*names, *others]

    def _unequal(self) -> list[Problem | None]:
        other, problems = self.other, []
        first = self._vary("dims", self.dims, "dimensions of domain A", "data.axes")
        second = other._vary("dims", other.dims, "dimensions of domain B", "data.target_axes")
        problems += [first, second]
        if not any(problems) and self.dims and other.dims and set(self.dims) != set(other.dims):
            message = (
                f"the images of domain A are {next(iter(self.dims))}D, those of domain B "
                f"{next(iter(other.dims))}D: both must be of one kind. Set data.axes (of A) and "
                "data.target_axes (of B)"
            )
            problems.append(Problem(message, "data.axes"))
        words = "image channels of domain"
        return [
            *problems,
            self._vary("channels", self.channels, f"{words} A", "data.channels"),
            other._vary("channels", other.channels, f"{words} B", "data.target_channels"),
        ]


def _weighted_median(values: np.ndarray, counts: np.ndarray) -> float:
    order = np.argsort(values)
    reached = np.cumsum(counts[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])
