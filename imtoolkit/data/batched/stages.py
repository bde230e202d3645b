"""What transforms do to a batch: neighbours that move pixels become one move, the others follow.

Each sample of the batch has a random state of its own, from which all stages draw in turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform

from imtoolkit.core.batch import IMAGE, Batch
from imtoolkit.data.transforms.base import ImageTransform, RandomImageTransform, grids
from imtoolkit.data.transforms.positions import Positions
from imtoolkit.data.transforms.random_grid import (
    RandomGridTransform,
    TurningTransform,
    takes_nearest,
)
from imtoolkit.data.transforms.resample import resample

States = Sequence[np.random.RandomState]


def has_batched_form(transform: Transform) -> bool:
    """Tell whether a transform can change a whole batch."""
    return isinstance(transform, (RandomGridTransform, RandomImageTransform, ImageTransform))


def interpolates(transform: Transform) -> bool:
    """Tell whether a transform takes pixels from between others, which is slow."""
    return isinstance(transform, RandomGridTransform) and transform.padding is not None


def build_stages(transforms: Sequence[Transform]) -> list[Stage]:
    """Return the stages of a list of transforms that all have a batched form, in its order."""
    stages: list[Stage] = []
    for transform in transforms:
        if isinstance(transform, RandomGridTransform):
            last = stages[-1] if stages else None
            if not (isinstance(last, GridStage) and last.takes(transform)):
                last = GridStage()
                stages.append(last)
            last.transforms.append(transform)
        elif isinstance(transform, RandomImageTransform):
            stages.append(ImageStage(transform))
        else:
            assert isinstance(transform, ImageTransform)
            stages.append(FixedStage(transform))
    return stages


class Stage:
    """A change of a batch."""

    def __call__(self, batch: Batch, states: States) -> None:
        """Change the entries of the batch; the tensors behind them stay as they are."""
        raise NotImplementedError


class GridStage(Stage):
    """Turns, affine maps and bending: one interpolation for all of them, none where none is due."""

    def __init__(self) -> None:
        self.transforms: list[RandomGridTransform] = []

    def takes(self, transform: RandomGridTransform) -> bool:
        """Tell whether a transform can join: what lies outside must be the same for all."""
        paddings = {one.padding for one in (*self.transforms, transform)}
        return len(paddings - {None}) < 2

    def __call__(self, batch: Batch, states: States) -> None:
        """Move the pixels of everything on the image's grid."""
        moves = [self._drawn(tuple(batch[IMAGE].shape[1:]), state) for state in states]
        bent = [place for place, one in enumerate(moves) if any(interpolates(t) for t, _ in one)]
        turned = [place for place, one in enumerate(moves) if one and place not in bent]
        if not bent and not turned:
            return
        keys = grids(batch)
        outs = {key: batch[key] for key in keys}
        if bent:
            moved = self._resampled(batch, keys, moves, bent)
            outs = {key: _put(batch[key], bent, moved[key]) for key in keys}
        for key, out in outs.items():
            if turned and out is batch[key]:
                out = out.clone()
            for place in turned:
                out[place] = _turned(batch[key][place], moves[place])
            batch[key] = out

    def _drawn(
        self, shape: tuple[int, ...], state: np.random.RandomState
    ) -> list[tuple[RandomGridTransform, Any]]:
        found = []
        for transform in self.transforms:
            transform.R = state
            drawn = transform.drawn(shape)
            if drawn is not None:
                found.append((transform, drawn))
        return found

    def _resampled(
        self, batch: Batch, keys: Sequence[str], moves: Sequence[Any], bent: Sequence[int]
    ) -> dict[str, torch.Tensor]:
        positions = []
        for place in bent:
            where = Positions(tuple(batch[IMAGE].shape[2:]), batch[IMAGE].device)
            for transform, drawn in moves[place]:
                transform.move(where, drawn)
            positions.append(where)
        whole = len(bent) == len(moves)
        arrays = [batch[key] if whole else batch[key][list(bent)] for key in keys]
        nearest = [takes_nearest(key, array) for key, array in zip(keys, arrays, strict=True)]
        padding = next(t.padding for t in self.transforms if t.padding is not None)
        return dict(zip(keys, resample(arrays, nearest, positions, padding), strict=True))


class ImageStage(Stage):
    """A random change of the images' values.

    Args:
        transform: The change.
    """

    def __init__(self, transform: RandomImageTransform) -> None:
        self.transform = transform

    def __call__(self, batch: Batch, states: States) -> None:
        """Change the images for which it is drawn."""
        images = batch[IMAGE]
        draws = list(self._draws(tuple(images.shape[1:]), states))
        chosen = [place for place, drawn in enumerate(draws) if drawn is not None]
        if not chosen:
            return
        some = images if len(chosen) == len(images) else images[chosen]
        values = self.transform.values(some, [draws[place] for place in chosen])
        batch[IMAGE] = _put(images, chosen, values)

    def _draws(self, shape: tuple[int, ...], states: States) -> Iterator[Any]:
        for state in states:
            self.transform.R = state
            yield self.transform.drawn(shape)


class FixedStage(Stage):
    """A change of values that draws nothing, such as another normalisation.

    Args:
        transform: The change.
    """

    def __init__(self, transform: ImageTransform) -> None:
        self.transform = transform

    def __call__(self, batch: Batch, states: States) -> None:
        """Change all images."""
        for key in self.transform.key_iterator(batch):
            images = [self.transform.change(image.to(torch.float32)) for image in batch[key]]
            batch[str(key)] = torch.stack(images)


def _put(whole: torch.Tensor, places: Sequence[int], values: torch.Tensor) -> torch.Tensor:
    """Return a batch with some of its samples replaced; the old one stays as it is."""
    if len(places) == len(whole):
        return values
    out = whole.clone()
    out[list(places)] = values
    return out


def _turned(array: torch.Tensor, moves: Sequence[tuple[RandomGridTransform, Any]]) -> torch.Tensor:
    for transform, drawn in moves:
        assert isinstance(transform, TurningTransform)
        array = transform.turned(array, drawn)
    return array
