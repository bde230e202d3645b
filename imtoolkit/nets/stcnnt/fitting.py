"""Which image sizes the levels of a net can take: they are halved, and fall into windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .grammar import CellSpec
from .options import CellOptions

_FAR = 4096
"""How many pixels around a side a fitting one is looked for."""


@dataclass(frozen=True)
class Level:
    """One level of resolution.

    Attributes:
        factor: How much coarser than the image it is in Y and X.
        depth_factor: The same in Z (or time).
        specs: Its cells.
        options: Their options.
    """

    factor: int
    depth_factor: int
    specs: tuple[CellSpec, ...]
    options: CellOptions

    def fits(self, side: int) -> bool:
        """Tell whether a side of the image, Y or X, falls into the level's windows and patches."""
        if side < self.factor or side % self.factor:
            return False
        own = side // self.factor
        window, patch = self.options.window, self.options.patch
        kinds = {spec.kind for spec in self.specs}
        if kinds & {"L", "G"} and own % (window if own >= window else patch):
            return False
        return "V" not in kinds or own % patch == 0


@dataclass(frozen=True)
class Fitting:
    """The sizes that a net takes.

    Attributes:
        levels: Finest first.
    """

    levels: tuple[Level, ...]

    def check(self, size: Sequence[int]) -> None:
        """Refuse an image whose size does not fit.

        Args:
            size: ``([Z,] Y, X)``.

        Raises:
            ValueError: With the level, its window, and the nearest sizes that fit.
        """
        if len(size) == 2 and self.levels[-1].depth_factor > 1:
            size = (1, *size)  # an image is a volume of one plane, which cannot be halved
        if self.fits(size):
            return
        below, above = self._nearest(size, -1), self._nearest(size, 1)
        good = " or ".join(_shown(found) for found in (below, above) if found is not None)
        level = next(place for place, one in enumerate(self.levels) if not _all_fit([one], size))
        message = (
            f"got images of {_shown(size)}; {self._reason(level, size)}. "
            f"Sizes that fit: {good or 'none'}"
        )
        raise ValueError(message)

    def fits(self, size: Sequence[int]) -> bool:
        """Tell whether all levels can take an image of a size."""
        return _all_fit(self.levels, size)

    def also(self, specs: Sequence[tuple[CellSpec, ...]]) -> Fitting:
        """Return what holds if the finest levels have these cells as well."""
        more = [
            replace(level, specs=(*level.specs, *cells))
            for level, cells in zip(self.levels, specs, strict=False)
        ]
        return Fitting((*more, *self.levels[len(more) :]))

    def _reason(self, place: int, size: Sequence[int]) -> str:
        level = self.levels[place]
        own = [side / level.factor for side in size[-2:]]
        if len(size) == 3 and size[0] % level.depth_factor:
            return f"level {place} is {level.depth_factor} times coarser in Z"
        if any(side % level.factor for side in size[-2:]):
            return f"level {place} is {level.factor} times coarser, and that does not divide them"
        options = level.options
        kinds = {spec.kind for spec in level.specs}
        parts = [f"windows of {options.window} x {options.window}"] if kinds & {"L", "G"} else []
        if options.patch > 1:
            parts.append(f"patches of {options.patch} x {options.patch}")
        return (
            f"level {place} has {' and '.join(parts)}, which do not divide its map of "
            f"{own[0]:.0f} x {own[1]:.0f}"
        )

    def _nearest(self, size: Sequence[int], step: int) -> tuple[int, ...] | None:
        """Return the nearest size that fits and is nowhere larger (or smaller)."""
        found = []
        for axis, side in enumerate(size):
            depth = len(size) == 3 and axis == 0
            sides = range(side, side + step * _FAR, step)
            good = next((one for one in sides if one > 0 and self._axis_fits(one, depth)), None)
            if good is None:
                return None
            found.append(good)
        return tuple(found)

    def _axis_fits(self, side: int, depth: bool) -> bool:
        return _axis_fits(self.levels, side, depth)


def _all_fit(levels: Sequence[Level], size: Sequence[int]) -> bool:
    return all(
        _axis_fits(levels, side, len(size) == 3 and axis == 0) for axis, side in enumerate(size)
    )


def _axis_fits(levels: Sequence[Level], side: int, depth: bool) -> bool:
    if depth:
        return all(side % level.depth_factor == 0 for level in levels)
    return all(level.fits(side) for level in levels)


def _shown(size: Sequence[int]) -> str:
    axes = " x ".join(("Z", "Y", "X")[-len(size) :])
    return f"{' x '.join(map(str, size))} ({axes})"
