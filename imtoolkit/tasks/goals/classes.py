"""A class for each image, or any number of classes: the goal of a classification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from imtoolkit.config.sections import Component, LossTerm
from imtoolkit.core.batch import MISSING_CLASS, Batch, Stage
from imtoolkit.core.errors import ConfigError, Problem, listed
from imtoolkit.core.facts import DataFacts
from imtoolkit.metrics.records import ClassRecords, MultilabelRecords, Records
from imtoolkit.metrics.suite import ClassificationMetrics, MetricSuite

from .base import Goal, check_names
from .metrics import build_metrics


class ClassGoal(Goal):
    """Logits of classes ``(B, K)``; the truth is class numbers ``(B,)``, or 0 and 1 ``(B, K)``.

    Exclusive classes share a softmax, two of them as well; with ``multilabel`` each class has a
    sigmoid of its own. An image without a label (`MISSING_CLASS`, or NaN) is left out.

    Args:
        facts: What the data module found.
        classes: Names of the classes.
        multilabel: Whether an image may have any number of the classes.
        class_weights: Weight of each class in the losses that take weights.
        label_smoothing: How much of a label the default loss spreads over the classes.
        named: ``name``, ``key`` and ``where`` of a `Goal`.

    Raises:
        ConfigError: If classes and weights make no sense, or no training image shows a class.
    """

    dense = False
    main_metric = "auroc"

    def __init__(
        self,
        facts: DataFacts,
        classes: Sequence[str],
        *,
        multilabel: bool = False,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        **named: str,
    ) -> None:
        super().__init__(facts, len(classes), **named)
        self.classes = tuple(classes)
        self.class_weights = class_weights
        self.multilabel = multilabel
        self.label_smoothing = label_smoothing
        self.labels = not multilabel
        self.records: Records = (MultilabelRecords if multilabel else ClassRecords)(self.classes)
        problems = [*self._wrong_count(), *check_names(classes, class_weights, self.where)]
        problems += self._never_seen()
        if problems:
            raise ConfigError(problems)

    def default_terms(self) -> dict[str, LossTerm]:
        """Return cross-entropy: over the classes, or of each class by itself."""
        if self.multilabel:
            return {"bce": LossTerm("BCEWithLogitsLoss")}
        params = {"label_smoothing": self.label_smoothing} if self.label_smoothing else {}
        return {"cross_entropy": LossTerm("CrossEntropyLoss", params)}

    def loss_params(self, term: LossTerm) -> dict[str, Any]:
        """See `Goal`; binary cross-entropy takes the class weights as they are."""
        binary = self.multilabel and "BCE" in term.name and "weight" not in term.params
        given = {"weight": list(self.class_weights)} if binary and self.class_weights else {}
        return {**term.params, **given}

    def learnt(self, batch: Batch) -> Tensor | None:
        """See `Goal`; labels of several classes are smoothed here, since torch's loss does not."""
        target = self.target_of(batch)
        if target is None or not self.multilabel:
            return target
        return target * (1 - self.label_smoothing) + self.label_smoothing / 2

    def labelled(self, batch: Batch) -> int:
        """See `Goal`."""
        target = self.target_of(batch)
        return (
            0 if target is None else int(known_entries(target).view(len(target), -1).any(1).sum())
        )

    def unknown(self, image: Tensor) -> Tensor:
        """See `Goal`."""
        if self.multilabel:
            return image.new_full((len(image), self.out_channels), torch.nan)
        return image.new_full((len(image),), MISSING_CLASS, dtype=torch.long)

    def first_result(self, raw: Tensor) -> Tensor:
        """Return the number of the class ``([B])``, or 0 and 1 for each class ``([B,] K)``."""
        return (raw > 0).long() if self.multilabel else raw.argmax(-1)

    def probabilities(self, raw: Tensor) -> Tensor:
        """Return the probability of each class ``([B,] K)``."""
        return raw.sigmoid() if self.multilabel else raw.softmax(-1)

    def build_metrics(self, stage: Stage, components: Sequence[Component] | None) -> MetricSuite:
        """See `Goal`; all of them are made from the records of the whole set."""
        del stage
        if components is None:
            return ClassificationMetrics(self.classes, multilabel=self.multilabel)
        known = {"classes": self.classes, "num_classes": len(self.classes)}
        made = build_metrics(components, multilabel=self.multilabel, **known)
        return MetricSuite(made, self.classes, records=self.records)

    def measure(
        self, metrics: MetricSuite, raw: Tensor, result: Tensor, batch: Batch
    ) -> dict[str, Any]:
        """Return the record: target, prediction, and the probability of each class."""
        del metrics, result  # no single image defines them
        target = self.target_of(batch)
        row: dict[str, Any] = self.records.row(
            self.probabilities(raw)[0], None if target is None else target[0]
        )
        return row

    def describe(self) -> str:
        """See `Goal`."""
        return f"a classification of {len(self.classes)} classes"

    def _wrong_count(self) -> list[Problem]:
        least = 1 if self.multilabel else 2
        if len(self.classes) >= least:
            return []
        words = "one" if self.multilabel else "two; a finding that is there or not has two as well"
        message = f"got {list(self.classes)}; expected at least {words}"
        return [Problem(message, where=f"{self.where}.classes")]

    def _never_seen(self) -> list[Problem]:
        counts = self.facts.class_samples.get(self.key)
        if counts is None or len(counts) != len(self.classes):
            return []
        never = [name for name, count in zip(self.classes, counts, strict=True) if not count]
        if not never:
            return []
        shown = ", ".join(f"{n} {name}" for name, n in zip(self.classes, counts, strict=True))
        message = (
            f"no training image is labelled {listed(never)} (there are {shown}), so it cannot be "
            "learnt: take the class out, mend its name, or split with data.split.stratify_by"
        )
        return [Problem(message, where=f"{self.where}.classes")]


def known_entries(target: Tensor) -> Tensor:
    """Tell which labels or numbers are known, in the shape of the target.

    Example:
        >>> known_entries(torch.tensor([1, MISSING_CLASS])).tolist()
        [True, False]
        >>> known_entries(torch.tensor([[0.5, torch.nan]])).tolist()
        [[True, False]]
    """
    return ~target.isnan() if target.is_floating_point() else target != MISSING_CLASS


def known_images(target: Tensor) -> int:
    """Return for how many images at least one label or number is known.

    Example:
        >>> known_images(torch.tensor([[0.5, torch.nan], [torch.nan, torch.nan]]))
        1
    """
    return int(known_entries(target).reshape(len(target), -1).any(1).sum())
