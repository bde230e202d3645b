"""The nuclei of `bench/dsb2018.yaml` with a hand-written MONAI loop, to be compared with.

Same net, patches, batch, loss, optimizer, learning rates and minutes, as a careful person would
write it in an afternoon: images in memory, MONAI's transforms, a one-cycle schedule over the time
that is left, sliding windows with a Gaussian blend for the test. Nothing of imtoolkit is imported.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
import yaml
from measure import ROOT, arguments, data_root, machine, show
from monai.data import CacheDataset, DataLoader, list_data_collate
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    EnsureTyped,
    RandFlipd,
    RandGaussianNoised,
    RandRotate90d,
    RandSpatialCropSamplesd,
    ScaleIntensityRangePercentilesd,
)
from monai.utils import set_determinism

PRESET = ROOT / "configs" / "segmentation" / "nuclei_2d.yaml"
"""Where net, patches, batch and learning rate are read from, as plain YAML."""
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def read(folder: Path) -> list[dict[str, Any]]:
    """Read images and binary labels of a folder into memory."""
    pairs = []
    for path in sorted((folder / "images").glob("*.tif")):
        image = tifffile.imread(path).astype(np.float32)
        label = (tifffile.imread(folder / "labels" / path.name) > 0).astype(np.uint8)
        pairs.append({"image": image, "label": label})
    return pairs


def loader(pairs: list[dict[str, Any]], config: dict[str, Any]) -> DataLoader:
    patch = config["data"]["patch"]
    both = ["image", "label"]
    transforms = Compose(
        [
            EnsureChannelFirstd(both, channel_dim="no_channel"),
            ScaleIntensityRangePercentilesd("image", 0.5, 99.5, 0.0, 1.0),
            EnsureTyped(both, track_meta=False),
            RandSpatialCropSamplesd(both, patch["size"], patch["per_image"], random_size=False),
            RandFlipd(both, prob=0.5, spatial_axis=0),
            RandFlipd(both, prob=0.5, spatial_axis=1),
            RandRotate90d(both, prob=0.75),
            RandGaussianNoised("image", prob=0.2, std=0.05),
        ]
    )
    images = config["data"]["loader"]["batch_size"] // patch["per_image"]
    data = CacheDataset(pairs, transforms, progress=False)
    return DataLoader(
        data, batch_size=images, shuffle=True, drop_last=True, collate_fn=list_data_collate
    )


def train(config: dict[str, Any], pairs: list[dict[str, Any]], minutes: float) -> tuple[UNet, int]:
    task = config["task"]
    net = UNet(spatial_dims=2, in_channels=1, out_channels=2, **task["net"]["params"]).to(DEVICE)
    highest = float(task["optimizer"]["params"]["lr"])
    optimizer = torch.optim.AdamW(net.parameters(), lr=highest)
    loss_function = DiceCELoss(softmax=True, to_onehot_y=True)
    batches = loader(pairs, config)
    steps, start, length = 0, time.perf_counter(), minutes * 60
    while True:
        for batch in batches:
            done = (time.perf_counter() - start) / length
            if done >= 1:
                return net, steps
            for group in optimizer.param_groups:
                group["lr"] = one_cycle(done, highest)
            loss = loss_function(net(batch["image"].to(DEVICE)), batch["label"].to(DEVICE))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            steps += 1


def one_cycle(done: float, highest: float, warm: float = 0.3) -> float:
    """Learning rate after a fraction of the time: up to ``highest``, then down, both as cosines."""
    low, last = highest / 25, highest / 25e4
    if done < warm:
        return float(low + (highest - low) * (1 - np.cos(np.pi * done / warm)) / 2)
    return float(last + (highest - last) * (1 + np.cos(np.pi * (done - warm) / (1 - warm))) / 2)


@torch.inference_mode()
def test(net: UNet, pairs: list[dict[str, Any]], size: list[int]) -> list[float]:
    """Return the foreground Dice of each test image."""
    net.eval()
    scale = ScaleIntensityRangePercentilesd("image", 0.5, 99.5, 0.0, 1.0)
    scores = []
    for pair in pairs:
        image = scale({"image": torch.as_tensor(pair["image"])[None]})["image"][None].to(DEVICE)
        logits = sliding_window_inference(image, size, 4, net, overlap=0.25, mode="gaussian")
        found = logits.argmax(1)[0].cpu().numpy() > 0
        truth = pair["label"] > 0
        both = found.sum() + truth.sum()
        scores.append(float(2 * (found & truth).sum() / both) if both else float("nan"))
    return scores


def run(minutes: float, seed: int) -> dict[str, Any]:
    """Train for some minutes and return the test's mean Dice."""
    config = yaml.safe_load((PRESET).read_text(encoding="utf-8"))
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    set_determinism(seed)
    root = data_root() / "dsb2018_fluo"
    pairs = read(root / "train")
    order = np.random.default_rng(seed).permutation(len(pairs))
    kept = [
        pairs[i] for i in order[round(0.1 * len(pairs)) :]
    ]  # the tenth that imtoolkit validates on
    net, steps = train(config, kept, minutes)
    scores = test(net, read(root / "test"), config["data"]["patch"]["size"])
    return {"dice": float(np.nanmean(scores)), "images": len(scores), "steps": steps}


def main() -> None:
    options = arguments(
        __doc__ or "",
        ("--minutes", {"type": float, "default": 5.0}),
        ("--seed", {"type": int, "default": 0}),
    )
    result = run(options.minutes, options.seed)
    show(
        {"name": "loop_dsb2018", "minutes": options.minutes, **result, **machine()},
        as_json=options.json,
    )


if __name__ == "__main__":
    main()
