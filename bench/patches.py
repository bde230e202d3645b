"""How fast patches come out of the cache: imtoolkit beside MONAI's PersistentDataset and nnU-Net.

Volumes of 64x512x512, patches of 32x128x128, four from each visit, flips and 90-degree turns,
float32 image and uint8 label; half of the patches are centred on foreground, as segmentation needs
it. imtoolkit and MONAI run in this process in turn, with the same
transforms and the same collate, both warm (files in the page cache, first passes not counted).
nnU-Net's blosc2 loader needs packages that do not fit beside imtoolkit's, so it runs in an
environment of its own, between rounds of ours: ``--nnunet PYTHON`` (or NNUNET_PYTHON) names its
interpreter, and ``bench/nnunet_loader.py`` says how to make one. All sides use one process and one
thread, without workers. The time of MONAI without the search for foreground is told as well.
"""

from __future__ import annotations

import functools
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import BENCH, alternate, arguments, compared, show
from monai.data import DataLoader, PersistentDataset
from monai.transforms import Compose, LoadImaged, RandCropByPosNegLabeld, RandSpatialCropSamplesd

import imtoolkit as imt
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
from imtoolkit.data.collate import collate
from imtoolkit.data.transforms.build import build_augment

VOLUME, PATCH, PER_IMAGE, BATCH = (64, 512, 512), (32, 128, 128), 4, 4
AUGMENT = (Component("flips"), Component("rotations_90"))


def write_volumes(folder: Path, count: int) -> None:
    """Write volumes as npy: reading them is not what is measured.

    Blobs over a background, counted in photons and normalised: values as they come from a
    microscope, which nnU-Net's compression can use; it could do nothing with plain noise.
    """
    state = np.random.RandomState(0)
    for key in ("images", "labels"):
        (folder / key).mkdir()
    for number in range(count):
        label = np.zeros(VOLUME, np.uint8)
        for _ in range(20):
            z, y, x = (state.randint(0, side - 16) for side in VOLUME)
            label[z : z + 16, y : y + 16, x : x + 16] = 1
        photons = state.poisson(20 + 80 * label.astype(np.float32))
        image = ((photons - photons.mean()) / photons.std()).astype(np.float32)
        np.save(folder / "images" / f"v{number}.npy", image)
        np.save(folder / "labels" / f"v{number}.npy", label)


def our_batches(folder: Path) -> Callable[[], Iterator[Any]]:
    source = {"root": str(folder), "image": "images/*.npy", "target": "labels/*.npy"}
    config = DataConfig(
        sources={"volumes": SourceConfig(Component("folder", source))},
        axes="ZYX",
        split=SplitConfig(val=0.0),
        patch=PatchConfig(list(PATCH), PER_IMAGE, foreground=0.5),
        augment=list(AUGMENT),
        cache=CacheConfig(root=str(folder / "ours")),
        loader=LoaderConfig(BATCH, workers=0),
    )
    target = TargetSpec(TargetKind.LABELS, ("background", "blob"))
    datamodule = imt.ImageDataModule(config, target)
    datamodule.prepare_data()
    loader = datamodule.train_dataloader()
    return lambda: iter(loader)


def monai_batches(folder: Path, *, foreground: bool) -> Callable[[], Iterator[Any]]:
    keys = ["image", "target"]
    if foreground:
        crop = RandCropByPosNegLabeld(keys, "target", PATCH, pos=1, neg=1, num_samples=PER_IMAGE)
    else:
        crop = RandSpatialCropSamplesd(keys, PATCH, num_samples=PER_IMAGE, random_size=False)
    steps = [
        LoadImaged("image", ensure_channel_first=True),
        LoadImaged("target", ensure_channel_first=True, dtype=np.uint8),
        crop,
        *build_augment(AUGMENT),
    ]
    rows = [
        {"image": str(path), "target": str(folder / "labels" / path.name)}
        for path in sorted((folder / "images").glob("*.npy"))
    ]
    dataset = PersistentDataset(rows, Compose(steps), folder / "monai")
    loader = DataLoader(dataset, batch_size=1, shuffle=True, collate_fn=flat_collate)
    return lambda: iter(loader)


def flat_collate(visits: list[Any]) -> Any:
    return collate([patch for visit in visits for patch in visit])


def one_pass(batches: Callable[[], Iterator[Any]]) -> float:
    """Return milliseconds for a patch over one pass through all volumes."""
    start, patches = time.perf_counter(), 0
    for batch in batches():
        assert batch["image"].dtype == torch.float32
        assert batch["image"].shape[1:] == (1, *PATCH)
        assert batch["target"].dtype == torch.uint8
        patches += len(batch["image"])
    return (time.perf_counter() - start) * 1e3 / patches


def repeated(batches: Callable[[], Iterator[Any]], passes: int) -> float:
    """Return the median over several passes: one of ours takes a few milliseconds."""
    return statistics.median(one_pass(batches) for _ in range(passes))


def nnunet(python: str, folder: Path, passes: int) -> float:
    """Measure nnU-Net's loader in its own environment, on the same volumes."""
    command = [python, str(BENCH / "nnunet_loader.py"), str(folder), str(passes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"nnU-Net's loader failed:\n{done.stderr[-2000:]}"
        raise SystemExit(message)
    return float(json.loads(done.stdout.strip().splitlines()[-1])["ms"])


def main() -> None:
    options = arguments(
        __doc__ or "",
        ("--volumes", {"type": int, "default": 4}),
        ("--rounds", {"type": int, "default": 5}),
        ("--nnunet", {"default": os.environ.get("NNUNET_PYTHON", ""), "metavar": "PYTHON"}),
    )
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_volumes(folder, options.volumes)
        ours, monai = our_batches(folder), monai_batches(folder, foreground=True)
        uniform = monai_batches(folder, foreground=False)
        for batches in (ours, monai, uniform, ours):  # fill the caches, and warm them
            one_pass(batches)
        first, second = alternate(
            functools.partial(repeated, ours, 10), lambda: one_pass(monai), options.rounds
        )
        more: dict[str, Any] = {"monai_uniform_ms": repeated(uniform, options.rounds)}
        if options.nnunet:
            mine, theirs = alternate(
                functools.partial(repeated, ours, 10),
                functools.partial(nnunet, options.nnunet, folder, 10),
                options.rounds,
            )
            more["nnunet_ms"] = statistics.median(theirs)
            more["ratio_nnunet"] = statistics.median(
                b / a for a, b in zip(mine, theirs, strict=True)
            )
    result = compared(
        "patches", first, second, unit="ms a patch", peer="MONAI PersistentDataset", **more
    )
    result |= {
        "ours_ms": result["ours"],
        "monai_ms": result["other"],
        "faster_than_monai": 1 / result["ratio"],
    }
    show(result, as_json=options.json)


if __name__ == "__main__":
    main()
