"""Nuclei of the 2018 Data Science Bowl, one by one: average precision at an IoU of 0.5.

Trains ``--method watershed`` (three classes of pixels, then a watershed) or ``embedseg`` for
``--minutes`` of wall time, tunes the post-processing on validation images (a part of the train
folder), and measures the images of the test folder once; ``other`` is Otsu's threshold with a
watershed of the distance map, which learns nothing, on the same images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from measure import (
    ROOT,
    arguments,
    data_root,
    limit,
    machine,
    show,
    stdout_for_results,
)
from scipy import ndimage

METHODS = ("watershed", "embedseg")


def otsu(image: np.ndarray) -> np.ndarray:
    """Return objects of a grey image without learning: threshold, distance map, watershed."""
    from skimage.filters import gaussian, threshold_otsu
    from skimage.morphology import h_maxima
    from skimage.segmentation import watershed

    smooth = gaussian(image.astype(float), 1)
    mask = smooth > threshold_otsu(smooth)
    distance = gaussian(ndimage.distance_transform_edt(mask), 1)
    seeds, _ = ndimage.label(h_maxima(distance, 0.75))
    labels = watershed(-distance, seeds, mask=mask)
    small = np.bincount(labels.ravel()) < 16
    return np.where(small[labels], 0, labels)


def unlearnt(folder: Path) -> dict[str, float]:
    """Measure Otsu and watershed on the images of a folder, with the same metrics."""
    import torch

    import imtoolkit as imt
    from imtoolkit.metrics.suite import InstanceMetrics

    suite, rows = InstanceMetrics(), []
    for path in sorted((folder / "images").glob("*.tif")):
        truth = imt.read(folder / "labels" / path.name).pixels[0].astype(np.int64)
        found = otsu(imt.read(path).pixels[0]).astype(np.int64)
        rows += suite.rows(torch.from_numpy(found)[None], torch.from_numpy(truth)[None])
    return suite.summarise(rows)


def measured(method: str, minutes: float, seed: int) -> dict[str, Any]:
    """Train, tune on validation images, and measure the test images with both chains."""
    from imtoolkit.core.threads import wait_politely

    wait_politely()
    import imtoolkit as imt

    root = data_root() / "dsb2018_fluo"
    overrides = {
        "data.sources.main.source.params.root": str(root / "train"),
        "data.sources.test.source.params.root": str(root / "test"),
        "trainer.max_time": limit(minutes),
        "seed": seed,
    }
    name = "instances" if method == "watershed" else method
    with stdout_for_results():
        run = imt.train(imt.load_config(ROOT / "bench" / f"{name}_dsb2018.yaml", overrides))
        untuned = imt.evaluate(run, split="test").summary["metrics"]
        tuned = imt.tune_postprocess(run)
        scores = imt.evaluate(run, split="test")
    metrics = scores.summary["metrics"]
    return {
        "ours": metrics["ap/50"]["mean"],
        "untuned": untuned["ap/50"]["mean"],
        "validation_before_and_after_tuning": [tuned.before, tuned.after],
        "tuned_steps": [f"{step.name} {step.params}" for step in tuned.steps],
        "interval": [metrics["ap/50"]["low"], metrics["ap/50"]["high"]],
        "pooled": metrics["pooled_ap/50"]["mean"],
        "scores": {key: value["mean"] for key, value in metrics.items()},
        "images": scores.summary["images"],
        "steps": int(run.metrics["step"].max()) + 1,
        "run": str(run.path),
    }


def main() -> None:
    options = arguments(
        __doc__ or "",
        ("--method", {"choices": METHODS, "default": METHODS[0]}),
        ("--minutes", {"type": float, "default": 20.0}),
        ("--seed", {"type": int, "default": 0}),
    )
    plain = unlearnt(data_root() / "dsb2018_fluo" / "test")
    found = measured(options.method, options.minutes, options.seed)
    result = {
        "name": f"accuracy_{options.method}",
        "other": plain["ap/50"],
        "other_pooled": plain["pooled_ap/50"],
        "difference": found["ours"] - plain["ap/50"],
        "unit": "AP at IoU 0.5, mean over images",
        "peer": "Otsu and watershed, nothing learnt",
        "minutes": options.minutes,
        **found,
        **machine(),
    }
    show(result, as_json=options.json)


if __name__ == "__main__":
    main()
