"""Pictures of objects: neighbours in different colours, and what became of each."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from imtoolkit.labels import boundaries
from imtoolkit.labels.colouring import colouring
from imtoolkit.labels.verdicts import Judged, Verdict, judge, looked_up

from .colours import FALSE, FOUND, MERGED, MISSED, PALETTE, SPLIT, Pixels, rgb, to_rgb
from .overlay import overlay, tint
from .view import View

_APART: Final = 3
"""Pixels of a picture between two objects that would still look like one in one colour."""
VERDICT_COLOURS: Final = {
    Verdict.FOUND: FOUND,
    Verdict.MISSED: MISSED,
    Verdict.FALSE: FALSE,
    Verdict.MERGED: MERGED,
    Verdict.SPLIT: SPLIT,
}

Labels = NDArray[np.integer[Any]]


class ObjectPictures:
    """The pictures of the true and the predicted objects of an image.

    Args:
        image: ``(C, Y, X)``, the slice that is shown.
        target: True objects ``([Z,] Y, X)``; ``None`` where they are not known.
        prediction: Predicted objects of the same shape, or ``None``.
        ignored: Which pixels do not count, or ``None``.
        view: Which part is shown.
        z: The slice of a volume that is shown.

    Attributes:
        judged: What became of each object; ``None`` where one side is not known.
    """

    def __init__(
        self,
        image: NDArray[Any],
        target: Labels | None,
        prediction: Labels | None,
        ignored: NDArray[np.bool_] | None,
        view: View,
        z: int | None,
    ) -> None:
        self.image = view.image(image)
        self.judged: Judged | None = None
        if target is not None and prediction is not None:
            self.judged = judge(target, prediction, ignored)
        self.target, self.prediction, self.ignored = (
            None if item is None else view.labels(item if z is None else item[z])
            for item in (target, prediction, ignored)
        )

    def panels(self) -> dict[str, Pixels]:
        """Return target, prediction and how they differ, as far as they are known.

        A predicted object has the colour of the true one that it is matched with, where its
        neighbours allow it.
        """
        shown: dict[str, Pixels] = {}
        ids: Labels = np.zeros(0, np.int64)
        colours = np.zeros(0, np.int64)
        if self.target is not None:
            ids, colours = colouring(self.target, len(PALETTE), reach=_APART)
            shown["target"] = _painted(self.image, self.target, ids, colours)
        if self.prediction is not None:
            wishes = self._wishes(self.prediction, ids, colours)
            own = colouring(self.prediction, len(PALETTE), reach=_APART, wishes=wishes)
            shown["prediction"] = _painted(self.image, self.prediction, *own)
        if self.judged is not None:
            shown["differences"] = self._differences(self.judged)
        return shown

    def counts(self) -> str:
        """Return in words how many objects of the whole image were found; "" if not known."""
        if self.judged is None:
            return ""
        judged, found = self.judged, len(self.judged.matching)
        told = f"{found} of {len(judged.true)} found, {len(judged.predicted) - found} false"
        kinds = (("merge", judged.merges), ("split", judged.splits))
        wrong = [f"{count} {name}{'s' if count > 1 else ''}" for name, count in kinds if count]
        return ", ".join([told, *wrong])

    def _wishes(self, prediction: Labels, ids: Labels, colours: NDArray[np.int64]) -> Labels:
        """Return the colour of the matched true object for each predicted one that is shown."""
        own = np.unique(prediction[prediction > 0])
        if self.judged is None:
            return np.full(len(own), -1)
        overlap, matching = self.judged.overlap, self.judged.matching
        order = np.argsort(matching.second)
        theirs = overlap.second_ids[matching.second[order]]
        partners = looked_up(own, theirs, overlap.first_ids[matching.first[order]])
        return looked_up(partners, ids, colours + 1) - 1

    def _differences(self, judged: Judged) -> Pixels:
        """Fill what is wrong in the colour of its kind; outline what was found."""
        assert self.target is not None
        assert self.prediction is not None
        true, predicted = judged.of_true(self.target), judged.of_predicted(self.prediction)
        base = 0.55 * to_rgb(self.image)
        if self.ignored is not None:
            base = tint(base, self.ignored, rgb("#808080"), 0.5)
        base = tint(base, predicted == Verdict.FOUND, rgb(FOUND), 0.3)
        # what is split or merged last: it explains what is missed or false
        for kind in (Verdict.MISSED, Verdict.FALSE, Verdict.SPLIT, Verdict.MERGED):
            base = tint(base, (true == kind) | (predicted == kind), _colour(kind), 0.75)
        edges, own = boundaries(self.target), boundaries(self.prediction)
        for kind in (Verdict.FOUND, Verdict.MISSED):
            base = tint(base, edges & (true == kind), _colour(kind), 1.0)
        for kind, lines in ((Verdict.MERGED, edges & (true == Verdict.MERGED)),
                            (Verdict.SPLIT, own & (predicted == Verdict.SPLIT))):  # fmt: skip
            base = tint(base, lines, 0.35 * _colour(kind), 1.0)
        return base


def _painted(
    image: NDArray[Any], labels: Labels, ids: Labels, colours: NDArray[np.int64]
) -> Pixels:
    return overlay(image, labels, numbers=looked_up(labels, ids, colours + 1))


def _colour(kind: Verdict) -> Pixels:
    return rgb(VERDICT_COLOURS[kind])
