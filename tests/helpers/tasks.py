"""Tiny tasks of any category, and drawn images with a truth of every kind, for tests of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from imtoolkit.config.sections import CATEGORIES, Component, InferenceConfig
from imtoolkit.core.facts import DataFacts
from imtoolkit.tasks import build_task

CLASSIFIER = Component(
    "DenseNet", {"init_features": 4, "growth_rate": 4, "block_config": [2, 2], "bn_size": 1}
)
DENOISER = Component("UNet", {"channels": [8, 16], "strides": [2], "num_res_units": 1})
FACTS = DataFacts(spatial_dims=2, in_channels=1, patch_size=(32, 32))


def make(
    category: str,
    facts: DataFacts = FACTS,
    inference: InferenceConfig | None = None,
    seed: int = 0,
    **fields: Any,
) -> Any:
    """Build a task of a category with a tiny net."""
    dense = category in ("segmentation", "enhancement", "noise2void", "pix2pix")
    given = {"nets": {"net": DENOISER if dense else CLASSIFIER}, **fields}
    config = CATEGORIES[category](category=category, **given)
    return build_task(config, inference or InferenceConfig(), facts, seed)


class Bars(Dataset[dict[str, Any]]):
    """Images of a bright bar, lying (class 0) or standing (class 1), of a known width.

    Args:
        count: Number of images.
        sizes: Spatial sizes ``([Z,] Y, X)``, taken in turn.
        target: ``class``, ``classes`` (lying, standing), ``number`` (its width), ``image`` (without
            noise), or ``None``.
        noise: Standard deviation of the noise.
    """

    def __init__(
        self,
        count: int,
        sizes: Sequence[Sequence[int]] = ((32, 32),),
        target: str | None = "class",
        noise: float = 0.2,
    ) -> None:
        self.count, self.sizes, self.target, self.noise = count, sizes, target, noise

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(index)
        size = tuple(self.sizes[index % len(self.sizes)])
        stands, width = index % 2, 2 + index % 3
        clean = torch.zeros(1, *size)
        middle = int(torch.randint(4, size[-1 - (1 - stands)] - 8, (1,), generator=generator))
        part = slice(middle, middle + width)
        clean[(..., part) if stands else (..., part, slice(None))] = 1.0
        noisy = clean + self.noise * torch.randn(clean.shape, generator=generator)
        targets = {
            "class": torch.tensor(stands),
            "classes": torch.tensor([1.0 - stands, float(stands)]),
            "number": torch.tensor([float(width)]),
            "image": clean,
        }
        truth = {} if self.target is None else {"target": targets[self.target]}
        return {"image": noisy, "id": f"{index:03d}", "dataset": "main", **truth}


def alone(batch: dict[str, Any]) -> DataLoader[Any]:
    """Return a loader of one batch that is made already."""
    return DataLoader([batch], batch_size=None)  # type: ignore[arg-type]  # a list will do
