"""Clustering of spatial embeddings beside a plain one: the whole image for each object.

Both get what a good net says of drawn discs: 500 in 1024 x 1024 pixels by default, one scale, noisy
offsets. They give the same objects, which is checked. Sides take turns, ``--rounds`` times one
image each; ``ours`` and ``other`` are seconds for an image, on one core, since numpy uses one here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from measure import alternate, arguments, compared, show
from numpy.typing import NDArray

from imtoolkit.inference.postprocess.embedseg import cluster_embeddings

Array = NDArray[Any]
THRESHOLDS = {"seed_threshold": 0.7, "foreground_threshold": 0.5}


def drawn(side: int, count: int, radius: float = 16.0) -> tuple[Array, Array, Array]:
    """Return offsets, scales and seeds of discs, placed at random and not on each other."""
    generator = np.random.default_rng(0)
    offsets = np.zeros((2, side, side), np.float32)
    seeds = np.zeros((side, side), np.float32)
    near = np.arange(-radius, radius + 1)
    square = near[:, None] ** 2 + near**2
    rows, columns = (place.astype(int) for place in np.nonzero(square < radius**2))
    drawn_discs = 0
    while drawn_discs < count:
        y, x = generator.integers(0, side - 2 * int(radius), 2)
        if (seeds[y + rows, x + columns] > 0).mean() > 0.3:
            continue
        drawn_discs += 1
        free = seeds[y + rows, x + columns] == 0
        at = (y + rows[free], x + columns[free])
        offsets[:, *at] = radius - np.stack((rows[free], columns[free]))
        seeds[at] = 0.95 - 0.2 * square[rows[free], columns[free]] / radius**2
    offsets += generator.normal(size=offsets.shape).astype(np.float32)
    noisy = seeds + 0.02 * generator.normal(size=seeds.shape)
    scales = np.full((1, side, side), radius / 2, np.float32)
    return offsets, scales, np.where(seeds > 0, noisy, 0).astype(np.float32)


def plain(offsets: Array, scales: Array, seeds: Array) -> Array:
    """Take one object after the other, each from all pixels of the image."""
    points = np.stack(np.indices(seeds.shape)) + offsets.astype(np.float64)
    sigma = scales[0].astype(np.float64)
    foreground = seeds >= THRESHOLDS["foreground_threshold"]
    labels, free, count = np.zeros(seeds.shape, np.int32), foreground.copy(), 0
    while True:
        certain = np.where(free, seeds, 0)
        best = np.unravel_index(certain.argmax(), seeds.shape)
        if certain[best] < THRESHOLDS["seed_threshold"]:
            return labels
        away = ((points - points[:, *best][:, None, None]) ** 2).sum(0)
        members = foreground & (np.exp(-away / (2 * sigma[best] ** 2)) > 0.5)
        new = members & free
        if new.sum() >= 16 and new.sum() >= 0.5 * members.sum():
            count += 1
            labels[new] = count
        free[members] = False


def timed(run: Callable[[], Array]) -> float:
    """Return seconds for an image."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    options = arguments(
        __doc__ or "",
        ("--side", {"type": int, "default": 1024}),
        ("--objects", {"type": int, "default": 500}),
        ("--rounds", {"type": int, "default": 3}),
    )
    maps = drawn(options.side, options.objects)
    fast, slow = cluster_embeddings(*maps, **THRESHOLDS), plain(*maps)
    assert np.array_equal(fast, slow)
    ours, other = alternate(
        lambda: timed(lambda: cluster_embeddings(*maps, **THRESHOLDS)),
        lambda: timed(lambda: plain(*maps)),
        options.rounds,
    )
    result = compared(
        "embedseg",
        ours,
        other,
        unit="s an image",
        peer="the same clustering over the whole image for each object",
        side=options.side,
        objects=options.objects,
        found=int(fast.max()),
    )
    show(result, as_json=options.json)


if __name__ == "__main__":
    main()
