"""Drawn discs as batches, for tests of tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from imtoolkit.config.sections import Component, InferenceConfig, SegmentationConfig
from imtoolkit.core.facts import DataFacts
from imtoolkit.tasks import build_task
from imtoolkit.tasks.segmentation import SegmentationTask

UNET = Component("UNet", {"channels": [8, 16, 32], "strides": [2, 2], "num_res_units": 1})
FACTS = DataFacts(spatial_dims=2, in_channels=1, patch_size=(32, 32))


class Discs(Dataset[dict[str, Any]]):
    """Bright discs (balls in 3D) on noise; every image is a function of its number."""

    def __init__(self, count: int, size: Sequence[int] = (32, 32), dataset: str = "main") -> None:
        self.count = count
        self.size = tuple(size)
        self.dataset = dataset

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(index)
        places = torch.meshgrid(*(torch.arange(side) for side in self.size), indexing="ij")
        square = torch.zeros(self.size)
        for axis, side in zip(places, self.size, strict=True):
            centre = side * (0.3 + 0.4 * torch.rand(1, generator=generator))
            square += (axis - centre) ** 2
        radius = min(self.size) * (0.15 + 0.1 * torch.rand(1, generator=generator))
        inside = square < radius**2
        noise = 0.3 * torch.randn(self.size, generator=generator)
        return {
            "image": (inside + noise)[None].float(),
            "target": inside[None].to(torch.uint8),
            "id": f"{index:03d}",
            "dataset": self.dataset,
            "spacing": torch.full((len(self.size),), torch.nan),
        }


def loader(dataset: Dataset[dict[str, Any]], batch_size: int = 1) -> DataLoader[dict[str, Any]]:
    return DataLoader(dataset, batch_size=batch_size)


def batch_of(count: int = 2, size: Sequence[int] = (32, 32), **more: Any) -> dict[str, Any]:
    return {**next(iter(loader(Discs(count, size), count))), **more}


def config_of(**fields: Any) -> SegmentationConfig:
    given = {"nets": {"net": UNET}, "classes": ["background", "nucleus"], **fields}
    return SegmentationConfig(category="segmentation", **given)


def task_of(
    facts: DataFacts = FACTS,
    inference: InferenceConfig | None = None,
    seed: int = 0,
    **fields: Any,
) -> SegmentationTask:
    task = build_task(config_of(**fields), inference or InferenceConfig(), facts, seed)
    assert isinstance(task, SegmentationTask)
    return task


def trainer_of(**options: Any) -> pl.Trainer:
    quiet = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    return pl.Trainer(**{**quiet, **options})


def weights_of(task: torch.nn.Module) -> Iterator[torch.Tensor]:
    return (weight.detach().clone() for weight in task.parameters())
