"""Small images on disk and the section ``data`` that reads them, for the tests of the data room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from imtoolkit.config.sections import (
    CacheConfig,
    Component,
    DataConfig,
    LoaderConfig,
    PatchConfig,
    SourceConfig,
    SplitConfig,
)
from imtoolkit.core.facts import TargetKind, TargetSpec

NUCLEI = TargetSpec(TargetKind.LABELS, ("background", "nucleus"))


def write_images(
    root: Path, count: int = 6, shape: tuple[int, ...] = (48, 40), *, seed: int = 0
) -> Path:
    """Write images of noise whose pixels above 200 are nuclei, and their instance labels."""
    state = np.random.RandomState(seed)
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        labels = np.zeros(shape, np.uint16)
        for instance in range(1, 5):
            corner = [state.randint(0, side - 6) for side in shape[-2:]]
            labels[..., corner[0] : corner[0] + 6, corner[1] : corner[1] + 6] = instance
        image = state.randint(0, 200, shape) + 200 * (labels > 0)
        tifffile.imwrite(root / "images" / f"a{number}.tif", image.astype(np.uint16))
        tifffile.imwrite(root / "labels" / f"a{number}.tif", labels)
    return root


def section(root: Path, **changes: Any) -> DataConfig:
    """Return the section ``data`` for `write_images`, with some fields changed."""
    source = Component(
        "folder", {"root": str(root), "image": "images/*.tif", "target": "labels/*.tif"}
    )
    fields: dict[str, Any] = {
        "sources": {"data": SourceConfig(source)},
        "axes": "YX",
        "split": SplitConfig(val=0.2, test=0.2),
        "preprocess": [Component("normalize_percentiles"), Component("binarize_target")],
        "patch": PatchConfig([16, 16], per_image=4, foreground=0.5),
        "augment": [Component("flips"), Component("rotations_90")],
        "loader": LoaderConfig(batch_size=4, workers=0),
        "cache": CacheConfig(root=str(root / "cache")),
        **changes,
    }
    return DataConfig(**fields)
