"""Two small domains of images that do not belong together, for tests of unpaired training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imageio.v3 as iio
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

UNPAIRED = TargetSpec(TargetKind.IMAGE, optional=True, unpaired=True)
SHAPE_A, SHAPE_B = (48, 40), (36, 44)


def write_domains(root: Path, a: int = 5, b: int = 3, *, seed: int = 0) -> Path:
    """Write ``trainA`` (16-bit grey TIFF) and ``trainB`` (RGB PNG of another size).

    All pixels of image number ``n`` lie in ``[1000 n, 1000 n + 999]`` (A) and ``[10 n, 10 n + 9]``
    (B), so that a patch tells where it is from.
    """
    state = np.random.RandomState(seed)
    for folder in ("trainA", "trainB"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(a):
        pixels = (1000 * number + state.randint(0, 1000, SHAPE_A)).astype(np.uint16)
        tifffile.imwrite(root / "trainA" / f"a{number}.tif", pixels)
    for number in range(b):
        pixels = (10 * number + state.randint(0, 10, (*SHAPE_B, 3))).astype(np.uint8)
        iio.imwrite(root / "trainB" / f"b{number}.png", pixels)
    return root


def section(root: Path, **changes: Any) -> DataConfig:
    """Return the section ``data`` for `write_domains`, with some fields changed."""
    source = Component("unpaired", {"root": str(root)})
    fields: dict[str, Any] = {
        "sources": {"data": SourceConfig(source)},
        "split": SplitConfig(val=0.0),
        "patch": PatchConfig([16, 16], per_image=2),
        "loader": LoaderConfig(batch_size=4, workers=0),
        "cache": CacheConfig(root=str(root / "cache")),
        **changes,
    }
    return DataConfig(**fields)
