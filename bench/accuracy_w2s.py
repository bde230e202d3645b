"""Real noise of fluorescence microscopy (W2S): PSNR and SSIM of each stain on unseen fields.

Every image of this set was stretched by itself, so that values count after the best gain and offset
(affine-matched). Beside them stand the noisy images and a median of 3x3 pixels, measured alike.
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from measure import ROOT, arguments, data_root, limit, machine, show, trained

STAINS = ("c0", "c1", "c2")
TEST, VAL = range(19, 25), range(16, 19)
"""Fields that are tested and validated on; the others are learnt from."""


def write_splits(path: Path, root: Path) -> None:
    """Write which image belongs to which split: all stains of a field to the same."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "split"])
        for image in sorted((root / "noisy").glob("*.png")):
            field = int(image.stem[3:6])
            split = "test" if field in TEST else "val" if field in VAL else "train"
            writer.writerow([image.stem, split])


def without_learning(root: Path) -> dict[str, dict[str, float]]:
    """Measure the noisy images and their 3x3 medians on the fields of the test."""
    from scipy.ndimage import median_filter

    from imtoolkit.io import read
    from imtoolkit.metrics.images import AffinePsnrMetric
    from imtoolkit.metrics.structure import AffineSsimMetric

    metrics = (AffinePsnrMetric(), AffineSsimMetric())
    found: dict[str, dict[str, float]] = {}
    for stain in STAINS:
        rows: dict[str, list[float]] = {}
        for field in TEST:
            name = f"fov{field:03d}_{stain}.png"
            noisy, clean = (
                read(root / part / name).pixels[:1].astype(np.float32)
                for part in ("noisy", "clean")
            )
            made = {"noisy": noisy, "median": median_filter(noisy, (1, 3, 3))}
            for what, image in made.items():
                for metric in metrics:
                    value = metric(image, clean)[metric.name]
                    rows.setdefault(f"{what}/{metric.name}", []).append(value)
        found[stain] = {name: float(np.mean(values)) for name, values in rows.items()}
    return found


def main() -> None:
    options = arguments(
        __doc__ or "",
        ("--minutes", {"type": float, "default": 10.0}),
        ("--seed", {"type": int, "default": 0}),
    )
    root = data_root() / "w2s_denoise"
    with tempfile.TemporaryDirectory() as folder:
        splits = Path(folder) / "splits.csv"
        write_splits(splits, root)
        overrides: dict[str, Any] = {
            f"data.sources.{stain}.source.params.root": str(root) for stain in STAINS
        }
        overrides |= {
            "data.split.file": str(splits),
            "trainer.max_time": limit(options.minutes),
            "seed": options.seed,
        }
        ours = trained(ROOT / "bench" / "w2s.yaml", overrides, by="dataset")
    result = {
        "name": "accuracy_w2s",
        "ours": float(np.mean([ours["groups"][stain]["affine_psnr"] for stain in STAINS])),
        "unit": "dB (affine-matched)",
        "minutes": options.minutes,
        **ours,
        "without_learning": without_learning(root),
        **machine(),
    }
    show(result, as_json=options.json)


if __name__ == "__main__":
    main()
