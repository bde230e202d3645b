"""Random affine maps of training batches beside MONAI's `RandAffined`, sample by sample, on a CPU.

Image linear (float32) and labels nearest (uint8), mirrored outside, every sample turned, scaled and
shifted by random amounts of the same ranges. Both get the samples as tensors in memory; making a
batch of them, which both need, is not counted. Three cases: stacks turned about all three axes,
stacks turned in their plane (the default of `random_affine`), and images. Sides take turns,
``--rounds`` times one batch each.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from measure import alternate, arguments, compared, show
from monai.transforms import RandAffined

from imtoolkit.config.sections import Component
from imtoolkit.data.batched.module import BatchedAugment
from imtoolkit.data.transforms.build import build_augment, share_random_state

DEGREES, SCALE, SHIFT = 15.0, 0.1, 0.1
STACK, PLANE = (32, 128, 128), (256, 256)


def case(name: str, batch: int, rounds: int) -> dict[str, Any]:
    """Measure one case: milliseconds a sample of ours and of MONAI in each round."""
    shape = PLANE if name == "image" else STACK
    size = batch * 4 if name == "image" else batch
    torch.manual_seed(0)
    images = torch.rand(size, 1, *shape)
    labels = torch.randint(0, 3, (size, 1, *shape)).to(torch.uint8)
    component = Component(
        "random_affine",
        {
            "degrees": DEGREES,
            "scale": SCALE,
            "shift": SHIFT,
            "tilt": DEGREES if name == "tilted" else 0.0,
            "prob": 1.0,
        },
    )
    batched, alone = BatchedAugment([component]), build_augment([component])
    share_random_state(alone, np.random.RandomState(0))
    numbers = iter(range(0, 1 << 60, size))

    def ours() -> Any:
        draw = torch.arange(size) + next(numbers)
        return batched({"image": images, "target": labels, "draw": draw})

    def ours_alone() -> Any:
        rows = zip(images, labels, strict=True)
        return [alone[0]({"image": image, "target": target}) for image, target in rows]

    monai = monai_affine(name, shape)

    def other() -> Any:
        rows = zip(images, labels, strict=True)
        return [monai({"image": image, "target": target}) for image, target in rows]

    for warm in (ours, ours_alone, other):
        warm()
    first, second = alternate(lambda: timed(ours, size), lambda: timed(other, size), rounds)
    single = [timed(ours_alone, size) for _ in range(rounds)]
    return {"ours": first, "other": second, "alone": single, "size": size}


def monai_affine(name: str, shape: tuple[int, ...]) -> RandAffined:
    """Return MONAI's transform with the same ranges."""
    turn = math.radians(DEGREES)
    turns = {"tilted": [turn] * 3, "plane": [0.0, 0.0, turn], "image": [turn]}[name]
    scales = [SCALE, SCALE] if name == "image" else [0.0, SCALE, SCALE]
    transform = RandAffined(
        keys=["image", "target"],
        mode=["bilinear", "nearest"],
        padding_mode="reflection",
        prob=1.0,
        rotate_range=turns,
        scale_range=scales,
        translate_range=[SHIFT * side for side in shape],
    )
    transform.set_random_state(0)
    return transform


def timed(run: Callable[[], Any], size: int) -> float:
    """Return milliseconds for a sample."""
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3 / size


def main() -> None:
    options = arguments(
        __doc__ or "",
        ("--batch", {"type": int, "default": 4}),
        ("--rounds", {"type": int, "default": 9}),
        ("--threads", {"type": int, "default": 2}),
    )
    torch.set_num_threads(options.threads)
    found = {n: case(n, options.batch, options.rounds) for n in ("tilted", "plane", "image")}
    more: dict[str, Any] = {"threads": options.threads, "batch": options.batch}
    for name, one in found.items():
        pairs = zip(one["ours"], one["other"], strict=True)
        more[f"{name}_ms"] = statistics.median(one["ours"])
        more[f"{name}_one_by_one_ms"] = statistics.median(one["alone"])
        more[f"{name}_monai_ms"] = statistics.median(one["other"])
        more[f"{name}_faster_than_monai"] = statistics.median(b / a for a, b in pairs)
    tilted = found["tilted"]
    peer = "MONAI RandAffined, sample by sample"
    unit = "ms a stack of 32x128x128"
    result = compared("augment", tilted["ours"], tilted["other"], unit=unit, peer=peer, **more)
    show(result, as_json=options.json)


if __name__ == "__main__":
    main()
