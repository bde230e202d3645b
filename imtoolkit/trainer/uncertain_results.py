"""How several predictions of an image are summed up: maps, numbers for the table, a value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from torch import Tensor

from imtoolkit.data.preprocess import Undo
from imtoolkit.inference.uncertainty import ClassMoments, ImageMoments, Moments, UncertaintyMaps
from imtoolkit.trainer import results
from imtoolkit.trainer.results import Array, Result

SAMPLE: Final = "samples"
"""Name of the single predictions among the maps."""


@dataclass(frozen=True)
class UncertainPrediction:
    """A prediction and how sure it is; unpacks as ``prediction, maps = imt.predict(...)``.

    Attributes:
        prediction: That of the mean over the single predictions, see `Predictor.array`.
        maps: Arrays on the grid of the image by name: ``variance``, ``entropy``,
            ``mutual_information`` (of classes) and, where asked for, ``samples``; for a task of
            several heads a dict of these by head. See `imtoolkit.inference.uncertainty`.
        method: How the single predictions were made.
        count: Their number.
        summary: Numbers for the whole image, as in ``predictions.csv``; of a time-lapse a list.
    """

    prediction: Any
    maps: Mapping[str, Any]
    method: str
    count: int
    summary: Any = field(default_factory=dict)

    def __iter__(self) -> Iterator[Any]:
        return iter((self.prediction, self.maps))


class HeadMoments:
    """What the predictions say of one output.

    Args:
        goal: What the output means.
        keep: Whether the single predictions are kept.
    """

    def __init__(self, goal: Any, *, keep: bool) -> None:
        self.goal = goal
        self.moments: Moments = ClassMoments() if results.votes_on_classes(goal) else ImageMoments()
        self.sizes: list[Array] = []
        self.samples: list[Array] | None = [] if keep and goal.dense else None

    def add(self, values: Tensor) -> None:
        """Take a prediction ``(K, [Z,] Y, X)``."""
        values = values.detach().float().cpu()
        self.moments.add(values)
        if not self.goal.dense:
            return
        if not self.goal.labels:
            if self.samples is not None:
                self.samples.append(values.numpy())
            return
        labels = values.argmax(0).numpy()
        self.sizes.append(np.bincount(labels.ravel(), minlength=len(values)))
        if self.samples is not None:
            small = np.uint8 if len(values) <= 256 else np.uint16
            self.samples.append(labels.astype(small))

    def result(self, head: str, undo: Undo, *, probabilities: bool) -> Result:
        """Return what the mean says, with the maps beside it."""
        maps = self.moments.maps()
        found = results.result_of_evidence(
            self.goal, head, maps.mean, undo, probabilities=probabilities
        )
        if not self.goal.dense:
            return found
        named = {name: values.numpy() for name, values in maps.named.items()}
        if self.samples is not None:
            join = np.stack if self.goal.labels else np.concatenate
            named[SAMPLE] = join(self.samples)
        return replace(found, beside=named, record=self.summary(maps))

    def summary(self, maps: UncertaintyMaps) -> dict[str, float]:
        """Return numbers for the whole image: of all pixels, and of the predicted foreground."""
        row: dict[str, float] = {}
        inside = maps.mean.argmax(0) > 0 if self.goal.labels else None
        for name, values in maps.named.items():
            row[name] = float(values.mean())
            if inside is not None:
                row[f"{name}_foreground"] = (
                    float(values[inside].mean()) if bool(inside.any()) else float("nan")
                )
        if not self.goal.labels:
            return row
        sizes = np.stack(self.sizes).astype(float)  # (members, K)
        for label, name in enumerate(self.goal.classes):
            if label:
                row[f"pixels/{name}"] = float(sizes[:, label].mean())
                row[f"pixels_std/{name}"] = float(sizes[:, label].std())
        return row


def map_names(goal: Any, *, keep: bool) -> tuple[str, ...]:
    """Return the names of the maps of an output with pixels."""
    found = ["variance", "entropy"]
    found += ["mutual_information"] if results.votes_on_classes(goal) else []
    return (*found, SAMPLE) if keep else tuple(found)


def maps_of(
    frames: Sequence[Sequence[Result]], dims: int, *, has_channels: bool, movie: bool
) -> dict[str, Any]:
    """Return the maps of each output with pixels by name; of the only output without its name.

    Args:
        frames: What each output says, for each time point.
        dims: Spatial axes.
        has_channels: Whether the image came with an axis of channels; where it did not, maps of an
            image of one channel have none either.
        movie: Whether maps become ``(T, ...)``.
    """
    maps: dict[str, dict[str, Array]] = {}
    for place, one in enumerate(frames[0]):
        for name in one.beside:
            values = [frame[place].beside[name] for frame in frames]
            if not has_channels and values[0].ndim > dims and len(values[0]) == 1:
                values = [each[0] for each in values]
            maps.setdefault(one.head, {})[name] = np.stack(values) if movie else values[0]
    return dict(maps[""]) if set(maps) == {""} else dict(maps)


def row_of(frame: Sequence[Result]) -> dict[str, Any]:
    """Return the row of the table of an image, or of a time point."""
    return {f"{one.start}{name}": value for one in frame for name, value in one.record.items()}
