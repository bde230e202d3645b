r"""nnU-Net's own blosc2 loader, measured for `bench/patches.py` in an environment of its own.

Make the environment like this; torchvision, which nnU-Net's dependencies would pull in, stays out,
and torch is the one of imtoolkit's ``constraints.txt``::

    python -m venv nnunet-env
    nnunet-env/bin/pip install -c constraints.txt torch batchgenerators batchgeneratorsv2 \
        acvl_utils blosc2 threadpoolctl nibabel simpleitk tqdm einops imagecodecs
    nnunet-env/bin/pip install --no-deps nnunetv2 dynamic_network_architectures
    python bench/patches.py --nnunet nnunet-env/bin/python

It stores the volumes with nnU-Net's own writer, chunks and blocks, lets nnU-Net's data loader cut
batches of four patches with nnU-Net's own mirroring and the same quarter turns, and prints one JSON
object with the milliseconds for a patch. Nothing of imtoolkit is imported.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

os.environ.setdefault("nnUNet_raw", ".")  # nnU-Net warns without them; nothing is read there
os.environ.setdefault("nnUNet_preprocessed", ".")
os.environ.setdefault("nnUNet_results", ".")

from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.rot90 import Rot90Transform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params as plan_blocks
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

PATCH, BATCH = (32, 128, 128), 4


class Labels:
    """What the loader asks of nnU-Net's label manager."""

    all_labels = [0, 1]  # noqa: RUF012 - it adds a list to it
    has_ignore_label = False


def store(source: Path, folder: Path) -> int:
    """Write the volumes as nnU-Net's preprocessing does, and return how many there are."""
    folder.mkdir(exist_ok=True)
    images = sorted((source / "images").glob("*.npy"))
    for path in images:
        image = np.load(path)[None]
        label = np.load(source / "labels" / path.name)[None].astype(np.int8)
        blocks, chunks = plan_blocks(image.shape, PATCH, image.itemsize)
        label_blocks, label_chunks = plan_blocks(label.shape, PATCH, label.itemsize)
        locations = np.argwhere(label > 0)  # (n, 4): channel, z, y, x
        locations = locations[np.random.RandomState(0).permutation(len(locations))[:10_000]]
        nnUNetDatasetBlosc2.save_case(
            image,
            label,
            {"class_locations": {1: locations}},
            str(folder / path.stem),
            chunks=chunks,
            blocks=blocks,
            chunks_seg=label_chunks,
            blocks_seg=label_blocks,
        )
    return len(images)


def loader_of(folder: Path) -> Any:
    turns = Rot90Transform(1, num_rot_per_combination=(0, 1, 2, 3), allowed_axes={1, 2})
    transforms = ComposeTransforms([MirrorTransform((0, 1, 2)), turns])
    dataset = nnUNetDatasetBlosc2(str(folder))
    return nnUNetDataLoader(
        dataset,
        BATCH,
        PATCH,
        PATCH,
        Labels(),
        oversample_foreground_percent=0.5,
        transforms=transforms,
    )


def one_pass(loader: Any, batches: int) -> float:
    """Return milliseconds for a patch."""
    start = time.perf_counter()
    for _ in range(batches):
        batch = next(loader)
        assert batch["data"].dtype == torch.float32
        assert batch["data"].shape == (BATCH, 1, *PATCH)
    return (time.perf_counter() - start) * 1e3 / (batches * BATCH)


def main() -> None:
    source, passes = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    folder = source / "nnunet"
    if folder.is_dir():
        count = len(list((source / "images").glob("*.npy")))
    else:
        count = store(source, folder)
    loader = loader_of(folder)
    for _ in range(2):  # warm
        one_pass(loader, count)
    times = [one_pass(loader, count) for _ in range(passes)]
    version = importlib.metadata.version("nnunetv2")
    print(json.dumps({"ms": statistics.median(times), "nnunetv2": version}))


if __name__ == "__main__":
    main()
