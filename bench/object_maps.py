"""What is made of the objects of a patch, beside the plain way: the whole image for each object.

The peer transforms the mask of each object over the whole image to get its distances, and compares
all pairs of its pixels to get its medoid. Both make distances and offsets to medoids of the same
drawn nuclei, in turn, and must find the same. The milliseconds of each map for a patch of 256 x
256, an image of 1024 x 1024 and a stack of 32 x 128 x 128 stand beside it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from measure import alternate, arguments, compared, show
from numpy.typing import NDArray
from scipy import ndimage

from imtoolkit.labels import centre_offsets, distance_map, pixel_classes

Labels = NDArray[np.int32]
SIZES = {
    "256": ((256, 256), 30, (12, 12)),
    "1024": ((1024, 1024), 500, (14, 14)),
    "3d": ((32, 128, 128), 30, (5, 14, 14)),
}
"""Shape, objects and their usual radii."""
MAPS: dict[str, Callable[[Labels], Any]] = {
    "classes": pixel_classes,
    "distance": distance_map,
    "centroid": centre_offsets,
    "medoid": lambda labels: centre_offsets(labels, "medoid"),
    "approximate": lambda labels: centre_offsets(labels, "approximate_medoid"),
}


def drawn(shape: tuple[int, ...], count: int, radii: tuple[float, ...], seed: int = 0) -> Labels:
    """Draw ellipses that overlap, so that objects touch and some are cut."""
    state = np.random.RandomState(seed)
    labels = np.zeros(shape, np.int32)
    axes = np.ogrid[tuple(map(slice, shape))]
    for number in range(1, count + 1):
        middle = [state.uniform(0, side) for side in shape]
        sizes = [radius * state.uniform(0.7, 1.3) for radius in radii]
        away = [((a - m) / r) ** 2 for a, m, r in zip(axes, middle, sizes, strict=True)]
        labels[sum(away) < 1] = number
    return labels


def ours(labels: Labels) -> tuple[Any, Any]:
    return distance_map(labels, normalize=False), centre_offsets(labels, "medoid")


def plain(labels: Labels) -> tuple[Any, Any]:
    distances = np.zeros(labels.shape, np.float32)
    offsets = np.zeros((labels.ndim, *labels.shape), np.float32)
    for number in np.unique(labels[labels > 0]):
        mask = labels == number
        distances[mask] = ndimage.distance_transform_edt(mask)[mask]
        places = np.argwhere(mask)
        sums = np.sqrt(((places[:, None] - places[None]) ** 2).sum(-1)).sum(1)
        medoid = places[np.argmax(sums <= sums.min() * (1 + 1e-9))]
        offsets[:, mask] = (medoid - places).T
    return distances, offsets


def timed(function: Callable[..., Any], *given: Any) -> float:
    start = time.perf_counter()
    function(*given)
    return time.perf_counter() - start


def main() -> None:
    options = arguments(__doc__ or "", ("--rounds", {"type": int, "default": 3}))
    labels = drawn((512, 512), 120, (14, 14))
    for mine, other in zip(ours(labels), plain(labels), strict=True):
        if not np.allclose(mine, other, rtol=1e-6):
            sys.exit("the two do not make the same maps")
    first, second = alternate(
        lambda: timed(ours, labels), lambda: timed(plain, labels), options.rounds
    )
    images = {name: drawn(*size) for name, size in SIZES.items()}
    more = {
        f"{name}_{key}_ms": round(1e3 * min(timed(make, image) for _ in range(5)), 2)
        for name, image in images.items()
        for key, make in MAPS.items()
    }
    result = compared(
        "object_maps",
        first,
        second,
        unit="s for distances and medoids of 120 objects in 512 x 512",
        peer="the whole image, and all pairs of pixels, for each object",
        **more,
    )
    show(result, as_json=options.json)


if __name__ == "__main__":
    main()
