"""One stain from the two others (W2S): PSNR on unseen fields with a discriminator and without.

Beside pix2pix stands the same generator trained for as long by the L1 difference alone, which PSNR
favours, and what needs no learning: each input stain taken for the prediction, as it is and after
the best gain and offset. Fields are tested that nothing was learnt from.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from measure import ROOT, arguments, data_root, limit, machine, show, trained

TEST, VAL = range(33, 41), range(29, 33)
"""Fields that are tested and validated on; the others are learnt from."""
INPUTS, TARGET = (0, 2), 1


def write_splits(path: Path, root: Path) -> None:
    """Write which field belongs to which split."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "split"])
        for image in sorted(root.glob("*.png")):
            field = int(image.stem[3:6])
            split = "test" if field in TEST else "val" if field in VAL else "train"
            writer.writerow([image.stem, split])


def by_l1_alone(folder: Path) -> Path:
    """Write the config with the same generator, optimizer and loss, and no discriminator."""
    raw: dict[str, Any] = yaml.safe_load((ROOT / "bench" / "pix2pix.yaml").read_text("utf-8"))
    task = raw["task"]
    kept = {key: task[key] for key in ("data_range", "loss", "optimizer", "metrics")}
    raw["task"] = {"category": "enhancement", "net": task["nets"]["generator"], **kept}
    raw["name"] = "pix2pix_l1"
    path = folder / "pix2pix_l1.yaml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return path


def fields(root: Path) -> Iterator[np.ndarray]:
    """Yield the tested fields ``(Y, X, 3)`` over 255."""
    from imageio.v3 import imread

    for field in TEST:
        yield imread(root / f"fov{field:03d}.png").astype(np.float32) / 255


def without_learning(root: Path) -> dict[str, float]:
    """Measure each input stain as the prediction."""
    from imtoolkit.metrics.images import AffinePsnrMetric, PsnrMetric

    metrics = (PsnrMetric(data_range=(0.0, 1.0)), AffinePsnrMetric(data_range=(0.0, 1.0)))
    rows: dict[str, list[float]] = {}
    for pixels in fields(root):
        for stain in INPUTS:
            for metric in metrics:
                value = metric(pixels[None, ..., stain], pixels[None, ..., TARGET])[metric.name]
                rows.setdefault(f"stain {stain}/{metric.name}", []).append(value)
    return {name: float(np.mean(values)) for name, values in rows.items()}


def above(scores: dict[str, float], identity: dict[str, float]) -> dict[str, float]:
    """Return how far the prediction lies above the better input stain, in dB.

    Alike with alike, and, hardest, the prediction as it is with the stain after its best gain and
    offset, which only the truth can tell.
    """
    best = {
        name: max(value for key, value in identity.items() if key.endswith(f"/{name}"))
        for name in ("psnr", "affine_psnr")
    }
    return {
        "above_identity": scores["psnr"] - best["psnr"],
        "above_identity_both_matched": scores["affine_psnr"] - best["affine_psnr"],
        "above_matched_identity": scores["psnr"] - best["affine_psnr"],
    }


def main() -> None:
    options = arguments(
        __doc__ or "",
        ("--minutes", {"type": float, "default": 10.0}),
        ("--seed", {"type": int, "default": 0}),
    )
    root = data_root() / "w2s_channels"
    with tempfile.TemporaryDirectory() as folder:
        splits = Path(folder) / "splits.csv"
        write_splits(splits, root)
        overrides: dict[str, Any] = {
            "data.source.params.root": str(root),
            "data.split.file": str(splits),
            "trainer.max_time": limit(options.minutes),
            "seed": options.seed,
        }
        ours = trained(ROOT / "bench" / "pix2pix.yaml", overrides)
        other = trained(by_l1_alone(Path(folder)), overrides)
    identity = without_learning(root)
    result = {
        "name": "accuracy_pix2pix",
        "ours": ours["scores"]["psnr"],
        "other": other["scores"]["psnr"],
        "difference": ours["scores"]["psnr"] - other["scores"]["psnr"],
        "unit": "dB",
        "peer": "the same generator by the L1 difference alone",
        "minutes": options.minutes,
        **ours,
        "by_l1_alone": other,
        "without_learning": identity,
        **above(ours["scores"], identity),
        **machine(),
    }
    show(result, as_json=options.json)


if __name__ == "__main__":
    main()
