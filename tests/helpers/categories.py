"""A small table of discs with labels of every kind, and configs of each category that read it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from imtoolkit import io

SIZE = 32
CLASSES = ["small", "large"]
UNET = {"name": "UNet", "params": {"channels": [4, 8], "strides": [2], "dropout": 0.3}}
JUDGE = {"name": "patch_discriminator", "params": {"channels": 4, "depth": 1}}
FEATURES = {"name": "unet_features", "params": {"features": [4, 4, 4, 4, 4, 4], "dropout": 0.2}}
RESNET = {"name": "resnet", "params": {"depth": 10, "width": 4}}
JUDGE = {"name": "patch_discriminator", "params": {"channels": 4, "depth": 1, "spectral": True}}
LATENT = {"channels": [4, 8], "latent": 3, "width": 4, "dropout": 0.2}
TABLE_HEAD = {"name": "global_pool", "params": {"tabular": True, "hidden": [4]}}
BATCH = {"batch_size": 2, "workers": 0}


def write_discs(root: Path, train: int = 11, val: int = 3, test: int = 0) -> Path:
    """Write ``discs.csv`` with noisy and clean images and masks, and folders of both classes.

    Columns ``some`` (a mask) and ``grade`` (a class) are empty for the first training image.
    """
    rows = []
    splits = ["train"] * train + ["val"] * val + ["test"] * test
    y, x = np.mgrid[:SIZE, :SIZE]
    for number, split in enumerate(splits):
        rng = np.random.default_rng(number)
        radius, kind = (5.0, "large") if number % 3 == 0 else (3.0, "small")
        mask = np.hypot(y - rng.integers(8, 24), x - rng.integers(8, 24)) < radius
        clean = mask.astype(np.float32)
        noisy = (clean + 0.3 * rng.normal(size=mask.shape)).astype(np.float32)
        wider = ndimage.binary_dilation(mask)
        made = {
            "noisy": noisy,
            "clean": clean,
            "mask": mask.astype(np.uint8),
            "wider": wider.astype(np.uint8),  # what a second reader marks
        }
        for name, pixels in made.items():
            io.write(root / f"{number:02d}_{name}.tif", pixels, axes="YX")
        io.write(root / "folders" / split / kind / f"{number:02d}.tif", noisy, axes="YX")
        rows.append(
            {
                "id": f"{number:02d}",
                "image": f"{number:02d}_noisy.tif",
                "clean": f"{number:02d}_clean.tif",
                "mask": f"{number:02d}_mask.tif",
                "some": f"{number:02d}_mask.tif" if number else "",
                "mask_too": f"{number:02d}_wider.tif",
                "kind": kind,
                "grade": kind if number else "",
                "radius": radius + 0.1 * (number % 4),
                "age": 30 + number,
                "stain": "HE" if number % 2 else "PAS",
                "split": split,
            }
        )
    pd.DataFrame(rows).to_csv(root / "discs.csv", index=False)
    return root


def config_of(category: str, **sections: Any) -> dict[str, Any]:
    """Return a config as a plain dict; sections are merged into it, dicts key by key."""
    raw: dict[str, Any] = {
        "name": category,
        "data": {"axes": "YX", "loader": BATCH, **_data(category)},
        "task": {
            "category": category,
            "optimizer": {"name": "AdamW", "params": {"lr": 0.01}},
            **_task(category),
        },
        "trainer": {
            "max_epochs": 3,
            "accelerator": "cpu",
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
            "pictures": {"every_epochs": 0},
        },
        "evaluation": {"splits": []},
    }
    return merged(raw, sections)


def objects_of(category: str, **sections: Any) -> dict[str, Any]:
    """Return the config of a category that learns objects by ``task.instances``."""
    asked: dict[str, Any] = {"instances": {}}
    if category == "segmentation":
        asked["classes"] = []
    more = {"task": asked, "data": {"source": _table("mask"), "degrade": []}}
    return merged(config_of(category, **more), sections)


def merged(raw: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Return a dict with another one merged into it; components are replaced."""
    found = copy.deepcopy(raw)
    for key, value in more.items():
        own = found.get(key)
        if isinstance(value, dict) and isinstance(own, dict) and "name" not in value:
            found[key] = merged(own, value)
        else:
            found[key] = value
    return found


def _data(category: str) -> dict[str, Any]:
    folders = {"name": "class_folders", "params": {"root": "folders"}}
    patches = {"patch": {"size": [16, 16], "per_image": 2}, "augment": ["flips"]}
    found: dict[str, dict[str, Any]] = {
        "segmentation": {"source": _table("mask"), **patches},
        "classification": {"source": folders, "augment": ["flips", "rotations_90"]},
        "regression": {
            "source": _table("radius"),
            "tabular": ["age", {"column": "stain", "values": ["HE", "PAS"]}],
            "augment": ["gaussian_noise"],
        },
        "enhancement": {
            "source": {"name": "csv", "params": {"path": "discs.csv", "image": "clean"}},
            "degrade": [{"name": "white_noise", "params": {"std": 0.1}}],
            **patches,
        },
        "noise2void": {"source": _table(), **patches},
        "pix2pix": {
            "source": {
                "name": "csv",
                "params": {"path": "discs.csv", "image": "image", "target": "clean"},
            },
            **patches,
        },
        "multitask": {"source": _table("some"), "augment": ["flips"]},
        "probabilistic_unet": {"source": _table(["mask", "mask_too"]), **patches},
        "embedseg": {"source": _table("mask"), **patches},
        "cyclegan": {
            "source": {
                "name": "unpaired",
                "params": {"root": ".", "a": "*_clean.tif", "b": "*_noisy.tif"},
            },
            "split": {"val": 5, "test": 2},
            **patches,
        },
    }
    return found[category]


def _table(target: str | list[str] | None = None) -> dict[str, Any]:
    given = {} if target is None else {"target": target}
    return {"name": "csv", "params": {"path": "discs.csv", **given}}


def _task(category: str) -> dict[str, Any]:
    def composed(post: Any) -> dict[str, Any]:
        return {"name": "composed", "params": {"backbone": RESNET, "post": post}}

    heads = {"mask": "dense", "kind": "global_pool", "radius": "global_pool"}
    found: dict[str, dict[str, Any]] = {
        "segmentation": {"classes": ["background", "disc"], "net": UNET},
        "classification": {"classes": CLASSES, "net": composed("global_pool")},
        "regression": {"net": composed(TABLE_HEAD)},
        "enhancement": {"net": UNET},
        "noise2void": {"net": UNET},
        "cyclegan": {
            "nets": {"generator": UNET, "discriminator": JUDGE},
            "identity_weight": 2.0,
            "pool_size": 3,
        },
        "embedseg": {"net": UNET, "object_radius": 4.0},
        "pix2pix": {"nets": {"generator": UNET, "discriminator": JUDGE}},
        "probabilistic_unet": {
            "classes": ["background", "disc"],
            "net": {"name": "probabilistic_unet", "params": LATENT},
            "samples": 4,
        },
        "multitask": {
            "net": {"name": "multi_head", "params": {"backbone": FEATURES, "heads": heads}},
            "heads": {
                "mask": {"kind": "segmentation", "classes": ["background", "disc"]},
                "kind": {"kind": "classification", "classes": CLASSES, "columns": ["grade"]},
                "radius": {"kind": "regression"},
            },
        },
    }
    return found[category]
