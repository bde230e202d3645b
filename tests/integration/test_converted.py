"""Converted files pass `imtoolkit check` once images lie where their paths say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import imtoolkit as imt

OLD = Path(__file__).parents[1] / "unit" / "config" / "old"
COUNT = 5
DRAWN: dict[str, dict[str, Any]] = {
    "fcn_segmentation_2d": {"shape": (96, 96), "weights": True},
    "fcn_label_free_3d": {"shape": (16, 48, 48), "labels": False},
    "fcn_label_free_3d_inference": {"shape": (16, 48, 48), "labels": False},
    "nnunet_regularized_2d": {"shape": (2, 64, 64)},
    "cyclegan_2d": {"shape": (48, 48), "labels": False},
    "embedseg_2d": {"shape": (64, 64)},
    "embedseg_3d_inference": {"shape": (16, 48, 48)},
    "pix2pix_2d": {"shape": (64, 80), "labels": False},
    "pix2pix_2d_inference": {"shape": (64, 80), "labels": False},
    "probabilistic_2d": {"shape": (48, 48)},
    "probabilistic_2d_maps": {"shape": (48, 48)},
    "regression_2d": {"shape": (32, 32), "numbers": 2},
}
"""Old file -> what is drawn for it: shape of an image, and what its target is."""


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
def test_a_converted_file_passes_the_check_on_drawn_images(name: str, workdir: Path) -> None:
    conversion = imt.convert_config(OLD / f"{name}.yaml")
    new = conversion.write("new.yaml")
    draw(conversion.config, **DRAWN[name])
    report = imt.check_run(imt.load_config(new, {"data.loader.workers": 0}))
    assert np.isfinite(report.loss)
    assert report.samples["train"] >= 1


def draw(config: dict[str, Any], **how: Any) -> None:
    """Draw images into every folder that a config names."""
    data = config["data"]
    sources = data.get("sources") or {"main": {"source": data["source"]}}
    for number, source in enumerate(sources.values()):
        params = source["source"]["params"]
        folder = Path(params.get("root") or Path(params["path"]).parent)
        folder.mkdir(parents=True, exist_ok=True)
        draw_folder(folder, params, config["task"].get("columns", []), seed=number, **how)


def draw_folder(
    folder: Path,
    params: dict[str, Any],
    columns: list[str],
    seed: int,
    shape: tuple[int, ...],
    labels: bool = True,
    weights: bool = False,
    numbers: int = 0,
) -> None:
    rows = ["image," + ",".join(columns)]
    for number in range(COUNT):
        image, target = disc(shape, np.random.default_rng([seed, number]))
        name = _glob(params, "image", "*_IM.tiff").replace("*", f"c{number}")
        tifffile.imwrite(folder / name, image)
        if numbers:
            rows.append(f"{name}," + ",".join(str(number + n) for n in range(numbers)))
            continue
        flat = target if target.shape == shape else target[0]
        made = flat if labels else image * 2
        other = folder / _glob(params, "target", "*_GT.tiff").replace("*", f"c{number}")
        other.parent.mkdir(exist_ok=True)
        tifffile.imwrite(other, made)
        if weights:
            tifffile.imwrite(folder / f"c{number}_CM.tiff", np.ones_like(flat))
    if numbers:
        (folder / "targets.csv").write_text("\n".join(rows) + "\n")


def _glob(params: dict[str, Any], key: str, usual: str) -> str:
    """Return the glob of a folder; a column of a table is none."""
    return str(params.get(key, usual)) if "root" in params else usual


def disc(
    shape: tuple[int, ...], rng: np.random.Generator
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Return a noisy image of one disc (a cylinder in 3D), and its labels in one channel."""
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    centre = rng.integers(8, min(shape[-2:]) - 8, 2)
    inside = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < 36
    image = rng.poisson(100 + 400 * np.broadcast_to(inside, shape)).astype(np.uint16)
    # two planes are two channels of one image, which share their labels
    planes = shape if len(shape) == 2 or shape[0] > 2 else (1, *shape[1:])
    return image, np.broadcast_to(inside, planes).astype(np.uint8)
