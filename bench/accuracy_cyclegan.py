"""Fluorescence and stained tissue made into each other without pairs: is it right?

Trains for ``--minutes`` of wall time on each of two sets. On the unpaired nuclei of the 2018 Data
Science Bowl nothing is known but the images: measured are the distance of made and real images as
sets, how they vary (0 where all are alike), and whether the nuclei that a threshold finds in an
image lie where it finds them in the translation. On drawn scenes the true partner is known: PSNR
against it beside what needs no learning, the image itself and the mean colour of the other domain.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measure import ROOT, arguments, data_root, limit, machine, show, trained

COARSE = 32
"""Pixels of the side at which images are compared with each other: what lies where, not noise."""


def between_zero_and_one(pixels: np.ndarray) -> np.ndarray:
    """Return an image ``(C, Y, X)`` as the config prepares it, and its translations come out."""
    if len(pixels) == 3:
        return pixels.astype(np.float32) / 255
    low, high = np.percentile(pixels, [0.5, 99.8])
    stretched = (pixels.astype(np.float32) - low) / max(high - low, 1e-6)
    return 1 - np.clip(stretched, 0, 1)


def nuclei(image: np.ndarray) -> np.ndarray:
    """Return the dark parts ``(Y, X)`` of an image ``(C, Y, X)`` by Otsu's threshold."""
    from scipy.ndimage import gaussian_filter
    from skimage.filters import threshold_otsu

    smooth = gaussian_filter(image[0], 1)  # nuclei are darkest in the red of a stained section
    mask: np.ndarray = smooth < threshold_otsu(smooth)
    return mask


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * (first & second).sum() / max(first.sum() + second.sum(), 1))


def variety(images: Sequence[np.ndarray]) -> float:
    """Return the mean difference (root of the mean square) of two images, on a coarse grid."""
    from skimage.transform import resize

    small = [resize(image[:, :256, :256], (len(image), COARSE, COARSE)) for image in images]
    pairs = itertools.combinations(small, 2)
    return float(np.mean([np.sqrt(np.mean((one - other) ** 2)) for one, other in pairs]))


def translations(
    run: str, files: Sequence[Path], direction: str
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return images as prepared, and what is made of them."""
    import imtoolkit as imt

    pixels = [imt.read(file).pixels for file in files]
    made = [imt.predict(run, image, direction=direction) for image in pixels]
    return [between_zero_and_one(image) for image in pixels], made


def on_nuclei(minutes: float, seed: int) -> dict[str, Any]:
    """Train on the unpaired nuclei, and measure the images that nothing was learnt from."""
    import imtoolkit as imt

    root = data_root() / "dsb2018_unpaired"
    overrides = {
        "data.source.params.root": str(root),
        "trainer.max_time": limit(minutes),
        "seed": seed,
    }
    result = trained(ROOT / "bench" / "cyclegan.yaml", overrides)
    rows = imt.evaluate(result["run"], split="test", quiet=True).per_image
    named = {file.stem: file for side in ("trainA", "trainB") for file in (root / side).iterdir()}
    files = {
        domain: [
            named[Path(name).stem]
            for name in rows["id"]
            if named[Path(name).stem].parent.name == folder
        ]
        for domain, folder in (("a", "trainA"), ("b", "trainB"))
    }
    real, made = {}, {}
    for domain, direction in (("a", "a_to_b"), ("b", "b_to_a")):
        real[domain], made[domain] = translations(result["run"], files[domain], direction)
    into = {"a": "b", "b": "a"}
    found = {
        f"nuclei_dice/{domain}_to_{into[domain]}": float(
            np.mean(
                [
                    dice(nuclei(x), nuclei(y))
                    for x, y in zip(real[domain], made[domain], strict=True)
                ]
            )
        )
        for domain in into
    }
    varied = {
        f"variety/{domain}": {"made": variety(made[other]), "real": variety(real[domain])}
        for domain, other in into.items()
    }
    return {**result, **found, **varied}


def on_drawn_pairs(minutes: float, seed: int) -> dict[str, Any]:
    """Train on drawn scenes without their pairs, and compare translations with the true ones."""
    import imtoolkit as imt
    from imtoolkit.metrics.images import PsnrMetric
    from imtoolkit.samples import draw

    psnr = PsnrMetric(data_range=(0.0, 1.0))

    def mean_psnr(made: Sequence[np.ndarray], true: Sequence[np.ndarray]) -> float:
        values = [psnr(x, y)["psnr"] for x, y in zip(made, true, strict=True)]
        return float(np.mean(values))

    with tempfile.TemporaryDirectory() as folder:
        root = draw("unpaired", Path(folder) / "unpaired", count=120)
        overrides = {
            "data.source.params": {"root": str(root), "a": "a", "b": "b"},
            "trainer.max_time": limit(minutes),
            "seed": seed,
        }
        result = trained(ROOT / "bench" / "cyclegan.yaml", overrides)
        names = [file.name for file in sorted((root / "pairs" / "a").glob("*.tif"))]
        sides = {side: [root / "pairs" / side / name for name in names] for side in ("a", "b")}
        a, made_b = translations(result["run"], sides["a"], "a_to_b")
        b, made_a = translations(result["run"], sides["b"], "b_to_a")
        learnt = {
            side: [
                between_zero_and_one(imt.read(file).pixels)
                for file in sorted((root / side).glob("*.tif"))
            ]
            for side in ("a", "b")
        }
    flat = {
        side: np.mean([image.mean(axis=(1, 2)) for image in images], axis=0)[:, None, None]
        for side, images in learnt.items()
    }
    grey = [image.mean(axis=0, keepdims=True) for image in b]
    colours = [np.repeat(image, 3, axis=0) for image in a]
    return {
        **result,
        "pairs": len(names),
        "psnr": {"a_to_b": mean_psnr(made_b, b), "b_to_a": mean_psnr(made_a, a)},
        "identity": {"a_to_b": mean_psnr(colours, b), "b_to_a": mean_psnr(grey, a)},
        "mean_colour": {
            "a_to_b": mean_psnr([np.broadcast_to(flat["b"], x.shape) for x in b], b),
            "b_to_a": mean_psnr([np.broadcast_to(flat["a"], x.shape) for x in a], a),
        },
        "nuclei_dice/b_to_a": float(
            np.mean([dice(nuclei(x), nuclei(y)) for x, y in zip(made_a, a, strict=True)])
        ),
    }


def mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)


def main() -> None:
    options = arguments(
        __doc__ or "",
        ("--minutes", {"type": float, "default": 10.0}),
        ("--seed", {"type": int, "default": 0}),
    )
    nuclei_set = on_nuclei(options.minutes, options.seed)
    drawn = on_drawn_pairs(options.minutes, options.seed)
    result = {
        "name": "accuracy_cyclegan",
        "ours": mean(drawn["psnr"]),
        "other": mean(drawn["identity"]),
        "difference": mean(drawn["psnr"]) - mean(drawn["identity"]),
        "unit": "dB",
        "peer": "the image itself, turned over",
        "minutes": options.minutes,
        "drawn_pairs": drawn,
        "nuclei": nuclei_set,
        **machine(),
    }
    show(result, as_json=options.json)


if __name__ == "__main__":
    main()
