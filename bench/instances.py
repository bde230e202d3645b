"""Metrics of objects beside a dense table of all pairs, and of a volume with a million objects.

The peer is what most packages do: one table of all pairs of true and predicted objects, their
overlap counted into it, and an assignment over the whole table for each of the ten thresholds of
AP. Both measure the same drawn volume of ``--objects`` true nuclei, ``--rounds`` times in turn, and
must find the same numbers. A volume of a million objects, for which the table would take 8 TB, is
then measured by ours alone in a process of its own: seconds, and the memory beside the two label
images.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measure import alternate, arguments, compared, show
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

PITCH = 7
"""Voxels from one nucleus to the next, along each axis."""
PERCENTS = range(50, 100, 5)
Labels = NDArray[np.uint32]


def drawn(side: int, seed: int = 0) -> tuple[Labels, Labels]:
    """Draw ``side ** 3`` nuclei, and a prediction with moved, lost, merged and split ones."""
    rng = np.random.default_rng(seed)
    count, shape = side**3, (side, side, side)
    centres = rng.uniform(2.6, PITCH - 3.6, (*shape, 3)).astype(np.float32)
    moved = centres + rng.normal(0, 0.35, centres.shape).astype(np.float32)
    radii = rng.uniform(2.2, 3.2, shape).astype(np.float32)
    numbers = np.arange(1, count + 1, dtype=np.uint32).reshape(shape)
    fate = rng.random(shape)
    predicted = np.where(fate < 0.05, 0, numbers)  # lost
    predicted[..., :-1] = np.where(  # named like its neighbour
        (fate < 0.08)[..., :-1] & (predicted[..., :-1] > 0), numbers[..., 1:], predicted[..., :-1]
    )
    other_half = np.where(fate > 0.95, numbers + count, predicted)
    size = side * PITCH
    true, found = (np.zeros((size, size, size), np.uint32) for _ in range(2))
    for layer in range(side):  # a layer of nuclei at a time, so that little memory is needed
        slab = slice(layer * PITCH, (layer + 1) * PITCH)
        ball = _balls(centres[layer], radii[layer])[0]
        true[slab] = ball * _spread(numbers[layer])
        ball, right = _balls(moved[layer], radii[layer])
        found[slab] = ball * np.where(right, _spread(other_half[layer]), _spread(predicted[layer]))
    return true, found


def _balls(
    centres: NDArray[np.float32], radii: NDArray[np.float32]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which voxels of a layer lie in a ball, and which right of its centre."""
    size = len(radii) * PITCH
    axes = (np.arange(PITCH)[:, None, None], *np.ogrid[:size, :size])
    away = [axis % PITCH - _spread(centres[..., place]) for place, axis in enumerate(axes)]
    inside = away[0] ** 2 + away[1] ** 2 + away[2] ** 2 < _spread(radii) ** 2
    return inside, np.broadcast_to(away[2] > 0, inside.shape)


def _spread(values: NDArray[Any]) -> NDArray[Any]:
    """Give each voxel ``(1, Y, X)`` the value of its cell."""
    return values.repeat(PITCH, 0).repeat(PITCH, 1)[None]


def ours(true: Labels, found: Labels) -> dict[str, float]:
    from imtoolkit.metrics.instances import ApMetric

    row = ApMetric()(found, true)
    return {f"{percent}": row[f"ap/{percent}"] for percent in PERCENTS}


def dense(true: Labels, found: Labels) -> dict[str, float]:
    """Compute the same by a table of all pairs and an assignment over it for each threshold."""
    true, found = (np.unique(image, return_inverse=True)[1] for image in (true, found))
    wide = int(found.max()) + 1
    pairs = true.ravel() * wide + found.ravel()
    table = np.bincount(pairs, minlength=(int(true.max()) + 1) * wide).reshape(-1, wide)
    sizes = table.sum(1)[1:, None] + table.sum(0)[1:]
    shared = table[1:, 1:]
    iou = shared / (sizes - shared)
    values = {}
    for percent in PERCENTS:
        good = iou >= percent / 100
        rows, columns = linear_sum_assignment(-good.astype(float) - iou / (2 * min(iou.shape)))
        matched = np.count_nonzero(good[rows, columns])
        values[f"{percent}"] = matched / (sum(iou.shape) - matched)
    return values


def timed(function: Callable[..., Any], *given: Any) -> float:
    start = time.perf_counter()
    function(*given)
    return time.perf_counter() - start


def million(side: int) -> dict[str, Any]:
    """Measure the large volume: seconds, and the most memory beside the two images."""
    from imtoolkit.labels import match, overlap
    from imtoolkit.metrics.suite import InstanceMetrics

    true, found = drawn(side)
    _ = InstanceMetrics().metrics[0](true[:7], found[:7])  # everything is imported
    before = _memory()
    start = time.perf_counter()
    row: dict[str, float] = {}
    suite = InstanceMetrics()
    prepared = suite.metrics[0].prepare(found, true, None)  # type: ignore[attr-defined]
    counted = time.perf_counter() - start
    for metric in suite.metrics:
        row |= metric.of(prepared)  # type: ignore[attr-defined]
    took = time.perf_counter() - start
    extra = _most_memory() - before
    pairs = overlap(true, found)
    return {
        "million_objects": row["objects/true"],
        "million_predicted": row["objects/predicted"],
        "million_voxels": true.size,
        "million_ap50": row["ap/50"],
        "million_s": took,
        "million_counting_s": counted,
        "million_images_gib": 2 * true.nbytes / 2**30,
        "million_extra_gib": extra,
        "million_match_at_0.1_s": timed(match, pairs, 0.1),
    }


def _memory() -> float:
    """Return the memory that this process holds now, in GiB; Linux only."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**30


def _most_memory() -> float:
    """Return the most memory that this process has held, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    options = arguments(
        __doc__ or "",
        ("--objects", {"type": int, "default": 4096, "help": "of the volume that both measure"}),
        ("--million", {"type": int, "default": 1_000_000, "help": "objects of the large volume"}),
        ("--rounds", {"type": int, "default": 5}),
        ("--alone", {"action": "store_true", "help": "measure the large volume, and print that"}),
    )
    if options.alone:
        print(json.dumps(million(round(options.million ** (1 / 3)))))
        return
    images = drawn(round(options.objects ** (1 / 3)))
    numbers = ours(*images)
    if numbers != dense(*images):
        sys.exit("the two do not find the same AP")
    first, second = alternate(lambda: timed(ours, *images), lambda: timed(dense, *images),
                              options.rounds)  # fmt: skip
    command = [sys.executable, __file__, "--alone", "--million", str(options.million)]
    large = subprocess.run(command, capture_output=True, text=True, check=True)
    result = compared(
        "instances",
        first,
        second,
        unit=f"s for AP of {options.objects} objects in 3D",
        peer="a dense table of all pairs, an assignment for each threshold",
        faster_than_dense=round(float(np.median(np.divide(second, first))), 1),
        ap50=numbers["50"],
        **json.loads(large.stdout),
    )
    show(result, as_json=options.json)


if __name__ == "__main__":
    main()
